"""Ranking by hand and against brute force, and the sentences that are marked."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from indexer.build import build
from indexer.config import BuildConfig
from indexer.papers import Sentence
from indexer.store import IndexReader, Selection, StoredPassage
from indexer.terms import terms
from service.reading import Question, Reading, read_question
from service.search import (
    COVERAGE_WEIGHT,
    DENSE_WEIGHT,
    PAIR_WEIGHT,
    Ranking,
    Scored,
    best_sentences,
    coverage,
    fuse,
    padded,
    pair_scores,
    rank,
    sentence_scores,
    shares,
    spoken_of,
)
from tests.fakes import WordEmbedder
from tests.test_store import WORDS, write_papers


def test_fusion_by_hand() -> None:
    fused = fuse({1: 0.8, 2: 0.4, 3: -0.2}, {2: 6.0, 4: 3.0}, DENSE_WEIGHT)
    lexical = 1 - DENSE_WEIGHT
    assert fused == pytest.approx({1: DENSE_WEIGHT * 0.8, 2: DENSE_WEIGHT * 0.4 + lexical, 3: 0.0, 4: lexical * 0.5})
    assert fuse({1: 0.5}, {}, DENSE_WEIGHT) == pytest.approx({1: DENSE_WEIGHT * 0.5})
    assert fuse({}, {}, DENSE_WEIGHT) == {}


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
        body = set(snapshot.dense(embedder.encode_query("x"), len(rows), None))
        for word in WORDS:
            text = f"the {word} of a cell"
            vector = embedder.encode_query(text)
            whole = snapshot.dense_of(vector, sorted(body))
            parts = snapshot.sentence_scores(vector, sorted(body))
            near = {row_id: (whole[row_id] + max(parts[row_id])) / 2 for row_id in body}
            question = read_question(snapshot, text)
            ids, scores = snapshot.lexical(terms(text), None)
            lexical = dict(zip(ids.tolist(), scores.tolist(), strict=True))
            words = {row_id: padded(found) for row_id, found in snapshot.terms_of(sorted(body)).items()}
            for row_id, score in pair_scores(question.readings[0], words, len(rows)).items():
                lexical[row_id] = lexical.get(row_id, 0.0) + PAIR_WEIGHT * score
            total = sum(question.weights.values())
            spoken = {
                row_id: max(
                    sum(question.weights[term] for term in set(terms(text)) & set(sentence.split())) / total
                    for sentence in snapshot.terms_of([row_id])[row_id].split("\n")
                )
                for row_id in body
            }
            mixed = fuse(near, lexical, DENSE_WEIGHT)
            everything = {
                row_id: (mixed[row_id] + COVERAGE_WEIGHT * spoken[row_id]) / (1 + COVERAGE_WEIGHT) for row_id in body
            }
            best = sorted(everything, key=lambda row_id: (-everything[row_id], row_id))[:7]
            found = rank(snapshot, question, vector, 7, Selection(), Ranking())
            assert [each.row_id for each in found] == best
            assert [each.score for each in found] == pytest.approx([everything[row_id] for row_id in best], abs=1e-6)
    reader.close()


def _reading(*slots: str) -> Reading:
    return tuple(tuple(slot.split("|")) for slot in slots)


def test_pairs_by_hand() -> None:
    passages = {
        1: padded("bone qualiti bone qualiti\nfall rise"),
        2: padded("qualiti bone\nage"),
        3: padded("bone age bone"),
    }
    scores = pair_scores(_reading("age", "bone", "qualiti"), passages, 100)
    rare = math.log(1 + (100 - 1 + 0.5) / 1.5)
    assert scores == pytest.approx(
        {
            1: rare
            * 2
            * 2.2
            / (2 + 1.2 * (0.25 + 0.75 * 6 / 4)),  # "bone qualiti" twice, in six terms where four are usual
            3: rare * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 3 / 4)),  # "age bone"
        }
    )
    assert pair_scores(_reading("bone"), passages, 100) == {}  # passage 2 has both words of a pair, the other way round
    assert pair_scores(_reading("bone", "age"), {}, 0) == {}
    assert pair_scores(_reading("bone", "rise|fall rise"), {1: padded("bone fall rise")}, 9).keys() == {1}
    assert pair_scores(_reading("rise", "age"), {1: padded("rise\nage")}, 9) == {}  # another sentence begins


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
        words = [padded(found) for found in snapshot.terms_of([each.row_id for each in found]).values()]
        scores = [spoken_of(shares(read_question(snapshot, "does sugar harm bone?")), each) for each in words]
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


def test_coverage_is_the_weight_of_what_is_spoken_of(reader: IndexReader) -> None:
    with reader.snapshot() as snapshot:
        found = snapshot.passages_of("PMC7000")
        n = snapshot.counts()["passages"]
        everywhere = [p for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)]
        n_bone = sum("bone" in f"{p.paper.title} {p.passage.section} {p.passage.text}".lower() for p in everywhere)
        question = read_question(snapshot, "the bone of a penguin, the bone")
        weights = question.weights
        assert weights == pytest.approx(
            {"bone": math.log(1 + (n - n_bone + 0.5) / (n_bone + 0.5)), "penguin": math.log(1 + (n + 0.5) / 0.5)}
        )
        bony = [p for p in found if "Bones" in " ".join(p.passage.section)]
        assert coverage(question, bony) == pytest.approx(weights["bone"] / sum(weights.values()))
        assert coverage(question, []) == 0.0
        assert coverage(Question(("of the",), {}, ((),)), bony) == 0.0
    reader.close()
