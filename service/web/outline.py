"""A paper's text as a page shows it: sections in their tree, each with its blocks as HTML.

Every block is shown, where it stands. An entry of the reference list is where its block is; one that is known by its
key alone comes after them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from indexer.papers import Reference
from service.replies import PaperText, SectionView, TextBlock
from service.web.markup import block_html, inline_html

Span = tuple[int, int]
_FIRST_MARK = '<mark id="cited"'


@dataclass(frozen=True, slots=True)
class ShownReference:
    """An entry of the reference list; other text of the page leads to its anchor."""

    anchor: str
    reference: Reference


@dataclass(frozen=True, slots=True)
class ShownBlock:
    """A block, and the entries of the reference list that stand in it."""

    html: Markup
    references: tuple[ShownReference, ...]


@dataclass(frozen=True, slots=True)
class ShownSection:
    """A section with something to read in it or below it."""

    anchor: str
    title: Markup
    level: int
    """Depth in the tree, 1 for a top-level section."""
    blocks: tuple[ShownBlock, ...]
    children: list[ShownSection] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ShownPaper:
    """A paper's text."""

    preamble: tuple[ShownBlock, ...]
    """What stands above the first heading."""
    sections: tuple[ShownSection, ...]
    """In the order of the source, those of every level."""
    outline: tuple[ShownSection, ...]
    """The top-level ones."""
    loose: tuple[ShownReference, ...]
    """Entries whose text stands in no block."""
    is_marked: bool
    """Whether there is a mark, with the id `cited` on its first part: an item's number alone, say, has none."""


def shown(text: PaperText, marked: Span | None = None) -> ShownPaper:
    """The paper with `source[slice(*marked)]` marked, or as much of that as there is."""
    entries = [ShownReference(f"ref-{n}", each) for n, each in enumerate(text.references, start=1)]
    standing_at = sorted((each for each in entries if each.reference.start < each.reference.end), key=_start)
    once = _once()
    blocks: dict[int, list[ShownBlock]] = {}
    titles: dict[int, Markup] = {}
    standing: set[str] = set()
    for block in text.blocks:
        span = _within(block, marked)
        if block.kind == "heading":  # the section's title, which the page has anyway
            if span and block.section >= 0:
                title = inline_html(text.sections[block.section].title)
                titles[block.section] = Markup(once(f"{_FIRST_MARK}>{title}</mark>"))
            continue
        first = bisect_left(standing_at, block.start, key=_start)
        begun = standing_at[first : bisect_left(standing_at, block.end, first, key=_start)]
        held = tuple(each for each in begun if each.reference.end <= block.end)
        standing |= {each.anchor for each in held}
        blocks.setdefault(block.section, []).append(ShownBlock(Markup(once(block_html(block, span))), held))
    sections, outline = _tree(text.sections, blocks, titles)
    return ShownPaper(
        preamble=tuple(blocks.get(-1, ())),
        sections=sections,
        outline=outline,
        loose=tuple(each for each in entries if each.anchor not in standing),
        is_marked=bool(titles) or any(_FIRST_MARK in each.html for some in blocks.values() for each in some),
    )


def _once() -> Callable[[str], str]:
    """Leaves the id to the first mark of all."""
    found = False

    def leave(html: str) -> str:
        nonlocal found
        kept = html.replace(_FIRST_MARK, "<mark") if found else html
        found |= _FIRST_MARK in html
        return kept

    return leave


def _within(block: TextBlock, marked: Span | None) -> Span | None:
    """The part of the span that stands in the block."""
    if marked is None:
        return None
    start, end = max(marked[0], block.start), min(marked[1], block.end)
    return (start, end) if start < end else None


def _start(entry: ShownReference) -> int:
    return entry.reference.start


def _tree(
    views: Sequence[SectionView], blocks: dict[int, list[ShownBlock]], titles: dict[int, Markup]
) -> tuple[tuple[ShownSection, ...], tuple[ShownSection, ...]]:
    """Sections in order, and the top-level ones with the others below them. What has nothing to read is left out."""
    above: list[int] = []
    path = [-1]
    for n, view in enumerate(views):
        while len(path) > 1 and views[path[-1]].level >= view.level:
            path.pop()
        above.append(path[-1])
        path.append(n)
    readable = {*blocks, *titles}
    for n in reversed(range(len(views))):
        if n in readable:
            readable.add(above[n])
    sections: dict[int, ShownSection] = {}
    top: list[ShownSection] = []
    for n, view in enumerate(views):
        if n in readable:
            title = titles.get(n) or Markup(inline_html(view.title))
            sections[n] = ShownSection(f"section-{n + 1}", title, view.level, tuple(blocks.get(n, ())))
            (sections[above[n]].children if above[n] >= 0 else top).append(sections[n])
    return tuple(sections.values()), tuple(top)
