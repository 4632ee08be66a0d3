"""What the store asks of a database, whichever it is: statements in the SQL that SQLite and PostgreSQL share.

Placeholders are `?`. Flags are whole numbers, so that one table definition says them in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

Row = tuple[Any, ...]

REBUILD = "Run `loccit index PATH... --rebuild` to make it anew."


class Cursor(Protocol):
    """What a statement found."""

    def __iter__(self) -> Iterator[Row]: ...

    @property
    def description(self) -> Sequence[Sequence[Any]] | None:
        """Of each column its name, and more; while there are rows."""
        ...

    def fetchone(self) -> Row | None:
        """The next row, if there is one."""
        ...

    def fetchall(self) -> list[Row]:
        """The rows that are left."""
        ...


class Connection(Protocol):
    """A session with a database."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Cursor:
        """Run a statement."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]], /) -> object:
        """Run a statement for each of these rows of values."""
        ...


def value(connection: Connection, statement: str, values: Sequence[Any] = ()) -> Any:  # noqa: ANN401 - as it is
    """The first column of the only row that a statement gives."""
    ((found, *_),) = connection.execute(statement, values).fetchall()
    return found


def marks(values: Sequence[object]) -> str:
    """Placeholders for an SQL list."""
    return ", ".join("?" * len(values))
