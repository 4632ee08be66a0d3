"""Ranking: candidates from both halves of the index, fused, best first. Knows nothing of front ends or storage.

Dense (cosine) and lexical (BM25) candidates are united, and each is scored again by both halves and by its sentences. A
convex combination of the normalised scores ranks them (Bruch, Gai & Ingber 2023, "An Analysis of Fusion Functions for
Hybrid Retrieval").
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from indexer.embedding import Vectors
from indexer.papers import Sentence
from indexer.store import Selection, Snapshot, StoredPassage
from indexer.terms import terms

DENSE_WEIGHT = 0.6
"""Share of the dense score in the mix; the lexical one has the rest. Measured: docs/decisions/0002-ranking.md."""
SENTENCE_SHARE = 0.5
"""Share of the best sentence's cosine in the dense score; the whole passage's has the rest."""
PAIR_WEIGHT = 0.3
"""What a pair of neighbouring words counts beside the words alone. Measured: docs/decisions/0002-ranking.md."""
MIN_CANDIDATES = 200
"""How many candidates each half gives at the least. Doubled until they are four times those wanted: a ranking depends a
little on its candidates, and so the pages of one search mostly have the same."""
_K1, _B = 1.2, 0.75
"""As in FTS5's BM25."""
_NEAR_BEST = 0.8
"""A sentence is marked beside the best one of its passage when it scores at least this share of it."""
_MAX_MARKED = 2


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the parts of a score are weighted. One for every query; others are for measuring what a part adds."""

    dense_weight: float = DENSE_WEIGHT
    sentence_share: float = SENTENCE_SHARE
    pair_weight: float = PAIR_WEIGHT
    rerank: bool = True
    """Whether the re-ranker reads the best again, where there is one."""


PARTS = {
    "without sentences": Ranking(sentence_share=0.0),
    "without word pairs": Ranking(pair_weight=0.0),
    "without BM25": Ranking(dense_weight=1.0),
    "without vectors": Ranking(dense_weight=0.0),
}
"""The ranking with one part left out of the scores; the candidates are the same."""


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
    """BM25 of the query's terms, and of its pairs of neighbouring terms; 0 where none occurs."""
    rerank: float | None = None
    """What the re-ranker said, between 0 and 1; None where it was not asked."""


def rank(
    snapshot: Snapshot, text: str, vector: Vectors, k: int, selection: Selection, ranking: Ranking
) -> list[Scored]:
    """The best `k` passages for a query, best first; equal scores in the order of indexing."""
    n = MIN_CANDIDATES
    while n < 4 * k:
        n *= 2
    selected = snapshot.select(selection)
    query_terms = terms(text)
    dense = snapshot.dense(vector, n, selected)
    lexical = snapshot.lexical(query_terms, n, selected)
    dense |= snapshot.dense_of(vector, sorted(lexical.keys() - dense.keys()))
    lexical |= snapshot.lexical_of(query_terms, sorted(dense.keys() - lexical.keys()))
    found = snapshot.terms_of(sorted(dense.keys() | lexical.keys()))
    for row_id, score in pair_scores(query_terms, found, snapshot.counts()["passages"]).items():
        lexical[row_id] = lexical.get(row_id, 0.0) + ranking.pair_weight * score
    sentences = snapshot.sentence_scores(vector, sorted(dense))
    share = ranking.sentence_share
    near = {row_id: (1 - share) * dense[row_id] + share * max(sentences[row_id]) for row_id in dense}
    fused = fuse(near, lexical, ranking.dense_weight)
    best = sorted(fused, key=lambda row_id: (-fused[row_id], row_id))[:k]
    return [Scored(i, fused[i], dense.get(i, 0.0), tuple(sentences.get(i, ())), lexical.get(i, 0.0)) for i in best]


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


