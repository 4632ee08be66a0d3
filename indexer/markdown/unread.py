"""What there is nothing to read in: comments, template code, tags, images without words, definitions of links."""

from __future__ import annotations

import re

from indexer.markdown.captions import is_image_without_words
from indexer.papers import BlockKind
from indexer.syntax import HTML_TAG

INVISIBLE = "\ufeff\u200b\u200c\u200d\u2060"
"""The byte order mark and characters without width."""

_UNREAD = (
    ("<!--", "-->"),
    ("{##", "##}"),
    ("{%", "%}"),
    ("{{", "}}"),
    ("%%", "%%"),
    ("<style", "</style>"),
    ("<script", "</script>"),
)
"""Comments, template code, styles and scripts: what opens one, and what closes it."""
_LETTERS = re.compile(r"\w{2}")
_MARKS = re.compile(rf"[-+=~:_*^|#`.\s{INVISIBLE}]+")
"""Underlines, rules and fences that are none."""
_PLACEHOLDER = re.compile(r"\[MISSING_PAGE\w{0,20}(?::\d{1,6})?\]|\^[A-Za-z0-9-]{1,60}")
"""`[MISSING_PAGE_EMPTY:3]`, where a converter failed; `^table-1`, by which a notebook names the block above."""
DIV_FENCE = re.compile(r":{3,}[ \t]*(?:\{[^{}]*\}|[\w-]+)?[ \t]*:*[ \t]*")
"""`::: {.note}`, which opens or closes a division in pandoc's manner."""
_LINK_DEFINITION = re.compile(
    r"[ \t]*\[(?P<label>[^\[\]\r\n]{1,200})\]:[ \t]*"
    r"(?:<[^<>\s]+>|(?:https?|ftp|mailto|doi|pmid|pmcid|pmc|arxiv|isbn|url|wikidata|raw|clinicaltrials):\S+"
    r"|(?:#|\.{0,2}/)\S+|[\w./-]+\.[A-Za-z]{2,5}(?:#\S*)?)"
    r"(?:[ \t]+(?:\"[^\"]*\"|'[^']*'|\([^()]*\)))?[ \t]*",
    re.IGNORECASE,
)
"""`[label]: target "title"`, the target a URL, a citation key, a path or an anchor: with words there, it is a footnote
or an entry of a list."""
_NUMBER_LABEL = re.compile(r"\d{1,4}")


def is_template(source: str) -> bool:
    """Whether there is template code in a block, or it is a notebook's comment."""
    return "{%" in source or "{##" in source or "{{" in source or source.startswith("%%")


def is_unread(source: str) -> bool:
    """Whether there are no words in a block: marks alone, a placeholder, images of which nothing is said."""
    if _MARKS.fullmatch(source) or _PLACEHOLDER.fullmatch(source) or DIV_FENCE.fullmatch(source):
        return True
    return is_image_without_words(source)


def markup_kind(source: str) -> BlockKind:
    """HTML, comments, rules and template code: content where that is not all, nor most, of a block."""
    words = HTML_TAG.sub(" ", _without_unread(source))
    if not _LETTERS.search(words) or ("{%" in source and len(words) * 2 < len(source)):
        return "markup"
    return "figure_caption" if source.startswith("<figure") else "paragraph"


def only_defines_links(source: str, *, in_references: bool) -> bool:
    """Whether every line of a paragraph is a link definition. A number in a reference list labels an entry."""
    for line in re.split(r"\r\n|\r|\n", source):
        match = _LINK_DEFINITION.fullmatch(line)
        if match is None or (in_references and _NUMBER_LABEL.fullmatch(match["label"])):
            return False
    return True


def _without_unread(source: str) -> str:
    """The text between comments and template code. One that never closes is text."""
    for opening, closing in _UNREAD:
        pieces: list[str] = []
        at = 0
        while (start := source.find(opening, at)) >= 0 and (end := source.find(closing, start + len(opening))) >= 0:
            pieces.append(source[at:start])
            at = end + len(closing)
        source = " ".join([*pieces, source[at:]])
    return source
