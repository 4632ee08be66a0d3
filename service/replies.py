"""What the library gives: the shapes of every reply. JSON on the command line and over HTTP is made from these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from indexer.papers import BlockKind, Notice, Reference, Role, SourceFormat
from service.answer import Highlight, Kind, Quote, Status
from service.cite import Citation, CitedReference
from service.reading import Expansion

VerdictStatus = Literal["ok", "moved", "changed", "source_missing"]
"""From good to bad."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The parts of a hit's score. Higher is better."""

    dense: float
    """Cosine similarity of query and passage."""
    lexical: float
    """BM25 of the query's words and of its pairs of neighbours; the mean of both readings, where there are two."""
    sentence: float
    """Cosine similarity of query and the passage's nearest sentence."""
    rerank: float | None
    """What the cross-encoder says of query and passage, 0 to 1; null where it was not asked."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found, and where it stands."""

    rank: int
    score: float
    """0 to 1, falling with the rank; comparable within one search only. With a re-ranker, what it read stands at 0.5 or
    more by what it said, and the rest below."""
    scores: Scores
    passage_id: str
    text: str
    highlights: tuple[Highlight, ...]
    citation: Citation


@dataclass(frozen=True, slots=True)
class SearchReply:
    """What a search found."""

    query: str
    generation: int
    took_ms: float
    expansions: tuple[Expansion, ...]
    hits: tuple[Hit, ...]
    next_cursor: str | None
    """Pass it back with the same query for the hits that follow; None after the last."""
    missing_shards: tuple[str, ...] = ()
    """Servers with a part of the index that did not take part: what they hold is not in this."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the papers say to a question."""

    question: str
    status: Status
    confidence: float
    """How likely it is that the papers answer, 0 to 1, where half of all questions are answered: docs/confidence.md."""
    kind: Kind
    text: str
    """The quotes, or what a model wrote, each sentence with the numbers of the quotes that bear it out."""
    model: str
    """The model that wrote the text; empty where its sentences are the papers' own."""
    note: str
    """What the reader should know of how it came about, such as why no model wrote it; mostly empty."""
    quotes: tuple[Quote, ...]
    hits: tuple[Hit, ...]
    expansions: tuple[Expansion, ...]
    generation: int
    took_ms: float
    next_cursor: str | None
    """Search for the same question, filters and cursor for the passages after `hits`; None where there are none."""
    missing_shards: tuple[str, ...] = ()
    """Servers with a part of the index that did not take part: what they hold is not in this."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence that a model wrote, once its quotes were found in their sources."""

    text: str
    """With the numbers of its quotes after it: `[1][3]`."""
    quotes: tuple[Quote, ...]
    """Those of them that no statement before it had."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing new yet; whoever reads may stop."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a source still reads as a citation says."""

    status: VerdictStatus
    """`ok`: the text stands where it is cited. `moved`: it stands elsewhere, or in a section or paragraph of another
    name or number. `changed`: its words stand nowhere. `source_missing`: the paper's file cannot be read."""
    reason: str
    citation: Citation
    """As given."""
    now: Citation | None
    """The place as it is now: where the text has moved to, or what is most like it; null where the citation still says
    all of it, and where nothing is alike."""
    similarity: float | None
    """Of a text that has changed and what is most like it: the share of their words that they have in common and in the
    same order, 0 to 1."""


@dataclass(frozen=True, slots=True)
class VerifyReply:
    """What became of citations, in the order given."""

    status: VerdictStatus
    """The worst of the verdicts'."""
    verdicts: tuple[Verdict, ...]
    missing_shards: tuple[str, ...] = ()
    """Servers with a part of the index that did not take part: what they hold is not in this."""


@dataclass(frozen=True, slots=True)
class PassageView:
    """A passage read on its own, not found by a query."""

    passage_id: str
    text: str
    kind: BlockKind
    role: Role
    n_tokens: int
    citation: Citation


@dataclass(frozen=True, slots=True)
class PassageReply:
    """A passage and its neighbours in the paper."""

    passage: PassageView
    before: tuple[PassageView, ...]
    after: tuple[PassageView, ...]


@dataclass(frozen=True, slots=True)
class SectionView:
    """A node of a paper's section tree."""

    title: str
    number: str
    level: int
    start: int
    role: Role


@dataclass(frozen=True, slots=True)
class VersionView:
    """A file of a paper that another file has better; it is not searched."""

    source: str
    source_sha256: str
    format: SourceFormat
    date: str
    doi: str
    pmcid: str
    pmid: str
    notices: tuple[Notice, ...]
    why: str
    """How it was told that it is the same paper: `the same DOI`."""


