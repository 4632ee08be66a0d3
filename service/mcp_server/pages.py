"""A paper as Markdown, in pieces that follow one another without gaps or repeats, each called by an id.

`PMC1` is the paper from its beginning, `PMC1#char=18223` what follows that character of its source.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from service.library import Library
from service.printable import one_line
from service.replies import PaperSummary, PaperText, PassageView, SectionView

_PLACE = re.compile(r"(.+)#char=(\d{1,9})", re.DOTALL)
_PART_CHARACTERS = 800
"""Longer blocks may be cut in two between replies, after a line or sentence where they can. So short that it fits a
reply in any script: there are characters of four tokens."""
_CUTS = ("\n", ". ", " ")
_MAX_AUTHORS = 10


@dataclass(frozen=True, slots=True)
class Part:
    """Some of a paper's text that is shown whole or not at all."""

    text: str
    """As Markdown, headings above it and what sets it off from the part before included."""
    start: int
    end: int
    """Offsets into the source."""


@dataclass(frozen=True, slots=True)
class Page:
    """A paper from some place on, and how far one cares to read."""

    paper: PaperSummary
    head: str
    """What comes before the first part; empty but at the paper's beginning."""
    parts: tuple[Part, ...]

    def text(self, n_parts: int) -> str:
        """The first parts."""
        return (self.head + "".join(part.text for part in self.parts[:n_parts])).strip("\n")

    def next_id(self, n_parts: int) -> str:
        """What goes on after them, one at least; empty at the paper's end.

        It begins where they end, not where the next one begins: headings stand between.
        """
        return place(self.paper.paper_id, self.parts[n_parts - 1].end) if n_parts < len(self.parts) else ""


def place(paper_id: str, start: int) -> str:
    """The id of a paper's text from `source[start]` on."""
    return f"{paper_id}#char={start}"


def open_page(library: Library, page_id: str, base_url: str) -> Page:
    """The page of that id. Raises NotFoundError."""
    named = _PLACE.fullmatch(page_id)
    paper_id, start = (named[1], int(named[2])) if named else (page_id, 0)
    text = library.text(paper_id)
    return Page(text.paper, "" if named else _head(text.paper, base_url), tuple(_parts(text, start)))


def join(views: Sequence[PassageView]) -> str:
    """Neighbouring passages as one text, each of them unaltered, with the headings that they stand under."""
    text, section = "", tuple[str, ...]()
    for view in views:
        within = view.citation.section == section
        section = view.citation.section
        heading = f"## {one_line(section[-1])}\n\n" if section and not within else ""
        # A passage that begins after the first sentence of its paragraph goes on with the one before it.
        goes_on = within and view.citation.sentences[:1] > (1,)
        text += ("\n" if goes_on else "\n\n") + heading + view.text
    return text.lstrip("\n")


def paper_url(paper_id: str, base_url: str) -> str:
    """Where a browser finds the paper."""
    return f"{base_url}/papers/{quote(paper_id, safe='')}"


def _head(paper: PaperSummary, base_url: str) -> str:
    """What is known of the paper, under its title."""
    more = len(paper.authors) - _MAX_AUTHORS
    authors = "; ".join((*paper.authors[:_MAX_AUTHORS], *((f"and {more:,} more",) if more > 0 else ())))
    published = ", ".join(filter(None, (paper.journal, paper.date or str(paper.year or ""))))
    lines = (
        ("Notices", ", ".join(paper.notices)),
        ("Authors", authors),
        ("Published", published),
        ("DOI", paper.doi),
        ("Licence", paper.licence),
        ("Paper id", paper.paper_id),
        ("Source", f"{paper.source}, SHA-256 {paper.source_sha256}"),
        ("Page", paper_url(paper.paper_id, base_url)),
        ("The full text is not in this file, it is at", paper.body_omitted),
    )
    said = "\n".join(f"- {name}: {one_line(value)}" for name, value in lines if value)
    return f"# {one_line(paper.title or paper.paper_id)}\n\n{said}"


def _parts(paper: PaperText, start: int) -> Iterator[Part]:
    """The paper's headings and blocks from that place on, and from the first character of one that is not blank."""
    section = bisect_left(paper.sections, start, key=lambda each: each.start) - 1
    for block in paper.blocks:
        if rest := block.text[max(start - block.start, 0) :].lstrip():
            lead = "\n\n" + _headings(paper.sections[section + 1 : block.section + 1])
            for since, until in _spans(block.text, len(block.text) - len(rest)):
                yield Part(lead + block.text[since:until], block.start + since, block.start + until)
                lead = ""
            section = block.section


def _headings(sections: Sequence[SectionView]) -> str:
    return "".join(f"{'#' * min(each.level + 1, 6)} {one_line(each.title)}\n\n" for each in sections)


def _spans(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Spans of the text from `start` on, none of them too long."""
    while len(text) - start > _PART_CHARACTERS:
        last = start + _PART_CHARACTERS
        ends = (at + len(each) for each in _CUTS if (at := text.rfind(each, start, last)) >= start)
        end = next(ends, last)
        yield start, end
        start = end
    yield start, len(text)
