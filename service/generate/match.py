"""A quote as a model wrote it -> the spans of the source that it stands for.

A model copies words, not characters: white space, case, quotation marks, dashes, Unicode forms, Markdown, tags and
citation markers may differ, and an ellipsis may stand for what it left out. The words may not.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from indexer.papers import Span
from indexer.store import StoredPassage
from indexer.syntax import HTML_TAG
from indexer.terms import fold, terms

MIN_WORDS = 3
MIN_CHARACTERS = 15
"""A quote has so many words or so many characters; a shorter one proves nothing."""

_ELLIPSIS = re.compile(r"\s*[\[(]?(?:…|\.{3,}|\. \. \.)[\])]?\s*")
_CITED_NUMBERS = re.compile(r"\[[\d,;\s–-]+\]|\^[\d,;\s–-]+\^")
_DROPPED = frozenset("*_`^~\\\"'“”„‟«»‹›「」‘’")
_DASHES = frozenset("‐‑‒–—―−")
_DECIMALS = frozenset(".,")


def is_substantial(quote: str) -> bool:
    """Whether the quote, and each part of one with an ellipsis, is long enough to prove something."""
    parts = _parts(quote)
    return bool(parts) and all(
        bool(terms(part)) and (len(part.split()) >= MIN_WORDS or len(part) >= MIN_CHARACTERS) for part in parts
    )


def find(quote: str, stored: StoredPassage) -> list[Span]:
    """Where the quote stands in the passage's text, a span for each part between ellipses; empty where it does not."""
    text = stored.passage.text
    parts = _parts(quote)
    if exact := _in_order(parts, text, list(range(len(text))), text):
        return exact
    start = stored.passage.start
    cited = [Span(at - start, to - start) for at, to, _ in stored.markers]
    tags = [Span(*match.span()) for match in HTML_TAG.finditer(text)]
    bare = [HTML_TAG.sub("", _CITED_NUMBERS.sub("", part)) for part in parts]
    for wanted, without in ((parts, ()), (bare, (*cited, *tags))):
        folded, origin = _folded(text, without)
        if spans := _in_order([_folded(part, ())[0] for part in wanted], folded, origin, text):
            return spans
    return []


def _parts(quote: str) -> list[str]:
    return [part for part in (each.strip() for each in _ELLIPSIS.split(quote)) if part]


def _in_order(parts: Sequence[str], folded: str, origin: Sequence[int], text: str) -> list[Span]:
    """Spans of `text` whose folded text the parts are, one after another; empty unless all are there."""
    spans: list[Span] = []
    at = 0
    for part in parts:
        while True:
            at = folded.find(part, at) if part else -1
            if at < 0:
                return []
            end = origin[at + len(part) - 1] + 1
            while end < len(text) and unicodedata.combining(text[end]):
                end += 1
            if _whole(text, origin[at], end):
                break
            at += 1
        spans.append(Span(origin[at], end))
        at += len(part)
    return spans


def _whole(text: str, start: int, end: int) -> bool:
    """Whether no word or number is cut: the `5` of `0.5` is another number."""
    return not _joined(text, start) and not _joined(text, end)


def _joined(text: str, at: int) -> bool:
    before, after = text[max(0, at - 2) : at], text[at : at + 2]
    if not before or not after:
        return False
    if before[-1].isalnum() and after[0].isalnum():
        return True
    return (before[-1] in _DECIMALS and before[0].isdigit() and len(before) == 2 and after[0].isdigit()) or (
        before[-1].isdigit() and after[0] in _DECIMALS and after[1:].isdigit()
    )


def _folded(text: str, without: Sequence[Span]) -> tuple[str, list[int]]:
    """What of the text has to agree, and where each character of that stands in it."""
    left_out = {at for span in without for at in range(span.start, span.end)}
    pieces: list[str] = []
    origin: list[int] = []
    for at, character in enumerate(text):
        if at not in left_out and (piece := _folded_character(character)):
            pieces.append(piece)
            origin += [at] * len(piece)
    return "".join(pieces), origin


@lru_cache(maxsize=1 << 12)
def _folded_character(character: str) -> str:
    if character in _DASHES:
        return "-"
    if character in _DROPPED or unicodedata.category(character) == "Cf":
        return ""
    return "".join(fold(character).split())
