"""What an index takes up on disk, and when it was last written to. Nothing is opened for it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from indexer.store.embedded.folder import DATABASE


def on_disk(folder: Path) -> tuple[int, float]:
    """Bytes of the files in the folder, and when the database was last written to, in seconds since 1970; 0 if there is
    none.

    A commit stands in the write-ahead log first. A reader makes an empty one, which counts for nothing.
    """
    n_bytes, written_at = 0, 0.0
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # moved into place meanwhile
            found = path.stat()
            n_bytes += found.st_size
            if path.name in (DATABASE, f"{DATABASE}-wal") and found.st_size:
                written_at = max(written_at, found.st_mtime)
    return n_bytes, written_at
