"""The word lists of an index, and BM25 over them: which passages hold a term, and how often.

The new passages of a commit make a segment: their lengths, and a list for each of their terms. Segments of about one
size are merged once there are enough of them, so that they stay few and a list is copied a few times only
("logarithmic merging", Manning, Raghavan & Schütze 2008, section 4.5). Nothing else changes a list: rows that are gone
are noted beside them, until a merge leaves them out. Knows nothing of papers, texts and phrases.
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice, pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from indexer.errors import IndexDamagedError
from indexer.store.ids import Ids, Scores, are_in
from indexer.store.sql import REBUILD, Connection, marks, value

FTS_WEIGHTS = (1.0, 0.5, 1.0)
"""BM25's weights of a passage's paper title, section headings, and own words. docs/decisions/0002-ranking.md."""

_K1, _B, _LEAST_IDF = 1.2, 0.75, 1e-6
"""FTS5's own, https://sqlite.org/fts5.html#the_bm25_function: its scores of phrases are added to those of terms."""

POSTING = np.dtype([("row", "<u4"), ("halves", "<u2")])
"""A row that holds a term, and how often, weighted: in halves, of which the weights are whole numbers.

A list has each row once. Lists are merged by joining them, so that rows need not ascend.
"""
_PASSAGE = np.dtype([("row", "<u4"), ("length", "<u4"), ("is_body", "u1")])
"""A row of a segment, its length in terms, and whether it takes part in a search by default."""

_HALVES = np.array([2 * weight for weight in FTS_WEIGHTS], dtype=np.int64)
_MAX_HALVES = np.iinfo(np.uint16).max

_TIER_BITS = 3
_FANOUT = 2**_TIER_BITS
"""So many segments of one tier become one of the next: at most 7 of each, 28 of a million passages."""
_SMALL = 2**10
"""Rows; a segment with fewer is of the lowest tier all the same."""
_MAX_SPAN = 1 << 28
"""Between the first row of an index and the last: each takes up five bytes here, whether or not it is there still. Of a
million passages, each was made anew some two hundred times."""
_MAX_GONE = 0.25
"""Of a segment's rows. With more of them gone, it is written anew."""
_BATCH = 1000
"""Lists that are in memory at once while segments are merged."""

Postings = npt.NDArray[np.void]
"""(n,): `row` that holds a term or phrase, and how often, weighted: `halves`."""
Records = npt.NDArray[np.void]
"""(n,): the rows of a segment, or of a list."""
_Mask = npt.NDArray[np.bool_]


class PassageTerms(NamedTuple):
    """What a new passage is counted by."""

    is_body: bool
    title: str
    """Its paper's; all three are terms with blanks between."""
    headings: str
    body: str


@dataclass(frozen=True, slots=True)
class Collection:
    """The passages of one commit as BM25 sees them. A row's place in the arrays is its id less `first`."""

    n_passages: int
    n_terms: int
    """Of all passages together."""
    first: int
    lengths: npt.NDArray[np.float32]
    """(n_places,) float32: terms of each passage; infinite where none is, which scores 0 so."""
    are_bodies: _Mask
    """(n_places,) bool: which take part in a search by default."""
    with_gone: tuple[int, ...]
    """Segments that have rows which are gone."""
    segments: Mapping[int, Records]
    """The passages of each, as they were read; empty where they are not to be kept."""

    def places(self, postings: Postings) -> npt.NDArray[np.intp]:
        """Where the list's rows stand in the arrays. Raises IndexDamagedError."""
        places = postings["row"].astype(np.intp) - self.first
        if len(places) and not 0 <= places.min() <= places.max() < len(self.lengths):
            raise _damaged()
        return places

    def selected(self, scores: Scores, selected: Ids | None) -> tuple[Ids, Scores]:
        """The ids of rows with a score (n_places,) above 0, and these: of the selected rows, else of all bodies."""
        if selected is None:
            places = np.flatnonzero((scores > 0) & self.are_bodies)
        else:
            places = selected - self.first
            places = places[scores[places] > 0]
        return places + self.first, scores[places]

    def n_living(self, postings: Postings) -> int:
        """How many of the list's rows are not gone. Raises IndexDamagedError."""
        return int(np.count_nonzero(np.isfinite(self.lengths[self.places(postings)])))


