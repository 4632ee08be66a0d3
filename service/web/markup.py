"""Papers' text as safe HTML: escaped, a span of it marked."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from service.answer import Highlight
from service.replies import TextBlock


def block_html(block: TextBlock, marked: tuple[int, int] | None = None, *, link_references: bool = True) -> str:
    """A block, `source[slice(*marked)]` in it marked; the first mark has the id `cited`. Markers lead to `#ref-<n>`."""
    text, at = block.text, block.start
    edges = {0, len(text)}
    if marked is not None:
        edges |= {min(max(each - at, 0), len(text)) for each in marked}
    links = {(each.start - at, each.end - at): each.references[0] for each in block.markers if link_references}
    edges |= {edge for span in links for edge in span}
    cuts = sorted(edges)
    pieces: list[str] = []
    for start, end in pairwise(cuts):
        piece = escape(text[start:end])
        if (start, end) in links:
            piece = f'<a href="#ref-{links[start, end] + 1}">{piece}</a>'
        if marked is not None and marked[0] <= at + start < at + end <= marked[1]:
            named = "" if any("<mark" in each for each in pieces) else ' id="cited"'
            piece = f"<mark{named}>{piece}</mark>"
        pieces.append(piece)
    return f"<p>{''.join(pieces)}</p>"


def text_html(text: str, highlights: Sequence[Highlight] = ()) -> str:
    """A text of its own, its highlights marked."""
    at, pieces = 0, []
    for each in highlights:
        pieces += [escape(text[at : each.start]), f"<mark>{escape(text[each.start : each.end])}</mark>"]
        at = each.end
    return f"<p>{''.join(pieces)}{escape(text[at:])}</p>"


def inline_html(text: str) -> str:
    """A title or the like, on one line."""
    return escape(" ".join(text.split()))
