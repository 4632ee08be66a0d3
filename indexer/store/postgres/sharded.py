"""One generation of an index whose papers are spread over several servers: what each says, put together.

A row's id is its id on its server, and the server's number above that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from itertools import chain, islice
from typing import Any, Protocol, TypeVar

import numpy as np

from indexer.embedding import PassageVectors, Vectors
from indexer.errors import NotFoundError
from indexer.papers import PaperOrder, Reference
from indexer.store.files import FailedFile, FileRecord, Files
from indexer.store.ids import Ids, Scores
from indexer.store.manifest import Manifest
from indexer.store.postgres.snapshot import CANDIDATES, MIN_CANDIDATES, ShardSnapshot
from indexer.store.postings import Statistics
from indexer.store.records import Alias, Definition, Similarities, StoredPaper, StoredPassage, Structure
from indexer.store.rows import PaperRows
from indexer.store.selection import Selection
from indexer.store.snapshot import Place, Snapshot

_SHIFT = 32
"""Bits of a row's id on its server; the word lists count rows in as many."""
_OWN = (1 << _SHIFT) - 1

T = TypeVar("T")


class Fan(Protocol):
    """Calls a function for each of some things, side by side."""

    def __call__(self, function: Callable[[Any], T], things: Iterable[Any]) -> list[T]:
        """What it gives for each, in order."""
        ...