class Statistics(NamedTuple):
    """What BM25 must know of all passages together, wherever they stand."""

    n_passages: int
    n_terms: int
    n_with: Mapping[str, int]
    """In how many passages each term, or phrase, stands."""


def read_terms(connection: Connection, where: str = "1 = 1", *values: int) -> Iterator[tuple[int, PassageTerms]]:
    """What the passages that meet a condition are counted by, with their row ids, which ascend."""
    rows: Any = connection.execute(
        "SELECT id, role = 'body' OR id IN (SELECT id FROM vectors), title, headings, body "
        f"FROM passages JOIN passage_terms USING (id) WHERE {where} ORDER BY id",
        values,
    )
    for row_id, is_body, *columns in rows:
        yield row_id, PassageTerms(bool(is_body), *columns)


def read_collection(connection: Connection, last_row: int, before: Mapping[int, Records] | None = None) -> Collection:
    """The collection as the connection's transaction has it; `last_row` is the last id that any row was given.

    Of segments that were there `before` nothing is read, where a number is never given twice; what is read now is kept
    for the next time then. Raises IndexDamagedError.
    """
    segments = _segments(connection, before)
    passages = np.concatenate([np.empty(0, dtype=_PASSAGE), *segments.values()])
    if not len(passages):
        return Collection(0, 0, 0, np.empty(0, dtype=np.float32), np.empty(0, dtype=np.bool_), (), {})
    first, last = int(passages["row"].min()), int(passages["row"].max())
    if last > last_row or last - first > _MAX_SPAN:
        raise _damaged()
    living = passages[~are_in(passages["row"], _removed(connection))]
    places = living["row"] - np.uint32(first)
    lengths = np.full(last - first + 1, np.inf, dtype=np.float32)
    lengths[places] = living["length"]
    are_bodies = np.zeros(len(lengths), dtype=np.bool_)
    are_bodies[places] = living["is_body"]
    with_gone = (number for number, each in segments.items() if np.isinf(lengths[each["row"] - np.uint32(first)]).any())
    n_terms = int(living["length"].sum(dtype=np.int64))
    return Collection(
        len(living), n_terms, first, lengths, are_bodies, tuple(with_gone), segments if before is not None else {}
    )


def document_frequency(connection: Connection, collection: Collection, terms: Sequence[str]) -> dict[str, int]:
    """In how many passages each of the terms stands; 0 for one that stands in none. Raises IndexDamagedError.

    A list's length says so, which the database knows without reading the list. Where rows are gone, the list is read.
    """
    found = dict.fromkeys(terms, 0)
    if not terms:
        return found
    is_read = f"segment IN ({marks(collection.with_gone)})" if collection.with_gone else "1 = 0"
    rows = connection.execute(
        f"SELECT term, length(postings), CASE WHEN {is_read} THEN postings END "
        f"FROM postings WHERE segment IN (SELECT id FROM segments) AND term IN ({marks(terms)})",
        (*collection.with_gone, *terms),
    )
    for term, n_bytes, blob in rows:
        found[term] += _n_records(n_bytes, POSTING) if blob is None else collection.n_living(_records(blob, POSTING))
    return found


def lists_of(connection: Connection, terms: Sequence[str]) -> dict[str, Postings]:
    """The list of each of these terms that has one. Raises IndexDamagedError."""
    parts: defaultdict[str, list[bytes]] = defaultdict(list)
    rows = connection.execute(
        f"SELECT term, postings FROM postings WHERE segment IN (SELECT id FROM segments) AND term IN ({marks(terms)})",
        terms,
    )
    for term, blob in rows if terms else ():
        parts[term].append(blob)
    return {term: _records(_joined(blobs), POSTING) for term, blobs in parts.items()}


