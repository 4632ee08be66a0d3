"""Files that are whole or not there, whatever happens: also after a power cut, once the call has returned.

An fsync of a file makes its bytes last, and one of its folder the name that they go by. Knows nothing of what they are.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_PART = "part"
_LOGS = ("-journal", "-wal", "-shm")
_NO_SUCH_FSYNC = (errno.EINVAL, errno.ENOTSUP)
"""What file systems say that do not fsync folders: some on a network."""


def write_whole(path: Path, *data: ReadableBuffer, mode: int = 0o666) -> None:
    """Put `data`, one after the other, in the place of what is at `path`: a reader sees the old or the new.

    `mode` is what the umask is taken from. Raises OSError; then no part of the new is there.
    """
    with beside(path) as part:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            for each in data:
                file.write(each)
            file.flush()
            os.fsync(file.fileno())
        put_in_place(part, path)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to. What goes by it at the end, and SQLite's logs of that, are removed."""
    part = path.with_name(f".{path.name}.{token_hex(4)}.{_PART}")
    try:
        yield part
    finally:
        for ending in ("", *_LOGS):
            with suppress(OSError):  # it is swept away later: what was raised says more
                part.with_name(part.name + ending).unlink(missing_ok=True)


def put_in_place(part: Path, path: Path) -> None:
    """Give a file, whose bytes were fsynced, its name. Raises OSError."""
    part.replace(path)
    sync_folder(path.parent)


def sweep(path: Path) -> None:
    """Remove what writers of `path` left beside it when they were killed. Only for who holds the lock that they held.

    Raises OSError.
    """
    for left in left_beside(path):
        left.unlink(missing_ok=True)


def left_beside(path: Path) -> list[Path]:
    """What stands beside `path` that was to take its place: of one who writes it now, or was killed."""
    return list(path.parent.glob(f".{escape(path.name)}.*.{_PART}*"))


def make_folder(folder: Path) -> None:
    """Make the folder and those above it, where they are missing. Raises OSError."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in the folder last, as far as its file system can. Raises OSError."""
    if os.name == "nt":  # where folders cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SUCH_FSYNC:
            raise
    finally:
        os.close(descriptor)
