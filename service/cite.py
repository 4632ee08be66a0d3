"""The place cited: paper, section path, paragraph, sentences, offsets, and the references leaned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from indexer.chunking import split_block
from indexer.papers import Block, Notice, Paper, Reference, Sentence, SourceFormat
from indexer.store import StoredPaper, StoredPassage
from service.names import read_name
from service.printable import marked

_LABEL_TITLE_CHARACTERS = 60
SURROUNDINGS = 32
"""Characters of what stands on either side of a cited text."""


@dataclass(frozen=True, slots=True)
class CitedReference:
    """An entry of the paper's reference list that the cited text names."""

    marker: str
    """As it stands in the text: `[45]`, `[44-46]`."""
    number: str
    """What the list has it as: `45`; a citation key where the paper cites by keys."""
    text: str
    doi: str
    pmid: str


@dataclass(frozen=True, slots=True)
class Links:
    """Where a browser finds the paper, and the place in it."""

    doi: str
    """`https://doi.org/10.3390/ijms27031453`; empty for a paper without a DOI."""
    reader: str
    """The service's page of the paper with the place marked, below the service's own address:
    `/papers/PMC1?start=18223&end=18790&of=2434d33f4019#cited`. `of` is the beginning of the source's SHA-256."""


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a text stands. `source[start:end]` is that text, to the character."""

    paper_id: str
    title: str
    authors: tuple[str, ...]
    year: int | None
    journal: str
    date: str
    doi: str
    pmcid: str
    pmid: str
    url: str
    section: tuple[str, ...]
    """Section titles from the top-level section down; empty where the paper has no headings there."""
    paragraph: int
    """1-based, in its section: the paragraph of the cited sentences. 0 for a heading."""
    sentences: tuple[int, ...]
    """1-based, in that paragraph."""
    start: int
    end: int
    exact: str
    """`source[start:end]`. With what stands around it, enough to find it again in a changed file: a text quote selector
    of the W3C's Web Annotation Data Model."""
    prefix: str
    """What stands before it in its passage, up to 32 characters; empty at the passage's beginning. Of a text that was
    found again in a changed file, which has no passages yet: what stands before it in the file."""
    suffix: str
    source: str
    source_sha256: str
    label: str
    links: Links
    references: tuple[CitedReference, ...]
    notices: tuple[Notice, ...] = ()
    """What is known of the paper beyond its text: `retracted` above all, which the label says too."""
    source_format: SourceFormat = "markdown"
    """What the source is. The offsets count in a Markdown file as it stands; of another format, in the Markdown that
    was made of it, which the index keeps."""

    @property
    def span(self) -> str:
        """The file, and the place in it, for people: `PMC12898183.md:18223-18790`."""
        made = "" if self.source_format == "markdown" else " (as Markdown)"
        return f"{self.source}{made}:{self.start}-{self.end}"


def cite(stored: StoredPassage, references: Mapping[int, Reference], best: Sequence[Sentence] = ()) -> Citation:
    """The citation of a passage; `references` are the paper's, by number.

    Paragraph and sentence numbers are those of the best sentences' first paragraph, of all its sentences in the
    passage where none is named.
    """
    return _cite(stored, references, best or stored.passage.sentences, stored.passage.start, stored.passage.end)


def cite_sentences(
    stored: StoredPassage, references: Mapping[int, Reference], sentences: Sequence[Sentence]
) -> Citation:
    """The citation of neighbouring sentences of a passage: their own offsets, and the references that they name."""
    return _cite(stored, references, sentences, sentences[0].start, sentences[-1].end)


def cite_within(stored: StoredPassage, references: Mapping[int, Reference], start: int, end: int) -> Citation:
    """The citation of the part of a passage from `start` to `end`, offsets into the source."""
    named = [each for each in stored.passage.sentences if each.start < end and each.end > start]
    return _cite(stored, references, named, start, end)


def cite_span(paper: Paper, start: int, end: int, named: Sequence[Sentence] = ()) -> Citation:
    """The citation of `paper.text[start:end]`, wherever in the paper it stands, as a new index would number it.

    Paragraph and sentence numbers are those of the first paragraph of `named`, of all that the span touches where none
    is named.
    """
    text = paper.text
    block = next(each for each in paper.blocks if each.end > start)
    section = paper.sections[block.section]
    markers = tuple((marker.start, marker.end, marker.references) for marker in paper.markers)
    return _citation(
        paper,
        paper.section_path(block.section),
        section.number,
        named or sentences_in(paper, start, end),
        (start, end),
        (text[max(0, start - SURROUNDINGS) : start], text[start:end], text[end : end + SURROUNDINGS]),
        _cited(text, 0, markers, dict(enumerate(paper.references)), start, end),
    )


