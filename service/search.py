"""Ranking: candidates from both halves of the index, fused, best first. Knows nothing of front ends or storage.

Dense (cosine) and lexical (BM25) candidates are united, and each is scored again by both halves and by its sentences. A
convex combination of the normalised scores ranks them (Bruch, Gai & Ingber 2023, "An Analysis of Fusion Functions for
Hybrid Retrieval").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product, zip_longest

import numpy as np

from indexer.embedding import Vectors
from indexer.papers import Sentence
from indexer.store import (
    LINE_END,
    Ids,
    Scores,
    Selection,
    Similarities,
    Snapshot,
    StoredPassage,
    are_in,
    unpack_words,
    word_code,
)
from service.reading import Question, Reading, Slot, inverse_document_frequency, phrases
from service.stages import stage

DENSE_WEIGHT = 0.6
"""Share of the dense score in the mix; the lexical one has the rest. Measured: docs/decisions/0002-ranking.md."""
SENTENCE_SHARE = 0.5
"""Share of the best sentence's cosine in the dense score; the whole passage's has the rest."""
PAIR_WEIGHT = 0.45
"""What a pair of neighbouring words counts beside the words alone. Measured: docs/decisions/0002-ranking.md."""
COVERAGE_WEIGHT = 0.05
"""What a sentence that speaks of the whole query counts beside the mix. Measured: docs/decisions/0002-ranking.md."""
MIN_CANDIDATES = 200
"""How many candidates each half gives at the least."""
_CANDIDATES_PER_HIT = 3
"""At the least; the number is doubled until there are as many. A ranking depends a little on its candidates, and so the
pages of one search mostly have the same."""
_K1, _B = 1.2, 0.75
"""As in FTS5's BM25."""
_NEAR_BEST = 0.8
"""A sentence is marked beside the best one of its passage when it scores at least this share of it."""
_MAX_MARKED = 2


Shares = tuple[tuple[tuple[Slot, float], ...], ...]
"""For each reading of a question, what may stand for each slot, and the slot's share; these add up to 1."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the parts of a score are weighted. One for every query; others are for measuring what a part adds."""

    dense_weight: float = DENSE_WEIGHT
    sentence_share: float = SENTENCE_SHARE
    pair_weight: float = PAIR_WEIGHT
    coverage_weight: float = COVERAGE_WEIGHT
    abbreviations: bool = True
    aliases: bool = True
    rerank: bool = True
    """Whether the re-ranker reads the best again, where there is one."""


PARTS = {
    "without sentences": Ranking(sentence_share=0.0),
    "without word pairs": Ranking(pair_weight=0.0),
    "without coverage": Ranking(coverage_weight=0.0),
    "without abbreviations": Ranking(abbreviations=False),
    "without aliases": Ranking(aliases=False),
    "without BM25": Ranking(dense_weight=1.0, coverage_weight=0.0),
    "without vectors": Ranking(dense_weight=0.0),
}
"""The ranking with one part left out of the scores; the candidates are the same but for those of the names put in."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A candidate with its scores."""

    row_id: int
    score: float
    """Fused or the re-ranker's, between 0 and 1; comparable within one ranking only."""
    dense: float
    """Cosine similarity of passage and query; 0 for a passage without a vector."""
    sentences: tuple[float, ...]
    """Cosine similarity of each of its sentences; empty for a passage without vectors."""
    lexical: float
    """BM25 of the query's terms and of its pairs of neighbours, the mean of its readings; 0 where none occurs."""
    words: tuple[float, ...]
    """The share of the query that each of its sentences speaks of; of a table, also its caption and header, last."""
    rerank: float | None = None
    """What the re-ranker said, between 0 and 1; None where it was not asked."""


def rank(
    snapshot: Snapshot, question: Question, vector: Vectors, k: int, selection: Selection, ranking: Ranking
) -> list[Scored]:
    """The best `k` passages for a question, best first; equal scores in the order of indexing."""
    n = MIN_CANDIDATES
    while n < _CANDIDATES_PER_HIT * k:
        n *= 2
    with stage("candidates"):
        selected = snapshot.select(selection)
        nearest = snapshot.nearest(vector, n, selected)
        matches = [snapshot.lexical(phrases([reading]), selected) for reading in question.readings]
        candidates = np.unique(np.concatenate([nearest, *(_best(*match, n) for match in matches)]))
    with stage("score"):
        return _scored(snapshot, question, vector, k, ranking, matches, candidates)


