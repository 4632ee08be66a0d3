"""What the embedder and the full-text index read in place of the source: the words, without their Markdown.

Never shown, never cited: only matching uses it.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache

from indexer.papers import Span
from indexer.rows import is_rule
from indexer.syntax import HTML_TAG, has_marks, without_emphasis

_IMAGE_OR_LINK = re.compile(r"!?\[([^\[\]]{0,400})\]\([^()\s]{0,400}\)")
_ATTRIBUTES = re.compile(r"\{[#.][\w:-]{1,60}(?:\s+(?:[#.][\w:-]{1,60}|[\w-]{1,30}=[^\s{}]{1,60}))*\s*\}")
"""Pandoc's `{#fig:one .wide width=80%}`."""
_STRAY_MARK = re.compile(r"(?<!\w)[*_]+|[*_]+(?!\w)|`+")
"""Emphasis over a line's end; not the star of `HLA-B*27`."""
_POWER = re.compile(r"(?<=\d)\^(?=\d{1,3}\^)")
_SCRIPT = re.compile(r"\^([^\s^]{1,20})\^|~([^\s~]{1,20})~")
_LINE_PREFIX = re.compile(r"(?:^|(?<=\r))[ \t]*(?:>[ \t]*|[-+*][ \t]+|#{1,6}[ \t]+)+", re.MULTILINE)
_LINE = re.compile(r"[^\r\n]+")
_INK = re.compile(r"[^\s|:-]")
_CELL = re.compile(r"[ \t]*\|[ \t]*")
_EMPTY_BRACKETS = re.compile(r"[\[(][\s,;–-]*[\])]")
_SPACE_BEFORE_STOP = re.compile(r"\s+([.,;:])")


@lru_cache(maxsize=1 << 14)
def plain_text(text: str, start: int, end: int, drop: tuple[Span, ...] = (), *, table: bool = False) -> str:
    """`text[start:end]` as words on one line: the spans in `drop`, tags and Markdown syntax left out.

    What was asked last is remembered: a paper's passages and sentences are asked for more than once.

    With `table`, cells are joined by commas, rows by semicolons, and the rule under the header is left out.
    """
    pieces: list[str] = []
    at = start
    for span in drop:
        if at <= span.start and span.end <= end:
            pieces.append(text[at : span.start])
            at = span.end
    pieces.append(text[at:end])
    words = " ".join(pieces)
    if table:
        rows = (row for row in _LINE.findall(words) if _INK.search(row) and not is_rule(row))
        words = "; ".join(_CELL.sub(", ", row.strip(" \t|")) for row in rows)
    words = _IMAGE_OR_LINK.sub(r"\1", words)
    words = HTML_TAG.sub(" ", words)
    words = _ATTRIBUTES.sub("", words)
    words = _LINE_PREFIX.sub("", words)
    if "^" in words or "~" in words:
        words = _SCRIPT.sub(r"\1\2", _POWER.sub(" ^", words))
    if has_marks(words):
        words = _STRAY_MARK.sub("", without_emphasis(words))
    words = html.unescape(words)
    words = _EMPTY_BRACKETS.sub(" ", words)
    words = " ".join(words.split())
    return _SPACE_BEFORE_STOP.sub(r"\1", words).strip(" ,")