class ShardedSnapshot(Snapshot):
    """The snapshots of all servers that answered."""

    def __init__(
        self, shards: Mapping[int, ShardSnapshot], generation: int, manifest: Manifest, missing: Sequence[str], fan: Fan
    ) -> None:
        """`shards` are by their numbers, at least one; `missing` are the places of those that did not answer."""
        self._shards = dict(sorted(shards.items()))
        self._fan = fan
        self.generation = generation
        self.manifest = manifest
        self.missing = tuple(missing)

    def n_papers(self) -> int:
        """The number of papers."""
        return sum(self._each(ShardSnapshot.n_papers))

    def n_passages(self) -> int:
        """The number of passages."""
        return sum(self._each(ShardSnapshot.n_passages))

    def counts(self) -> dict[str, int]:
        """Numbers of papers, passages and vectors."""
        of_each = self._each(ShardSnapshot.counts)
        return {name: sum(own[name] for own in of_each) for name in of_each[0]}

    @property
    def structure(self) -> Structure:
        """How the vectors are searched: on most of them."""
        return max((shard.structure for shard in self._shards.values()), key=lambda each: each.n_made_with)

    def select(self, selection: Selection) -> Ids | None:
        """Row ids of the selected passages, ascending; None for the default selection."""
        if selection == Selection():
            return None
        self._known(selection.paper_ids)

        def own(shard: ShardSnapshot) -> Ids:
            known = shard.known(selection.paper_ids) if selection.paper_ids else set()
            if selection.paper_ids and not known:
                return np.empty(0, dtype=np.int64)
            here = tuple(each for each in selection.paper_ids if each in known)
            found = shard.select(replace(selection, paper_ids=here))
            assert found is not None
            return found

        return np.concatenate([self._global(n, ids) for n, ids in zip(self._shards, self._each(own), strict=True)])

    def nearest(self, vector: Vectors, n: int, selected: Ids | None) -> Ids:
        """The `n` passages whose vectors are nearest to this one, best first."""
        return self._nearest(vector, n, selected, exactly=False)

    def exactly_nearest(self, vector: Vectors, n: int) -> Ids:
        """The same of all passages, every vector compared: to measure by, it takes long."""
        return self._nearest(vector, n, None, exactly=True)

    def _nearest(self, vector: Vectors, n: int, selected: Ids | None, *, exactly: bool) -> Ids:
        n_candidates = max(-(-CANDIDATES * n // len(self._shards)), MIN_CANDIDATES)
        found = self._among(
            selected, lambda shard, own: shard.nearest_scored(vector, n, own, n_candidates, exactly=exactly)
        )
        ids = np.concatenate([self._global(number, own) for number, (own, _) in found.items()])
        scores = np.concatenate([own for _, own in found.values()])
        return np.asarray(ids[np.lexsort((ids, -scores))[:n]])

    def similarities(self, vector: Vectors, row_ids: Sequence[int]) -> Similarities:
        """Cosine similarity to a vector of those of these passages that have vectors, in the order of their ids."""
        found = self._split(row_ids, lambda shard, own: shard.similarities(vector, own))
        return Similarities(
            np.concatenate([np.empty(0, np.int64), *(self._global(n, each.ids) for n, each in found.items())]),
            np.concatenate([np.empty(0, np.float32), *(each.passages for each in found.values())]),
            np.concatenate([np.empty(0, np.float32), *(each.sentences for each in found.values())]),
            np.concatenate([np.empty(0, np.int64), *(each.n_sentences for each in found.values())]),
            [words for each in found.values() for words in each.words],
        )

    def words_of(self, row_ids: Sequence[int]) -> list[bytes]:
        """Of each passage its own words, as `pack_words` gives them."""
        return self._in_order(row_ids, ShardSnapshot.words_of)

    def lexical(self, phrases: Sequence[str], selected: Ids | None) -> tuple[Ids, Scores]:
        """BM25 of every selected passage that holds any of the phrases, by the statistics of all servers together."""
        of_each = self._each(lambda shard: shard.statistics(phrases))
        n_with = sum((Counter(each.n_with) for each in of_each), Counter[str]())
        whole = Statistics(
            sum(each.n_passages for each in of_each),
            sum(each.n_terms for each in of_each),
            n_with,
        )
        found = self._among(selected, lambda shard, own: shard.weighed(phrases, whole, own))
        ids = [self._global(n, own) for n, (own, _) in found.items()]
        return np.concatenate(ids), np.concatenate([scores for _, scores in found.values()])

    def document_frequency(self, query_terms: Sequence[str]) -> dict[str, int]:
        """In how many passages each of these terms stands; 0 for one that stands in none."""
        found = self._each(lambda shard: shard.document_frequency(query_terms))
        return {term: sum(each[term] for each in found) for term in query_terms}

    def occurs(self, phrase: str) -> bool:
        """Whether these terms stand side by side in any passage, its headings, or its paper's title."""
        return any(self._each(lambda shard: shard.occurs(phrase)))

    def definitions(
        self, short_terms: Sequence[str], long_terms: Sequence[str], paper_ids: Sequence[str]
    ) -> list[Definition]:
        """What papers define any of these short or long forms, in the words of most of them; most papers first."""
        found: dict[tuple[str, str], list[Definition]] = {}
        for own in self._each(lambda shard: shard.definitions(short_terms, long_terms, paper_ids)):
            for each in own:
                found.setdefault((each.short_terms, each.long_terms), []).append(each)
        joined = []
        for alike in found.values():
            first = min(alike, key=lambda each: each.paper_id)
            n_papers = sum(each.n_papers for each in alike)
            joined.append(
                Definition(first.short, first.long, first.short_terms, first.long_terms, n_papers, first.paper_id)
            )
        return sorted(joined, key=lambda each: (-each.n_papers, each.paper_id))

    def rows_meaning_otherwise(self, row_ids: Sequence[int], definition: Definition) -> set[int]:
        """Those of these passages whose paper has the short form for something that begins with another word."""
        found = self._split(row_ids, lambda shard, own: shard.rows_meaning_otherwise(own, definition))
        return {n << _SHIFT | row_id for n, rows in found.items() for row_id in rows}

    def aliases(self, name_terms: Sequence[str], paper_ids: Sequence[str]) -> list[Alias]:
        """Other names of the things that the papers' records call by any of these, first paper first."""
        found = chain.from_iterable(self._each(lambda shard: shard.aliases(name_terms, paper_ids)))
        return sorted(found, key=lambda each: each.paper_id)

    def passages(self, row_ids: Sequence[int]) -> list[StoredPassage]:
        """The passages of these rows, in the order asked for."""
        found = self._split(row_ids, ShardSnapshot.passages)
        by_row = {each.row_id: each for n, rows in found.items() for each in _numbered(n, rows)}
        return [by_row[row_id] for row_id in row_ids]

    def papers_of(self, row_ids: Sequence[int]) -> list[str]:
        """The id of each of these passages' paper."""
        return self._in_order(row_ids, ShardSnapshot.papers_of)

    def passage(self, passage_id: str, context: int = 0) -> tuple[list[StoredPassage], int]:
        """A passage with `context` passages of its paper on either side, and its place among them."""
        number, (around, at) = self._holder(lambda shard: shard.passage(passage_id, context))
        return _numbered(number, around), at

    def passages_of(self, paper_id: str) -> list[StoredPassage]:
        """All passages of a paper in reading order. Raises NotFoundError."""
        return _numbered(*self._holder(lambda shard: shard.passages_of(paper_id)))

    def passages_at(self, paper_id: str, start: int, end: int) -> list[StoredPassage]:
        """The passages of a paper that hold all of that span of its source. Raises NotFoundError."""
        return _numbered(*self._holder(lambda shard: shard.passages_at(paper_id, start, end)))

    def place(self, order: PaperOrder, paper_id: str) -> Place | None:
        """Where the paper stands in that order; None where there is none."""
        return next((each for each in self._each(lambda shard: shard.place(order, paper_id)) if each is not None), None)

    def papers_from(self, order: PaperOrder, place: Place | None, limit: int) -> list[tuple[Place, StoredPaper]]:
        """Papers in that order, from the first after that place, each with its own."""
        found = self._each(lambda shard: shard.papers_from(order, place, limit))
        return list(islice(merge(*found, key=lambda each: each[0]), limit))

    def has(self, paper_id: str) -> bool:
        """Whether there is a paper of that id."""
        return any(self._each(lambda shard: shard.has(paper_id)))

    def paper(self, paper_id: str) -> StoredPaper:
        """One paper. Raises NotFoundError."""
        return self._first(lambda shard: shard.paper(paper_id))

    def papers_holding(self, sha256: str, source: str) -> list[StoredPaper]:
        """The papers whose file had these bytes when it was indexed; those that go by `source` first."""
        found = chain.from_iterable(self._each(lambda shard: shard.papers_holding(sha256, source)))
        return sorted(found, key=lambda each: (each.source != source, each.paper_id))

    def rows(self, paper_id: str) -> PaperRows:
        """All that the tables have of a paper, as it stands there. Raises NotFoundError."""
        return self._first(lambda shard: shard.rows(paper_id))

    def outline(self, paper_id: str) -> list[dict[str, str | int]]:
        """The paper's section tree as rows of title, number, level, start and role, in reading order."""
        return self._first(lambda shard: shard.outline(paper_id))

    def references(self, paper_id: str, numbers: Sequence[int] | None = None) -> dict[int, Reference]:
        """Entries of the paper's reference list by their 0-based number; all of them, or those named."""
        found: dict[int, Reference] = {}
        for own in self._each(lambda shard: shard.references(paper_id, numbers)):
            found |= own
        return found

    def kept_text(self, paper_id: str) -> str | None:
        """The text that the paper's offsets count in, where it is not its file's own: see `Paper.text`."""
        return next((each for each in self._each(lambda shard: shard.kept_text(paper_id)) if each is not None), None)

    def files(self, paper_id: str) -> list[FileRecord]:
        """The files of a paper: the one that is searched, then its versions, best first."""
        return next((each for each in self._each(lambda shard: shard.files(paper_id)) if each), [])

    def versions_holding(self, sha256: str, own_id: str) -> list[FileRecord]:
        """The files that are not searched, and that have these bytes or give that id; those with the bytes first."""
        found = chain.from_iterable(self._each(lambda shard: shard.versions_holding(sha256, own_id)))
        return sorted(found, key=lambda each: each.sha256 != sha256)

    def failures(self) -> list[FailedFile]:
        """The files that gave no paper when they were last seen."""
        return sorted(chain.from_iterable(self._each(ShardSnapshot.failures)), key=lambda each: each.origin)

    def vectors_of(self, paper_id: str) -> dict[str, PassageVectors]:
        """The paper's vectors by the text that they embed."""
        found: dict[str, PassageVectors] = {}
        for own in self._each(lambda shard: shard.vectors_of(paper_id)):
            found |= own
        return found

    def known(self, paper_ids: Sequence[str]) -> set[str]:
        """Those of these ids that papers have."""
        return set().union(*self._each(lambda shard: shard.known(paper_ids)))

    def _known(self, paper_ids: Sequence[str]) -> None:
        for paper_id in sorted(set(paper_ids) - self.known(paper_ids)):
            self.paper(paper_id)  # raises, with the reason

    def _each(self, function: Callable[[ShardSnapshot], T]) -> list[T]:
        return self._fan(function, self._shards.values())

    def _first(self, function: Callable[[ShardSnapshot], T]) -> T:
        """What the server says that has what is asked for. Raises NotFoundError where none has."""
        return self._holder(function)[1]

    def _holder(self, function: Callable[[ShardSnapshot], T]) -> tuple[int, T]:
        """The same, after that server's number."""

        def asked(shard: ShardSnapshot) -> T | NotFoundError:
            try:
                return function(shard)
            except NotFoundError as error:
                return error

        found = self._each(asked)
        for number, each in zip(self._shards, found, strict=True):
            if not isinstance(each, NotFoundError):
                return number, each
        errors = [each for each in found if isinstance(each, NotFoundError)]
        # A version is told of by the server that has the paper.
        raise max(errors, key=lambda error: "is a version of" in str(error))

    def _split(self, row_ids: Sequence[int], function: Callable[[ShardSnapshot, list[int]], T]) -> dict[int, T]:
        """What each server says of those of the rows that are its own, by its number; of none, nothing."""
        of_each: dict[int, list[int]] = {}
        for row_id in row_ids:
            of_each.setdefault(row_id >> _SHIFT, []).append(row_id & _OWN)
        numbers = sorted(of_each)
        found = self._fan(lambda number: function(self._shards[number], of_each[number]), numbers)
        return dict(zip(numbers, found, strict=True))

    def _in_order(self, row_ids: Sequence[int], function: Callable[[ShardSnapshot, list[int]], list[T]]) -> list[T]:
        """The same where a server says something of each row, in the order of the rows."""
        found = self._split(row_ids, function)
        said = {number: iter(each) for number, each in found.items()}
        return [next(said[row_id >> _SHIFT]) for row_id in row_ids]

    def _among(self, selected: Ids | None, function: Callable[[ShardSnapshot, Ids | None], T]) -> dict[int, T]:
        """What each server says of those of the selected rows that are its own, by its number."""

        def asked(number: int) -> T:
            own = None if selected is None else selected[selected >> _SHIFT == number] & _OWN
            return function(self._shards[number], own)

        return dict(zip(self._shards, self._fan(asked, self._shards), strict=True))

    @staticmethod
    def _global(number: int, ids: Ids) -> Ids:
        return ids | (number << _SHIFT)


def _numbered(number: int, passages: Iterable[StoredPassage]) -> list[StoredPassage]:
    """A server's passages, with the ids of their rows among all servers'."""
    return [replace(each, row_id=number << _SHIFT | each.row_id) for each in passages]


class ShardedFiles(Files):
    """The files that all servers know, each beside its paper."""

    def __init__(self, shards: Sequence[Files], home: Callable[[str], Files], fan: Fan) -> None:
        """`home` gives those of the server that has, or is to have, the paper of an id."""
        self._shards = shards
        self._home = home
        self._fan = fan

    def at(self, origin: str) -> FileRecord | None:
        """What stands in the file."""
        return next((each for each in self._each(lambda files: files.at(origin)) if each is not None), None)

    def searched(self, paper_id: str) -> FileRecord | None:
        """The file of that paper that is searched."""
        return next((each for each in self._each(lambda files: files.searched(paper_id)) if each is not None), None)

    def of(self, paper_id: str) -> list[FileRecord]:
        """All files of a paper: the one that is searched, then the others by their standing, best first."""
        found = self._all(lambda files: files.of(paper_id))
        return sorted(found, key=lambda each: (each.is_searched, each.standing), reverse=True)

    def called(self, own_id: str) -> list[FileRecord]:
        """The files whose own text or path gives that id, by their path."""
        return sorted(self._all(lambda files: files.called(own_id)), key=lambda each: each.origin)

    def holding(self, sha256: str, own_id: str) -> list[FileRecord]:
        """The files that are not searched and have these bytes, then those that give that id."""
        found = self._all(lambda files: files.holding(sha256, own_id))
        return sorted(found, key=lambda each: each.sha256 != sha256)

    def origins(self) -> list[tuple[str, str, bool]]:
        """Of every file its path, its paper's id, and whether it is searched, by path."""
        return sorted(self._all(Files.origins))

    def related(self, record: FileRecord) -> list[FileRecord]:
        """Other files that share an id with this one, or its bytes, or some of its text."""
        return sorted(self._all(lambda files: files.related(record)), key=lambda each: each.origin)

    def put(self, record: FileRecord) -> None:
        """Keep the record, in place of any other of its file."""
        self.forget(record.origin)
        self._home(record.paper_id).put(record)

    def forget(self, origin: str) -> None:
        """Keep nothing of that file."""
        self._each(lambda files: files.forget(origin))

    def failures(self) -> list[FailedFile]:
        """The files that gave no paper when they were last seen, by their path."""
        return sorted(self._all(Files.failures), key=lambda each: each.origin)

    def keep_failures(self, failures: Iterable[FailedFile]) -> None:
        """Keep these failures, and no others: on the first server."""
        for number, files in enumerate(self._shards):
            files.keep_failures(failures if number == 0 else ())

    def left_over(self) -> list[str]:
        """The files of papers whose searched file is not the one that was stored: a build ended in between."""
        return self._all(Files.left_over)

    def _each(self, function: Callable[[Files], T]) -> list[T]:
        return self._fan(function, self._shards)

    def _all(self, function: Callable[[Files], Iterable[T]]) -> list[T]:
        return list(chain.from_iterable(self._each(function)))
