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
from indexer.store.files import FILE_TABLES
from indexer.store.manifest import Commit, Manifest
from indexer.store.postings import Collection
from indexer.store.sql import REBUILD, value
from indexer.terms import ACRONYM

SCHEMA_VERSION = 7
OLDEST_SCHEMA = 6
"""The oldest that this one can be made of: see `indexer.upkeep.migrate`."""
APPLICATION_ID = 0x4C4F4343
"""`LOCC`: tells an index from any other SQLite file."""

_TABLES = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE commits (generation INTEGER PRIMARY KEY, token TEXT NOT NULL);
CREATE TABLE papers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    paper_id TEXT NOT NULL UNIQUE,
    source TEXT NOT NULL,
    origin TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    title TEXT NOT NULL,
    authors TEXT NOT NULL,
    pmcid TEXT NOT NULL,
    doi TEXT NOT NULL,
    pmid TEXT NOT NULL,
    journal TEXT NOT NULL,
    date TEXT NOT NULL,
    year INTEGER,
    licence TEXT NOT NULL,
    url TEXT NOT NULL,
    body_omitted TEXT NOT NULL,
    format TEXT NOT NULL,
    notices TEXT NOT NULL,
    sections TEXT NOT NULL,
    entities TEXT NOT NULL,
    kept TEXT NOT NULL,
    left_out TEXT NOT NULL,
    title_terms TEXT NOT NULL
);
CREATE TABLE kept_texts (
    paper INTEGER PRIMARY KEY REFERENCES papers (id) ON DELETE CASCADE,
    text BLOB NOT NULL
);
CREATE INDEX papers_origin ON papers (origin);
CREATE INDEX papers_title ON papers (lower(title), paper_id);
CREATE INDEX papers_year ON papers (-coalesce(year, 0), paper_id);
CREATE INDEX papers_journal ON papers (lower(journal), paper_id);
CREATE TABLE reference_entries (
    paper INTEGER NOT NULL REFERENCES papers (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    key TEXT NOT NULL,
    text TEXT NOT NULL,
    doi TEXT NOT NULL,
    pmid TEXT NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    PRIMARY KEY (paper, number)
) WITHOUT ROWID;
CREATE TABLE passages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    paper INTEGER NOT NULL REFERENCES papers (id) ON DELETE CASCADE,
    passage_id TEXT NOT NULL UNIQUE,
    ordinal INTEGER NOT NULL,
    start INTEGER NOT NULL,
    end INTEGER NOT NULL,
    text TEXT NOT NULL,
    kind TEXT NOT NULL,
    role TEXT NOT NULL,
    section TEXT NOT NULL,
    section_number TEXT NOT NULL,
    section_numbers TEXT NOT NULL,
    sentences TEXT NOT NULL,
    markers TEXT NOT NULL,
    embedded_text TEXT NOT NULL,
    n_wordpieces INTEGER NOT NULL,
    n_tokens INTEGER NOT NULL,
    heading_terms TEXT NOT NULL,
    terms TEXT NOT NULL
);
CREATE UNIQUE INDEX passages_paper ON passages (paper, ordinal);
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY REFERENCES passages (id) ON DELETE CASCADE,
    vector BLOB NOT NULL,
    sentences BLOB NOT NULL,
    words BLOB NOT NULL
);
CREATE TABLE abbreviations (
    paper INTEGER NOT NULL REFERENCES papers (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    short TEXT NOT NULL,
    long TEXT NOT NULL,
    short_start INTEGER NOT NULL,
    short_end INTEGER NOT NULL,
    long_start INTEGER NOT NULL,
    long_end INTEGER NOT NULL,
    short_terms TEXT NOT NULL,
    long_terms TEXT NOT NULL,
    PRIMARY KEY (paper, number)
) WITHOUT ROWID;
CREATE INDEX abbreviations_short ON abbreviations (short_terms, long_terms);
CREATE INDEX abbreviations_long ON abbreviations (long_terms, short_terms);
CREATE TABLE aliases (
    paper INTEGER NOT NULL REFERENCES papers (id) ON DELETE CASCADE,
    thing INTEGER NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    identifier TEXT NOT NULL,
    name_terms TEXT NOT NULL,
    PRIMARY KEY (paper, thing, number)
) WITHOUT ROWID;
CREATE INDEX aliases_name ON aliases (name_terms);
CREATE VIEW passage_terms AS
    SELECT passages.id AS id, papers.title_terms AS title, passages.heading_terms AS headings, passages.terms AS body
    FROM passages JOIN papers ON papers.id = passages.paper;
CREATE VIRTUAL TABLE passages_fts USING fts5 (
    title, headings, body, content='passage_terms', content_rowid='id',
    tokenize="unicode61 remove_diacritics 0 tokenchars '{ACRONYM}'"
);
CREATE TABLE segments (id INTEGER PRIMARY KEY, passages BLOB NOT NULL);
CREATE TABLE postings (
    segment INTEGER NOT NULL,
    term TEXT NOT NULL,
    postings BLOB NOT NULL,
    PRIMARY KEY (segment, term)
) WITHOUT ROWID;
CREATE TABLE removed_rows (id INTEGER PRIMARY KEY);
{FILE_TABLES}"""


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
