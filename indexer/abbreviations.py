"""Short forms and what they stand for, as a paper defines them itself.

Definitions in running text are looked for as Schwartz & Hearst 2003 do, about a parenthesis and in both orders; lists
of abbreviations (a section, a table, the foot of a table or figure) are read as lists. Knows nothing of passages or
indexes.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from indexer.papers import Abbreviation, Block, BlockKind, Paper, Span
from indexer.shortforms import SHORT_FORM, begins_like, is_long_form, is_short_form, long_form_before, singular
from indexer.syntax import HTML_TAG, trim
from indexer.terms import fold

_KINDS: frozenset[BlockKind] = frozenset(
    {"paragraph", "list_item", "quote", "heading", "figure_caption", "table_caption", "table"}
)
_MARK = re.compile(r"(?<!\w)[*_]+|[*_]+(?!\w)|[`^~\"“”]")
"""Emphasis, scripts and quotation marks; not the star of `HLA-B*27`."""
_INLINE_TAG = re.compile(r"</?(?:a|b|em|i|small|span|strong|su[bp]|u)\b", re.IGNORECASE)
_WORD = re.compile(r"[^\W_]+")
_MAX_SENTENCE = 300
"""Characters before a parenthesis that are read: the words that a long form may have come to 130 or so."""
_PARENTHESIS = re.compile(r"\(([^()]{2,200})\)|\[([^\[\]]{2,200})\]")
_LEAD_IN = re.compile(
    r"\s*(?:(?:hereafter|henceforth|here|termed|called|named|denoted|designated|abbreviated|referred to|known|short|"
    r"i\.?e\.?|or|also|the|as|to|by|for|from),?\s+){1,4}",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[!?:;|]\s*|\.\s+(?=[A-Z(\[])")
_YEAR = re.compile(r"\b(?:19|20)\d\d[a-z]?\b")

_LIST_TITLE = re.compile(r"(?:list of )?(?:abbreviations?|acronyms?|nomenclature)\b", re.IGNORECASE)
_LIST_LEAD = re.compile(r"\b(?:abbreviations?|acronyms?)\b[^:.|\n]{0,40}[:.]", re.IGNORECASE)
_ITEM = re.compile(rf"(?:^(?:[-+•]\s+)?|[;|\n(]|\.\s)\s*({SHORT_FORM})(?:\s*[=:]\s*|,\s+|\s[–—-]\s)(?=\w)")
_DECLARED_ITEM = re.compile(
    rf"(?:^(?:[-+•]\s+)?|[;|\n,.:]|\band )\s*({SHORT_FORM})(?:\s*[=:]\s*|,\s+|\s[–—-]\s|\s+)(?=\w)"
)
_ITEM_END = re.compile(r"[;|\n]|,(?=\s)|\.(?=\s|$)|$")
_MAX_ITEM = 150
_MAX_COMMAS = 4
_ROW = re.compile(r"[^\n]+")
_CELL = re.compile(r"[^|]+")


class _Definition(NamedTuple):
    """Where a short and its long form stand in a block's bare text."""

    short: Span
    long: Span


def find_abbreviations(paper: Paper) -> tuple[Abbreviation, ...]:
    """The paper's definitions in reading order; of those that give one short form one meaning, the first."""
    found: dict[tuple[str, str], Abbreviation] = {}
    for block in paper.blocks:
        section = paper.sections[block.section]
        is_list = bool(_LIST_TITLE.match(section.title))
        if block.kind in _KINDS and (section.role == "body" or (section.role == "back_matter" and is_list)):
            text, offsets = _bare(paper, block)
            definitions = {*_in_prose(text), *_in_lists(text, block.kind, is_list=is_list)}
            for short, long in sorted(definitions, key=lambda each: (each.short.start, each.long.start)):
                abbreviation = Abbreviation(
                    singular(text[short.start : short.end]),
                    " ".join(text[long.start : long.end].split()),
                    offsets[short.start],
                    offsets[short.end - 1] + 1,
                    offsets[long.start],
                    offsets[long.end - 1] + 1,
                )
                meaning = " ".join(_WORD.findall(fold(abbreviation.long))).removesuffix("s")
                found.setdefault((abbreviation.short, meaning), abbreviation)
    return tuple(found.values())


def _in_prose(text: str) -> Iterator[_Definition]:
    """`advanced glycation end products (AGEs)` and `DPP-4 (dipeptidyl peptidase-4)`."""
    for match in _PARENTHESIS.finditer(text):
        inside = Span(*match.span(match.lastindex or 0))
        start = max(0, match.start() - _MAX_SENTENCE)
        for end in _SENTENCE_END.finditer(text, start, match.start()):
            start = end.end()
        sentence = trim(text, start, match.start())
        if sentence and (found := _short_inside(text, sentence, inside) or _long_inside(text, sentence, inside)):
            yield found


