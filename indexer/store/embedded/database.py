"""SQLite, as the index uses it: every page with a checksum, every complaint as one of the index's own errors.

The only module that imports apsw, whose wheels carry SQLite itself and its checksum shim (cksumvfs,
https://www.sqlite.org/cksumvfs.html): eight bytes at the end of each page, checked whenever the page is read from the
disk. A page that is not what was written is an error then, and never an answer. docs/decisions/0011-damage.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import apsw.sqlite_extra
from apsw import Connection

from indexer.errors import IndexBusyError, IndexDamagedError, IndexNotWritableError
from indexer.store.sql import REBUILD

__all__ = ["Connection", "copy_database", "create_database", "damage_named", "open_database"]

RESERVED = 8
"""Bytes that the shim needs on every page: with any other number it checks nothing."""
_SHIM, _SHIM_VFS = "cksumvfs", "cksmvfs"
_BUSY_TIMEOUT_MS = 10_000
_CACHE_KIB = 16_000
"""Of pages a connection: each one that is read again is checked again."""


def open_database(path: Path) -> Connection:
    """A connection to an existing database. Raises what `damage_named` names, and IndexDamagedError where its pages
    have no checksums."""
    connection = _connect(path, "mode=ro&immutable=1" if is_sealed(path) else "mode=rw")
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # reads the file, and says if it is none
    except BaseException:
        connection.close()
        raise
    return connection


def is_sealed(path: Path) -> bool:
    """Whether the database is read as it stands: journal and shared-memory files cannot be made in a folder that takes
    none. SQLite does not see then that another user writes to it."""
    return not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()


def create_database(path: Path) -> Connection:
    """A connection to a new database with checksums."""
    connection = _connect(path, "mode=rwc")
    connection.reserve_bytes(reserve=RESERVED)
    return connection


def log_ahead(connection: Connection) -> None:
    """Give the database, whatever its connections, a write-ahead log: readers and a writer do not wait for one another
    then. The last thing that is done to a new one before it is put in place."""
    connection.pragma("journal_mode", "wal")


def close_journal(path: Path) -> None:
    """Put all that stands in the database's journal into the database itself. Raises IndexBusyError where a reader of
    what was before keeps it from that."""
    connection = open_database(path)
    try:
        _, n_pages, n_put = next(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)"))
    finally:
        connection.close()
    if n_put < n_pages:
        raise IndexBusyError(f"{path.parent} is being read: wait for the other program to end, then try again")


def lengthen(path: Path) -> None:
    """Give a database that was cut short its length back, in zeros: no page, as its checksum says, and the others can
    be read. Where is how long it was: https://www.sqlite.org/fileformat.html#the_database_header."""
    with path.open("rb+") as file:
        header = file.read(_HEADER_BYTES)
        if len(header) == _HEADER_BYTES and header.startswith(_MAGIC):
            page_size = int.from_bytes(header[16:18], "big")
            n_bytes = int.from_bytes(header[28:32], "big") * (page_size if page_size > 1 else 1 << 16)
            if path.stat().st_size < n_bytes <= _MAX_LENGTHENED:
                file.truncate(n_bytes)


def memory_database() -> Connection:
    """A connection to a new database that is nowhere but in memory."""
    return Connection(":memory:")


def has_checksums(connection: Connection) -> bool:
    """Whether each page has one."""
    return connection.reserve_bytes() == RESERVED


def copy_database(connection: Connection, path: Path) -> None:
    """Write what the connection sees to a new file, while others go on reading and writing.

    Page by page, by SQLite's own online backup, https://www.sqlite.org/backup.html.
    """
    target = _connect(path, "mode=rwc")
    try:
        target.reserve_bytes(reserve=RESERVED)
        with target.backup("main", connection, "main") as backup:
            backup.step(-1)
    finally:
        target.close()