def sentence_scores(scored: Sequence[Scored], text: str, passages: Sequence[StoredPassage]) -> list[list[float]]:
    """For each passage, each sentence's score: half its cosine similarity to the query, half its words; 0 to 1."""
    return [
        [(max(0.0, cosine) + word) / 2 for cosine, word in zip_longest(each.sentences, words, fillvalue=0.0)]
        for each, words in zip(scored, word_scores(text, passages), strict=True)
    ]


def pair_scores(query_terms: Sequence[str], passages: Mapping[int, str], n_passages: int) -> dict[int, float]:
    """BM25 (k1 1.2, b 0.75) of the query's pairs of neighbouring terms in these passages, where they stand together.

    `passages` are the candidates' terms by row id, a space between; `n_passages` is the index's size. A pair's document
    frequency is counted among the candidates: a passage that holds two of the query's words side by side is seldom not
    one. Passages without a pair are left out.
    """
    lengths = {row_id: found.count(" ") + 1 for row_id, found in passages.items()}
    mean = sum(lengths.values()) / max(len(lengths), 1)
    padded = {
        row_id: f" {found.replace(' ', '  ')} " for row_id, found in passages.items()
    }  # no two terms share a space
    scores: dict[int, float] = {}
    for one, other in dict.fromkeys(pairwise(query_terms)):
        counts = {row_id: n for row_id, found in padded.items() if (n := found.count(f" {one}  {other} "))}
        weight = math.log(1 + (n_passages - len(counts) + 0.5) / (len(counts) + 0.5))
        for row_id, n in counts.items():
            damping = _K1 * (1 - _B + _B * lengths[row_id] / mean)
            scores[row_id] = scores.get(row_id, 0.0) + weight * n * (_K1 + 1) / (n + damping)
    return scores


def term_weights(snapshot: Snapshot, text: str) -> dict[str, float]:
    """The query's terms and their inverse document frequency (Robertson & Zaragoza 2009); the rarer, the higher."""
    frequency = snapshot.document_frequency(list(dict.fromkeys(terms(text))))
    n = snapshot.counts()["passages"]
    return {term: math.log(1 + (n - df + 0.5) / (df + 0.5)) for term, df in frequency.items()}


def coverage(weights: Mapping[str, float], passages: Sequence[StoredPassage]) -> float:
    """The largest share of the query, by its terms' weights, that one of the passages speaks of; 0 to 1.

    A passage speaks of what stands in its words, the headings above it, and its paper's title.
    """
    total = sum(weights.values()) or 1.0
    spoken = (terms(" ".join((each.paper.title, *each.passage.section, each.passage.text))) for each in passages)
    return max(
        (sum(weights[term] for term in weights.keys() & found) / total for found in map(set, spoken)), default=0.0
    )


def word_scores(text: str, passages: Sequence[StoredPassage]) -> list[list[float]]:
    """For each passage, each sentence's share of the query's terms, rarer terms counting more; 0 to 1.

    A term's weight is its inverse frequency among all these sentences.
    """
    asked = set(terms(text))
    found = [[asked.intersection(terms(sentence)) for sentence in _sentences(each)] for each in passages]
    frequency = Counter(term for sentences in found for sentence in sentences for term in sentence)
    n = sum(map(len, found))
    weight = {term: math.log(1 + n / (0.5 + frequency[term])) for term in sorted(asked)}
    total = sum(weight.values()) or 1.0
    return [[sum(weight[term] for term in sorted(sentence)) / total for sentence in sentences] for sentences in found]


def best_sentences(stored: StoredPassage, scores: Sequence[float]) -> list[Sentence]:
    """The one or two sentences of a passage with the highest scores, in reading order; none where all score 0."""
    top = max(scores, default=0.0)
    if top <= 0:
        return []
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    marked = [i for i in order if scores[i] >= _NEAR_BEST * top][:_MAX_MARKED]
    return [stored.passage.sentences[i] for i in sorted(marked)]


def _sentences(stored: StoredPassage) -> list[str]:
    passage = stored.passage
    return [passage.text[each.start - passage.start : each.end - passage.start] for each in passage.sentences]
