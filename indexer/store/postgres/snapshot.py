"""What one server has of a generation: pgvector finds vectors, the word lists find words and phrases."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from threading import Lock
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from indexer.embedding import Vectors
from indexer.papers import PaperOrder
from indexer.store import postings
from indexer.store.ids import Ids, Scores
from indexer.store.manifest import Manifest
from indexer.store.postgres.codes import codes
from indexer.store.postgres.schema import ORDERS
from indexer.store.postgres.session import Bits, Vector
from indexer.store.postings import FTS_WEIGHTS, POSTING, Collection, Postings, Records
from indexer.store.records import Structure
from indexer.store.selection import Selection, conditions, spelt_words
from indexer.store.snapshot import Snapshot
from indexer.store.sql import Connection, Cursor, value

EXACT_ROWS = 20_000
"""Of a server's vectors the most that are compared one by one: some 15 ms."""
CANDIDATES = 4
"""Times as many are taken by their codes as are asked for, of all servers, and compared again by the vectors."""
MIN_CANDIDATES = 200
"""Of each server, at the least."""
_EF_SEARCH = 1_000
"""pgvector's `hnsw.ef_search`, at the most that it takes: finding is little of what a search by vectors costs."""
_EXACT_SELECTED = 10_000
"""Of selected vectors the most that are compared one by one."""
_KEPT_BYTES = 64_000_000
"""Of lists that are kept for the next searches, of each server."""
_NOWHERE = np.empty(0, dtype=POSTING)
_MAX_SCANNED = 200_000
"""Vectors that are looked at in search of those selected, before a search is content with fewer."""


class Server(Connection, Protocol):
    """A session with one server, or what goes through one."""

    def execute_once(self, statement: str, values: Sequence[Any] = (), /) -> Cursor:
        """Run a statement that is planned by its values."""
        ...

    def run(self, script: str) -> None:
        """Run several statements without values."""


Array = TypeVar("Array", bound=npt.NDArray[Any])
Key = TypeVar("Key", bound=Hashable)


class Kept(Generic[Key, Array]):
    """Arrays of one commit that were read lately. Safe to use from several threads."""

    def __init__(self) -> None:
        self._arrays: OrderedDict[Key, Array] = OrderedDict()
        self._n_bytes = 0
        self._lock = Lock()

    def known(self, names: Iterable[Key]) -> dict[Key, Array]:
        """Those of them that are at hand."""
        with self._lock:
            found = {name: self._arrays[name] for name in names if name in self._arrays}
            for name in found:
                self._arrays.move_to_end(name)
        return found

    def keep(self, arrays: Mapping[Key, Array]) -> None:
        """Keep these too, and let go of what was not asked for the longest time."""
        with self._lock:
            for name, each in arrays.items():
                if name not in self._arrays and each.nbytes <= _KEPT_BYTES // 4:
                    self._arrays[name] = each
                    self._n_bytes += _cost(name, each)
            while self._n_bytes > _KEPT_BYTES:
                name, dropped = self._arrays.popitem(last=False)
                self._n_bytes -= _cost(name, dropped)


