"""What one generation of an index says: its papers, passages, vectors, terms and names, in one read transaction.

A snapshot knows nothing of ranking: it gives candidates and their plain scores. What engines do each in its own way,
finding the nearest vectors and the places of phrases, theirs add to the one here.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from indexer.embedding import PassageVectors, Vectors
from indexer.errors import NotFoundError, UsageError
from indexer.papers import PaperOrder, Passage, Reference, Sentence
from indexer.store import postings
from indexer.store.files import FailedFile, FileRecord, Files, read_notices
from indexer.store.ids import Ids, Scores
from indexer.store.manifest import Manifest
from indexer.store.packing import cosines, pack_words, unpack_passage, unpack_sentences, unpack_text
from indexer.store.postings import Collection
from indexer.store.records import Alias, Definition, Similarities, StoredPaper, StoredPassage, Structure
from indexer.store.rows import PaperRows, stored_rows
from indexer.store.selection import Selection, conditions, folded_words, phrase_pattern
from indexer.store.sql import Connection, marks, value

_ALL = 1 << 62
"""Rows at the most: all there are."""

Place = tuple[Any, str]
"""What a paper is ordered by, and its id."""


class Snapshot(ABC):
    """One generation of an index. Valid inside the reader's `snapshot()` only."""

    orders: ClassVar[Mapping[PaperOrder, str]] = {
        "title": "lower(title)",
        "year": "-coalesce(year, 0)",
        "journal": "lower(journal)",
    }
    """What papers are ordered by, as the tables have an index for it."""

    def __init__(
        self, connection: Connection, generation: int, manifest: Manifest, collection: Callable[[], Collection]
    ) -> None:
        self._connection = connection
        self._collection = collection
        self.generation = generation
        self.manifest = manifest
        self.missing: tuple[str, ...] = ()
        """Places of servers that did not answer, whose papers are not in it."""

    @property
    @abstractmethod
    def structure(self) -> Structure:
        """How the vectors are searched."""

    @abstractmethod
    def nearest(self, vector: Vectors, n: int, selected: Ids | None) -> Ids:
        """The `n` passages whose vectors are nearest to this one, best first as far as the engine can tell."""

    @abstractmethod
    def lexical(self, phrases: Sequence[str], selected: Ids | None) -> tuple[Ids, Scores]:
        """BM25 (FTS5's: k1 1.2, b 0.75; higher is better) of every selected passage that holds any of the phrases.

        A phrase is terms with a space between, which must stand side by side. Row ids ascend. Of several phrases it is
        the sum over them.
        """

    @abstractmethod
    def occurs(self, phrase: str) -> bool:
        """Whether these terms stand side by side in any passage, its headings, or its paper's title."""

    def _may_hold(self, phrases: Sequence[str]) -> tuple[str, list[Any]]:
        """An SQL condition on `passages.id` that all passages with these phrases in their own words meet, few others;
        and its values. An empty one where they cannot be told apart so."""
        return "", []

    def n_papers(self) -> int:
        """The number of papers."""
        return self._count("papers")

    def n_passages(self) -> int:
        """The number of passages."""
        return self._collection().n_passages

    def counts(self) -> dict[str, int]:
        """Numbers of papers, passages and vectors. To count the vectors' rows takes a while: not for every search."""
        return {"papers": self.n_papers(), "passages": self.n_passages(), "vectors": self._count("vectors")}

    def select(self, selection: Selection) -> Ids | None:
        """Row ids of the selected passages, ascending; None for the default selection.

        Raises NotFoundError, and UsageError for a section or phrase that says nothing to look for.
        """
        if selection == Selection():
            return None
        self._known(selection.paper_ids)
        selected = self._holding(selection, selection.phrases)
        for phrase in selection.exclude:
            selected = np.setdiff1d(selected, self._holding(selection, (*selection.phrases, phrase)))
        return selected

    def _holding(self, selection: Selection, phrases: Sequence[str]) -> Ids:
        """Row ids of the passages that meet the selection's conditions and hold these phrases, ascending.

        The conditions and the full-text index narrow the rows; then the words of their texts decide.
        """
        where, values = conditions(selection)
        narrowed, wanted = self._may_hold(phrases)
        if narrowed:
            where += f" AND {narrowed}"
            values = [*values, *wanted]
        texts = ", kind, text, embedded_text, start, markers" if phrases else ""
        patterns = [phrase_pattern(phrase) for phrase in phrases]
        rows = self._connection.execute(
            f"SELECT passages.id{texts} FROM passages JOIN papers ON papers.id = passages.paper "
            f"WHERE {where} ORDER BY passages.id",
            values,
        )
        found = (row_id for row_id, *own in rows if not own or _holds_all(patterns, folded_words(*own)))
        return np.fromiter(found, dtype=np.int64)

    def similarities(self, vector: Vectors, row_ids: Sequence[int]) -> Similarities:
        """Cosine similarity to a vector of those of these passages that have vectors, in the order of their ids."""
        rows = self._connection.execute(
            f"SELECT id, vector, sentences, words FROM vectors WHERE id IN ({marks(row_ids)}) ORDER BY id", row_ids
        ).fetchall()
        ids, blobs, of_sentences, words = (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 4
        return Similarities(np.array(ids, dtype=np.int64), *cosines(vector, blobs, of_sentences), words)

    def words_of(self, row_ids: Sequence[int]) -> list[bytes]:
        """The words of these passages, in the order of their ids, as `pack_words` gives them. Slower than what
        `similarities` gives, for those that have no vector."""
        rows = self._connection.execute(
            f"SELECT terms FROM passages WHERE id IN ({marks(row_ids)}) ORDER BY id", row_ids
        )
        return [pack_words(row[0]) for row in rows]

    def document_frequency(self, query_terms: Sequence[str]) -> dict[str, int]:
        """In how many passages each of these terms stands; 0 for one that stands in none."""
        return postings.document_frequency(self._connection, self._collection(), query_terms)

    def definitions(
        self, short_terms: Sequence[str], long_terms: Sequence[str], paper_ids: Sequence[str]
    ) -> list[Definition]:
        """What papers define any of these short or long forms, in the words of most of them; most papers first.

        Only of the papers named, where any are.
        """
        named = (("short_terms", short_terms), ("long_terms", long_terms))
        # A list that is empty would have every row looked at.
        either = " OR ".join(f"{column} IN ({marks(wanted)})" for column, wanted in named if wanted)
        if not either:
            return []
        only = f"AND papers.paper_id IN ({marks(paper_ids)})" if paper_ids else ""
        rows = self._connection.execute(
            "WITH found AS (SELECT short_terms, long_terms, count(DISTINCT paper) AS n, min(papers.paper_id) AS of_one "
            f"FROM abbreviations JOIN papers ON papers.id = paper WHERE ({either}) {only} "
            "GROUP BY short_terms, long_terms) "
            "SELECT short, long, found.short_terms, found.long_terms, n, of_one FROM found "
            "JOIN papers ON papers.paper_id = of_one JOIN abbreviations AS own ON own.paper = papers.id "
            "AND own.short_terms = found.short_terms AND own.long_terms = found.long_terms "
            "ORDER BY n DESC, of_one, number",
            (*short_terms, *long_terms, *paper_ids),
        )
        found: dict[tuple[str, str], Definition] = {}
        for row in rows:  # a paper may say it twice
            found.setdefault((row[2], row[3]), Definition(*row))
        return list(found.values())

    def rows_meaning_otherwise(self, row_ids: Sequence[int], definition: Definition) -> set[int]:
        """Those of these passages whose paper has the short form for something that begins with another word."""
        rows = self._connection.execute(
            f"SELECT id FROM passages WHERE id IN ({marks(row_ids)}) "
            "AND paper IN (SELECT paper FROM abbreviations WHERE short_terms = ?) "
            "AND paper NOT IN (SELECT paper FROM abbreviations WHERE short_terms = ? "
            "AND substr(long_terms || ' ', 1, length(?)) = ?)",
            (*row_ids, *(definition.short_terms,) * 2, *(f"{definition.first_word} ",) * 2),
        )
        return {row[0] for row in rows}

    def aliases(self, name_terms: Sequence[str], paper_ids: Sequence[str]) -> list[Alias]:
        """Other names of the things that the papers' records call by any of these, first paper first."""
        only = f"AND papers.paper_id IN ({marks(paper_ids)})" if paper_ids else ""
        rows = self._connection.execute(
            "SELECT one.name_terms, other.name, other.name_terms, other.number < one.number, papers.paper_id "
            "FROM aliases AS one JOIN aliases AS other ON other.paper = one.paper AND other.thing = one.thing "
            "JOIN papers ON papers.id = one.paper "
            f"WHERE one.name_terms IN ({marks(name_terms)}) AND other.name_terms <> one.name_terms {only} "
            "ORDER BY papers.paper_id, one.thing, other.number, one.number",
            (*name_terms, *paper_ids),
        )
        return [
            Alias(of_terms, name, name_terms, bool(is_better), paper_id)
            for of_terms, name, name_terms, is_better, paper_id in rows
        ]

    def passages(self, row_ids: Sequence[int]) -> list[StoredPassage]:
        """The passages of these rows, in the order asked for."""
        found = {row.row_id: row for row in self._passages(f"passages.id IN ({marks(row_ids)})", row_ids)}
        return [found[row_id] for row_id in row_ids]

    def papers_of(self, row_ids: Sequence[int]) -> list[str]:
        """The id of each of these passages' paper."""
        rows = self._connection.execute(
            "SELECT passages.id, papers.paper_id FROM passages JOIN papers ON papers.id = passages.paper "
            f"WHERE passages.id IN ({marks(row_ids)})",
            row_ids,
        )
        papers: dict[int, str] = dict(rows)
        return [papers[row_id] for row_id in row_ids]

    def passage(self, passage_id: str, context: int = 0) -> tuple[list[StoredPassage], int]:
        """A passage with `context` passages of its paper on either side, and its place among them.

        Raises NotFoundError.
        """
        row = self._connection.execute(
            "SELECT paper, ordinal FROM passages WHERE passage_id = ?", (passage_id,)
        ).fetchone()
        if row is None:
            raise NotFoundError(
                f"no passage {passage_id!r} in this index: its paper may have changed since; search for it again"
            )
        paper, ordinal = row
        around = self._passages(
            "passages.paper = ? AND passages.ordinal BETWEEN ? AND ?", (paper, ordinal - context, ordinal + context)
        )
        return around, next(i for i, each in enumerate(around) if each.passage.passage_id == passage_id)

    def passages_of(self, paper_id: str) -> list[StoredPassage]:
        """All passages of a paper in reading order. Raises NotFoundError."""
        self._known([paper_id])
        return self._passages("papers.paper_id = ?", (paper_id,))

    def passages_at(self, paper_id: str, start: int, end: int) -> list[StoredPassage]:
        """The passages of a paper that hold all of that span of its source. Raises NotFoundError."""
        self._known([paper_id])
        return self._passages('papers.paper_id = ? AND start <= ? AND "end" >= ?', (paper_id, start, end))

    def papers(self, order: PaperOrder = "paper_id", *, after: str = "", limit: int = _ALL) -> list[StoredPaper]:
        """Papers in that order, from the one after the paper `after`; those alike by their ids.

        Raises UsageError where there is no such paper.
        """
        place = self.place(order, after) if after else None
        if after and place is None:
            raise UsageError("the cursor names no paper of this index, or no longer: begin the list anew, without it")
        return [paper for _, paper in self.papers_from(order, place, limit)]

    def place(self, order: PaperOrder, paper_id: str) -> Place | None:
        """Where the paper stands in that order; None where there is none."""
        row = self._connection.execute(
            f"SELECT {self._order(order)}, paper_id FROM papers WHERE paper_id = ?", (paper_id,)
        ).fetchone()
        return (row[0], row[1]) if row else None

    def papers_from(self, order: PaperOrder, place: Place | None, limit: int) -> list[tuple[Place, StoredPaper]]:
        """Papers in that order, from the first after that place, each with its own."""
        key = self._order(order)
        where = "1 = 1" if place is None else f"({key}, papers.paper_id) > (?, ?)"
        rows = self._connection.execute(
            f"SELECT {key}, {_PAPER_COLUMNS} FROM papers WHERE {where} ORDER BY {key}, papers.paper_id LIMIT ?",
            (*(place or ()), limit),
        )
        return [((own, paper.paper_id), paper) for own, *row in rows for paper in (_paper(row),)]

    def _order(self, order: PaperOrder) -> str:
        return "papers.paper_id" if order == "paper_id" else self.orders[order]

    def has(self, paper_id: str) -> bool:
        """Whether there is a paper of that id."""
        return self._connection.execute("SELECT 1 FROM papers WHERE paper_id = ?", (paper_id,)).fetchone() is not None

    def paper(self, paper_id: str) -> StoredPaper:
        """One paper. Raises NotFoundError."""
        self._known([paper_id])
        return self._papers("papers.paper_id = ?", (paper_id,))[0]

    def papers_holding(self, sha256: str, source: str) -> list[StoredPaper]:
        """The papers whose file had these bytes when it was indexed; those that go by `source` first."""
        return self._papers("sha256 = ? ORDER BY source = ? DESC, papers.paper_id", (sha256, source))

    def rows(self, paper_id: str) -> PaperRows:
        """All that the tables have of a paper, as it stands there. Raises NotFoundError."""
        self._known([paper_id])
        return stored_rows(
            self._connection, value(self._connection, "SELECT id FROM papers WHERE paper_id = ?", (paper_id,))
        )

    def outline(self, paper_id: str) -> list[dict[str, str | int]]:
        """The paper's section tree as rows of title, number, level, start and role, in reading order."""
        self._known([paper_id])
        sections = value(self._connection, "SELECT sections FROM papers WHERE paper_id = ?", (paper_id,))
        rows: list[dict[str, str | int]] = json.loads(sections)
        return rows

    def references(self, paper_id: str, numbers: Sequence[int] | None = None) -> dict[int, Reference]:
        """Entries of the paper's reference list by their 0-based number; all of them, or those named."""
        where = "" if numbers is None else f"AND number IN ({marks(numbers)})"
        rows = self._connection.execute(
            'SELECT number, key, text, reference_entries.doi, reference_entries.pmid, start, "end" '
            "FROM reference_entries JOIN papers ON papers.id = paper "
            f"WHERE papers.paper_id = ? {where} ORDER BY number",
            (paper_id, *(numbers or ())),
        )
        return {number: Reference(*entry) for number, *entry in rows}

    def kept_text(self, paper_id: str) -> str | None:
        """The text that the paper's offsets count in, where it is not its file's own: see `Paper.text`."""
        row = self._connection.execute(
            "SELECT kept_texts.text FROM kept_texts JOIN papers ON papers.id = paper WHERE paper_id = ?", (paper_id,)
        ).fetchone()
        return unpack_text(row[0]) if row else None

    def files(self, paper_id: str) -> list[FileRecord]:
        """The files of a paper: the one that is searched, then its versions, best first."""
        return Files(self._connection).of(paper_id)

    def versions_holding(self, sha256: str, own_id: str) -> list[FileRecord]:
        """The files that are not searched, and that have these bytes or give that id; those with the bytes first."""
        return Files(self._connection).holding(sha256, own_id)

    def failures(self) -> list[FailedFile]:
        """The files that gave no paper when they were last seen."""
        return Files(self._connection).failures()

    def vectors_of(self, paper_id: str) -> dict[str, PassageVectors]:
        """The paper's vectors by the text that they embed."""
        rows = self._connection.execute(
            "SELECT embedded_text, vector, vectors.sentences FROM vectors JOIN passages ON passages.id = vectors.id "
            "JOIN papers ON papers.id = passages.paper WHERE papers.paper_id = ?",
            (paper_id,),
        )
        dim = self.manifest.model.dim
        return {
            text: PassageVectors(unpack_passage(vector, dim), unpack_sentences(sentences, dim))
            for text, vector, sentences in rows
        }

    def _count(self, table: str) -> int:
        return int(value(self._connection, f"SELECT count(*) FROM {table}"))

    def known(self, paper_ids: Sequence[str]) -> set[str]:
        """Those of these ids that papers have."""
        rows = self._connection.execute(
            f"SELECT paper_id FROM papers WHERE paper_id IN ({marks(paper_ids)})", paper_ids
        )
        return {row[0] for row in rows}

    def _known(self, paper_ids: Sequence[str]) -> None:
        unknown = sorted(set(paper_ids) - self.known(paper_ids))
        if unknown:
            if searched := [each.paper_id for each in Files(self._connection).called(unknown[0])]:
                raise NotFoundError(f"{unknown[0]!r} is a version of {searched[0]!r}, which is searched: ask for that")
            raise NotFoundError(f"no paper {unknown[0]!r} in this index: `loccit papers` lists those that are")

    def _papers(self, where: str, values: Sequence[str | int]) -> list[StoredPaper]:
        rows = self._connection.execute(f"SELECT {_PAPER_COLUMNS} FROM papers WHERE {where}", values)
        return [_paper(row) for row in rows]

    def _passages(self, where: str, values: Sequence[str | int]) -> list[StoredPassage]:
        rows = self._connection.execute(
            f"SELECT passages.paper, {_PASSAGE_COLUMNS} FROM passages JOIN papers ON papers.id = passages.paper "
            f"WHERE {where} ORDER BY passages.paper, passages.ordinal",
            values,
        ).fetchall()
        ids: list[Any] = list(dict.fromkeys(row[0] for row in rows))
        papers = dict(zip(ids, self._papers(f"papers.id IN ({marks(ids)}) ORDER BY papers.id", ids), strict=True))
        return [_passage(row, papers[paper]) for paper, *row in rows]


def _holds_all(patterns: Sequence[re.Pattern[str]], folded: str) -> bool:
    return all(pattern.search(folded) for pattern in patterns)


_PAPER_COLUMNS = (
    "papers.paper_id, source, origin, sha256, title, authors, pmcid, doi, pmid, journal, date, year, licence, url, "
    "body_omitted, format, notices, "
    "(SELECT string_agg(other.notices, ' ') FROM files AS other WHERE other.paper_id = papers.paper_id), "
    "(SELECT count(*) FROM files AS other WHERE other.paper_id = papers.paper_id AND other.is_searched = 0), "
    "(SELECT count(*) FROM passages AS own WHERE own.paper = papers.id), kept, left_out"
)
_PASSAGE_COLUMNS = (
    'passages.id, passage_id, papers.paper_id, ordinal, start, "end", text, kind, role, section, section_number, '
    "sentences, embedded_text, n_wordpieces, n_tokens, markers"
)

_Row = Sequence[Any]


def _paper(row: _Row) -> StoredPaper:
    *plain, url, body_omitted, kind, notices, of_files, n_versions, n_passages, kept, left_out = row
    authors = tuple(json.loads(plain.pop(5)))
    paper_id, source, origin, sha256, title, pmcid, doi, pmid, journal, date, year, licence = plain
    return StoredPaper(
        paper_id, source, origin, sha256, title, authors, pmcid, doi, pmid, journal, date,
        None if year is None else int(year), licence, url, body_omitted, kind, read_notices(notices, of_files),
        int(n_versions), int(n_passages), json.loads(kept), json.loads(left_out),
    )  # fmt: skip


def _passage(row: _Row, paper: StoredPaper) -> StoredPassage:
    row_id, *own = row
    markers = tuple((start, end, tuple(numbers)) for start, end, numbers in json.loads(own.pop()))
    (
        passage_id,
        paper_id,
        ordinal,
        start,
        end,
        text,
        kind,
        role,
        section,
        number,
        sentences,
        embedded,
        pieces,
        tokens,
    ) = own
    passage = Passage(
        passage_id, paper_id, int(ordinal), int(start), int(end), text, kind, role, tuple(json.loads(section)), number,
        tuple(Sentence(*each) for each in json.loads(sentences)), embedded, int(pieces), int(tokens),
    )  # fmt: skip
    return StoredPassage(int(row_id), passage, paper, markers)