def bm25(collection: Collection, lists: Mapping[str, Postings], statistics: Statistics | None = None) -> Scores:
    """BM25 of each passage for any of the lists' terms, by its place (n_places,); 0 where none of them stands.

    Robertson's formula as FTS5 has it, the frequency of a term weighted by column. The collection is all there is
    unless `statistics` say otherwise. Raises IndexDamagedError.
    """
    if statistics is None:
        n_with = {term: collection.n_living(postings) for term, postings in lists.items()}
        statistics = Statistics(collection.n_passages, collection.n_terms, n_with)
    mean_length = max(statistics.n_terms / max(statistics.n_passages, 1), 1)
    scores = np.zeros(len(collection.lengths), dtype=np.float64)
    for term, postings in lists.items():
        places = collection.places(postings)
        damping = np.float32(_K1) * (np.float32(1 - _B) + np.float32(_B / mean_length) * collection.lengths[places])
        frequency = postings["halves"] / np.float32(2)
        weight = (_K1 + 1) * _inverse_document_frequency(statistics.n_passages, statistics.n_with[term])
        scores[places] += weight * frequency / (frequency + damping)
    return scores


def _inverse_document_frequency(n_passages: int, n_with_term: int) -> float:
    return max(math.log((n_passages - n_with_term + 0.5) / (n_with_term + 0.5)), _LEAST_IDF)


def write(connection: Connection, new: Mapping[int, PassageTerms]) -> None:
    """Add new passages, by row id, as a segment; then merge segments where it is time to. Raises IndexDamagedError."""
    if new:
        _write_segment(connection, new)
    removed = _removed(connection)
    if len(removed):
        for number, passages in _segments(connection).items():
            n_gone = np.count_nonzero(are_in(passages["row"], removed))
            if n_gone > _MAX_GONE * len(passages):
                _merge(connection, [number], removed)
    while alike := _full_tier(connection):
        _merge(connection, alike, removed)


DIGEST_RANGE = 1 << 64
"""What sums of digests are taken modulo."""


def digest(connection: Connection) -> int:
    """A number for all that the lists say of rows that are not gone, however it stands in segments.

    The sum of a hash of each entry: lists of some rows and of the others add up to those of all. Raises
    IndexDamagedError.
    """
    removed, total = _removed(connection), 0
    for passages in _segments(connection).values():
        living = passages[~are_in(passages["row"], removed)]
        total += _hash_sum(0, living["row"], living["length"].astype(np.uint64) * 2 + living["is_body"])
    rows: Any = connection.execute("SELECT term, postings FROM postings WHERE segment IN (SELECT id FROM segments)")
    for term, blob in rows:
        entries = _records(blob, POSTING)
        entries = entries[~are_in(entries["row"], removed)]
        total += _hash_sum(zlib.crc32(term.encode()) + 1, entries["row"], entries["halves"])
    return total % DIGEST_RANGE


