"""Commands that look after an index: doctor, backup, restore."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from service import terminal
from service.cli.opening import embedder_of, settings_of
from service.cli.options import Index, Json
from service.cli.options import folder as folder_of

EXIT_UNSOUND = 1


def doctor(
    index: Index = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set right what the index itself can; old files are kept beside.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look the index over: its files or servers, its papers' files, its model. Exit code 1 where it is not sound."""
    settings = settings_of(index=index)
    from indexer.upkeep import Diagnosis, Mended, examine, mend

    look = partial(examine, settings.index, partial(embedder_of, settings, threads=1))
    with terminal.working("looking the index over"):
        found = look()
    mended = Mended()
    if repair and any(each.repair for each in found.findings):
        with terminal.working("mending"):
            mended = mend(settings.index, found)
            found = look()
    diagnosis = Diagnosis(
        settings.shown_index,
        found.is_sound,
        found.generation,
        found.papers,
        found.passages,
        tuple(found.checked),
        tuple(found.findings),
        tuple(mended.done),
        tuple(mended.lost),
        tuple(mended.files),
    )
    if as_json:
        terminal.put_json(diagnosis)
    else:
        terminal.show_diagnosis(diagnosis)
    if not diagnosis.sound or diagnosis.lost:
        raise typer.Exit(EXIT_UNSOUND)


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", parser=folder_of, help="A new or empty folder.")],
    index: Index = None,
    as_json: Json = False,
) -> None:
    """Copy the index to DIR, as it is at one moment, while it is read and written. The papers' files are not in it.

    One on a server is for PostgreSQL's own tools to back up (pg_dump, pg_basebackup).
    """
    settings = settings_of(index=index)
    from indexer.upkeep import back_up

    with terminal.working("copying the index"):
        made = back_up(settings.index, folder)
    if as_json:
        terminal.put_json(made)
    else:
        typer.echo(
            f"backed up {made.papers:,} papers, {made.passages:,} passages (generation {made.generation}) "
            f"to {terminal.clean(str(folder))}"
        )


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", parser=folder_of, help="What `loccit backup` made.")],
    index: Index = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where there is an index; its files are kept beside.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Put a backup in the place of the index. What reads the index goes on with the restored one."""
    settings = settings_of(index=index)
    from indexer.upkeep import restore as put_back

    with terminal.working("checking and copying"):
        made = put_back(folder, settings.index, replace=replace)
    if as_json:
        terminal.put_json(made)
    else:
        typer.echo(
            f"restored {made.papers:,} papers, {made.passages:,} passages "
            f"(generation {made.generation}, of {made.made}) to {terminal.clean(settings.shown_index)}"
        )
