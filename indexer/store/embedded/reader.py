"""Opening an index for search: one consistent generation at a time, while a writer goes on.

A snapshot is one SQLite read transaction and the FAISS index of the same generation.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from indexer.errors import IndexBusyError
from indexer.store.embedded import dense
from indexer.store.embedded.database import Connection, damage_named, held_still
from indexer.store.embedded.dense import DenseIndex
from indexer.store.embedded.folder import VECTORS, FileIdentity, file_identity, was_written_since
from indexer.store.embedded.schema import connect, read_collection
from indexer.store.embedded.snapshot import EmbeddedSnapshot
from indexer.store.manifest import Commit, read_commits, read_meta
from indexer.store.postings import Collection
from indexer.store.snapshot import Snapshot


class IndexReader:
    """An open index. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open the index in `folder`. Raises the IndexStateError that fits."""
        self.folder = self.place = folder
        self._lock = threading.Lock()
        self._file = file_identity(folder)
        self._idle: list[Connection] = [connect(folder)]
        self._vectors: DenseIndex | None = None
        self._vectors_of = self._file
        self._collection: tuple[Commit, Collection] | None = None
        with self.snapshot():
            pass  # a damaged or foreign index is found now, not at the first question

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The newest committed generation, held still until the block ends.

        Where the folder takes no files, nothing holds it still: raises IndexBusyError where it was written to.
        """
        file, connection = self._lend()
        try:
            with damage_named(self.folder), held_still(connection):
                commit, manifest = read_meta(connection)
                vectors = self._vectors_at(file, connection, commit, manifest.model.dim)
                collection = partial(self._collection_at, connection, commit)
                yield EmbeddedSnapshot(connection, commit.generation, manifest, vectors, collection)
            if was_written_since(self.folder, file):
                raise IndexBusyError(f"{self.folder} was written to by another user while it was read: try again")
        finally:
            self._take_back(file, connection)

    def _lend(self) -> tuple[FileIdentity, Connection]:
        """A connection to the database that stands in the folder now, and which file that is.

        A connection keeps to the file that it opened. When another stands in its place, those to the old one are done.
        """
        file = file_identity(self.folder)
        with self._lock:
            if file != self._file:
                self._close_idle()
                self._file = file
            if self._idle:
                return file, self._idle.pop()
        return file, connect(self.folder)

    def _take_back(self, file: FileIdentity, connection: Connection) -> None:
        with self._lock:
            if file == self._file:
                self._idle.append(connection)
            else:
                connection.close()

    def _vectors_at(self, file: FileIdentity, connection: Connection, commit: Commit, dim: int) -> DenseIndex:
        """The FAISS index of the connection's commit: at hand, from the file, or caught up from the rows."""
        with self._lock:
            held = self._vectors
            if held is not None and held.commit == commit:
                return held
            is_same = file == self._vectors_of  # else another database was put in the place, of an older commit maybe
            if held is not None and is_same and commit in held.history:  # taken just before the newest commit
                return held.caught_up(connection, dim)
            ancestors = read_commits(connection)
            in_file = dense.commit_in(self.folder / VECTORS)
            start = held
            if held is None or held.commit not in ancestors or (in_file in ancestors and in_file > held.commit):
                start = dense.load(self.folder / VECTORS, dim)
            assert start is not None
            found = start.caught_up(connection, dim)
            if file == self._file:
                self._vectors, self._vectors_of = found, file
            return found

    def _collection_at(self, connection: Connection, commit: Commit) -> Collection:
        """What the connection's commit has to count words by: at hand, or from the rows."""
        with self._lock:
            if self._collection is None or self._collection[0] != commit:
                self._collection = commit, read_collection(connection)
            return self._collection[1]

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