@contextmanager
def held_still(connection: Connection) -> Iterator[None]:
    """A read transaction: until the block ends, the connection sees what was committed when it first looked."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:  # SQLite ends it itself where a page cannot be read
            connection.execute("ROLLBACK")


@contextmanager
def damage_named(folder: Path) -> Iterator[None]:
    """Turn SQLite's complaints about the index's files into the index's own errors, naming the folder.

    What says nothing of the files (a statement that is too long, say) goes on as it came: it is no damage, and to make
    the index anew would not help.
    """
    try:
        yield
    except apsw.Error as error:
        code = getattr(error, "extendedresult", 0)
        primary = code & _PRIMARY_CODE
        if (primary == apsw.SQLITE_IOERR and code not in _UNREADABLE_CODES) or primary in _CLOSED_CODES:
            said = str(error) if primary not in _SAID or str(error) != _NOTHING_SAID else _SAID[primary]
            raise IndexNotWritableError(f"{folder}: {said}; check the disk, its free space and permissions") from error
        if primary in _BUSY_CODES:
            raise IndexBusyError(f"{folder}: {error}; wait for the other program to end, then try again") from error
        if primary in _DAMAGE_CODES or any(words in str(error) for words in _DAMAGE_WORDS):
            what = "a page is not what was written" if code == apsw.SQLITE_IOERR_DATA else str(error)
            raise IndexDamagedError(f"{folder}: {what}. {MEND}") from error
        raise
    except UnicodeDecodeError as error:
        raise IndexDamagedError(f"{folder}: a text is not UTF-8 ({error.reason}). {MEND}") from error


MEND = f"`loccit doctor` says what is damaged. {REBUILD}"

_MAGIC, _HEADER_BYTES = b"SQLite format 3\0", 100
_MAX_LENGTHENED = 1 << 40
_PRIMARY_CODE = 0xFF
"""The lower byte of an extended result code, https://sqlite.org/rescode.html."""
_UNREADABLE_CODES = frozenset(
    {
        apsw.SQLITE_IOERR,
        apsw.SQLITE_IOERR_READ,
        apsw.SQLITE_IOERR_SHORT_READ,
        apsw.SQLITE_IOERR_DATA,
        apsw.SQLITE_IOERR_CORRUPTFS,
    }
)
"""The I/O errors that are of reading; the others are of writing."""
_CLOSED_CODES = frozenset({apsw.SQLITE_READONLY, apsw.SQLITE_CANTOPEN, apsw.SQLITE_FULL, apsw.SQLITE_PERM})
_NOTHING_SAID = "not an error"
_SAID = {
    apsw.SQLITE_IOERR: "disk I/O error",
    apsw.SQLITE_FULL: "database or disk is full",
    apsw.SQLITE_CANTOPEN: "unable to open database file",
}
"""What SQLite's online backup says nothing of."""
_BUSY_CODES = frozenset({apsw.SQLITE_BUSY, apsw.SQLITE_LOCKED})
_DAMAGE_CODES = frozenset({apsw.SQLITE_CORRUPT, apsw.SQLITE_NOTADB, apsw.SQLITE_IOERR})
_DAMAGE_WORDS = (
    "no such table",
    "no such column",
    "vtable constructor failed",
    "invalid fts5 file format",
    "malformed",
)
"""What a damaged file also looks like, under SQLite's code for any error at all."""


def _connect(path: Path, query: str) -> Connection:
    _load_shim()
    flags = apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = Connection(f"{path.absolute().as_uri()}?{query}", flags, vfs=_SHIM_VFS)
    connection.set_busy_timeout(_BUSY_TIMEOUT_MS)
    connection.pragma("foreign_keys", True)
    connection.pragma("synchronous", "full")
    connection.pragma("cache_size", -_CACHE_KIB)
    return connection


def _load_shim() -> None:
    """Once a process: it stays."""
    if _SHIM_VFS not in apsw.vfs_names():
        with Connection(":memory:") as connection:
            apsw.sqlite_extra.load(connection, _SHIM)
        connection.close()