def _cost(name: Hashable, array: npt.NDArray[Any]) -> int:
    """Bytes that an entry takes, about: also one of nothing takes some."""
    return array.nbytes + len(repr(name)) + 300


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of one commit of a server for the next searches: it does not change."""

    lists: Kept[str, Postings] = field(default_factory=Kept)
    """Of terms and phrases."""
    selected: Kept[Selection, Ids] = field(default_factory=Kept)


class ShardSnapshot(Snapshot):
    """One read transaction on one server."""

    orders: ClassVar[Mapping[PaperOrder, str]] = ORDERS

    def __init__(
        self,
        session: Server,
        generation: int,
        manifest: Manifest,
        collection: Callable[[], Collection],
        n_in_graph: int,
        memory: Memory,
    ) -> None:
        """`n_in_graph`: vectors that the graph was made of; 0 where there is none. `memory` is of the same commit."""
        super().__init__(session, generation, manifest, collection)
        self._session = session
        self._n_in_graph = n_in_graph
        self._memory = memory

    @property
    def structure(self) -> Structure:
        """How the vectors are searched."""
        return Structure(is_graph=self._n_in_graph > 0, n_made_with=self._n_in_graph)

    def nearest(self, vector: Vectors, n: int, selected: Ids | None) -> Ids:
        """The `n` passages whose vectors are nearest to this one, best first."""
        return self.nearest_scored(vector, n, selected, CANDIDATES * n)[0]

    def nearest_scored(
        self, vector: Vectors, n: int, selected: Ids | None, n_candidates: int, *, exactly: bool = False
    ) -> tuple[Ids, Scores]:
        """The same, with their cosines: of so many candidates that the graph gives; `exactly`, of all."""
        asked = Vector(vector.astype("<f4").tobytes())
        where = "" if selected is None else "WHERE id = ANY(?)"
        only: list[Any] = [] if selected is None else [selected]
        is_few = selected is not None and len(selected) <= _EXACT_SELECTED
        if exactly or is_few or not self._n_in_graph:
            found = f"SELECT id, vector FROM vectors {where}"
        else:
            n_candidates = max(n_candidates, n)
            self._session.run(
                f"SET LOCAL hnsw.ef_search = {_EF_SEARCH}; "
                f"SET LOCAL hnsw.iterative_scan = relaxed_order; SET LOCAL hnsw.max_scan_tuples = {_MAX_SCANNED}"
            )
            near = f"SELECT id FROM codes {where} ORDER BY code <~> ? LIMIT {n_candidates}"
            found = f"SELECT id, vector FROM ({near}) AS near JOIN vectors USING (id)"
            only.append(Bits(codes([asked.packed], len(vector))[0]))
        rows = self._session.execute_once(
            f"SELECT id, vector <#> ? AS distance FROM ({found}) AS found ORDER BY distance, id LIMIT ?",
            (asked, *only, n),
        ).fetchall()
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        return ids, -np.array([row[1] for row in rows], dtype=np.float64)

    def select(self, selection: Selection) -> Ids | None:
        """Row ids of the selected passages, ascending; None for the default selection."""
        found = self._memory.selected.known([selection]).get(selection)
        if found is None and (found := super().select(selection)) is not None:
            self._memory.selected.keep({selection: found})
        return found

    def _holding(self, selection: Selection, phrases: Sequence[str]) -> Ids:
        if phrases:
            return super()._holding(selection, phrases)
        where, values = conditions(selection)
        ids: Ids | None = value(
            self._connection,
            "SELECT array_agg(passages.id ORDER BY passages.id) FROM passages "
            f"JOIN papers ON papers.id = passages.paper WHERE {where}",
            values,
        )
        return np.empty(0, dtype=np.int64) if ids is None else ids

    def lexical(self, phrases: Sequence[str], selected: Ids | None) -> tuple[Ids, Scores]:
        """BM25 of every selected passage that holds any of the phrases, if this server were all."""
        return self.weighed(phrases, self.statistics(phrases), selected)

    def weighed(
        self, phrases: Sequence[str], statistics: postings.Statistics, selected: Ids | None
    ) -> tuple[Ids, Scores]:
        """The same by the statistics of all servers together."""
        collection = self._collection()
        return collection.selected(postings.bm25(collection, self.lists(phrases), statistics), selected)

    def statistics(self, phrases: Sequence[str]) -> postings.Statistics:
        """What there is on this server, and in how many passages each of the phrases stands."""
        collection = self._collection()
        n_with = {phrase: collection.n_living(each) for phrase, each in self.lists(phrases).items()}
        return postings.Statistics(collection.n_passages, collection.n_terms, n_with)

    def lists(self, phrases: Sequence[str]) -> dict[str, Postings]:
        """Where each of the terms and phrases stands, and how often, weighted by column; none for one that nowhere
        does."""
        wanted = dict.fromkeys(phrases)
        terms = dict.fromkeys(term for phrase in wanted for term in phrase.split())
        found = self._memory.lists.known([*wanted, *terms])
        if unread := [term for term in terms if term not in found]:
            read = postings.lists_of(self._session, unread)
            found |= {term: read.get(term, _NOWHERE) for term in unread}
        for phrase in wanted:
            if phrase not in found:
                found[phrase] = self._list_of_phrase(phrase, [found[term]["row"] for term in set(phrase.split())])
        self._memory.lists.keep(found)
        return {phrase: found[phrase] for phrase in wanted if len(found[phrase])}

    def _list_of_phrase(self, phrase: str, rows_of_terms: Sequence[Ids]) -> Postings:
        """The passages that hold all of the phrase's terms are read: which have them side by side, and how often."""
        holding = reduce(np.intersect1d, sorted(rows_of_terms, key=len))
        columns = ("title_terms", "heading_terms", "terms")
        texts = ", ".join(f"' ' || translate({column}, E'\\n', ' ') || ' '" for column in columns)
        rows = (
            self._session.execute(
                f"SELECT id, title, headings, body FROM (SELECT passages.id, {texts} FROM passages "
                "JOIN papers ON papers.id = passages.paper WHERE passages.id = ANY(?)) "
                "AS own (id, title, headings, body) "
                "WHERE strpos(body, ?) > 0 OR strpos(headings, ?) > 0 OR strpos(title, ?) > 0 ORDER BY id",
                (holding.astype(np.int64), *(f" {phrase} ",) * 3),
            ).fetchall()
            if len(holding)
            else []
        )
        found = np.empty(len(rows), dtype=POSTING)
        for n, (row_id, *own) in enumerate(rows):
            counts = (_count(text, f" {phrase} ") for text in own)
            found[n] = row_id, min(int(2 * sum(map(float.__mul__, FTS_WEIGHTS, map(float, counts)))), 65_535)
        return found

    def occurs(self, phrase: str) -> bool:
        """Whether these terms stand side by side in any passage, its headings, or its paper's title."""
        return bool(self.statistics([phrase]).n_with.get(phrase))

    def _may_hold(self, phrases: Sequence[str]) -> tuple[str, list[Any]]:
        words = spelt_words(phrases)
        if not words:
            return "", []
        lists = self.lists([spelling for word in words for spelling in word])
        rows = [
            np.unique(np.concatenate([np.empty(0, np.uint32), *(lists[each]["row"] for each in word if each in lists)]))
            for word in words
        ]
        return "passages.id = ANY(?)", [reduce(np.intersect1d, rows).astype(np.int64)]


def read_collection(session: Connection, before: Mapping[int, Records] | None = None) -> Collection:
    """What a server has to count words by; less is read where it is known what an earlier commit had.

    Raises IndexDamagedError.
    """
    last = (
        "SELECT greatest((SELECT max(id) FROM passages), (SELECT max(id) FROM removed_rows), 0)"  # of all in the lists
    )
    return postings.read_collection(session, int(value(session, last)), before)


def _count(text: str, wanted: str) -> int:
    """How often `wanted` stands in the text; two may share the blank between them."""
    n, at = 0, text.find(wanted)
    while at >= 0:
        n, at = n + 1, text.find(wanted, at + 1)
    return n
