"""Metrics by hand and against scikit-learn, question sets read and refused, and the command over a real index."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from indexer.errors import UsageError
from service.evaluate import (
    Evidence,
    Question,
    bootstrap,
    evaluate,
    judged_scores,
    load_questions,
    ndcg_at_k,
    recall_at_k,
    span_scores,
)
from service.library import Library
from service.query import Query
from service.replies import Hit
from tests.conftest import Run


@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), st.randoms(use_true_random=False))
def test_ndcg_is_that_of_scikit_learn(grades: list[int], random: object) -> None:
    order = np.random.default_rng(len(grades)).permutation(len(grades))
    ranked = [str(n) for n in order]
    ours = ndcg_at_k(ranked, {str(n): grade for n, grade in enumerate(grades)}, 10)
    scores = np.empty(len(grades))
    scores[order] = np.arange(len(grades), 0, -1)
    assert ours == pytest.approx(ndcg_score([[2**grade - 1 for grade in grades]], [scores], k=10))


def test_recall_by_hand() -> None:
    assert recall_at_k(["a", "b", "c"], {"b": 1, "c": 2, "d": 1, "e": 0}, 2) == pytest.approx(1 / 3)
    assert recall_at_k(["a"], {"b": 0}, 5) == 0.0


def test_bootstrap_is_a_95_percent_interval_of_the_mean() -> None:
    values = [0.0, 1.0] * 200
    low, high = bootstrap(values)
    assert (low, high) == bootstrap(values)
    error = 1.96 * 0.5 / 400**0.5
    assert (low, high) == pytest.approx((0.5 - error, 0.5 + error), abs=0.01)
    assert bootstrap([0.25]) == (0.25, 0.25)


@pytest.fixture
def hits(library: Library) -> list[Hit]:
    """Three hits of the limpets: at 0-40, 100-140, 200-240, each of ten words."""
    found = library.search(Query("grip temperature limpets", 3)).hits[0]
    text = "word " * 10
    return [
        replace(found, text=text, rank=n + 1, citation=replace(found.citation, start=at, end=at + 40))
        for n, at in enumerate((0, 100, 200))
    ]


def test_span_scores_by_hand(hits: list[Hit]) -> None:
    section = hits[0].citation.section[-1]
    question = Question("q", "?", "limpets", (Evidence(120, 160, section), Evidence(500, 560)))
    scores = span_scores(question, hits)
    assert {name: scores[name] for name in ("hit@1", "hit@5", "mrr@10", "section accuracy")} == {
        "hit@1": 0.0,
        "hit@5": 1.0,
        "mrr@10": 0.5,  # the second passage has just half of the first stretch
        "section accuracy": 1.0,
    }
    assert scores["recall@256t"] == pytest.approx(20 / 100)
    missed = span_scores(replace(question, paper_id="other"), hits)
    assert set(missed.values()) == {0.0}
    assert "section accuracy" not in missed
    assert span_scores(replace(question, evidence=(Evidence(121, 162),)), hits)["hit@10"] == 0.0


def test_a_budget_cuts_the_passage_that_crosses_it(hits: list[Hit]) -> None:
    long = [replace(hit, text="word " * 100) for hit in hits]  # 130 tokens each: 256 end within the second
    question = Question("q", "?", "PMC9000001", (Evidence(0, 40), Evidence(100, 140), Evidence(200, 240)))
    scores = span_scores(question, long)
    seen = 40 + np.ceil(40 * (256 - 130) / 130)
    assert scores["recall@256t"] == pytest.approx(seen / 120)
    assert scores["recall@1024t"] == 1.0


def test_a_paper_counts_once_by_its_best_passage(hits: list[Hit]) -> None:
    other = replace(hits[0], citation=replace(hits[0].citation, paper_id="x", source="sub/lichens.md"))
    scores = judged_scores(Question("q", "?", grades=(("lichens", 1),)), [hits[0], hits[1], other])
    assert scores == pytest.approx({"ndcg@10": 1 / np.log2(3), "recall@10": 1.0})


@pytest.fixture
def sets(tmp_path: Path, corpus: Path) -> Path:
    """A span set and a judged set over the invented papers."""
    text = (corpus / "limpets.md").read_bytes().decode()
    start = text.index("Grip fell by half")
    evidence = {"start": start, "end": start + 60, "section": ["3. Results", "3.2. Grip and Temperature"]}
    spans, judged = tmp_path / "spans", tmp_path / "judged"
    for folder in (spans, judged):
        folder.mkdir()
    rows = [
        {"question": "How does warm water change the grip of limpets?", "paper_id": "limpets", "evidence": [evidence]},
        {"question": "What dissolves limescale?", "paper_id": "kettle_notes", "start": 30, "end": 60},
    ]
    (spans / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (judged / "queries.jsonl").write_text('{"_id": "1", "text": "slow growth of lichens"}\n', encoding="utf-8")
    (judged / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\tlichens\t1\n", encoding="utf-8")
    return tmp_path


def test_the_command(loccit: object, built: Path, sets: Path, tmp_path: Path) -> None:
    assert callable(loccit)
    run_file = tmp_path / "run.txt"
    run: Run = loccit("eval", sets / "spans", sets / "judged", "--index", built, "--json", "--ablate")
    assert run.code == 0
    found = {
        (each["set"], each["ranking"]): {metric["name"]: metric["mean"] for metric in each["metrics"]}
        for each in json.loads(run.out)["evaluations"]
    }
    assert found["spans", "full"]["hit@1"] == 1.0
    assert found["spans", "full"]["section accuracy"] == 1.0
    assert found["judged", "full"] == {"ndcg@10": 1.0, "recall@10": 1.0}
    assert {ranking for _, ranking in found} == {
        "full",
        "without sentences",
        "without word pairs",
        "without coverage",
        "without abbreviations",
        "without aliases",
        "without BM25",
        "without vectors",
    }
    shown: Run = loccit("eval", sets / "spans", "--index", built, "--run", run_file)
    lines = [line.split() for line in run_file.read_text(encoding="utf-8").splitlines()]
    assert [line[3] for line in lines if line[0] == "1"] == [str(n + 1) for n in range(len(lines) // 2)]
    assert lines[0][2].startswith("PMC9000001:")
    refused: Run = loccit("eval", sets / "spans", sets / "judged", "--index", built, "--run", run_file)
    assert (refused.code, "one question set" in refused.err) == (2, True)
    assert shown.out.startswith("spans, 2 questions\n  full\n    hit@1")


def test_evaluation_leaves_the_ranking_as_it_was(library: Library, sets: Path) -> None:
    before = library.search(Query("grip of limpets", 5)).hits
    evaluate(library, load_questions(sets / "spans"), ablate=True)
    assert library.search(Query("grip of limpets", 5)).hits == before


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("notes.txt", "", "holds no question set"),
        ("questions.jsonl", "{", "cannot be read: JSONDecodeError"),
        ("questions.jsonl", '{"question": "x"}', "a line has no 'start'"),
        ("qrels.tsv", "a\tb\tc\n1\t2\tx\n", "cannot be read: ValueError"),
        ("qrels.tsv", "a\tb\tc\n1\t2\t1\n", "cannot be read: FileNotFoundError"),
    ],
)
def test_sets_that_cannot_be_read(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=said):
        load_questions(tmp_path)
