"""What a search found -> how likely it is that the papers answer the question.

A logistic model over what the ranking knows already: how much of the question the best sentence and paper speak of, and
how far the best passages stand out from what merely looks alike. No feature grows with the size of the index.
`benchmarks/calibrate.py` fits it; its numbers, and what they were fitted on, are in `confidence.json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import lru_cache
from heapq import nlargest
from importlib import resources
from statistics import median

from indexer.store import StoredPassage, pack_words
from indexer.terms import terms
from service.answer import Status
from service.reading import Question
from service.search import Scored, Wording, sentence_scores, shares, spoken_of

N_RANKED = 60
"""How many of the best passages tell how far the first ones stand out: as many as are ranked alike for a page of 8."""
N_NAMED = 30
"""How many of the first are told apart by paper."""
N_READ = 10
"""How many of the first are read for the question's words."""
_RIVAL = 4
"""The paper that the best one is compared with, by rank: three may answer, and lead all the same."""
_FILE = "confidence.json"


@dataclass(frozen=True, slots=True)
class Features:
    """What the model looks at."""

    sentence: float
    """The best sentence score of the first passage, 0 to 1."""
    cosine_lead: float
    """The best cosine less the median of N_RANKED, those that there are not taken for 0; a passage's is the mean of its
    own and its best sentence's."""
    paper_coverage: float
    """The share of the question that the first passage's paper speaks of in those of its passages that were read, times
    the logarithm of the number of the question's terms: a question of one word is soon spoken of."""
    paper_lead: float
    """The best BM25 less that of the fourth best paper, over the sum of the question's inverse document frequencies."""


@dataclass(frozen=True, slots=True)
class Model:
    """A logistic model: a bias, and a weight for each standardised feature."""

    bias: float
    weights: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    answered: float
    """The probability from which a question counts as answered,"""
    not_found: float
    """... and below which as not found."""

    def probability(self, features: Features) -> float:
        """That the papers answer, when half of all questions are answered."""
        logit = self.bias + sum(
            weight * (value - mean) / deviation
            for weight, value, mean, deviation in zip(
                self.weights, astuple(features), self.means, self.deviations, strict=True
            )
        )
        return 1 / (1 + math.exp(-logit))

    def status(self, probability: float) -> Status:
        """What to say at that probability."""
        if probability >= self.answered:
            return "answered"
        return "not_found" if probability < self.not_found else "partial"


@lru_cache(maxsize=1)
def fitted() -> Model:
    """The model that comes with this version."""
    read = json.loads(resources.files("service").joinpath(_FILE).read_text(encoding="utf-8"))
    rows: Mapping[str, Mapping[str, float]] = read["features"]
    names = [field.name for field in fields(Features)]
    assert list(rows) == names, f"{_FILE} is of other features: fit it anew"
    weights, means, deviations = (tuple(rows[n][part] for n in names) for part in ("weight", "mean", "deviation"))
    return Model(read["bias"], weights, means, deviations, read["answered"], read["not_found"])


def features(
    question: Question, ranked: Sequence[Scored], papers: Sequence[str], found: Sequence[StoredPassage]
) -> Features:
    """Of the best passages in order: N_RANKED of them, the papers of N_NAMED, and N_READ as they read, where there are
    so many; there must be one."""
    weights = {slot: max(question.weights[each] for each in slot) for slot in question.readings[0]}
    cosines = [(each.dense + max(each.sentences, default=0.0)) / 2 for each in ranked]
    lexical: dict[str, float] = {}
    for paper, each in zip(papers, ranked, strict=False):
        lexical[paper] = max(each.lexical, lexical.get(paper, 0.0))
    best = nlargest(_RIVAL, lexical.values())
    rival = best[-1] if len(best) == _RIVAL else 0.0
    return Features(
        sentence=max(sentence_scores(ranked[:1], found[:1])[0], default=0.0),
        cosine_lead=max(cosines) - median([*cosines, *[0.0] * (N_RANKED - len(cosines))]),
        paper_coverage=_coverage(question, found) * math.log(max(len(weights), 1)),
        paper_lead=(best[0] - rival) / (sum(weights.values()) or 1.0),
    )


def _coverage(question: Question, found: Sequence[StoredPassage]) -> float:
    """The share of the question that the first passage's paper speaks of in these: in its title, its sections' and what
    stands there; 0 to 1."""
    own = [each for each in found if each.paper == found[0].paper]
    texts = [own[0].paper.title, *("\n".join((*each.passage.section, each.passage.text)) for each in own)]
    return float(spoken_of(shares(question), Wording([pack_words(" ".join(terms("\n".join(texts))))])).max(initial=0.0))
