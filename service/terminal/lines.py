"""Lines on a terminal: printed, wrapped, aligned. Knows nothing of what they say."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from indexer.errors import partly
from service.printable import clean, flat, one_line

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from rich.console import Console
    from rich.text import Text

_MAX_WIDTH = 100
"""Columns; longer lines are hard to read."""
MAX_NAMED = 5
"""How many papers or files of one kind a summary names; `--json` has them all."""
INDENT = 4
_JSON_CONTROLS = re.compile(
    r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def put_text(text: str) -> None:
    """What is to be kept in a file, on stdout: UTF-8 with its own line ends, whatever the terminal's are. On a terminal
    itself, cleaned."""
    sys.stdout.flush()
    if sys.stdout.isatty():
        text = clean(text)
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def put_json(value: DataclassInstance, *, compact: bool = False) -> None:
    """A reply as JSON on stdout, exact, on one line if `compact`. What could steer a terminal is escaped."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    text = json.dumps(asdict(value), ensure_ascii=ascii_only, indent=None if compact else 2)
    sys.stdout.write(_JSON_CONTROLS.sub(lambda match: json.dumps(match[0])[1:-1], text) + "\n")
    sys.stdout.flush()  # a reader that has gone away shows here, not when the interpreter ends


def complain(message: str) -> None:
    """One line on stderr: what went wrong, and the next step."""
    print_line(console_of(stderr=True), f"loccit: {one_line(message)}")


class Complaints(logging.Handler):
    """What modules log, told as complaints are: what it names may be a file of anyone's."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's message on one line, and below it what an error's traceback says."""
        complain(record.getMessage())
        for line in traceback.format_exception(record.exc_info[1]) if record.exc_info else ():
            note(line.rstrip())


def note(message: str) -> None:
    """A line on stderr beside the result."""
    print_line(console_of(stderr=True), message)


def note_missing(missing: Sequence[str]) -> None:
    """Say that what is shown is not all, where servers did not answer."""
    if missing:
        note(f"note: not all of the index: {clean(partly(missing))}")


@contextmanager
def working(what: str) -> Iterator[None]:
    """Say on stderr that it takes a moment, as long as it does; on a terminal only."""
    console = console_of(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, on a terminal only: what is given is told how many papers are done, and of how many."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = console_of(stderr=True)
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("papers"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, n: bar.update(task, completed=done, total=n)


def styled(content: str, style: str = "") -> Text:
    """Text for rich, nothing in it read as mark-up."""
    from rich.text import Text

    return Text(content, style)


def console_of(*, stderr: bool = False) -> Console:
    """A console on stdout or stderr, as wide as is good to read."""
    from rich.console import Console

    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    console.width = min(console.width, _MAX_WIDTH)
    return console


def print_line(console: Console, line: str, style: str = "") -> None:
    """One line, never broken: paths, ids and links stay whole."""
    console.print(styled(flat(line), style=style), soft_wrap=True)


def print_wrapped(console: Console, text: Text, *, indent: int = INDENT, lead: str = "") -> None:
    """The text in lines that fit the terminal, indented; `lead` stands in the first line's margin."""
    for line in text.wrap(console, max(console.width - indent, 20)):
        line.rstrip()
        console.print(styled(f"{lead:<{indent}}" if line else lead.rstrip()).append_text(line), soft_wrap=True)
        lead = ""


def print_rows(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Names and values, aligned."""
    listed = list(rows)
    width = max(len(name) for name, _ in listed) + 2
    for name, value in listed:
        line = styled(f"{flat(name):<{width}}", style="dim").append(flat(value), style="not dim")
        console.print(line, soft_wrap=True)


def first_of(names: Sequence[str]) -> list[str]:
    """The first few, and how many more there are."""
    more = len(names) - MAX_NAMED
    return [*names[:MAX_NAMED], *([f"and {more:,} more"] if more > 0 else [])]