def _scored(
    snapshot: Snapshot,
    question: Question,
    vector: Vectors,
    k: int,
    ranking: Ranking,
    matches: Sequence[tuple[Ids, Scores]],
    candidates: Ids,
) -> list[Scored]:
    """The best `k` of the candidates."""
    similar = snapshot.similarities(vector, candidates.tolist())
    near = _Near.of(similar, candidates)
    wording = Wording(_words(snapshot, similar, candidates))
    lexical = _lexical_scores(snapshot, question, matches, candidates, wording, ranking.pair_weight)
    share = ranking.sentence_share
    mixed = fuse((1 - share) * near.passages + share * near.best_sentences, lexical, ranking.dense_weight)
    spoken = spoken_of(shares(question), wording)
    weight = ranking.coverage_weight
    scores = (mixed + weight * wording.best_lines(spoken)) / (1 + weight)
    order = np.lexsort((candidates, -scores))[:k].tolist()
    return [
        Scored(
            int(candidates[i]),
            float(scores[i]),
            float(near.passages[i]),
            near.sentences(i),
            float(lexical[i]),
            tuple(spoken[wording.lines(i)].tolist()),
        )
        for i in order
    ]


def _words(snapshot: Snapshot, similar: Similarities, candidates: Ids) -> list[bytes]:
    """The candidates' words: read with their vectors, or on their own where they have none."""
    others = np.setdiff1d(candidates, similar.ids, assume_unique=True).tolist()
    if not others:
        return similar.words
    words = dict(zip(similar.ids.tolist(), similar.words, strict=True))
    words |= zip(others, snapshot.words_of(others), strict=True)
    return [words[row_id] for row_id in candidates.tolist()]


@dataclass(frozen=True, slots=True)
class _Near:
    """Cosine similarity of the candidates, (n,) each; 0 for one that has no vector."""

    passages: Scores
    best_sentences: Scores
    _starts: Ids
    """Where a candidate's sentences begin, and where they end, (n + 1,)."""
    _sentences: Vectors

    @classmethod
    def of(cls, found: Similarities, candidates: Ids) -> _Near:
        passages, best = np.zeros(len(candidates)), np.zeros(len(candidates))
        counts = np.zeros(len(candidates), dtype=np.int64)
        places = np.searchsorted(candidates, found.ids)
        passages[places], counts[places] = found.passages, found.n_sentences
        starts = np.concatenate(([0], np.cumsum(counts)))
        if len(places):
            best[places] = np.maximum.reduceat(found.sentences, starts[places])
        return cls(passages, best, starts, found.sentences)

    def sentences(self, candidate: int) -> tuple[float, ...]:
        return tuple(self._sentences[self._starts[candidate] : self._starts[candidate + 1]].tolist())


def _lexical_scores(
    snapshot: Snapshot,
    question: Question,
    matches: Sequence[tuple[Ids, Scores]],
    candidates: Ids,
    wording: Wording,
    pair_weight: float,
) -> Scores:
    """BM25 of each candidate's terms and pairs (n,), the mean of the question's readings; 0 where none occurs.

    `matches` are the terms' scores, a reading each; `wording` is the candidates'.
    """
    n_passages = snapshot.n_passages()
    by_reading = [
        _scores_of(candidates, *match) + pair_weight * pair_scores(reading, wording, n_passages)
        for reading, match in zip(question.readings, matches, strict=True)
    ]
    for definition in question.abbreviated:
        otherwise = snapshot.rows_meaning_otherwise(candidates.tolist(), definition)
        said = np.isin(candidates, list(otherwise))
        by_reading[-1][said] = by_reading[0][said]
    return np.asarray(np.mean(by_reading, axis=0))


def fuse(near: Scores, lexical: Scores, dense_weight: float) -> Scores:
    """The convex combination of both scores of each candidate, (n,).

    `near` is half the passage's cosine and half its best sentence's, no less than 0; BM25 is divided by the best of the
    candidates.
    """
    top = lexical.max(initial=0.0) or 1.0
    return dense_weight * np.maximum(near, 0.0) + (1 - dense_weight) * lexical / top


def sentence_scores(scored: Sequence[Scored], passages: Sequence[StoredPassage]) -> list[list[float]]:
    """For each passage, each sentence's score: half its cosine similarity to the query, half its words; 0 to 1."""
    return [
        [
            (max(0.0, cosine) + word) / 2
            for cosine, word in zip_longest(each.sentences, each.words[: len(stored.passage.sentences)], fillvalue=0.0)
        ]
        for each, stored in zip(scored, passages, strict=True)
    ]


