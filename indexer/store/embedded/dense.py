"""The FAISS side of an index: a cache of the vector rows, carrying the commit that it was made from.

The only module that imports faiss. The file is a small header and FAISS's own bytes, with a checksum; it is written
beside its place and moved there. Whatever is wrong with it, the rows make it anew: also when it is another index's.

Up to `EXACT_ROWS` vectors every one is compared. Above, they stand in an inverted file (IVF, Jegou et al. 2011) in
8 bits a dimension, and the lists nearest to a query are searched; how many is measured when it is made. It gives no
scores: whoever asks compares what it finds with the rows' own vectors.
"""

from __future__ import annotations

import json
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import faiss
import numpy as np
import numpy.typing as npt

from indexer.durable import write_whole
from indexer.embedding import Vectors, available_cpus, unit
from indexer.store.embedded.payload import PayloadError, check_payload
from indexer.store.ids import Ids, are_in
from indexer.store.manifest import TOKEN_BYTES, Commit, read_commits
from indexer.store.packing import unpack_passage, unpack_sentences
from indexer.store.records import Structure
from indexer.store.sql import Connection, value

EXACT_ROWS = 50_000
"""The most vectors that are all compared: 5 ms a query. docs/decisions/0006-large-indexes.md."""
RECALL_WANTED = 0.995
"""Share of the 10 nearest that an inverted file must find for the queries that it is tried with."""

_log = logging.getLogger(__name__)

_MAGIC = b"loccit-vectors-4"
_HEADER = struct.Struct(f"<16sq{2 * TOKEN_BYTES}sIqQ")
"""Magic, generation and token of the commit, lengths in bytes of the structure's JSON and of the payload, and a
checksum of both."""

_LOAD_ROWS = 10_000
_ROWS_A_LIST = 40
"""To train a list with: FAISS asks for 39."""
_N_TRIED, _SENTENCES_A_QUERY = 200, 3
"""Queries that the lists are tried with, each between three sentences of any papers. Questions are as far from their
nearest passages and as hard to find them for; a sentence as it stands is much easier. docs/decisions/0006."""
_N_NEAREST = 10
_N_FOUND = 200
"""Passages that a query is given, to be compared again."""
_GROWTH = 2
"""Times as many vectors as it was made with, before an inverted file is made anew,"""
_GROWTH_UNWRITTEN = 8
"""... and where it cannot be written, but only held: a reader that catches up should not train."""


