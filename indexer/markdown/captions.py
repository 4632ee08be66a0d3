"""Captions of tables and figures, told from sentences that only speak of them."""

from __future__ import annotations

import re
from typing import Literal

_TABLE = r"(?:table|tab\.)"
_FIGURE = r"(?:fig(?:ure|s)?\.?|scheme|plate|video|movie|box|chart|graphical abstract)"
_OPENING = r"(?:supplementary |supplemental |extended data |supporting |additional |online )?"
_NUMBER = r"(?:\s*[A-Z]?\d{1,3}(?:\.\d{1,2})?[A-Za-z]?\b|\s+(?-i:[A-Z]|[IVX]{1,5})\b)"

_BOLD = re.compile(rf"(?:\*\*|__)[*_]?{_OPENING}(?:(?P<table>{_TABLE})|{_FIGURE}){_NUMBER}", re.IGNORECASE)
"""`**Table 1** Hub genes`: nobody opens a sentence so."""
_PLAIN = re.compile(
    rf"[*_]?{_OPENING}(?:(?P<table>{_TABLE})|{_FIGURE}){_NUMBER}\s*(?:[.:|–—][*_]?(?:\s|$)|$)", re.IGNORECASE
)
"""`Figure 2. Loss of`, `Table 3: Means`; not `Figure 2 shows that`."""
_PANDOC = re.compile(r"(?:Table)?: \S")
"""`Table: Means`, under a pandoc table."""
_IMAGE = re.compile(r"!\[[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*\]\([^()]*(?:\([^()]*\)[^()]*)*\)(?:\{[^{}]*\})?")
_TITLE = re.compile(
    rf"{_OPENING}(?:(?P<table>{_TABLE})|{_FIGURE}){_NUMBER}(?P<words>\s*[.:|–—](?:\s.*)?|\s*)$", re.IGNORECASE
)
"""`Table 1.`, `Figure 2: Loss`, `Video 3 | Cells`, `Box 4`; not `Plate 96 assays`, `Video 3D tracking of cells`."""

CaptionKind = Literal["table_caption", "figure_caption"]


def caption_kind(source: str) -> CaptionKind | None:
    """Whether a paragraph is a caption, and of what."""
    head = source[:80]
    match = _BOLD.match(head) or _PLAIN.match(head)
    if match:
        return "table_caption" if match["table"] else "figure_caption"
    if source.startswith("![") and _IMAGE.fullmatch(source):
        return "figure_caption"
    return None


def follows_table(source: str) -> bool:
    """Whether a paragraph under a table is its caption in pandoc's manner."""
    return bool(_PANDOC.match(source[:20]))


def titled_caption(title: str) -> tuple[CaptionKind, bool] | None:
    """What a heading such as `Table 1.` or `Figure 2. Loss` captions, and whether it holds the caption's words too."""
    match = _TITLE.match(title)
    if match is None:
        return None
    return ("table_caption" if match["table"] else "figure_caption"), bool(match["words"].strip(" .:|–—"))
