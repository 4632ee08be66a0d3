"""Ranking by hand and against brute force, and the sentences that are marked."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.build import build
from indexer.config import BuildConfig
from indexer.papers import Sentence
from indexer.store import IndexReader, Selection, StoredPassage, pack_words
from indexer.terms import terms
from service.reading import Reading, read_question
from service.search import (
    COVERAGE_WEIGHT,
    DENSE_WEIGHT,
    PAIR_WEIGHT,
    Ranking,
    Scored,
    Wording,
    best_sentences,
    fuse,
    pair_scores,
    rank,
    sentence_scores,
    shares,
    spoken_of,
)
from tests.fakes import WordEmbedder
from tests.test_store import WORDS, write_papers


def test_fusion_by_hand() -> None:
    near, bm25 = np.array([0.8, 0.4, -0.2, 0.0]), np.array([0.0, 6.0, 0.0, 3.0])
    lexical = 1 - DENSE_WEIGHT
    expected = [DENSE_WEIGHT * 0.8, DENSE_WEIGHT * 0.4 + lexical, 0.0, lexical * 0.5]
    assert fuse(near, bm25, DENSE_WEIGHT) == pytest.approx(expected)
    assert fuse(np.array([0.5]), np.zeros(1), DENSE_WEIGHT) == pytest.approx([DENSE_WEIGHT * 0.5])
    assert fuse(np.empty(0), np.empty(0), DENSE_WEIGHT).tolist() == []


@pytest.fixture
def reader(tmp_path: Path) -> IndexReader:
    write_papers(tmp_path / "papers")
    build([tmp_path / "papers"], tmp_path / "index", WordEmbedder(), BuildConfig(model="words", max_wordpieces=32))
    return IndexReader(tmp_path / "index")


def test_the_ranking_is_that_of_every_passage_scored(reader: IndexReader) -> None:
    """The candidates of both halves are a true union: nothing that scores well is missing or half scored."""
    embedder = WordEmbedder()
    with reader.snapshot() as snapshot:
        rows = [p.row_id for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)]
        body = sorted(snapshot.nearest(embedder.encode_query("x"), len(rows), None).tolist())
        for word in WORDS:
            text = f"the {word} of a cell"
            vector = embedder.encode_query(text)
            found = snapshot.similarities(vector, body)
            best_sentences = [max(each) for each in np.split(found.sentences, np.cumsum(found.n_sentences)[:-1])]
            near = (found.passages + best_sentences) / 2
            question = read_question(snapshot, text)
            ids, scores = snapshot.lexical(terms(text), None)
            alone = dict(zip(ids.tolist(), scores.tolist(), strict=True))
            pairs = pair_scores(question.readings[0], Wording(found.words), len(rows))
            lexical = np.array([alone.get(row_id, 0.0) for row_id in body]) + PAIR_WEIGHT * pairs
            total = sum(question.weights.values())
            said = snapshot._connection.execute("SELECT terms FROM passages WHERE role = 'body' ORDER BY id")
            spoken = [
                max(
                    sum(question.weights[term] for term in set(terms(text)) & set(sentence.split())) / total
                    for sentence in passage.split("\n")
                )
                for (passage,) in said
            ]
            mixed = fuse(near, lexical, DENSE_WEIGHT)
            everything = dict(
                zip(body, (mixed + COVERAGE_WEIGHT * np.array(spoken)) / (1 + COVERAGE_WEIGHT), strict=True)
            )
            best = sorted(everything, key=lambda row_id: (-everything[row_id], row_id))[:7]
            ranked = rank(snapshot, question, vector, 7, Selection(), Ranking())
            assert [each.row_id for each in ranked] == best
            assert [each.score for each in ranked] == pytest.approx([everything[row_id] for row_id in best], abs=1e-6)
    reader.close()


def _reading(*slots: str) -> Reading:
    return tuple(tuple(slot.split("|")) for slot in slots)


def _pairs(reading: Reading, passages: list[str], n_passages: int) -> list[float]:
    return list(pair_scores(reading, Wording([pack_words(each) for each in passages]), n_passages))


def test_pairs_by_hand() -> None:
    passages = ["bone qualiti bone qualiti\nfall rise", "qualiti bone\nage", "bone age bone"]
    rare = math.log(1 + (100 - 1 + 0.5) / 1.5)
    assert _pairs(_reading("age", "bone", "qualiti"), passages, 100) == pytest.approx(
        [
            rare * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 6 / 4)),  # twice, in six terms where four are usual
            0.0,  # both words of a pair, the other way round
            rare * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 3 / 4)),  # "age bone"
        ]
    )
    assert _pairs(_reading("bone"), passages, 100) == [0, 0, 0]
    assert _pairs(_reading("bone", "age"), [], 0) == []
    assert _pairs(_reading("bone", "rise|fall rise"), ["bone fall rise"], 9)[0] > 0
    assert _pairs(_reading("rise", "age"), ["rise\nage"], 9) == [0]  # another sentence begins
    assert _pairs(_reading("rise", "age"), ["rise", "age"], 9) == [0, 0]  # another passage
    assert _pairs(_reading("bone", "bone"), ["bone bone bone"], 9)[0] > 0


@given(st.lists(st.lists(st.lists(st.sampled_from("ab^c"), max_size=5), min_size=1, max_size=3), max_size=4))
def test_wording_is_what_a_search_in_each_line_gives(passages: list[list[list[str]]]) -> None:
    wanted = ["a", "b", "a b", "b b a"]
    wording = Wording([pack_words("\n".join(" ".join(line) for line in lines)) for lines in passages])
    assert wording.lengths.tolist() == [sum(map(len, lines)) for lines in passages]
    every = [(n, line) for n, lines in enumerate(passages) for line in lines]
    assert wording.n_lines == len(every)
    for phrase in map(str.split, wanted):
        places = [
            (at, n)
            for at, (n, line) in enumerate(every)
            for start in range(len(line))
            if line[start : start + len(phrase)] == phrase
        ]
        assert wording.lines_with(" ".join(phrase)).tolist() == [at for at, _ in places]
        assert wording.counts(" ".join(phrase)).tolist() == [
            sum(owner == n for _, owner in places) for n in range(len(passages))
        ]
    for n in range(len(passages)):
        assert [every[at][0] for at in range(wording.n_lines)[wording.lines(n)]] == [n] * len(passages[n])


def _marked(stored: StoredPassage, scores: list[float]) -> list[str]:
    text, start = stored.passage.text, stored.passage.start
    return [text[each.start - start : each.end - start] for each in best_sentences(stored, scores)]


def test_best_sentences(tmp_path: Path) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "a.md").write_text(
        "# T\n\n## S\n\nBone is hard. Sugar is sweet. Sugar harms bone.\n\n## U\n\nNothing else here.\n",
        encoding="utf-8",
    )
    build([folder], tmp_path / "index", WordEmbedder(), BuildConfig(model="words", max_wordpieces=32))
    reader = IndexReader(tmp_path / "index")
    with reader.snapshot() as snapshot:
        found = snapshot.passages_of("a")
        question = read_question(snapshot, "does sugar harm bone?")
        wording = Wording(snapshot.words_of([each.row_id for each in found]))
        spoken = spoken_of(shares(question), wording)
        scores = [spoken[wording.lines(n)].tolist() for n in range(2)]
        assert scores == [pytest.approx([1 / 3, 1 / 3, 1.0]), [0.0]]  # each word is in one of two passages
        assert _marked(found[0], scores[0]) == ["Sugar harms bone."]
        assert _marked(found[0], [0.9, 0.1, 1.0]) == ["Bone is hard.", "Sugar harms bone."]
        assert _marked(found[0], [0.9, 0.95, 1.0]) == ["Sugar is sweet.", "Sugar harms bone."]
        assert best_sentences(found[1], scores[1]) == []
        assert all(isinstance(each, Sentence) for each in found[0].passage.sentences)
    reader.close()


def test_a_sentence_scores_by_its_cosine_and_its_words(reader: IndexReader) -> None:
    with reader.snapshot() as snapshot:
        stored = snapshot.passages_of("PMC7000")[0]
    n = len(stored.passage.sentences)
    cosines = (0.8, *(-0.2,) * (n - 1))
    scored = [Scored(1, 0.5, 0.5, cosines, 3.0, (*(0.5,) * n, 1.0)), Scored(2, 0.5, 0.0, (), 3.0, (*(0.25,) * n, 1.0))]
    assert sentence_scores(scored, [stored, stored]) == [
        pytest.approx([0.65, *[0.25] * (n - 1)]),
        pytest.approx([0.125] * n),
    ]
    reader.close()
