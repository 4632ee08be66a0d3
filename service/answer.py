"""Passages -> the sentences of them that answer, quoted and cited.

Extractive only: every word is a paper's own. Status and confidence say how near the best passage is to the question;
they are not yet a calibrated probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from indexer.papers import Sentence
from service.cite import Citation

Status = Literal["answered", "partial", "not_found"]
Kind = Literal["extractive", "generated", "none"]
Basis = Literal["own", "reported"]

NEAR = 0.5
"""Cosine similarity of question and best passage from which they count as near,"""
FAR = 0.3
"""... and below which as far."""
MOST = 0.6
"""Share of the question's terms, by weight, that one of the first passages speaks of, from which it is most of it,"""
LITTLE = 0.4
"""... and below which little. Measured on COVID-QA, with and without a question's own paper in the index:
docs/decisions/0002-ranking.md."""

N_JUDGED = 3
"""How many of the first passages are looked at for the question's terms."""

MAX_QUOTES = 3
_NEAR_BEST = 0.7
"""A passage is quoted when its best sentence scores at least this share of the best of all."""


@dataclass(frozen=True, slots=True)
class Highlight:
    """Half-open offsets into the text beside it."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence, or a few in a row, verbatim, and the place where they stand."""

    n: int
    """Its number in the answer's text: `[1]`."""
    text: str
    highlights: tuple[Highlight, ...]
    """What in it answers; the rest is there so that it can be understood."""
    basis: Basis
    """Whether the paper says so itself, or reports it of works that it cites."""
    citation: Citation


@dataclass(frozen=True, slots=True)
class Candidate:
    """The best sentence of one passage, by the passage's place in the ranking."""

    hit: int
    sentence: Sentence
    score: float


def choose(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The few sentences to quote: the best, and those near it, best first."""
    order = sorted(candidates, key=lambda each: (-each.score, each.hit))
    return [each for each in order if each.score >= _NEAR_BEST * order[0].score][:MAX_QUOTES]


def judge(similarity: float, coverage: float) -> Status:
    """Whether passages as near as this, speaking of so much of the question, answer it."""
    if similarity >= NEAR and coverage >= MOST:
        return "answered"
    return "not_found" if similarity < FAR or (similarity < NEAR and coverage < LITTLE) else "partial"
