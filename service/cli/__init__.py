"""The command line: flags to settings, one call of the library, its reply shown. No logic of its own.

Heavy modules are imported in the commands that need them, so that help and errors of usage come at once.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated

import typer

from indexer.errors import LoccitError
from service import terminal
from service.cli import keys
from service.cli.asking import ask, search, show, verify
from service.cli.exporting import tools
from service.cli.fetching import fetch_command
from service.cli.indexing import EXIT_FAILED_FILES, index_command
from service.cli.keeping import eval_command, info, papers, remove
from service.cli.moving import copy, shards
from service.cli.serving import mcp, serve
from service.cli.upkeep import backup, doctor, restore

__all__ = ["EXIT_FAILED_FILES", "app", "main"]

EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="loccit",
    help="Ask a folder of papers a question; get the passages that answer it, each with the exact place it stands.",
    epilog="Settings: flag > environment (LOCCIT_INDEX, ...) > loccit.toml in the working folder > default. "
    "Exit codes: 0 done, 1 failed, 2 usage, 3 no usable index, 4 nothing found.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command of `arguments`, else of the process's own; gives the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character still gets the rest
    logging.lastResort = terminal.Complaints(logging.WARNING)  # where nothing else is set up to take what is logged
    try:
        code = app(args=given or ["--help"], prog_name="loccit", standalone_mode=False)
    except LoccitError as error:
        terminal.complain(str(error))
        return error.exit_code
    except typer.TyperException as error:
        message = error.format_message().replace("Value error, ", "")  # pydantic's words, not ours
        terminal.complain(f"{message} (see `loccit --help`)")
        return error.exit_code
    if code == EXIT_INTERRUPTED:
        terminal.complain("stopped")
    return int(code or 0)


def _show_version(wanted: bool) -> None:
    if wanted:
        from service.config import version

        typer.echo(f"loccit {version()}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command("index")(index_command)
app.command("fetch")(fetch_command)
app.command()(ask)
app.command()(search)
app.command()(show)
app.command()(verify)
app.command()(papers)
app.command()(remove)
app.command()(info)
app.command()(doctor)
app.command()(backup)
app.command()(restore)
app.command()(copy)
app.command()(shards)
app.command("eval")(eval_command)
app.command()(serve)
app.add_typer(keys.app, name="keys")
app.command()(tools)
app.command()(mcp)
