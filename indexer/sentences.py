"""Sentence spans, exact to the character.

The boundaries are sentencex's (Wikimedia's rule-based splitter); what scientific prose makes of them is mended here.
Knows nothing of papers or blocks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sentencex import get_sentence_boundaries

from indexer.papers import Span
from indexer.syntax import trim

_CONTINUES = re.compile(r"[a-zα-ω,;:)\]}^]")
"""A sentence does not start like this: "*E. | coli*", "et al. [46] | adopted", "(0.12). | ^30^" """

_OPEN_END = re.compile(
    r"(?:\b(?:figs?|tabs?|eqs?|refs?|nos?|ver|vol|pp?|cf|vs|ca|al|approx|resp)\.|\(|[=<>≤≥≈±~×])[*_]*$", re.IGNORECASE
)
"""A sentence does not end like this before a number or bracket: "**Fig. | 5**", "Kashani-Sabet et al. | [253]",
"Figs. | 7b", "(n = | 8)". """

_NUMBERED = re.compile(r"[*_]*[\[(]?(?:\d[\d.,]*[A-Za-z]?|[\dA-Z]{1,4})\b|\[")

_LABEL = re.compile(r"(?:\([^\W_]{1,4}\)[.:]?\s+)+")
"""Of a figure's part. sentencex finds no end in what follows one: "(A) One ends. Another begins."."""
_LABEL_ALONE = re.compile(r"\([A-Z]\)[.:]?")
_MAX_LABELS_IN_LABELS = 4

_CLOSING = re.compile(r"(?:\[[\d,;\s–-]+\]|\^[\d,;\s–-]+\^|[”’\"')\]*_.])+(?=\s|$)")
"""What may stand between a full stop and the next sentence, and belongs to the sentence before."""


_MAX_AT_ONCE = 16_000
"""Characters handed to sentencex at a time: its time grows with the square of a text full of quotation marks. No
paragraph of a real paper is half as long."""
_LAST_BLANK = re.compile(r"(?s:.*)\s")

_INITIAL_AND_GAP = re.compile(r"(?<=[A-Z])\s+(?=\.)")
"""Where sentencex 1.0.32 takes apart the bytes of a blank that is not ASCII, and ends the process's work: "B\xa0."."""


def split_sentences(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Spans of the sentences of `text[start:end]`, without white space around them, in order.

    Every non-blank character of the range lies in exactly one of them.
    """
    piece = text[start : len(text) if end is None else end]
    spans: list[Span] = []
    bounds = (
        (at + first, at + last)
        for at, portion in _portions(_INITIAL_AND_GAP.sub(_ascii_blanks, piece))
        for first, last in _boundaries(portion)
    )
    for first, last in bounds:
        closing = _CLOSING.match(piece, first, last + 1) if spans else None
        if closing and first < closing.end() <= last:
            spans[-1] = Span(spans[-1].start, closing.end())
            first = closing.end()
        trimmed = trim(piece, first, last)
        if trimmed is None:
            continue
        if spans and _runs_on(piece, spans[-1], trimmed):
            spans[-1] = Span(spans[-1].start, trimmed.end)
        else:
            spans.append(trimmed)
    return [Span(start + span.start, start + span.end) for span in spans]


def _portions(text: str) -> Iterator[tuple[int, str]]:
    """A long text in portions that end with a blank where there is one, and where each starts."""
    start = 0
    while len(text) - start > _MAX_AT_ONCE:
        blank = _LAST_BLANK.match(text, start, start + _MAX_AT_ONCE)
        end = blank.end() if blank else start + _MAX_AT_ONCE
        yield start, text[start:end]
        start = end
    yield start, text[start:]


def _boundaries(text: str, rounds: int = _MAX_LABELS_IN_LABELS) -> Iterator[tuple[int, int]]:
    """Where sentencex finds sentences, looking behind labels such as `(A)` too."""
    for boundary in get_sentence_boundaries("en", text):
        first, last = boundary["start_index"], boundary["end_index"]
        label = _LABEL.match(text, first, last)
        if label is None or label.end() == last or not rounds:
            yield first, last
            continue
        behind = label.end()
        for start, end in _boundaries(text[behind:last], rounds - 1):
            yield (behind + start if start else first), behind + end


def _ascii_blanks(gap: re.Match[str]) -> str:
    return "".join(each if each.isascii() else " " for each in gap[0])


def _runs_on(text: str, before: Span, after: Span) -> bool:
    """True when no sentence ends between the two spans."""
    if _LABEL_ALONE.fullmatch(text, before.start, before.end):
        return True
    if _CONTINUES.match(text, after.start):
        return True
    tail = text[max(before.start, before.end - 12) : before.end]
    return bool(_OPEN_END.search(tail) and _NUMBERED.match(text, after.start))
