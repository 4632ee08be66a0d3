"""From an older schema to this one: a copy is changed step by step, and put in the index's place when it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

from indexer.durable import beside
from indexer.errors import IndexMismatchError
from indexer.store.embedded.database import RESERVED, Connection, damage_named, log_ahead, open_database
from indexer.store.embedded.folder import DATABASE, exchange
from indexer.store.embedded.schema import SCHEMA_VERSION

STEPS: Mapping[int, Callable[[Connection], None]] = {
    6: lambda _: None,  # 7 has a checksum on every page, which the copy is made with
}
"""What makes schema N + 1 of schema N, by N."""


def schema_of(folder: Path) -> int:
    """The schema version of the index's database, whatever this loccit reads. Raises IndexStateError."""
    return schema_in(folder / DATABASE)


def schema_in(database: Path) -> int:
    """The same of a database that may stand elsewhere. Raises IndexStateError."""
    with damage_named(database.parent), closing(open_database(database)) as connection:
        return int(connection.pragma("user_version"))


def migrate(folder: Path) -> tuple[int, Path]:
    """Bring the index up to this schema. Gives the version that it had, and where its database is kept as it was.

    The caller holds the writer's lock. Raises IndexMismatchError for a version without a way from it.
    """
    before = schema_of(folder)
    versions = range(before, SCHEMA_VERSION)
    if missing := [each for each in versions if each not in STEPS]:
        raise IndexMismatchError(
            f"{folder} has schema version {before}, and there is no way from version {missing[0]} to "
            f"{SCHEMA_VERSION}: run `loccit index PATH... --rebuild` to make it anew"
        )
    with damage_named(folder), beside(folder / DATABASE) as part:
        with closing(open_database(folder / DATABASE)) as old:
            old.execute("VACUUM INTO ?", (f"{part.absolute().as_uri()}?reserve={RESERVED}",))
        with closing(open_database(part)) as new:
            for version in versions:
                STEPS[version](new)
            new.pragma("user_version", SCHEMA_VERSION)
            log_ahead(new)
        return before, exchange(folder, part, f"schema-{before}")