class Wording:
    """The words of some passages, sentence by sentence, to look for phrases in."""

    def __init__(self, passages: Sequence[bytes]) -> None:
        """Of each passage its words, as `pack_words` gives them."""
        self._codes, n_codes = unpack_words(passages)
        ends = self._codes == LINE_END
        self._line_of = np.cumsum(ends)
        """By place among the codes; right of words, which stand before their line's end."""
        owners = np.repeat(np.arange(len(passages)), n_codes)
        self._passage_of = owners[ends]
        """By line."""
        self.n_lines = len(self._passage_of)
        n_lines = np.bincount(self._passage_of, minlength=len(passages))
        self._starts = np.concatenate(([0], np.cumsum(n_lines)))
        self.lengths = n_codes - n_lines
        """Words of each passage, (n_passages,)."""

    def lines(self, passage: int) -> slice:
        """The lines of a passage among all."""
        return slice(int(self._starts[passage]), int(self._starts[passage + 1]))

    def best_lines(self, scores: Scores) -> Scores:
        """The best score among each passage's lines, (n_passages,), of one for every line."""
        return np.maximum.reduceat(scores, self._starts[:-1]) if self.n_lines else scores

    def lines_with(self, phrase: str) -> Ids:
        """The line of each place where the phrase stands, ascending. None crosses a line's end."""
        codes = [word_code(word) for word in phrase.split()]
        n = max(0, len(self._codes) - len(codes) + 1)
        here = np.ones(n, dtype=np.bool_)
        for at, code in enumerate(codes):
            here &= self._codes[at : at + n] == code
        return np.asarray(self._line_of[:n][here])

    def counts(self, phrase: str) -> Ids:
        """How often each passage has the phrase, (n_passages,)."""
        return np.bincount(self._passage_of[self.lines_with(phrase)], minlength=len(self.lengths))


def pair_scores(reading: Reading, wording: Wording, n_passages: int) -> Scores:
    """BM25 (k1 1.2, b 0.75) of the reading's pairs of neighbouring terms in each passage, (n,); 0 where none stands.

    `wording` is the candidates'; `n_passages` is the index's size. A pair's document frequency is counted among the
    candidates: a passage that holds two of the query's words side by side is seldom not one.
    """
    mean = max(float(wording.lengths.sum()), 1.0) / max(len(wording.lengths), 1)
    damping = _K1 * (1 - _B + _B * wording.lengths / mean)
    scores = np.zeros(len(wording.lengths))
    for one, other in dict.fromkeys(pair for slots in pairwise(reading) for pair in product(*slots)):
        counts = wording.counts(f"{one} {other}")
        weight = inverse_document_frequency(n_passages, int(np.count_nonzero(counts)))
        scores += weight * counts * (_K1 + 1) / (counts + damping)
    return scores


def shares(question: Question) -> Shares:
    """How much of the question each of its slots is, by the rarest of what may stand there."""
    found: list[tuple[tuple[Slot, float], ...]] = []
    for reading in question.readings:
        weights = {slot: max(question.weights[each] for each in slot) for slot in dict.fromkeys(reading)}
        total = sum(weights.values()) or 1.0
        found.append(tuple((slot, weight / total) for slot, weight in weights.items()))
    return tuple(found)


def spoken_of(of_question: Shares, wording: Wording) -> Scores:
    """For each line, the share of the question that it speaks of, in the reading that suits it, (n_lines,)."""
    best = np.zeros(wording.n_lines)
    for reading in of_question:
        spoken = np.zeros(wording.n_lines)
        for slot, share in reading:
            said = np.concatenate([wording.lines_with(phrase) for phrase in slot])
            spoken[np.unique(said)] += share
        best = np.maximum(best, spoken)
    return best


def best_sentences(stored: StoredPassage, scores: Sequence[float]) -> list[Sentence]:
    """The one or two sentences of a passage with the highest scores, in reading order; none where all score 0."""
    top = max(scores, default=0.0)
    if top <= 0:
        return []
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    marked = [i for i in order if scores[i] >= _NEAR_BEST * top][:_MAX_MARKED]
    return [stored.passage.sentences[i] for i in sorted(marked)]


def _best(ids: Ids, scores: Scores, n: int) -> Ids:
    """The rows of the `n` highest scores; of equal ones, the first."""
    if len(ids) > n:
        least = np.partition(scores, len(scores) - n)[len(scores) - n]
        above = scores > least
        level = np.flatnonzero(scores == least)[: n - np.count_nonzero(above)]
        above[level] = True
        return np.asarray(ids[above])
    return ids


def _scores_of(candidates: Ids, ids: Ids, scores: Scores) -> Scores:
    """The candidates' scores, (n,); 0 for one that has none. Both kinds of ids ascend."""
    found = np.zeros(len(candidates))
    known = are_in(candidates, ids)
    found[known] = scores[np.searchsorted(ids, candidates[known])]
    return found
