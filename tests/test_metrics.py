"""Our metrics against those of ranx: its values in a golden file, and ranx itself where it is installed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.evaluate import Evidence, Question, evaluate, judged_scores, load_questions, span_scores
from service.query import Query
from service.replies import Hit, Scores
from service.search import Ranking
from tests.fakes import citation
from tests.golden import metrics
from tests.golden.metrics import Case, by_ranx, random_cases

OURS = {
    "ndcg_burges@10": "ndcg@10",
    "recall@10": "recall@10",
    "mrr@10": "mrr@10",
    "hit_rate@1": "hit@1",
    "hit_rate@5": "hit@5",
    "hit_rate@10": "hit@10",
}


def hit(rank: int, paper: str, start: int) -> Hit:
    """A passage of a hundred characters."""
    place = citation(paper_id=paper, start=start, end=start + 100, source=f"{paper}.md")
    return Hit(rank, 1.0, Scores(0.0, 0.0, 0.0, None), f"{paper}:{start}", "text", (), place)


def as_papers(case: Case) -> tuple[Question, list[Hit]]:
    """The case as a judged query; every paper is found once more, by a passage that ranks last."""
    hits = [hit(n, paper, 0) for n, paper in enumerate(case.ranked * 2, start=1)]
    return Question("q", "?", grades=tuple(case.grades.items())), hits


def as_spans(case: Case) -> tuple[Question, list[Hit]]:
    """The case as passages of one paper: a relevant one has its own stretch of the evidence, the others have none."""
    starts = {paper: 1000 * n for n, paper in enumerate(dict.fromkeys([*case.grades, *case.ranked]), start=1)}
    evidence = [Evidence(starts[paper], starts[paper] + 100) for paper, grade in case.grades.items() if grade]
    hits = [hit(n, "p", starts[paper]) for n, paper in enumerate(case.ranked, start=1)]
    return Question("q", "?", "p", (*evidence, Evidence(0, 100))), hits


def ours(case: Case) -> dict[str, float]:
    scores = span_scores(*as_spans(case)) | judged_scores(*as_papers(case))
    return {metric: scores[name] for metric, name in OURS.items()}


def agree(cases: Sequence[Case], theirs: Sequence[dict[str, float]]) -> None:
    for case, expected in zip(cases, theirs, strict=True):
        assert ours(case) == pytest.approx(expected, abs=1e-9), case


def test_the_values_of_ranx() -> None:
    cases, theirs = zip(*metrics.load(), strict=True)
    assert {metric: sum(0 < each[metric] < 1 for each in theirs) > 5 for metric in OURS if "hit" not in metric} == {
        "ndcg_burges@10": True,
        "recall@10": True,
        "mrr@10": True,
    }
    agree(cases, theirs)


@pytest.mark.skipif(find_spec("ranx") is None, reason="ranx is not installed; the golden file has its values")
def test_ranx_itself() -> None:
    cases = random_cases(1000, seed=2)
    agree(cases, by_ranx(cases))


@pytest.mark.parametrize("qrels", ["qrels.tsv", "qrels/test.tsv"])
def test_means_over_a_set_as_beir_has_it(tmp_path: Path, qrels: str) -> None:
    """Read from files and asked one by one; a query that nobody judged does not count, one without hits counts 0."""
    loaded = metrics.load()
    (tmp_path / qrels).parent.mkdir(exist_ok=True)
    lines = [f"{n}\t{paper}\t{grade}" for n, (case, _) in enumerate(loaded) for paper, grade in case.grades.items()]
    (tmp_path / qrels).write_text("\n".join(["query-id\tcorpus-id\tscore", *lines, ""]), encoding="utf-8")
    queries = [{"_id": str(n), "text": f"query {n}", "metadata": {}} for n in range(len(loaded) + 5)]
    (tmp_path / "queries.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in queries), encoding="utf-8")
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "", "text": "not read here"}\n', encoding="utf-8")

    def search(query: Query, *, ranking: Ranking) -> SimpleNamespace:
        case, _ = loaded[int(query.text.removeprefix("query "))]
        return SimpleNamespace(hits=as_papers(case)[1])

    (done,) = evaluate(SimpleNamespace(search=search, reranker=""), load_questions(tmp_path))  # type: ignore[arg-type]
    assert {metric.name: metric.n for metric in done.metrics} == {"ndcg@10": len(loaded), "recall@10": len(loaded)}
    for metric in done.metrics:
        theirs = [scores[next(name for name in OURS if OURS[name] == metric.name)] for _, scores in loaded]
        assert metric.mean == pytest.approx(sum(theirs) / len(theirs), abs=1e-9)
