"""What one server has of a generation: pgvector finds vectors, the word lists find words and phrases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar, Protocol

import numpy as np

from indexer.embedding import Vectors
from indexer.papers import PaperOrder
from indexer.store import postings
from indexer.store.ids import Ids, Scores
from indexer.store.manifest import Manifest
from indexer.store.postgres.schema import ORDERS
from indexer.store.postgres.session import Vector
from indexer.store.postings import FTS_WEIGHTS, POSTING, Collection, Postings
from indexer.store.records import Structure
from indexer.store.selection import spelt_words
from indexer.store.snapshot import Snapshot
from indexer.store.sql import Connection, value

EXACT_ROWS = 20_000
"""Vectors that are compared one by one, the most of a server's or of those selected: some 15 ms."""
_CANDIDATES = 4
"""Times as many are taken by their signs as are asked for, and compared again by the vectors themselves."""
_MIN_CANDIDATES, _MAX_CANDIDATES = 400, 1000
"""pgvector's `hnsw.ef_search` takes no more than 1,000."""
_MAX_SCANNED = 200_000
"""Vectors that are looked at in search of those selected, before a search is content with fewer."""


class Server(Connection, Protocol):
    """A session with one server, or what goes through one."""

    def run(self, script: str) -> None:
        """Run several statements without values."""


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
    ) -> None:
        """`n_in_graph`: vectors that the graph was made of; 0 where there is none."""
        super().__init__(session, generation, manifest, collection)
        self._session = session
        self._n_in_graph = n_in_graph
        self._lists: dict[str, Postings] = {}
        """Of terms and phrases that were asked for in this transaction."""

    @property
    def structure(self) -> Structure:
        """How the vectors are searched."""
        return Structure(is_graph=self._n_in_graph > 0, n_made_with=self._n_in_graph)

    def nearest(self, vector: Vectors, n: int, selected: Ids | None) -> Ids:
        """The `n` passages whose vectors are nearest to this one, best first."""
        return self.nearest_scored(vector, n, selected)[0]

    def nearest_scored(
        self, vector: Vectors, n: int, selected: Ids | None, *, exactly: bool = False
    ) -> tuple[Ids, Scores]:
        """The same, with their cosines; `exactly`, without the graph."""
        asked = Vector(vector.astype("<f4").tobytes())
        where = "" if selected is None else "WHERE id = ANY(?)"
        only: list[Any] = [] if selected is None else [selected]
        if exactly or not self._n_in_graph or (selected is not None and len(selected) <= EXACT_ROWS):
            found = f"SELECT id, vector FROM vectors {where}"
        else:
            n_candidates = min(max(_CANDIDATES * n, _MIN_CANDIDATES), _MAX_CANDIDATES)
            self._session.run(
                f"SET LOCAL hnsw.ef_search = {n_candidates}; SET LOCAL hnsw.iterative_scan = relaxed_order; "
                f"SET LOCAL hnsw.max_scan_tuples = {_MAX_SCANNED}"
            )
            signs = f"binary_quantize(vector)::bit({len(vector)}) <~> binary_quantize(?)::bit({len(vector)})"
            found = f"SELECT id, vector FROM vectors {where} ORDER BY {signs} LIMIT {max(n_candidates, n)}"
            only = [*only, asked]
        rows = self._session.execute(
            f"SELECT id, vector <#> ? AS distance FROM ({found}) AS found ORDER BY distance, id LIMIT ?",
            (asked, *only, n),
        ).fetchall()
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        return ids, -np.array([row[1] for row in rows], dtype=np.float64)

    def lexical(self, phrases: Sequence[str], selected: Ids | None) -> tuple[Ids, Scores]:
        """BM25 of every selected passage that holds any of the phrases, if this server were all."""
        collection = self._collection()
        return collection.selected(postings.bm25(collection, self.lists(phrases)), selected)

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
        if unread := [term for term in terms if term not in self._lists]:
            read = postings.lists_of(self._session, unread)
            self._lists |= {term: read.get(term, np.empty(0, dtype=POSTING)) for term in unread}
        for phrase in wanted:
            if phrase not in self._lists:
                self._lists[phrase] = self._list_of_phrase(phrase)
        return {phrase: self._lists[phrase] for phrase in wanted if len(self._lists[phrase])}

    def _list_of_phrase(self, phrase: str) -> Postings:
        """The passages that hold all of the phrase's terms are read: which have them side by side, and how often."""
        holding = reduce(np.intersect1d, (self._lists[term]["row"] for term in dict.fromkeys(phrase.split())))
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

    def document_frequency(self, query_terms: Sequence[str]) -> dict[str, int]:
        """In how many passages each of these terms stands; 0 for one that stands in none."""
        return postings.document_frequency(self._session, self._collection(), query_terms)

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


def read_collection(session: Connection) -> Collection:
    """What a server has to count words by. Raises IndexDamagedError."""
    given = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('passages', 'id')::regclass), 0)"
    return postings.read_collection(session, int(value(session, given)))


def _count(text: str, wanted: str) -> int:
    """How often `wanted` stands in the text; two may share the blank between them."""
    n, at = 0, text.find(wanted)
    while at >= 0:
        n, at = n + 1, text.find(wanted, at + 1)
    return n
