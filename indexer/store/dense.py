"""The FAISS side of an index: a cache of the vector rows, carrying the commit that it was made from.

The only module that imports faiss. The file is a small header and FAISS's own bytes, with a checksum; it is written
beside its place and moved there. Whatever is wrong with it, the rows make it anew: also when it is another index's.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import struct
import zlib
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from indexer.embedding import Vectors
from indexer.store.schema import TOKEN_BYTES, Commit, read_commits

Ids = npt.NDArray[np.int64]
"""(n,) int64: passage row ids, never used twice in an index."""

Scores = npt.NDArray[np.float64]
"""(n,) float64: higher is better."""

_log = logging.getLogger(__name__)

_MAGIC = b"loccit-vectors-2"
_HEADER = struct.Struct(f"<16sq{2 * TOKEN_BYTES}sqI")
"""Magic, generation and token of the commit, payload length in bytes, CRC-32 of the payload."""

_LOAD_ROWS = 10_000


class DenseIndex:
    """Exact inner-product search over the vectors of one commit. Never changed once made."""

    def __init__(self, index: faiss.Index, ids: Ids, commit: Commit, history: frozenset[Commit]) -> None:
        self._index = index
        self.ids = ids
        self.commit = commit
        self.history = history
        """Commits known to have led to this one, itself among them."""

    def search(self, vector: Vectors, n: int, allowed: Ids | None = None) -> tuple[Ids, Vectors]:
        """The `n` rows with the highest inner product with `vector` (dim,), best first, and those products.

        With `allowed`, only among these rows; fewer than `n` come back only when there are no more.
        """
        n = min(n, len(self.ids) if allowed is None else len(allowed))
        if n == 0:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        parameters = None
        if allowed is not None:
            parameters = faiss.SearchParameters()
            parameters.sel = faiss.IDSelectorBatch(allowed)
        scores, ids = self._index.search(vector[np.newaxis, :], n, params=parameters)
        found = ids[0] >= 0
        return ids[0][found], scores[0][found]

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        payload = faiss.serialize_index(self._index).tobytes()
        beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with beside.open("wb") as file:
                generation, token = self.commit
                file.write(_HEADER.pack(_MAGIC, generation, token.encode(), len(payload), zlib.crc32(payload)))
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)

    def caught_up(self, connection: sqlite3.Connection, dim: int) -> DenseIndex:
        """This index as the rows have it now, inside the connection's transaction.

        Along one line of commits row ids are never used twice, so that a row known by its id is known. An index of
        another line says nothing: the rows are read anew.
        """
        history = read_commits(connection)
        commit = max(history)
        if self.commit == commit:
            return DenseIndex(self._index, self.ids, commit, history)
        related = self.commit in history or commit in self.history
        if not related and len(self.ids):
            _log.warning("the vectors at hand are not of this index: making them anew from the rows")
        rows = np.fromiter((row[0] for row in connection.execute("SELECT id FROM vectors ORDER BY id")), dtype=np.int64)
        start = self if related and self._index.d == dim else empty(dim)
        gone = np.setdiff1d(start.ids, rows, assume_unique=True)
        new = np.setdiff1d(rows, start.ids, assume_unique=True)
        if not len(gone) and not len(new):
            return DenseIndex(start._index, rows, commit, history)
        index = faiss.clone_index(start._index)
        if len(gone):
            index.remove_ids(faiss.IDSelectorBatch(gone))
        _add(index, connection, new, dim)
        return DenseIndex(index, rows, commit, history)


def empty(dim: int) -> DenseIndex:
    """An index without rows, of no commit."""
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))
    return DenseIndex(index, np.empty(0, dtype=np.int64), Commit(-1, ""), frozenset())


def load(path: Path, dim: int) -> DenseIndex:
    """The index in the file, or an empty one when the file is missing or damaged."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER.size)
            magic, generation, token, length, checksum = _HEADER.unpack(header)
            payload = file.read()
    except FileNotFoundError:
        return empty(dim)
    except (OSError, struct.error) as error:
        _log.warning("%s cannot be read (%s): making it anew from the rows", path, error)
        return empty(dim)
    if magic != _MAGIC or len(payload) != length or zlib.crc32(payload) != checksum:
        _log.warning("%s is damaged: making it anew from the rows", path)
        return empty(dim)
    index = faiss.deserialize_index(np.frombuffer(payload, dtype=np.uint8))
    if not isinstance(index, faiss.IndexIDMap2) or index.d != dim:
        _log.warning("%s holds another kind of index: making it anew from the rows", path)
        return empty(dim)
    ids = np.sort(faiss.vector_to_array(index.id_map))
    commit = Commit(generation, token.decode("ascii", "replace"))
    return DenseIndex(index, ids, commit, frozenset({commit}))


def are_in(ids: Ids, ascending: Ids) -> npt.NDArray[np.bool_]:
    """Which of the ids are among the others, (len(ids),)."""
    if not len(ascending):
        return np.zeros(len(ids), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return np.asarray(ascending[places] == ids)


def _add(index: faiss.Index, connection: sqlite3.Connection, ids: Ids, dim: int) -> None:
    """Add the vectors of these rows, a bounded number at a time."""
    for at in range(0, len(ids), _LOAD_ROWS):
        part = ids[at : at + _LOAD_ROWS]
        wanted = set(part.tolist())
        rows = connection.execute(
            "SELECT id, vector FROM vectors WHERE id BETWEEN ? AND ? ORDER BY id", (int(part[0]), int(part[-1]))
        )
        vectors = np.empty((len(part), dim), dtype=np.float32)
        n = 0
        for row_id, blob in rows:
            if row_id in wanted:
                vectors[n] = np.frombuffer(blob, dtype=np.float32)
                n += 1
        index.add_with_ids(vectors[:n], part[:n])