@dataclass(frozen=True, slots=True)
class FailedSource:
    """A file that gave no paper when it was last looked at, and why."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class PaperSummary:
    """A paper, as a list shows it."""

    paper_id: str
    title: str
    authors: tuple[str, ...]
    year: int | None
    journal: str
    date: str
    doi: str
    pmcid: str
    pmid: str
    licence: str
    url: str
    source: str
    source_sha256: str
    n_passages: int
    body_omitted: str
    """Where the full text can be had, when the file says that its body was left out; else empty."""
    left_out: dict[str, int]
    """Non-blank characters that stand in no passage, by kind of block, or by element of a file in another format."""
    left_out_why: dict[str, str]
    """Of each of these kinds, why."""
    kept: dict[str, int]
    """Non-blank characters of what the passages are made of, by kind of block."""
    format: SourceFormat
    """What the file is: Markdown, which citations' offsets count in; else the Markdown made of it is kept, and they
    count in that."""
    notices: tuple[Notice, ...]
    """What is known of the paper beyond its text: that it was retracted, corrected."""
    versions: tuple[VersionView, ...]
    """Other files of the same paper, best first."""


@dataclass(frozen=True, slots=True)
class PaperList:
    """A page of papers."""

    papers: tuple[PaperSummary, ...]
    total: int
    next_cursor: str | None
    failed: tuple[FailedSource, ...] = ()
    """Files that gave no paper when they were last looked at. All of them, on every page."""
    missing_shards: tuple[str, ...] = ()
    """Servers with a part of the index that did not take part: what they hold is not in this."""


@dataclass(frozen=True, slots=True)
class SourceText:
    """The text that the offsets of a paper's citations count in."""

    paper_id: str
    source: str
    source_sha256: str
    """Of the file."""
    format: SourceFormat
    text: str
    """Of a Markdown file its own, to the character; else the Markdown that was made of it."""


@dataclass(frozen=True, slots=True)
class PaperReply:
    """One paper: its record, section tree, passages' ids and references."""

    paper: PaperSummary
    sections: tuple[SectionView, ...]
    passage_ids: tuple[str, ...]
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class TextMarker:
    """An inline citation marker and the entries that it names."""

    start: int
    end: int
    references: tuple[int, ...]
    """0-based places in the paper's references."""


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A paragraph, list item, table, caption or the like, as it stands in the source."""

    kind: BlockKind
    """Of a passage that holds several blocks, the first one's is known; the others' are `paragraph`."""
    section: int
    """0-based place in the paper's sections; -1 above the first heading."""
    paragraph: int
    """1-based, in its section; 0 for a heading."""
    start: int
    end: int
    text: str
    """`source[start:end]`, but for blanks that stand between two passages: those are one line break, then spaces."""
    markers: tuple[TextMarker, ...]


@dataclass(frozen=True, slots=True)
class PaperText:
    """What can be read of a paper: all of its passages, block by block, in the order of the source."""

    paper: PaperSummary
    sections: tuple[SectionView, ...]
    blocks: tuple[TextBlock, ...]
    references: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class ReferencesReply:
    """The entries of a paper's reference list that a marker names."""

    paper_id: str
    marker: str
    """As it was asked for."""
    references: tuple[CitedReference, ...]


@dataclass(frozen=True, slots=True)
class VitalSigns:
    """What an open index has at the moment, to be watched."""

    generation: int
    n_papers: int
    n_passages: int
    n_failed_sources: int
    """Files that gave no paper when they were last looked at."""
    n_bytes: int | None
    """Of its files or tables; None where not all servers answer."""
    written_at: float | None
    """When it was last written to: seconds since 1970, by the clock of what keeps it."""
    is_model_loaded: bool
    missing_shards: tuple[str, ...]
    """Servers with a part of the index that did not take part."""


@dataclass(frozen=True, slots=True)
class Info:
    """What an index is and holds."""

    folder: str
    """Where it is: its folder; of one on a server the database, as a URL without user and password."""
    generation: int
    n_papers: int
    n_passages: int
    n_vectors: int
    model: str
    model_revision: str
    model_weights_sha256: str
    dim: int
    pooling: str
    max_wordpieces: int
    passage_wordpieces: int
    precision: str
    """What the model computed with when the index was begun: int8, fp32, or as sentence-transformers (reference)."""
    cosine: float
    """Of its vectors to sentence-transformers' own, the mean over a sample of texts."""
    dense_lists: int
    """Lists that the vectors are sorted into; 0 where there are none."""
    dense_lists_searched: int
    dense_recall: float
    """Share of the 10 nearest vectors that a search finds, measured when they were sorted; 1 where that was not."""
    dense_graph: bool = False
    """Whether vectors are searched along a graph of neighbours (HNSW); without lists and graph each is compared."""
    missing_shards: tuple[str, ...] = ()
    """Servers with a part of the index that did not take part: what they hold is not in this."""


@dataclass(frozen=True, slots=True)
class Removal:
    """What was taken out of the index."""

    removed: tuple[str, ...]
    """The ids of the papers."""
    generation: int
    """The index's, without them."""
