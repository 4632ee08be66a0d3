"""Fetched files in a folder: what stands there, whether it is as it was fetched, and how it is replaced."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from indexer.durable import make_folder, sweep
from indexer.errors import SourceError
from indexer.provenance import Provenance, keep_provenance, provenance_of, provenance_path, write_source

_LOCK = ".fetching.lock"
_LOCK_WAIT_S = 30
"""Another process holds it for as long as it takes to write two files."""
_UNSAFE = re.compile(r'[<>:"/\\|?*]')
"""What some system refuses in a file's name, beside what cannot be printed."""
_MAX_NAME_BYTES = 150
"""Names have 255 at the most, and more is put behind this one."""


@dataclass(frozen=True, slots=True)
class Held:
    """What stands at a path."""

    state: Literal["nothing", "fetched", "edited", "own"]
    """`fetched` as it was fetched; `edited` since; the user's `own`, of which nothing says that it was fetched."""
    provenance: Provenance | None = None


def held_at(path: Path) -> Held:
    """What stands at the path. Raises SourceError when that cannot be read."""
    provenance = provenance_of(path)
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return Held("nothing")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    if provenance is None:
        return Held("own")
    if provenance.replaces == sha256 != provenance.sha256:  # a fetch was ended before the new text was there
        return Held("fetched", replace(provenance, sha256=sha256, replaces="", etag="", last_modified=""))
    return Held("fetched" if sha256 == provenance.sha256 else "edited", provenance)


def keep(path: Path, body: bytes, provenance: Provenance) -> None:
    """Put the text at the path, and where it came from beside it.

    Each is whole or not there. The second goes first: stopped between the two, a paper is fetched again, and does not
    pass for the user's own, or edited. Raises SourceError when the folder takes no files, or the user's stands there by
    now.
    """
    with _held_by_us(path.parent):
        held = held_at(path)
        if held.state in ("edited", "own"):
            raise SourceError(f"{path} was changed while it was fetched, and is left as it is: move it away")
        for each in (path, provenance_path(path)):
            sweep(each)
        before = held.provenance.sha256 if held.provenance and held.state == "fetched" else ""
        keep_provenance(path, replace(provenance, replaces=before))
        write_source(path, body)


def note(path: Path, provenance: Provenance) -> None:
    """Keep what is known of the file at the path by now, and that it was asked for just now; not where another process
    has put another text there meanwhile.
    """
    with _held_by_us(path.parent):
        before = provenance_of(path)
        if before is None or before.sha256 != provenance.sha256:
            return
        if before != provenance:
            keep_provenance(path, provenance)
        with suppress(OSError):  # another user's file: it is asked for once more than it needs to be
            os.utime(provenance_path(path))


def asked_within(path: Path, limit_s: float) -> bool:
    """Whether the file's source was last asked for it at most so many seconds ago."""
    try:
        return 0 <= time.time() - provenance_path(path).stat().st_mtime <= limit_s
    except OSError:
        return False


@contextmanager
def _held_by_us(folder: Path) -> Iterator[None]:
    """Keep other processes from writing there: a file and what is known of it belong together."""
    try:
        make_folder(folder)
        lock = FileLock(folder / _LOCK, timeout=_LOCK_WAIT_S)
        lock.acquire()
    except Timeout as error:
        raise SourceError(f"{folder} is held by another process: try again when it is done") from error
    except OSError as error:
        raise SourceError(f"{folder} takes no files: {error.strerror or error}") from error
    try:
        yield
    finally:
        lock.release()


def fetched_from(folder: Path, url: str) -> Path | None:
    """The file in the folder that this address sent."""
    ending = provenance_path(Path("x")).name.removeprefix("x")
    for sidecar in sorted(folder.glob(f"*{ending}")):
        path = sidecar.with_name(sidecar.name.removesuffix(ending))
        with suppress(SourceError):  # of one that cannot be read, nothing is known
            provenance = provenance_of(path)
            if provenance is not None and provenance.url == url and path.is_file():
                return path
    return None


def file_name(paper_id: str, suffix: str) -> str:
    """A name that every system takes, and that is not hidden."""
    printable = "".join(each if each.isprintable() else "_" for each in paper_id)
    plain = _UNSAFE.sub("_", printable).strip(". ").encode()[:_MAX_NAME_BYTES].decode(errors="ignore")
    return (plain or "paper") + suffix
