"""What one commit of an embedded index says: FAISS finds vectors, word lists and FTS5 find words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from indexer.embedding import Vectors
from indexer.store import postings
from indexer.store.embedded.database import Connection
from indexer.store.embedded.dense import DenseIndex
from indexer.store.ids import Ids, Scores
from indexer.store.manifest import Manifest
from indexer.store.postings import FTS_WEIGHTS, Collection
from indexer.store.records import Structure
from indexer.store.selection import spelt_words
from indexer.store.snapshot import Snapshot


class EmbeddedSnapshot(Snapshot):
    """One SQLite read transaction, and the FAISS index of the same commit."""

    def __init__(
        self,
        connection: Connection,
        generation: int,
        manifest: Manifest,
        vectors: DenseIndex,
        collection: Callable[[], Collection],
    ) -> None:
        super().__init__(connection, generation, manifest, collection)
        self._vectors = vectors

    @property
    def structure(self) -> Structure:
        """How the vectors are searched."""
        return self._vectors.structure

    def nearest(self, vector: Vectors, n: int, selected: Ids | None) -> Ids:
        """The `n` passages whose vectors are nearest to this one, best first as far as the dense index can tell."""
        return self._vectors.search(vector, n, selected)

    def lexical(self, phrases: Sequence[str], selected: Ids | None) -> tuple[Ids, Scores]:
        """BM25 (FTS5's: k1 1.2, b 0.75; higher is better) of every selected passage that holds any of the phrases.

        A phrase is terms with a space between, which must stand side by side. Row ids ascend. Of an OR of phrases it is
        the sum over them: the word lists say that of single terms, the full-text index that of the others.
        """
        collection = self._collection()
        single = [phrase for phrase in dict.fromkeys(phrases) if " " not in phrase]
        scores = postings.bm25(collection, postings.lists_of(self._connection, single))
        if others := [phrase for phrase in dict.fromkeys(phrases) if " " in phrase]:
            ids, own = self._bm25_of_phrases(others)
            scores[ids - collection.first] += own
        return collection.selected(scores, selected)

    def _bm25_of_phrases(self, phrases: Sequence[str]) -> tuple[Ids, Scores]:
        any_phrase = " OR ".join(f'"{phrase}"' for phrase in phrases)
        weights = ", ".join(map(str, FTS_WEIGHTS))
        rows = self._connection.execute(
            f"SELECT rowid, -bm25(passages_fts, {weights}) FROM passages_fts WHERE passages_fts MATCH ?", (any_phrase,)
        ).fetchall()
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        return ids, np.array([row[1] for row in rows], dtype=np.float64)

    def occurs(self, phrase: str) -> bool:
        """Whether these terms stand side by side in any passage, its headings, or its paper's title."""
        found = self._connection.execute(
            "SELECT 1 FROM passages_fts WHERE passages_fts MATCH ? LIMIT 1", (f'"{phrase}"',)
        ).fetchone()
        return found is not None

    def _may_hold(self, phrases: Sequence[str]) -> tuple[str, list[Any]]:
        any_spelling = (" OR ".join(f'"{term}"' for term in spelt) for spelt in spelt_words(phrases))
        all_words = " AND ".join(f"({each})" for each in any_spelling)
        if not all_words:
            return "", []
        return "passages.id IN (SELECT rowid FROM passages_fts WHERE passages_fts MATCH ?)", [f"body : ({all_words})"]
