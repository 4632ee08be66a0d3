"""Text that is safe to print, and how numbers of sentences read. Knows nothing of terminals, formats and papers."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SPACES = re.compile(r"[\t\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 controls (escape sequences begin with one), marks that turn the writing direction, lone surrogates."""


def clean(text: str) -> str:
    """The text, safe to print: one character for each of its own, so that offsets into it still hold."""
    return _CONTROLS.sub("\ufffd", _SPACES.sub(" ", text))


def one_line(text: str) -> str:
    """The same on one line, each run of white space one space."""
    return " ".join(clean(text).split())


def sentences_named(numbers: Sequence[int]) -> str:
    """`sentence 2`, `sentences 2, 3`; empty for none."""
    return f"sentence{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}" if numbers else ""