class DenseIndex:
    """The vectors of one commit, to be searched by inner product. Never changed once made."""

    def __init__(
        self, index: faiss.Index, structure: Structure, ids: Ids, commit: Commit, history: frozenset[Commit]
    ) -> None:
        self._index = index
        self.structure = structure
        self.ids = ids
        self.commit = commit
        self.history = history
        """Commits known to have led to this one, itself among them."""

    def search(self, vector: Vectors, n: int, allowed: Ids | None = None) -> Ids:
        """The `n` rows with the highest inner product with `vector` (dim,), best first as far as the index can tell.

        With `allowed`, ascending, only among these rows; fewer than `n` come back only when there are no more.
        """
        if allowed is not None:
            allowed = allowed[are_in(allowed, self.ids)]  # those that have a vector
        n = min(n, len(self.ids) if allowed is None else len(allowed))
        if n == 0:
            return np.empty(0, dtype=np.int64)
        faiss.omp_set_num_threads(1)  # of this thread: a team of them would wait for each other, spinning
        selector = None if allowed is None else _selector(allowed)
        # The fewer rows are allowed, the more lists hold as many of them.
        share = 1.0 if allowed is None else len(allowed) / len(self.ids)
        n_probed = min(self.structure.n_lists, int(self.structure.n_probed / share))
        ids = self._found(vector, n, n_probed, selector)
        if len(ids) < n and n_probed < self.structure.n_lists:  # those lists may hold too few
            ids = self._found(vector, n, self.structure.n_lists, selector)
        return ids

    def _found(self, vector: Vectors, n: int, n_probed: int, selector: faiss.IDSelector | None) -> Ids:
        parameters = _probing(n_probed) if self.structure.n_lists else faiss.SearchParameters()
        if selector is not None:
            parameters.sel = selector
        _, ids = self._index.search(vector[np.newaxis, :], n, params=parameters)
        return np.asarray(ids[0][ids[0] >= 0])

    def save(self, path: Path) -> None:
        """Write to `path`, whole or not at all."""
        structure = json.dumps(
            {name: value for name, value in asdict(self.structure).items() if name != "is_graph"}
        ).encode()
        payload = faiss.serialize_index(self._index)
        checksum = _checksum(structure, payload)
        generation, token = self.commit
        header = _HEADER.pack(_MAGIC, generation, token.encode(), len(structure), payload.nbytes, checksum)
        write_whole(path, header, structure, payload.data)

    def caught_up(self, connection: Connection, dim: int, *, growth: int = _GROWTH_UNWRITTEN) -> DenseIndex:
        """This index as the rows have it now, inside the connection's transaction.

        Along one line of commits row ids are never used twice, so that a row known by its id is known. An index of
        another line says nothing: the rows are read anew, as they are when most of them are new (a rebuild, perhaps by
        another model), or have become so bit by bit, by more than `growth` allows.
        """
        history = read_commits(connection)
        commit = max(history)
        if self.commit == commit:
            return DenseIndex(self._index, self.structure, self.ids, commit, history)
        related = self.commit in history or commit in self.history
        if not related and len(self.ids):
            _log.warning("the vectors at hand are not of this index: making them anew from the rows")
        rows = np.fromiter((row[0] for row in connection.execute("SELECT id FROM vectors ORDER BY id")), dtype=np.int64)
        gone = np.setdiff1d(self.ids, rows, assume_unique=True)
        new = np.setdiff1d(rows, self.ids, assume_unique=True)
        structure = replace(self.structure, n_new=self.structure.n_new + len(new))
        suits = 2 * len(new) <= len(rows) and _suits(structure, len(rows), growth)
        if not related or self._index.d != dim or not suits:
            return DenseIndex(*_made(connection, rows, dim), rows, commit, history)
        if not len(gone) and not len(new):
            return DenseIndex(self._index, self.structure, rows, commit, history)
        index = faiss.clone_index(self._index)
        if len(gone):
            index.remove_ids(faiss.IDSelectorBatch(gone))
        for ids, vectors in _vectors(connection, new, dim):
            index.add_with_ids(vectors, ids)
        return DenseIndex(index, structure, rows, commit, history)

    def agrees(self, connection: Connection) -> bool:
        """Whether it has the rows' vectors: the very same where all are compared, else as far as their ids tell."""
        rows = np.fromiter((row[0] for row in connection.execute("SELECT id FROM vectors ORDER BY id")), dtype=np.int64)
        if not np.array_equal(rows, self.ids):
            return False
        if not isinstance(self._index, faiss.IndexIDMap2) or not len(rows):
            return True
        held = np.argsort(faiss.vector_to_array(self._index.id_map))
        flat: Any = faiss.downcast_index(self._index.index)
        own = faiss.rev_swig_ptr(flat.get_xb(), len(rows) * self._index.d).reshape(len(rows), self._index.d)
        parts = _vectors(connection, rows, self._index.d)
        return all(np.array_equal(own[held[np.searchsorted(rows, ids)]], vectors) for ids, vectors in parts)

    def renewed(self, connection: Connection, dim: int) -> DenseIndex:
        """The same, and made anew where it has grown out of its structure: to be saved."""
        return self.caught_up(connection, dim, growth=_GROWTH)


def empty(dim: int) -> DenseIndex:
    """An index without rows, of no commit."""
    return DenseIndex(_flat(dim), Structure(), np.empty(0, dtype=np.int64), Commit(-1, ""), frozenset())


def commit_in(path: Path) -> Commit | None:
    """The commit that the file is of, by its header; None when it is missing or no such file."""
    try:
        with path.open("rb") as file:
            magic, commit, *_ = _header(file)
    except (OSError, struct.error):
        return None
    return commit if magic == _MAGIC else None


