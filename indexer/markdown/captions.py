"""Captions of tables and figures, told from sentences that only speak of them."""

from __future__ import annotations

import re
from typing import Literal

from indexer.syntax import HTML_TAG

_TABLE = r"(?:table|tab\.)"
_FIGURE = r"(?:fig(?:ure|s)?\.?|scheme|plate|video|movie|box|chart|graphical abstract)"
_OPENING = r"(?:(?:supplementary|supplemental|suppl?\.|extended data|supporting|additional|appendix|online) )?"
_NUMBER = r"(?:\s*[A-Z]?\d{1,3}(?:\.\d{1,2})?[A-Za-z]?\b|\s+(?-i:[A-Z]|[IVX]{1,5})\b)"

_BOLD = re.compile(rf"(?:\*\*|__)[*_]?{_OPENING}(?:(?P<table>{_TABLE})|{_FIGURE}){_NUMBER}", re.IGNORECASE)
"""`**Table 1** Hub genes`: nobody opens a sentence so."""
_PLAIN = re.compile(
    rf"[*_]?{_OPENING}(?:(?P<table>{_TABLE})|{_FIGURE}){_NUMBER}\s*(?:[.:|–—][*_]?(?:\s|$)|$)", re.IGNORECASE
)
"""`Figure 2. Loss of`, `Table 3: Means`; not `Figure 2 shows that`."""
_PANDOC = re.compile(r"(?:Table)?: \S")
"""`Table: Means`, under a pandoc table."""
_IMAGE = re.compile(
    r"!\[(?P<words>[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]\([^()]*(?:\([^()]*\)[^()]*)*\)(?:\{[^{}]*\})?"
    r"|!\[\[[^\[\]\r\n]*\]\]"
)
"""`![words](file){.wide}`, and `![[file]]` in a notebook of linked notes."""
_ANCHOR = re.compile(r"<(?P<tag>a|span)\s[^<>]*>\s*</(?P=tag)>", re.IGNORECASE)
"""What links go to, without words of its own."""
_BESIDE_TABLE = re.compile(rf"(?:\*\*|__)?{_OPENING}{_TABLE}\s+[A-Z]?\d{{1,3}}\s+(?-i:[A-Z(])", re.IGNORECASE)
"""`Table 1 Means by group`: a caption where a table stands beside it."""
_TITLE = re.compile(
    rf"{_OPENING}(?:(?P<table>{_TABLE})|{_FIGURE}){_NUMBER}"
    r"(?:\s?[–—-]\s?(?:figure supplement|source data)(?:\s\d{1,2})?)?(?P<words>\s*[.:|–—](?:\s.*)?|\s*)$",
    re.IGNORECASE,
)
"""`Table 1.`, `Figure 2: Loss`, `Video 3 | Cells`, `Box 4`; not `Plate 96 assays`, `Video 3D tracking of cells`."""
_BARE_TITLE = re.compile(
    rf"{_OPENING}(?:(?P<table>{_TABLE})|fig(?:ure)?\.?)\s*[A-Z]?\d{{1,3}}(?P<words>\s+(?-i:[A-Z(]).*)", re.IGNORECASE
)
"""`Table 1 Means by group`; not `Table 4 shows the rest`."""

_BLANKS = re.compile(r"\s*")
_BOLD_TAG = re.compile(r"</?(?:b|strong)\s*>", re.IGNORECASE)

CaptionKind = Literal["table_caption", "figure_caption"]


def caption_kind(source: str) -> CaptionKind | None:
    """Whether a paragraph is a caption, and of what; images and anchors may stand before its words."""
    start, has_image = _words_start(source)
    head = source[start : start + 80]
    if head.startswith("<"):
        head = HTML_TAG.sub("", _BOLD_TAG.sub("**", head))
    match = _BOLD.match(head) or _PLAIN.match(head)
    if match:
        return "table_caption" if match["table"] else "figure_caption"
    return "figure_caption" if has_image and start == len(source) else None


def is_image_without_words(source: str) -> bool:
    """Whether there is nothing to read in a paragraph but the names of images' files."""
    return "![" in source and not re.search(
        r"\w", _ANCHOR.sub("", _IMAGE.sub(lambda each: each["words"] or "", source))
    )


def captions_table(source: str) -> bool:
    """Whether a paragraph beside a table is its caption: `Table 1 Means by group`."""
    return bool(_BESIDE_TABLE.match(source[:80]))


def _words_start(source: str) -> tuple[int, bool]:
    """Where the images and anchors at the start of a paragraph end, and whether there is an image."""
    start, has_image = 0, False
    while True:
        match = None
        if source.startswith("![", start) and (match := _IMAGE.match(source, start)):
            has_image = True
        elif source.startswith("<", start):
            match = _ANCHOR.match(source, start)
        if match is None:
            return start, has_image
        behind = _BLANKS.match(source, match.end())
        start = behind.end() if behind else match.end()


def follows_table(source: str) -> bool:
    """Whether a paragraph under a table is its caption in pandoc's manner."""
    return bool(_PANDOC.match(source[:20]))


def titled_caption(title: str) -> tuple[CaptionKind, bool] | None:
    """What a heading such as `Table 1.` or `Figure 2. Loss` captions, and whether it holds the caption's words too."""
    match = _TITLE.match(title) or _BARE_TITLE.match(title)
    if match is None:
        return None
    return ("table_caption" if match["table"] else "figure_caption"), bool(match["words"].strip(" .:|–—"))


def is_label(source: str) -> bool:
    """Whether a caption is a label alone, such as `### Table 1.`."""
    caption = titled_caption(source.strip("#*_ \t"))
    return caption is not None and not caption[1]
