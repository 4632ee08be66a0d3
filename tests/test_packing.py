"""Vectors as a row holds them."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.embedding import PassageVectors
from indexer.store.packing import pack, unpack_passage, unpack_sentences


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_what_is_packed_comes_back(n: int) -> None:
    random = np.random.default_rng(n)
    vectors = PassageVectors(unit(random.standard_normal(384)), unit(random.standard_normal((n, 384))))
    passage, sentences = pack(vectors)
    assert (len(passage), len(sentences)) == (4 * 384, n * (4 + 384))
    assert np.array_equal(unpack_passage(passage), vectors.passage)
    back = unpack_sentences(sentences, 384)
    assert back.shape == (n, 384)
    assert np.max(np.abs(back - vectors.sentences)) <= np.max(np.abs(vectors.sentences)) / 254 * 1.001
    queries = unit(random.standard_normal((1000, 384)))
    assert np.max(np.abs(back @ queries.T - vectors.sentences @ queries.T)) < 0.01


def test_a_vector_of_zeros_stays_one() -> None:
    zeros = np.zeros((1, 8), dtype=np.float32)
    _, sentences = pack(PassageVectors(zeros[0], zeros))
    assert np.array_equal(unpack_sentences(sentences, 8), zeros)