def load(path: Path, dim: int) -> DenseIndex:
    """The index in the file, or an empty one when the file is missing or damaged."""
    try:
        with path.open("rb") as file:
            magic, commit, n_structure, n_payload, checksum = _header(file)
            fits = _HEADER.size + n_structure + n_payload == os.fstat(file.fileno()).st_size
            structure = file.read(n_structure) if magic == _MAGIC and fits else b""
            payload = np.fromfile(file, dtype=np.uint8) if structure else np.empty(0, dtype=np.uint8)
    except FileNotFoundError:
        return empty(dim)
    except (OSError, struct.error) as error:
        _log.warning("%s cannot be read (%s): making it anew from the rows", path, error)
        return empty(dim)
    if not structure or len(payload) != n_payload or _checksum(structure, payload) != checksum:
        _log.warning("%s is damaged, or another version's: making it anew from the rows", path)
        return empty(dim)
    try:
        ids, n_lists = check_payload(payload, dim)
        made = _read_structure(structure, n_lists)
        index = faiss.deserialize_index(payload)
    except (PayloadError, RuntimeError) as error:
        _log.warning("%s holds no vectors of this index (%s): making it anew from the rows", path, error)
        return empty(dim)
    return DenseIndex(index, made, ids, commit, frozenset({commit}))


