"""An index's folder: its files' names, the writer's lock, and how a database takes the place of another.

Knows nothing of tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from indexer.durable import left_beside, make_folder, put_in_place, sweep
from indexer.errors import IndexBusyError, IndexDamagedError, IndexNotWritableError
from indexer.store.embedded.database import close_journal, damage_named, is_sealed

DATABASE = "index.sqlite"
VECTORS = "vectors.faiss"
LOCK = "writer.lock"
_JOURNALS = (f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
_FILES = (DATABASE, VECTORS)


@contextmanager
def refusal_named(folder: Path) -> Iterator[None]:
    """Turn what the system says where the index's files cannot be changed into IndexNotWritableError."""
    try:
        yield
    except OSError as error:
        raise IndexNotWritableError(
            f"{folder} takes no files ({error}): check the disk, its free space and permissions"
        ) from error


def is_index(folder: Path) -> bool:
    """Whether there is an index in the folder, whatever its state."""
    return (folder / DATABASE).exists() or (folder / VECTORS).exists()


def unfinished(folder: Path) -> list[str]:
    """Names of files that were begun, and are not in their places."""
    return sorted(path.name for name in _FILES for path in left_beside(folder / name))


def sweep_folder(folder: Path) -> list[str]:
    """Remove what a killed process left half made; gives the names. Only who holds the lock makes such files.

    Raises IndexNotWritableError.
    """
    left = unfinished(folder)
    with refusal_named(folder):
        for name in _FILES:
            sweep(folder / name)
    return left


def set_aside(folder: Path, why: str) -> Path:
    """Keep the index's files under names that end in `why`: they are replaced, not destroyed. Gives the database's."""
    with refusal_named(folder):
        ending = _free_ending(folder, why)
        for name in (*_JOURNALS, VECTORS, DATABASE):
            path = folder / name
            if path.exists():
                path.replace(path.with_name(f"{name}.{ending}"))
    return folder / f"{DATABASE}.{ending}"


def put_first(folder: Path, part: Path) -> None:
    """Put a whole database in a folder that has none. Raises IndexNotWritableError."""
    with refusal_named(folder):
        for journal in _JOURNALS:  # of a database that is gone: it would be taken for this one's
            (folder / journal).unlink(missing_ok=True)
        put_in_place(part, folder / DATABASE)


def exchange(folder: Path, part: Path, why: str) -> Path:
    """Put a whole database in the index's place, and keep the one that was there under a name that ends in `why`.

    Ended at any moment, one of the two is there, whole. The journal's pages go into the old one before, unless it is
    damaged: in the new one's hands they would be played into that. The vectors are made anew. Raises IndexBusyError
    where a reader stands in the way of that for long, IndexNotWritableError.
    """
    path = folder / DATABASE
    with refusal_named(folder):
        ending = _free_ending(folder, why)
        kept = path.with_name(f"{DATABASE}.{ending}")
        if path.exists():
            with suppress(IndexDamagedError), damage_named(folder):
                close_journal(path)
            try:
                kept.hardlink_to(path)
            except OSError:  # some file systems know no second names
                path.replace(kept)
        for name in (*_JOURNALS, VECTORS):
            if (folder / name).exists():
                (folder / name).replace(folder / f"{name}.{ending}")
        put_in_place(part, path)
    return kept


def _free_ending(folder: Path, why: str) -> str:
    """`why`, or `2.why` and so on: what was kept before stays."""
    endings = (f"{n}.{why}" if n > 1 else why for n in count(1))
    names = (*_JOURNALS, *_FILES)
    return next(each for each in endings if not any((folder / f"{name}.{each}").exists() for name in names))


def take_lock(folder: Path) -> FileLock:
    """The writer's lock, held until it is released. Raises IndexBusyError at once when another process has it;
    IndexNotWritableError."""
    lock = FileLock(folder / LOCK)
    try:
        make_folder(folder)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise IndexBusyError(
            f"another process is writing to {folder}: wait for it to end, then run the command again"
        ) from error
    except OSError as error:
        raise IndexNotWritableError(f"{folder} takes no files ({error}): name another folder with --index") from error
    return lock


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The same for as long as the block goes on."""
    lock = take_lock(folder)
    try:
        yield
    finally:
        lock.release()


class FileIdentity(NamedTuple):
    """Which file a database is."""

    device: int = 0
    inode: int = 0
    written_ns: int = 0
    """When it was written to last, of one that is read as it stands; else 0."""


def file_identity(folder: Path) -> FileIdentity:
    """Which file the database is: another one once it has been replaced, and one that is read as it stands also once it
    has been written to; zeros when it is gone."""
    path = folder / DATABASE
    try:
        status = path.stat()
    except OSError:
        return FileIdentity()
    return FileIdentity(status.st_dev, status.st_ino, status.st_mtime_ns if is_sealed(path) else 0)


def was_written_since(folder: Path, file: FileIdentity) -> bool:
    """Whether a database that was read as it stood has been written to, or replaced, by another user."""
    if not file.written_ns:
        return False
    try:
        return (folder / DATABASE).stat().st_mtime_ns != file.written_ns
    except OSError:
        return True
