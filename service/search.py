"""Ranking: candidates from both halves of the index, fused, best first. Knows nothing of front ends or storage.

Dense (cosine) and lexical (BM25) candidates are united, and each is scored again by both halves and by its sentences. A
convex combination of the normalised scores ranks them (Bruch, Gai & Ingber 2023, "An Analysis of Fusion Functions for
Hybrid Retrieval").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product, zip_longest

import numpy as np

from indexer.embedding import Vectors
from indexer.papers import Sentence
from indexer.store import SENTENCE_BREAK, Ids, Scores, Selection, Snapshot, StoredPassage, are_in
from indexer.terms import terms
from service.reading import Question, Reading, Slot, inverse_document_frequency, phrases

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
"""For each reading of a question, what may stand for each slot (padded), and the slot's share; these add up to 1."""


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
    selected = snapshot.select(selection)
    dense = snapshot.dense(vector, n, selected)
    matches = [snapshot.lexical(phrases([reading]), selected) for reading in question.readings]
    candidates = sorted(dense.keys() | {row_id for ids, scores in matches for row_id in _best(ids, scores, n)})
    dense |= snapshot.dense_of(vector, [row_id for row_id in candidates if row_id not in dense])
    words = {row_id: padded(found) for row_id, found in snapshot.terms_of(candidates).items()}
    lexical = _lexical_scores(snapshot, question, matches, words, ranking.pair_weight)
    sentences = snapshot.sentence_scores(vector, sorted(dense))
    share = ranking.sentence_share
    near = {row_id: (1 - share) * dense[row_id] + share * max(sentences[row_id]) for row_id in dense}
    fused = fuse(near, lexical, ranking.dense_weight)
    of_question = shares(question)
    spoken = {row_id: spoken_of(of_question, words[row_id]) for row_id in fused}
    weight = ranking.coverage_weight
    scores = {row_id: (score + weight * max(spoken[row_id])) / (1 + weight) for row_id, score in fused.items()}
    best = sorted(scores, key=lambda row_id: (-scores[row_id], row_id))[:k]
    return [
        Scored(i, scores[i], dense.get(i, 0.0), tuple(sentences.get(i, ())), lexical.get(i, 0.0), tuple(spoken[i]))
        for i in best
    ]


def _lexical_scores(
    snapshot: Snapshot,
    question: Question,
    matches: Sequence[tuple[Ids, Scores]],
    words: Mapping[int, str],
    pair_weight: float,
) -> dict[int, float]:
    """BM25 of each candidate's terms and pairs, the mean of the question's readings; only of those that have any.

    `matches` are the terms' scores, a reading each; `words` the candidates' terms, padded, by row id.
    """
    candidates, n_passages = sorted(words), snapshot.n_passages()
    by_reading: list[dict[int, float]] = []
    for reading, match in zip(question.readings, matches, strict=True):
        found = _scores_of(candidates, *match)
        for row_id, score in pair_scores(reading, words, n_passages).items():
            found[row_id] = found.get(row_id, 0.0) + pair_weight * score
        by_reading.append(found)
    for definition in question.abbreviated:
        for row_id in snapshot.rows_meaning_otherwise(candidates, definition):
            by_reading[-1][row_id] = by_reading[0].get(row_id, 0.0)
    return {
        row_id: sum(found.get(row_id, 0.0) for found in by_reading) / len(by_reading)
        for row_id in {row_id for found in by_reading for row_id in found}
    }


def fuse(near: Mapping[int, float], lexical: Mapping[int, float], dense_weight: float) -> dict[int, float]:
    """The convex combination of both scores for every candidate of either.

    `near` is half the passage's cosine and half its best sentence's, no less than 0; BM25 is divided by the best of the
    candidates.
    """
    top = max(lexical.values(), default=0.0) or 1.0
    return {
        row_id: dense_weight * max(0.0, near.get(row_id, 0.0)) + (1 - dense_weight) * lexical.get(row_id, 0.0) / top
        for row_id in near.keys() | lexical.keys()
    }