def _hash_sum(seed: int, rows: npt.NDArray[Any], values: npt.NDArray[Any]) -> int:
    """Sum of the entries' hashes, by the finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    with np.errstate(over="ignore"):
        mixed = (rows.astype(np.uint64) << np.uint64(32)) ^ values.astype(np.uint64)
        mixed ^= np.uint64(seed) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return int((mixed ^ (mixed >> np.uint64(31))).sum(dtype=np.uint64))


def _write_segment(connection: Connection, new: Mapping[int, PassageTerms]) -> None:
    numbers: defaultdict[str, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # a term that is new gets the next number
    columns = [[numbers[term] for term in text.split()] for _, *texts in new.values() for text in texts]
    lengths = np.array([len(column) for column in columns])
    tokens = np.fromiter(chain.from_iterable(columns), dtype=np.int64, count=lengths.sum())
    passages = np.empty(len(new), dtype=_PASSAGE)
    passages["row"] = list(new)
    passages["length"] = lengths.reshape(len(new), len(_HALVES)).sum(axis=1)
    passages["is_body"] = [each.is_body for each in new.values()]

    vocabulary = sorted(numbers)
    ranks = np.empty(len(vocabulary), dtype=np.int64)
    ranks[[numbers[term] for term in vocabulary]] = np.arange(len(vocabulary))
    places = np.repeat(np.arange(len(new)), passages["length"])
    pairs, which = np.unique(ranks[tokens] * len(new) + places, return_inverse=True)
    postings = np.empty(len(pairs), dtype=POSTING)
    postings["row"] = passages["row"][pairs % len(new)]
    halves = np.bincount(which, np.repeat(np.tile(_HALVES, len(new)), lengths), len(pairs))
    postings["halves"] = np.minimum(halves, _MAX_HALVES)
    ends = np.cumsum(np.bincount(pairs // len(new), minlength=len(vocabulary))) * POSTING.itemsize
    blob = postings.tobytes()
    lists = (blob[start:end] for start, end in pairwise((0, *ends.tolist())))
    _insert(connection, passages, zip(vocabulary, lists, strict=True))


def _insert(connection: Connection, passages: Records, lists: Iterable[tuple[str, bytes]]) -> None:
    """Store a segment; its lists in the order of their terms, which is that of the table."""
    number = value(connection, "INSERT INTO segments (passages) VALUES (?) RETURNING id", (passages.tobytes(),))
    rows = ((number, *each) for each in lists)
    while batch := list(islice(rows, _BATCH)):
        connection.executemany("INSERT INTO postings VALUES (?, ?, ?)", batch)


def _full_tier(connection: Connection) -> list[int]:
    """Segments that are to become one; none when no tier is full."""
    tiers: defaultdict[int, list[int]] = defaultdict(list)
    for number, n_bytes in connection.execute("SELECT id, length(passages) FROM segments ORDER BY id"):
        tiers[max(n_bytes // _PASSAGE.itemsize, _SMALL).bit_length() // _TIER_BITS].append(number)
    return next((alike for _, alike in sorted(tiers.items()) if len(alike) >= _FANOUT), [])


def _merge(connection: Connection, numbers: Sequence[int], removed: Ids) -> None:
    """Make one segment of these, without the rows that were removed; those are forgotten."""
    segments = _segments(connection)
    passages = np.concatenate([segments[number] for number in numbers])
    gone = are_in(passages["row"], removed)
    rows = connection.execute(
        " UNION ALL ".join(["SELECT term, postings FROM postings WHERE segment = ?"] * len(numbers)) + " ORDER BY term",
        numbers,
    )
    lists: Iterator[tuple[str, bytes]] = (
        (term, _joined(blob for _, blob in same)) for term, same in groupby(rows, key=itemgetter(0))
    )
    if gone.any():
        lists = ((term, left) for term, blob in lists if (left := _without(blob, removed)))
    if not gone.all():
        _insert(connection, passages[~gone], lists)
    for number in numbers:
        connection.execute("DELETE FROM postings WHERE segment = ?", (number,))
        connection.execute("DELETE FROM segments WHERE id = ?", (number,))
    connection.executemany("DELETE FROM removed_rows WHERE id = ?", passages["row"][gone][:, np.newaxis].tolist())


def _without(blob: bytes, removed: Ids) -> bytes:
    postings = _records(blob, POSTING)
    return postings[~are_in(postings["row"], removed)].tobytes()


def _segments(connection: Connection, known: Mapping[int, Records] | None = None) -> dict[int, Records]:
    """Each segment's passages; of those that are known they are not read."""
    known = known or {}
    is_new = f"id NOT IN ({marks(list(known))})" if known else "1 = 1"
    rows = connection.execute(f"SELECT id, CASE WHEN {is_new} THEN passages END FROM segments ORDER BY id", list(known))
    return {number: known[number] if blob is None else _records(blob, _PASSAGE) for number, blob in rows}


def _removed(connection: Connection) -> Ids:
    """Rows of segments that are gone, ascending."""
    return np.fromiter(
        (row[0] for row in connection.execute("SELECT id FROM removed_rows ORDER BY id")), dtype=np.int64
    )


def _joined(lists: Iterable[bytes]) -> bytes:
    """Lists of one term as one list."""
    return b"".join(blob for blob in lists if _n_records(len(blob), POSTING))


def _records(blob: bytes, kind: np.dtype[Any]) -> Records:
    _n_records(len(blob), kind)
    return np.frombuffer(blob, dtype=kind)


def _n_records(n_bytes: int, kind: np.dtype[Any]) -> int:
    n, rest = divmod(n_bytes, kind.itemsize)
    if rest:
        raise _damaged()
    return n


def _damaged() -> IndexDamagedError:
    return IndexDamagedError(f"the index's word lists cannot be read. {REBUILD}")