def sentences_in(paper: Paper, start: int, end: int) -> list[Sentence]:
    """The sentences of which some stands in the span, in order."""
    blocks = (block for block in paper.blocks if block.start < end and block.end > start)
    return [each for block in blocks for each in _sentences(paper, block) if each.start < end and each.end > start]


def _sentences(paper: Paper, block: Block) -> list[Sentence]:
    spans = split_block(paper.text, block)
    return [Sentence(span.start, span.end, block.paragraph, number) for number, span in enumerate(spans, start=1)]


def _cite(
    stored: StoredPassage, references: Mapping[int, Reference], named: Sequence[Sentence], start: int, end: int
) -> Citation:
    passage = stored.passage
    first, last = start - passage.start, end - passage.start
    prefix, suffix = passage.text[max(0, first - SURROUNDINGS) : first], passage.text[last : last + SURROUNDINGS]
    return _citation(
        stored.paper,
        passage.section,
        passage.section_number,
        named,
        (start, end),
        (prefix, passage.text[first:last], suffix),
        _cited(passage.text, passage.start, stored.markers, references, start, end),
    )


def _citation(
    paper: Paper | StoredPaper,
    section: tuple[str, ...],
    section_number: str,
    named: Sequence[Sentence],
    span: tuple[int, int],
    reading: tuple[str, str, str],
    references: tuple[CitedReference, ...],
) -> Citation:
    """`reading` is the text with what stands before and after: prefix, exact, suffix."""
    (start, end), (prefix, exact, suffix) = span, reading
    paragraph = named[0].paragraph
    return Citation(
        paper_id=paper.paper_id,
        title=paper.title,
        authors=paper.authors,
        year=paper.year,
        journal=paper.journal,
        date=paper.date,
        doi=paper.doi,
        pmcid=paper.pmcid,
        pmid=paper.pmid,
        url=paper.url,
        section=section,
        paragraph=paragraph,
        sentences=tuple(sorted({sentence.number for sentence in named if sentence.paragraph == paragraph})),
        start=start,
        end=end,
        exact=exact,
        prefix=prefix,
        suffix=suffix,
        source=paper.source,
        source_sha256=paper.sha256,
        label=label(paper, section, section_number, paragraph),
        links=links(paper, start, end),
        references=references,
        notices=paper.notices,
        source_format=paper.format,
    )


def links(paper: Paper | StoredPaper, start: int, end: int) -> Links:
    """Where to read the paper, and `source[start:end]` in it."""
    return Links(
        doi=doi_url(paper.doi),
        reader=f"/papers/{quote(paper.paper_id, safe='')}?start={start}&end={end}&of={paper.sha256[:12]}#cited",
    )


def doi_url(doi: str) -> str:
    """Where a DOI leads; empty for none."""
    return f"https://doi.org/{quote(doi, safe='/')}" if doi else ""


def reader_url(base_url: str, citation: Citation) -> str:
    """The absolute address of the cited place in the service's reader."""
    return f"{base_url}{citation.links.reader}"


def label(paper: Paper | StoredPaper, section: Sequence[str], number: str, paragraph: int) -> str:
    """`Pang et al. 2026, §3.2 AGEs and Bone Quality, ¶4`: for people. Of a retracted paper it begins with that."""
    parts = [" ".join(filter(None, (_authors(paper), str(paper.year or ""))))]
    if section:
        title = section[-1]
        if number and title.startswith(number):
            title = f"{number} {title[len(number) :].lstrip('.) ')}"
        parts.append(f"§{title}")
    if paragraph:
        parts.append(f"¶{paragraph}")
    return marked(", ".join(parts), paper.notices)


def _authors(paper: Paper | StoredPaper) -> str:
    names = [read_name(author).family for author in paper.authors[:3]]
    if not names:
        title = paper.title or paper.paper_id
        return title if len(title) <= _LABEL_TITLE_CHARACTERS else f"{title[: _LABEL_TITLE_CHARACTERS - 1].rstrip()}…"
    if len(names) > 2:
        return f"{names[0]} et al."
    return " & ".join(names)


def _cited(
    text: str,
    at: int,
    markers: Sequence[tuple[int, int, tuple[int, ...]]],
    references: Mapping[int, Reference],
    start: int,
    end: int,
) -> tuple[CitedReference, ...]:
    """The entries that the markers between `start` and `end` name; `text` stands at `at` in the source."""
    return tuple(
        CitedReference(text[first - at : last - at], entry.key, entry.text, entry.doi, entry.pmid)
        for first, last, numbers in markers
        if start <= first and last <= end
        for entry in map(references.get, numbers)
        if entry is not None
    )