def sentence_scores(scored: Sequence[Scored], passages: Sequence[StoredPassage]) -> list[list[float]]:
    """For each passage, each sentence's score: half its cosine similarity to the query, half its words; 0 to 1."""
    return [
        [
            (max(0.0, cosine) + word) / 2
            for cosine, word in zip_longest(each.sentences, each.words[: len(stored.passage.sentences)], fillvalue=0.0)
        ]
        for each, stored in zip(scored, passages, strict=True)
    ]


def pair_scores(reading: Reading, passages: Mapping[int, str], n_passages: int) -> dict[int, float]:
    """BM25 (k1 1.2, b 0.75) of the reading's pairs of neighbouring terms in these passages, where they stand together.

    `passages` are the candidates' terms by row id, padded; `n_passages` is the index's size. A pair's
    document frequency is counted among the candidates: a passage that holds two of the query's words side by side is
    seldom not one. Passages without a pair are left out.
    """
    lengths = {row_id: len(found.split()) for row_id, found in passages.items()}
    mean = sum(lengths.values()) / max(len(lengths), 1)
    pairs = (pair for slots in pairwise(reading) for pair in product(*slots))
    scores: dict[int, float] = {}
    for one, other in dict.fromkeys(pairs):
        wanted = padded(f"{one} {other}")
        counts = {row_id: n for row_id, found in passages.items() if (n := found.count(wanted))}
        weight = inverse_document_frequency(n_passages, len(counts))
        for row_id, n in counts.items():
            damping = _K1 * (1 - _B + _B * lengths[row_id] / mean)
            scores[row_id] = scores.get(row_id, 0.0) + weight * n * (_K1 + 1) / (n + damping)
    return scores


def shares(question: Question) -> Shares:
    """How much of the question each of its slots is, by the rarest of what may stand there."""
    found: list[tuple[tuple[Slot, float], ...]] = []
    for reading in question.readings:
        weights = {slot: max(question.weights[each] for each in slot) for slot in dict.fromkeys(reading)}
        total = sum(weights.values()) or 1.0
        found.append(tuple((tuple(map(padded, slot)), weight / total) for slot, weight in weights.items()))
    return tuple(found)


def spoken_of(of_question: Shares, words: str) -> list[float]:
    """For each line of padded terms, the share of the question that it speaks of, in the reading that suits it."""
    lines = words.split(SENTENCE_BREAK)
    best = [0.0] * len(lines)
    for reading in of_question:
        present = [(slot, share) for slot, share in reading if any(phrase in words for phrase in slot)]
        for n, line in enumerate(lines):
            best[n] = max(best[n], sum(share for slot, share in present if any(phrase in line for phrase in slot)))
    return best


def coverage(question: Question, passages: Sequence[StoredPassage]) -> float:
    """The largest share of the question that one of the passages speaks of; 0 to 1.

    A passage speaks of what stands in its words, the headings above it, and its paper's title.
    """
    texts = ("\n".join((each.paper.title, *each.passage.section, each.passage.text)) for each in passages)
    words = padded(SENTENCE_BREAK.join(" ".join(terms(text)) for text in texts))
    return max(spoken_of(shares(question), words))


def best_sentences(stored: StoredPassage, scores: Sequence[float]) -> list[Sentence]:
    """The one or two sentences of a passage with the highest scores, in reading order; none where all score 0."""
    top = max(scores, default=0.0)
    if top <= 0:
        return []
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    marked = [i for i in order if scores[i] >= _NEAR_BEST * top][:_MAX_MARKED]
    return [stored.passage.sentences[i] for i in sorted(marked)]


def padded(found: str) -> str:
    """Terms with two spaces between and one about them, so that no two share one: a phrase is counted as a text.

    Lines, a sentence each, stay lines: no phrase crosses them.
    """
    return f" {found.replace(' ', '  ').replace(SENTENCE_BREAK, f' {SENTENCE_BREAK} ')} "


def _best(ids: Ids, scores: Scores, n: int) -> Iterator[int]:
    """The rows of the `n` highest scores; of equal ones, the first."""
    order = np.argsort(-scores, kind="stable")[:n]
    yield from ids[order].tolist()


def _scores_of(row_ids: Sequence[int], ids: Ids, scores: Scores) -> dict[int, float]:
    """The scores of those of these rows, ascending, that have one."""
    known = are_in(ids, np.array(row_ids, dtype=np.int64))
    return dict(zip(ids[known].tolist(), scores[known].tolist(), strict=True))
