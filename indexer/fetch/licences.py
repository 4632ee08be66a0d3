"""Whether a licence lets its paper be kept and read by anyone: Creative Commons, or the public domain."""

from __future__ import annotations

import re

_CODE = re.compile(r"cc[ _-]?(?:0|zero|by(?:[ _-]?(?:nc|nd|sa))*)(?:[ _-]?v?\d(?:\.\d)?)?(?:[ _-]?[a-z]{2,3})?", re.I)
"""`CC BY-NC 4.0`, `cc-by`, `CC0`: as PMC and Europe PMC name them."""
_ADDRESS = re.compile(r"\bcreativecommons\.org/(?:licen[cs]es?|publicdomain)/", re.I)
_WORDS = re.compile(r"\bcreative commons\b|\bcc[ -](?:by|0|zero)\b|\bcc0\b|\b(?:in|to) the public domain\b", re.I)
_DENIED = re.compile(r"\bnot\b.{0,40}(?:creative commons|public domain)", re.I)


def is_open(licence: str) -> bool:
    """Whether the licence, a code, an address or words, is one of these. Those that forbid commercial use or changes
    are: reading does neither. No licence is none.
    """
    words = " ".join(licence.split())
    if _CODE.fullmatch(words) or words.lower() == "public domain" or _ADDRESS.search(words):
        return True
    return bool(_WORDS.search(words)) and not _DENIED.search(words)
