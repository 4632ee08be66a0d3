"""Vectors and words as a row holds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.embedding import PassageVectors
from indexer.store.packing import (
    LINE_END,
    pack,
    pack_words,
    unpack_passage,
    unpack_sentences,
    unpack_words,
    word_code,
)


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), dtype=np.float32)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_what_is_packed_comes_back(n: int) -> None:
    random = np.random.default_rng(n)
    vectors = PassageVectors(unit(random.standard_normal(384)), unit(random.standard_normal((n, 384))))
    passage, sentences = pack(vectors)
    assert (len(passage), len(sentences)) == (4 * 384, n * (4 + 384))
    assert np.array_equal(unpack_passage(passage, 384), vectors.passage)
    back = unpack_sentences(sentences, 384)
    assert back.shape == (n, 384)
    assert np.max(np.abs(back - vectors.sentences)) <= np.max(np.abs(vectors.sentences)) / 254 * 1.001
    queries = unit(random.standard_normal((1000, 384)))
    assert np.max(np.abs(back @ queries.T - vectors.sentences @ queries.T)) < 0.01


def test_a_vector_of_zeros_stays_one() -> None:
    zeros = np.zeros((1, 8), dtype=np.float32)
    _, sentences = pack(PassageVectors(zeros[0], zeros))
    assert np.array_equal(unpack_sentences(sentences, 8), zeros)


@given(st.lists(st.lists(st.sampled_from(["bone", "^age", "6", "β"]), max_size=4), min_size=1, max_size=4))
def test_words_have_a_code_each_and_lines_an_end(lines: list[list[str]]) -> None:
    blob = pack_words("\n".join(map(" ".join, lines)))
    codes, counts = unpack_words([blob, b"", blob])
    expected = [code for line in lines for code in (*map(word_code, line), LINE_END)]
    assert codes.tolist() == expected * 2
    assert counts.tolist() == [len(expected), 0, len(expected)]
    assert len({word_code(word) for word in ("bone", "^age", "6", "β")} | {LINE_END}) == 5
    assert unpack_words([])[0].tolist() == []
