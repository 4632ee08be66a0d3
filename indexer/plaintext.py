"""What the embedder and the full-text index read in place of the source: the words, without their Markdown.

Never shown, never cited: only matching uses it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from indexer.papers import Span

_IMAGE_OR_LINK = re.compile(r"!?\[([^\[\]]{0,400})\]\([^()\s]{0,400}\)")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,300}>")
_ATTRIBUTES = re.compile(r"\{[#.][^{}]{0,100}\}")
_EMPHASIS = re.compile(r"\*+|(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])|`+")
_SCRIPT = re.compile(r"\^([^\s^]{1,20})\^|~([^\s~]{1,20})~")
_LINE_PREFIX = re.compile(r"^[ \t]*(?:>[ \t]*|[-+*][ \t]+|#{1,6}[ \t]+)+", re.MULTILINE)
_LINE = re.compile(r"[^\r\n]+")
_INK = re.compile(r"[^\s|:-]")
_CELL = re.compile(r"[ \t]*\|[ \t]*")
_EMPTY_BRACKETS = re.compile(r"[\[(][\s,;–-]*[\])]")
_SPACE_BEFORE_STOP = re.compile(r"\s+([.,;:])")
_SPACE = re.compile(r"\s+")


def plain_text(text: str, start: int, end: int, drop: Iterable[Span] = (), *, table: bool = False) -> str:
    """`text[start:end]` as words on one line: the spans in `drop`, tags and Markdown syntax left out.

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
        rows = (row for row in _LINE.findall(words) if _INK.search(row))
        words = "; ".join(_CELL.sub(", ", row.strip(" \t|")) for row in rows)
    words = _IMAGE_OR_LINK.sub(r"\1", words)
    words = _TAG.sub(" ", words)
    words = _ATTRIBUTES.sub("", words)
    words = _LINE_PREFIX.sub("", words)
    words = _SCRIPT.sub(r"\1\2", words)
    words = _EMPHASIS.sub("", words)
    words = html.unescape(words)
    words = _EMPTY_BRACKETS.sub(" ", words)
    words = _SPACE.sub(" ", words)
    return _SPACE_BEFORE_STOP.sub(r"\1", words).strip(" ,")
