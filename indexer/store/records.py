"""What a store gives: papers, passages, names and similarities, as it has them."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.embedding import Vectors
from indexer.papers import Notice, Passage, SourceFormat
from indexer.store.ids import Ids


@dataclass(frozen=True, slots=True)
class StoredPaper:
    """A paper as the index has it: everything but its text."""

    paper_id: str
    source: str
    origin: str
    """The file's absolute path when it was indexed."""
    sha256: str
    title: str
    authors: tuple[str, ...]
    pmcid: str
    doi: str
    pmid: str
    journal: str
    date: str
    year: int | None
    licence: str
    url: str
    body_omitted: str
    format: SourceFormat
    notices: tuple[Notice, ...]
    """The paper's own, and those that a version of it carries."""
    n_versions: int
    """Other files of the same paper, which are not searched."""
    n_passages: int
    kept: dict[str, int]
    """Non-blank characters of what its passages are made of, by kind of block."""
    left_out: dict[str, int]
    """Non-blank characters that stand in no passage, by kind of block or element."""


@dataclass(frozen=True, slots=True)
class StoredPassage:
    """A passage with its paper and the references that its markers name."""

    row_id: int
    passage: Passage
    paper: StoredPaper
    markers: tuple[tuple[int, int, tuple[int, ...]], ...]
    """Inline markers: start, end (offsets into the source), and numbers of the reference entries."""


@dataclass(frozen=True, slots=True)
class Definition:
    """An abbreviation as papers define it."""

    short: str
    long: str
    short_terms: str
    long_terms: str
    n_papers: int
    paper_id: str
    """One of them."""

    @property
    def first_word(self) -> str:
        """What meanings are told apart by: `end products` of one paper are `endproducts` of another."""
        return self.long_terms.split(" ", 1)[0]


@dataclass(frozen=True, slots=True)
class Alias:
    """Another name of a thing, as a paper's record has it."""

    of_terms: str
    """The name that was asked for."""
    name: str
    name_terms: str
    is_better: bool
    """Whether the record's paper would sooner use it than the one asked for."""
    paper_id: str


@dataclass(frozen=True, slots=True)
class Similarities:
    """Cosine similarity of passages, whole and sentence by sentence, to one vector."""

    ids: Ids
    """Row ids, ascending (n,)."""
    passages: Vectors
    """(n,)"""
    sentences: Vectors
    """(m,) of all the passages' sentences, in order."""
    n_sentences: Ids
    """(n,)"""
    words: list[bytes]
    """Of each passage its own words, as `pack_words` gives them."""


@dataclass(frozen=True, slots=True)
class Structure:
    """How the vectors are searched."""

    n_lists: int = 0
    """Of an inverted file; 0 where every vector is compared."""
    n_probed: int = 0
    """Lists that are searched for a query."""
    recall: float = 1.0
    """Recall@10 against comparing every vector, measured when the structure was made."""
    n_made_with: int = 0
    """Vectors that there were then."""
    n_new: int = 0
    """Vectors that came after."""
    is_graph: bool = False
    """Whether they are searched along a graph of neighbours, not in lists."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A server that has a part of an index."""

    number: int
    place: str
    answers: bool
    papers: int
    passages: int
    """Both are 0 of one that does not answer."""