def _read_structure(text: bytes, n_lists: int) -> Structure:
    """The structure of an index with so many lists. Raises PayloadError."""
    try:
        structure = Structure(**json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise PayloadError(f"its structure cannot be read: {error}") from error
    numbers = (structure.n_lists, structure.n_probed, structure.n_made_with, structure.n_new)
    if not all(type(each) is int and each >= 0 for each in numbers) or not isinstance(structure.recall, float):
        raise PayloadError("its structure holds what is no number")
    if structure.n_lists != n_lists or not min(n_lists, 1) <= structure.n_probed <= n_lists:
        raise PayloadError(f"{n_lists} lists where {structure.n_lists} are told of, {structure.n_probed} to search")
    return structure


def _header(file: BinaryIO) -> tuple[bytes, Commit, int, int, int]:
    """What `_HEADER` names, the commit as one. Raises struct.error."""
    magic, generation, token, n_structure, n_payload, checksum = _HEADER.unpack(file.read(_HEADER.size))
    return magic, Commit(generation, token.decode("ascii", "replace")), n_structure, n_payload, checksum


def _checksum(structure: bytes, payload: npt.NDArray[np.uint8]) -> int:
    """The sum of the payload's 64-bit words, which takes a tenth of a CRC's time, and the CRC-32 of the rest."""
    n_words = len(payload) // 8
    words = payload[: 8 * n_words].view(np.uint64)
    return (int(np.add.reduce(words)) + zlib.crc32(structure + payload[8 * n_words :].tobytes())) % (1 << 64)


def _flat(dim: int) -> faiss.Index:
    return faiss.IndexIDMap2(faiss.IndexFlatIP(dim))


def _selector(allowed: Ids) -> faiss.IDSelector:
    """What lets these rows through, ascending: a bit a row, as long as that is not many more bytes than the ids."""
    if allowed[-1] > 64 * len(allowed) + (1 << 23):
        return faiss.IDSelectorBatch(allowed)
    bits = np.zeros(int(allowed[-1]) + 1, dtype=np.bool_)
    bits[allowed] = True
    bitmap: Any = faiss.IDSelectorBitmap  # takes an array and keeps it, which its stub does not know
    selector: faiss.IDSelector = bitmap(np.packbits(bits, bitorder="little"))
    return selector


def _probing(n_probed: int) -> faiss.IVFSearchParameters:
    parameters = faiss.IVFSearchParameters()
    parameters.nprobe = n_probed
    return parameters


def _suits(structure: Structure, n: int, growth: int) -> bool:
    """Whether an index of that structure may go on with so many vectors."""
    if not structure.n_lists:
        return n <= EXACT_ROWS * growth // _GROWTH
    return n > EXACT_ROWS // _GROWTH and structure.n_new <= structure.n_made_with * (growth - 1)


def _made(connection: Connection, rows: Ids, dim: int) -> tuple[faiss.Index, Structure]:
    """An index of these rows, in the structure that suits their number."""
    if len(rows) <= EXACT_ROWS:
        index = _flat(dim)
        for ids, vectors in _vectors(connection, rows, dim):
            index.add_with_ids(vectors, ids)
        return index, Structure()
    faiss.omp_set_num_threads(available_cpus())
    random = np.random.default_rng(0)
    n_lists = 1 << min(round(np.log2(2 * np.sqrt(len(rows)))), int(np.log2(len(rows) / _ROWS_A_LIST)))
    index = faiss.index_factory(dim, f"IVF{n_lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    _log.info("sorting %s vectors into %s lists", f"{len(rows):,}", f"{n_lists:,}")
    sample = np.sort(random.choice(rows, min(len(rows), n_lists * _ROWS_A_LIST), replace=False))
    index.train(np.concatenate([vectors for _, vectors in _vectors(connection, sample, dim)]))
    queries = _queries(connection, random.choice(rows, (_N_TRIED, _SENTENCES_A_QUERY), replace=False), dim)
    nearest = _Nearest(queries)
    for ids, vectors in _vectors(connection, rows, dim):
        index.add_with_ids(vectors, ids)
        nearest.see(ids, vectors)
    for n_probed in (1 << n for n in range(n_lists.bit_length())):
        _, found = index.search(queries, _N_FOUND, params=_probing(n_probed))
        recall = nearest.recall(found)
        if recall >= RECALL_WANTED:
            break
    return index, Structure(n_lists, n_probed, recall, len(rows))


class _Nearest:
    """The rows nearest to some queries, every vector compared."""

    def __init__(self, queries: Vectors) -> None:
        self._queries = queries
        self._scores = np.full((len(queries), _N_NEAREST), -np.inf, dtype=np.float32)
        self._ids = np.full((len(queries), _N_NEAREST), -1, dtype=np.int64)

    def see(self, ids: Ids, vectors: Vectors) -> None:
        """Compare these vectors (n, dim) too."""
        scores = np.hstack((self._scores, self._queries @ vectors.T))
        every = np.hstack((self._ids, np.broadcast_to(ids, (len(self._queries), len(ids)))))
        best = np.argpartition(-scores, _N_NEAREST - 1, axis=1)[:, :_N_NEAREST]
        self._scores, self._ids = np.take_along_axis(scores, best, 1), np.take_along_axis(every, best, 1)

    def recall(self, found: Ids) -> float:
        """The share of them that stands among those found, (n_queries, n)."""
        return float(np.mean([np.isin(wanted, got).mean() for wanted, got in zip(self._ids, found, strict=True)]))


def _queries(connection: Connection, rows: Ids, dim: int) -> Vectors:
    """The direction between a sentence of each of some rows, (n_queries, n_rows): (n_queries, dim)."""
    blobs = _blobs(connection, "sentences", rows.ravel())
    sentences = np.vstack([unpack_sentences(blob, dim)[-1] for blob in blobs])
    return unit(sentences.reshape(*rows.shape, dim).sum(axis=1))


def _vectors(connection: Connection, ids: Ids, dim: int) -> Iterator[tuple[Ids, Vectors]]:
    """These rows, ascending, with their vectors (n, dim), a bounded number at a time."""
    for at in range(0, len(ids), _LOAD_ROWS):
        part = ids[at : at + _LOAD_ROWS]
        blobs = _blobs(connection, "vector", part)
        yield part, np.vstack([unpack_passage(blob, dim) for blob in blobs])


def _blobs(connection: Connection, column: Literal["vector", "sentences"], ids: Ids) -> Iterator[bytes]:
    """What the rows have in that column, in the order of the ids."""
    for row_id in ids.tolist():
        yield value(connection, f"SELECT {column} FROM vectors WHERE id = ?", (row_id,))
