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

ANSWERED_FROM = 0.5
PARTIAL_FROM = 0.3
"""Cosine similarity of the best passage from which a question counts as answered, or partly so. Measured on COVID-QA,
with and without a question's own paper in the index: docs/decisions/0002-ranking.md."""

MAX_QUOTES = 3
_NEAR_BEST = 0.7
"""A passage is quoted when its best sentence scores at least this share of the best of all."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence, verbatim, and the place where it stands."""

    n: int
    """Its number in the answer's text: `[1]`."""
    text: str
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


def judge(similarity: float) -> Status:
    """Whether the best passage, at this cosine similarity to the question, answers it."""
    if similarity >= ANSWERED_FROM:
        return "answered"
    return "partial" if similarity >= PARTIAL_FROM else "not_found"
