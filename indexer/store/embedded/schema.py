"""Tables and connections of an index's SQLite file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from indexer.durable import beside
from indexer.errors import IndexDamagedError, IndexMismatchError, IndexMissingError
from indexer.store import postings
from indexer.store.embedded.database import (
    MEND,
    Connection,
    create_database,
    damage_named,
    has_checksums,
    log_ahead,
    memory_database,
    open_database,
)
from indexer.store.embedded.folder import DATABASE, VECTORS, put_first
from indexer.store.manifest import Commit, Manifest
from indexer.store.postings import Collection
from indexer.store.sql import REBUILD, value
from indexer.store.tables import TABLES
from indexer.terms import ACRONYM

SCHEMA_VERSION = 7
OLDEST_SCHEMA = 6
"""The oldest that this one can be made of: see `indexer.upkeep.migrate`."""
APPLICATION_ID = 0x4C4F4343
"""`LOCC`: tells an index from any other SQLite file."""

_TABLES = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
{TABLES}CREATE VIRTUAL TABLE passages_fts USING fts5 (
    title, headings, body, content='passage_terms', content_rowid='id',
    tokenize="unicode61 remove_diacritics 0 tokenchars '{ACRONYM}'"
);
"""


def connect(folder: Path) -> Connection:
    """A connection to an existing index. Raises IndexMissingError, IndexDamagedError, IndexMismatchError."""
    path = folder / DATABASE
    if not path.is_file():
        if (folder / VECTORS).exists():
            raise IndexDamagedError(
                f"{path} is missing, though {VECTORS} is there: copy the whole folder, or {REBUILD}"
            )
        raise IndexMissingError(f"there is no index in {folder}: run `loccit index PATH... --index {folder}`")
    if path.stat().st_size == 0:
        raise IndexDamagedError(f"{path} is empty: copy the whole folder again, or {REBUILD}")
    with damage_named(folder):
        connection = open_database(path)
        try:
            _check_file(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def create(folder: Path, manifest: Manifest) -> Connection:
    """A connection to a new, empty index. Raises IndexNotWritableError."""
    path = folder / DATABASE
    with damage_named(folder), beside(path) as part:
        with closing(begin(part, manifest)) as made:
            log_ahead(made)
        put_first(folder, part)
        return open_database(path)


def begin(path: Path, manifest: Manifest) -> Connection:
    """A connection to a new database with the tables of an index, at its first commit.

    It has no write-ahead log yet, see `log_ahead`: what were written to that might not be in the file when it is moved.
    """
    connection = create_database(path)
    connection.execute(f"BEGIN; {_TABLES}")
    connection.execute("INSERT INTO meta VALUES ('manifest', ?)", (manifest.to_json(),))
    connection.execute("INSERT INTO commits VALUES (?, ?)", Commit.after(-1))
    connection.execute("COMMIT")
    return connection


def scratch() -> Connection:
    """An index's tables, empty, in memory: to hold what is there against what should be."""
    connection = memory_database()
    connection.execute(_TABLES)
    return connection


def read_collection(connection: Connection) -> Collection:
    """What the connection's transaction has to count words by. Raises IndexDamagedError."""
    given = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'passages'"
    return postings.read_collection(connection, value(connection, given))


def _check_file(connection: Connection, path: Path) -> None:
    """Whose file is this, which schema, and is all of it here?"""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise IndexDamagedError(f"{path} is not a loccit index: name another folder with --index")
    version = connection.pragma("user_version")
    if version != SCHEMA_VERSION:
        step = (
            "run `loccit doctor --repair`, which makes this one of it and keeps it beside"
            if OLDEST_SCHEMA <= version < SCHEMA_VERSION
            else "install the loccit that made it, or run `loccit index PATH... --rebuild` to make it anew"
        )
        raise IndexMismatchError(f"{path} has schema version {version}, this loccit reads {SCHEMA_VERSION}: {step}")
    if not has_checksums(connection):
        raise IndexDamagedError(f"{path}: its pages have no checksums any more. {MEND}")
    has_log = path.with_name(path.name + "-wal").exists()
    if not has_log and path.stat().st_size < connection.pragma("page_count") * connection.pragma("page_size"):
        raise IndexDamagedError(f"{path} is cut short: copy the whole folder again, or {REBUILD}")
