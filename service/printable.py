"""Text that is safe to print. Knows nothing of terminals, formats and papers."""

from __future__ import annotations

import re

_SPACES = re.compile(r"[\t\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 controls (escape sequences begin with one), marks that turn the writing direction, lone surrogates."""


def clean(text: str) -> str:
    """The text, safe to print: one character for each of its own, so that offsets into it still hold."""
    return _CONTROLS.sub("\ufffd", _SPACES.sub(" ", text))


def one_line(text: str) -> str:
    """The same on one line, each run of white space one space."""
    return " ".join(clean(text).split())
