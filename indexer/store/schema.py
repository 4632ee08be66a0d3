"""Tables, manifest and connections of an index's SQLite file."""

from __future__ import annotations

import json
import operator
import secrets
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from indexer.chunking import CHUNKER_VERSION
from indexer.config import BuildConfig
from indexer.durable import beside
from indexer.embedding import Encoder, ModelIdentity
from indexer.errors import (
    ConfigError,
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
)
from indexer.store.database import (
    MEND,
    REBUILD,
    Connection,
    create_database,
    damage_named,
    has_checksums,
    log_ahead,
    memory_database,
    open_database,
)
from indexer.store.files import FILE_TABLES
from indexer.store.folder import DATABASE, VECTORS, put_first
from indexer.terms import ACRONYM, TERMS_VERSION

SCHEMA_VERSION = 7
OLDEST_SCHEMA = 6
"""The oldest that this one can be made of: see `indexer.upkeep.migrate`."""
APPLICATION_ID = 0x4C4F4343
"""`LOCC`: tells an index from any other SQLite file."""

_MAX_DIM = 1 << 16
"""Of a vector: sixteen times what the largest embedders give."""

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


class Commit(NamedTuple):
    """What an index was at one moment. Two indexes, or two ways on from one backup, share no commit made apart."""

    generation: int
    token: str
    """Random: a generation's number alone says nothing of whose it is."""

    @classmethod
    def after(cls, generation: int) -> Commit:
        """The commit that follows."""
        return cls(generation + 1, secrets.token_hex(TOKEN_BYTES))


TOKEN_BYTES = 8


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index was made with."""

    config: BuildConfig
    model: ModelIdentity
    encoder: Encoder = field(compare=False)
    """What ran the model when the index was begun. Another may go on: their vectors agree."""
    chunker_version: int = CHUNKER_VERSION
    terms_version: int = TERMS_VERSION

    def to_json(self) -> str:
        """Canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest that `to_json` wrote. Raises IndexDamagedError."""
        try:
            raw = json.loads(text)
            found = cls(
                BuildConfig(**raw.pop("config")),
                ModelIdentity(**raw.pop("model")),
                Encoder(**raw.pop("encoder")),
                **raw,
            )
            if not 0 < operator.index(found.model.dim) <= _MAX_DIM:
                raise ValueError(f"vectors of {found.model.dim} dimensions")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ConfigError) as error:
            raise IndexDamagedError(f"the index's manifest cannot be read ({error}): {REBUILD}") from error
        return found

    def check(self, wanted: Manifest) -> None:
        """Raise IndexMismatchError, naming the first difference, unless `wanted` is the same."""
        if self == wanted:
            return
        pairs = [
            ("model", self.model.name, wanted.model.name),
            ("model weights", self.model.weights_sha256[:12], wanted.model.weights_sha256[:12]),
            ("model identity", self.model, wanted.model),
            ("chunker version", self.chunker_version, wanted.chunker_version),
            ("terms version", self.terms_version, wanted.terms_version),
            ("configuration", self.config, wanted.config),
        ]
        what, made, asked = next(pair for pair in pairs if pair[1] != pair[2])
        raise IndexMismatchError(f"{what}: the index was made with {made}, now it is {asked}. {REBUILD}")


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


def read_meta(connection: Connection) -> tuple[Commit, Manifest]:
    """The newest commit, and the manifest. Raises IndexDamagedError."""
    commit = connection.execute("SELECT generation, token FROM commits ORDER BY generation DESC LIMIT 1").fetchone()
    manifest = connection.execute("SELECT value FROM meta WHERE key = 'manifest'").fetchone()
    if commit is None or manifest is None:
        raise IndexDamagedError(f"the index's manifest is incomplete. {REBUILD}")
    return Commit(*commit), Manifest.from_json(manifest[0])


def read_commits(connection: Connection) -> frozenset[Commit]:
    """Every commit that led to what the connection sees, its own among them."""
    return frozenset(Commit(*row) for row in connection.execute("SELECT generation, token FROM commits"))


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
