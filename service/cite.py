"""The place cited: paper, section path, paragraph, sentences, offsets, and the references leaned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from indexer.papers import Reference, Sentence
from indexer.store import StoredPaper, StoredPassage
from service.names import read_name

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
    """The service's page of the paper, with the place as its fragment (RFC 5147): `/papers/PMC1#char=18223,18790`."""


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
    """What stands before it in its passage, up to 32 characters; empty at the passage's beginning."""
    suffix: str
    source: str
    source_sha256: str
    label: str
    links: Links
    references: tuple[CitedReference, ...]


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


def _cite(
    stored: StoredPassage, references: Mapping[int, Reference], named: Sequence[Sentence], start: int, end: int
) -> Citation:
    passage, paper = stored.passage, stored.paper
    first, last = start - passage.start, end - passage.start
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
        section=passage.section,
        paragraph=paragraph,
        sentences=tuple(sorted({sentence.number for sentence in named if sentence.paragraph == paragraph})),
        start=start,
        end=end,
        exact=passage.text[first:last],
        prefix=passage.text[max(0, first - SURROUNDINGS) : first],
        suffix=passage.text[last : last + SURROUNDINGS],
        source=paper.source,
        source_sha256=paper.sha256,
        label=label(paper, passage.section, passage.section_number, paragraph),
        links=links(paper, start, end),
        references=_cited(stored, references, start, end),
    )


def links(paper: StoredPaper, start: int, end: int) -> Links:
    """Where to read the paper, and `source[start:end]` in it."""
    return Links(
        doi=doi_url(paper.doi),
        reader=f"/papers/{quote(paper.paper_id, safe='')}#char={start},{end}",
    )


def doi_url(doi: str) -> str:
    """Where a DOI leads; empty for none."""
    return f"https://doi.org/{quote(doi, safe='/')}" if doi else ""


def label(paper: StoredPaper, section: Sequence[str], number: str, paragraph: int) -> str:
    """`Pang et al. 2026, §3.2 AGEs and Bone Quality, ¶4`: for people."""
    parts = [" ".join(filter(None, (_authors(paper), str(paper.year or ""))))]
    if section:
        title = section[-1]
        if number and title.startswith(number):
            title = f"{number} {title[len(number) :].lstrip('.) ')}"
        parts.append(f"§{title}")
    if paragraph:
        parts.append(f"¶{paragraph}")
    return ", ".join(parts)


def _authors(paper: StoredPaper) -> str:
    names = [read_name(author).family for author in paper.authors[:3]]
    if not names:
        title = paper.title or paper.paper_id
        return title if len(title) <= _LABEL_TITLE_CHARACTERS else f"{title[: _LABEL_TITLE_CHARACTERS - 1].rstrip()}…"
    if len(names) > 2:
        return f"{names[0]} et al."
    return " & ".join(names)


def _cited(
    stored: StoredPassage, references: Mapping[int, Reference], start: int, end: int
) -> tuple[CitedReference, ...]:
    passage = stored.passage
    return tuple(
        CitedReference(
            passage.text[at - passage.start : to - passage.start], entry.key, entry.text, entry.doi, entry.pmid
        )
        for at, to, numbers in stored.markers
        if start <= at and to <= end
        for entry in map(references.get, numbers)
        if entry is not None
    )