def _short_inside(text: str, sentence: Span, inside: Span) -> _Definition | None:
    for span in _parts(text, inside):
        short = text[span.start : span.end]
        if is_short_form(short) and not (short.istitle() and _YEAR.search(text, span.end, inside.end)):  # (Wu, 2003)
            start = long_form_before(short, text[sentence.start : sentence.end])
            if start is not None:
                return _Definition(span, Span(sentence.start + start, sentence.end))
    return None


def _long_inside(text: str, sentence: Span, inside: Span) -> _Definition | None:
    words = list(re.finditer(r"[^\s()\[\],;]+", text[sentence.start : sentence.end]))[-2:]
    for word in reversed(words):
        span = Span(sentence.start + word.start(), sentence.end)
        if is_short_form(text[span.start : span.end]):
            for long in _parts(text, inside):
                if is_long_form(text[span.start : span.end], text[long.start : long.end]):
                    return _Definition(span, long)
    return None


def _parts(text: str, inside: Span) -> list[Span]:
    """What a parenthesis may hold a form in: all of it, or what stands before its first `;` or `,`; no lead-in."""
    start = lead.end() if (lead := _LEAD_IN.match(text, inside.start, inside.end)) else inside.start
    ends = [inside.end, *(end for mark in ";," if (end := text.find(mark, start, inside.end)) >= 0)]
    return [part for end in ends if (part := trim(text, start, end))]


def _in_lists(text: str, kind: BlockKind, *, is_list: bool) -> Iterator[_Definition]:
    """The rows of lists: `AGE, advanced glycation end product; BMD = …`, or two cells of a table.

    A list that calls itself one may separate its items by commas, and what stands for what by a space; elsewhere only
    items with a sign between count, and only from one full stop, semicolon or line to the next.
    """
    if kind == "table" and (is_list or _LIST_TITLE.search(text.partition("\n")[0])):
        for row in _ROW.finditer(text):
            cells = [trim(text, *cell.span()) for cell in _CELL.finditer(text, *row.span())]
            for left, right in itertools.pairwise(cells):
                if left and right:
                    yield from (
                        _Definition(short, long)
                        for short, long in ((left, right), (right, left))
                        if begins_like(text[short.start : short.end], text[long.start : long.end])
                    )
        return
    lead = _LIST_LEAD.search(text)
    start = 0 if is_list else lead.end() - 1 if lead else len(text)
    yield from _items(text, _ITEM, 0, start, ends=";|\n.")
    yield from _items(text, _DECLARED_ITEM, start, len(text), ends=";|\n.,")


def _items(text: str, pattern: re.Pattern[str], start: int, end: int, *, ends: str) -> Iterator[_Definition]:
    while match := pattern.search(text, start, end):
        start = match.end(1)
        short = Span(*match.span(1))
        if is_short_form(match[1]):
            stops = _ITEM_END.finditer(text, match.end(), min(end, match.end() + _MAX_ITEM))
            for stop in itertools.islice(stops, _MAX_COMMAS + 1):
                long = trim(text, match.end(), stop.start())
                is_end = stop[0] in ends if stop[0] else stop.start() == end
                if is_end and long and is_long_form(match[1], text[long.start : long.end]):
                    yield _Definition(short, long)
                    start = stop.start()
                    break


def _bare(paper: Paper, block: Block) -> tuple[str, list[int]]:
    """The block without mark-up and citation markers, and where each character of that stands in the paper.

    A tag that ends a cell or a line leaves a `|`.
    """
    text, end = paper.text, block.end
    first = bisect.bisect_left(paper.markers, block.start, key=lambda marker: marker.start)
    last = bisect.bisect_left(paper.markers, end, key=lambda marker: marker.start)
    drop = [(marker.start, marker.end, "") for marker in paper.markers[first:last]]
    for tag in HTML_TAG.finditer(text, block.start, end):
        drop.append((*tag.span(), "" if _INLINE_TAG.match(tag[0]) else "|"))
    drop += [(*mark.span(), "") for mark in _MARK.finditer(text, block.start, end)]
    pieces: list[str] = []
    offsets: list[int] = []
    at = block.start
    for start, stop, instead in sorted(drop):
        if start >= at:
            pieces += (text[at:start], instead)
            offsets += (*range(at, start), *(start for _ in instead))
            at = stop
    pieces.append(text[at:end])
    offsets += range(at, end)
    return "".join(pieces), offsets
