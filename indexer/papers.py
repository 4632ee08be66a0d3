"""What a paper is made of: the words that the whole house uses.

Offsets are Python code points into `Paper.text`, half-open: `text[start:end]`. `Paper.text` is the file's own text,
decoded as UTF-8 and otherwise untouched; of a file in another format, the Markdown made of it. Nothing here reads files
or knows about models and indexes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BlockKind = Literal[
    "paragraph",
    "list_item",
    "table",
    "table_caption",
    "figure_caption",
    "equation",
    "code",
    "quote",
    "heading",  # a section's title line(s)
    "metadata",  # title, authors, ids, licence, front matter, source line
    "entities",  # a record's lists of linked or full-text entities
    "markup",  # thematic breaks, HTML comments, template code: nothing to read
]

CONTENT_KINDS: frozenset[BlockKind] = frozenset(
    {"paragraph", "list_item", "table", "table_caption", "figure_caption", "equation", "code", "quote"}
)
"""The kinds that become passages. The others are listed as left out."""

Role = Literal["body", "back_matter", "references"]
"""What a section is to a searcher. `back_matter` is acknowledgements, funding, conflicts of interest and the like.
Only `body` is searched unless the searcher asks for more."""

Notice = Literal["retracted", "retraction", "corrected", "correction", "concern"]
"""What is known of a paper beyond its text: it was retracted (corrected), or is the notice of another's retraction
(correction); or an expression of concern stands about it."""

SourceFormat = Literal["markdown", "jats", "manuscript"]
"""What a paper's file is: Markdown, which is the paper's text as it stands; JATS XML, of which the text is made; or a
folder with a manuscript in several Markdown files, of which it is put together."""

PaperOrder = Literal["paper_id", "title", "year", "journal"]
"""What papers are listed in the order of; the latest year first."""


@dataclass(frozen=True, slots=True)
class Span:
    """Half-open code-point offsets into the paper's text."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """A node of the section tree. Section 0 is the root: the paper itself, above the first heading."""

    title: str
    """As it reads, its number kept, emphasis and attributes dropped: `3.2. AGEs and Bone Quality`."""
    number: str
    """`3.2`, without a closing dot; empty where the title has none."""
    parent: int
    """Index into `Paper.sections`; -1 for the root."""
    level: int
    """Depth in the tree: 0 for the root, 1 for a top-level section."""
    start: int
    """Offset of the heading; 0 for the root."""
    role: Role


@dataclass(frozen=True, slots=True)
class Block:
    """A run of lines with one kind. Blocks are in order, do not overlap, and cover every non-blank character."""

    kind: BlockKind
    start: int
    end: int
    section: int
    """Index into `Paper.sections`."""
    paragraph: int
    """1-based number among the content blocks of its section; 0 for the other kinds."""
    caption: Span | None = None
    """Of a table: where its caption stands, if it has one."""
    header: Span | None = None
    """Of a table: its header row(s), inside the block."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An entry of the reference list."""

    key: str
    """What inline markers name it by: its number ("12") or its citation key ("doi:10.1000/x")."""
    text: str
    doi: str
    pmid: str
    start: int
    end: int
    """`text` is `Paper.text[start:end]`; both offsets are equal for an entry that is known by its key alone."""


@dataclass(frozen=True, slots=True)
class Marker:
    """An inline citation marker, with the entries that it names."""

    start: int
    end: int
    references: tuple[int, ...]
    """Indexes into `Paper.references`, in the order named; never empty."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A row of the record's entity lists: metadata, dirty, never a passage."""

    kind: str
    """The list's own word: `Genes`, `Diseases`."""
    name: str
    description: str
    identifier: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Abbreviation:
    """A short form and what it stands for, where the paper defines it."""

    short: str
    """In the singular, without mark-up: `AGE`."""
    long: str
    """As it reads, on one line, without mark-up and citation markers: `advanced glycation end products`."""
    short_start: int
    short_end: int
    """Of the short form as it stands, its plural `s` with it: `AGEs`."""
    long_start: int
    long_end: int


@dataclass(frozen=True, slots=True)
class AliasGroup:
    """The names of one thing, one of them at least in the paper's own words."""

    names: tuple[str, ...]
    """Two or more; those that the paper's body uses come first, as they stand there: `β-catenin`, `CTNNB1`."""
    identifier: str
    """As its record gives it: `NCBI Gene 1499`; empty where unknown."""


@dataclass(frozen=True, slots=True)
class Paper:
    """One paper, parsed. Every offset in it points into `text`."""

    paper_id: str
    """The PMCID, else the DOI with `/` as `_`, else the file's stem."""
    source: str
    """The file as it was given, below the folder that was indexed, with `/`."""
    sha256: str
    """Of the file's bytes."""
    text: str
    """Of a Markdown file its own, else the Markdown made of it."""
    title: str
    authors: tuple[str, ...]
    pmcid: str
    doi: str
    pmid: str
    journal: str
    date: str
    """As given: `2026-01-31`, `2014`; empty where unknown."""
    year: int | None
    licence: str
    url: str
    """The record's own link, else one made from its DOI or PMCID; empty where unknown."""
    sections: tuple[Section, ...]
    blocks: tuple[Block, ...]
    references: tuple[Reference, ...]
    markers: tuple[Marker, ...]
    entities: tuple[Entity, ...]
    body_omitted: str
    """Where the full text can be had, when the file says that its body was left out; else empty."""
    notices: tuple[Notice, ...] = ()
    format: SourceFormat = "markdown"
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Of a file that `text` was made of: the non-blank characters that `text` does not have, by the file's element."""

    def section_path(self, index: int) -> tuple[str, ...]:
        """Titles from the top-level section down to `index`; empty for the root."""
        path: list[str] = []
        while index > 0:
            section = self.sections[index]
            path.append(section.title)
            index = section.parent
        return tuple(reversed(path))


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of a passage."""

    start: int
    end: int
    paragraph: int
    """1-based number of its paragraph in the section."""
    number: int
    """1-based number in its paragraph."""


@dataclass(frozen=True, slots=True)
class Passage:
    """The unit of search: whole sentences of one section. `paper.text[start:end] == text`."""

    passage_id: str
    """`<paper_id>:<hash>`, made from content only."""
    paper_id: str
    ordinal: int
    """0-based place among the paper's passages."""
    start: int
    end: int
    text: str
    kind: BlockKind
    """Of its first block."""
    role: Role
    section: tuple[str, ...]
    """Section titles from the top-level section down."""
    section_number: str
    sentences: tuple[Sentence, ...]
    embedded_text: str
    """What the embedder and the full-text index read; may differ from `text`."""
    n_wordpieces: int
    """Of `embedded_text`, in the embedder's own tokens, special tokens included."""
    n_tokens: int
    """Of `text`, in tiktoken's cl100k_base tokens."""
