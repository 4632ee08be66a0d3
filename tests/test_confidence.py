"""What the confidence is made of, by hand, and that it tells what the papers say from what they do not."""

from __future__ import annotations

import json
import math
from dataclasses import astuple, replace
from pathlib import Path

import pytest

import service
from service.confidence import N_RANKED, Features, Model, features, fitted
from service.library import Library
from service.query import Filters
from service.reading import Question
from service.search import Scored
from tests.fakes import stored_passage

WEIGHTS = {"grip": 1.0, "limpet": 2.0, "winter": 1.0}
QUESTION = Question(("grip of limpets in winter",), WEIGHTS, ((("grip",), ("limpet",), ("winter",)),))


def scored(row_id: int, cosine: float, lexical: float, word: float = 0.0) -> Scored:
    return Scored(row_id, 0.5, cosine, (cosine,), lexical, (word,))


def test_features_by_hand() -> None:
    papers = ["a", "b", "a", "c", "d", "e"]
    ranked = [
        scored(n, cosine, lexical, word)
        for n, (cosine, lexical, word) in enumerate(
            [(0.6, 3.0, 0.5), (0.8, 2.5, 0.0), (0.5, 4.0, 0.0), (0.1, 2.0, 0.0), (0.1, 1.0, 0.0), (0.1, 0.5, 0.0)]
        )
    ]
    found = [
        stored_passage("The grip is firm.", paper_id="a", title="Of shores"),
        stored_passage("Winter is cold.", paper_id="b"),
        stored_passage("It held.", paper_id="a", section="In winter", title="Of shores"),
    ]
    made = features(QUESTION, ranked, papers, found)
    assert made.sentence == pytest.approx((0.6 + 0.5) / 2)
    assert made.cosine_lead == pytest.approx(0.8)  # of so few, the median is of those that there are not
    assert made.paper_coverage == pytest.approx((1 + 1) / 4 * math.log(3))  # grip here, winter there; no limpet
    assert made.paper_lead == pytest.approx((4.0 - 1.0) / 4)  # of d, the fourth best paper after a, b and c
    many = [replace(ranked[0], row_id=n, dense=0.3, sentences=(0.3,)) for n in range(N_RANKED)]
    assert features(QUESTION, many, ["a"] * 30, found).cosine_lead == 0.0
    assert features(QUESTION, ranked[:2], papers[:2], found[:2]).paper_lead == pytest.approx(3.0 / 4)


def test_a_question_of_stop_words_has_features() -> None:
    nothing = Question(("of the",), {}, ((),))
    made = features(nothing, [scored(0, 0.2, 0.0)], ["a"], [stored_passage("The grip is firm.")])
    assert astuple(made) == pytest.approx((0.1, 0.2, 0.0, 0.0))


def test_probability_and_status_by_hand() -> None:
    model = Model(0.5, (1.0, 2.0, 0.0, -1.0), (0.5, 0.0, 0.0, 1.0), (0.5, 1.0, 1.0, 2.0), 0.8, 0.4)
    logit = 0.5 + (1.0 - 0.5) / 0.5 + 2.0 * 0.25 - (3.0 - 1.0) / 2.0
    assert model.probability(Features(1.0, 0.25, 9.0, 3.0)) == pytest.approx(1 / (1 + math.exp(-logit)))
    assert [model.status(p) for p in (0.8, 0.79, 0.4, 0.39)] == ["answered", "partial", "partial", "not_found"]


def test_the_model_that_comes_along() -> None:
    model = fitted()
    assert 0 < model.not_found < model.answered < 1
    assert all(weight > 0 for weight in model.weights)  # more of each speaks for an answer
    provenance = json.loads((Path(service.__file__).parent / "confidence.json").read_text(encoding="utf-8"))[
        "provenance"
    ]
    assert provenance["script"] == "benchmarks/calibrate.py"


@pytest.mark.parametrize(
    ("question", "status"),
    [
        ("why do limpets lose their grip in warm water?", "answered"),
        ("how fast do lichens grow on slate?", "answered"),
        ("which enzyme cleaves the spike protein?", "not_found"),
        ("who won the world cup in 1998?", "not_found"),
    ],
)
def test_what_the_papers_say_and_what_they_do_not(library: Library, question: str, status: str) -> None:
    answer = library.ask(question)
    assert answer.status == status
    assert (answer.confidence >= 0.5) == (status == "answered")
    assert answer.hits
    assert bool(answer.quotes) == (status == "answered")


def test_the_same_question_of_another_paper_is_not_found(library: Library) -> None:
    question = "why do limpets lose their grip in warm water?"
    elsewhere = library.ask(question, filters=Filters(paper_ids=("10.5555_lichen.2019.3",)))
    assert (elsewhere.status, elsewhere.kind, elsewhere.text) == ("not_found", "none", "")


def test_what_no_passage_fits_is_not_found(library: Library) -> None:
    nothing = library.ask("limpets", filters=Filters(phrases=("no such words",)))
    assert (nothing.status, nothing.confidence, nothing.hits) == ("not_found", 0.0, ())
