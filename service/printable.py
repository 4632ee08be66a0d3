"""Text that is safe to print, and how notices and numbers of sentences read. Knows nothing of terminals and formats."""

from __future__ import annotations

import re
from collections.abc import Sequence

from indexer.papers import Notice

_SPACES = re.compile(r"[\t\r\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
_CONTROLS = re.compile(
    r"[\x00-\x08\x0e-\x1b\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
"""C0 and C1 controls (escape sequences begin with one), marks that turn the writing direction or set text above text,
lone surrogates, and letters that nobody sees (U+E0000 to U+E007F)."""

_MARKS: dict[Notice, str] = {
    "retracted": "RETRACTED",
    "concern": "EXPRESSION OF CONCERN",
    "retraction": "NOTICE OF RETRACTION",
}


def clean(text: str) -> str:
    """The text, safe to print: one character for each of its own, so that offsets into it still hold."""
    return harmless(_SPACES.sub(" ", text))


def harmless(text: str) -> str:
    """The same with its white space as it is: for where that moves nothing, as on a page."""
    return _CONTROLS.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The same on one line, each run of white space one space."""
    return " ".join(clean(text).split())


def flat(text: str) -> str:
    """The same on one line, blanks as they are: columns stay where they were."""
    return clean(text).replace("\n", " ")


def marked(text: str, notices: Sequence[Notice]) -> str:
    """A paper's name with what nobody may overlook in front: `RETRACTED: Pang et al. 2026`."""
    return "".join(f"{_MARKS[notice]}: " for notice in _MARKS if notice in notices) + text


def sentences_named(numbers: Sequence[int]) -> str:
    """`sentence 2`, `sentences 2, 3`; empty for none."""
    return f"sentence{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}" if numbers else ""
