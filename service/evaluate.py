"""Question sets -> how well the index answers them, with confidence intervals.

Two layouts are read. A *span set* is `questions.jsonl`: each line has `question`, `paper_id`, and either `start` and
`end` or `evidence: [{start, end, section?}]`, code-point offsets into that paper's file. A *judged set* is BEIR's:
`queries.jsonl` and `qrels.tsv` (or `qrels/test.tsv`), papers named by their id or their file's stem. The index must
hold the papers; `benchmarks/beir.py` makes them of BEIR's corpus. Knows nothing of the command line.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.errors import UsageError
from indexer.papers import Span
from service.library import Library
from service.query import Query
from service.replies import Hit
from service.search import PARTS, Ranking

SPAN_K, JUDGED_K = 50, 100
"""Hits asked for: enough for the deepest metric."""
TOKEN_BUDGETS = (256, 512, 1024)
_WORDPIECES_PER_WORD = 1.3
_WORD = re.compile(r"\w+|[^\w\s]")
_N_RESAMPLES = 1000
_INTERVAL = (2.5, 97.5)
_SEED = 20260131


@dataclass(frozen=True, slots=True)
class Evidence:
    """A stretch of a paper that answers a question, and the title of its section where known."""

    start: int
    end: int
    section: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A question with what answers it: spans of one paper, or papers by grade."""

    id: str
    text: str
    paper_id: str = ""
    evidence: tuple[Evidence, ...] = ()
    grades: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions of one kind."""

    name: str
    kind: str
    """`spans` or `judged`."""
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """A mean over the questions, and the 95 % interval of 1,000 bootstrap resamples (Efron 1979)."""

    name: str
    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One question set under one ranking."""

    set: str
    ranking: str
    """`full`, or what was left out of it."""
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, slots=True)
class Evaluations:
    """What `loccit eval` gives."""

    evaluations: tuple[Evaluation, ...]


def load_questions(folder: Path) -> QuestionSet:
    """The question set in a folder. Raises UsageError where there is none, or one that cannot be read."""
    try:
        if (folder / "questions.jsonl").is_file():
            return QuestionSet(folder.name, "spans", tuple(_span_questions(folder / "questions.jsonl")))
        qrels = next((path for path in (folder / "qrels.tsv", folder / "qrels/test.tsv") if path.is_file()), None)
        if qrels is not None:
            return QuestionSet(folder.name, "judged", tuple(_judged_questions(folder / "queries.jsonl", qrels)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        said = f"a line has no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise UsageError(f"the question set in {folder} cannot be read: {said}") from error
    raise UsageError(f"{folder} holds no question set: it needs questions.jsonl, or queries.jsonl and qrels.tsv")


def evaluate(
    library: Library,
    questions: QuestionSet,
    *,
    ablate: bool = False,
    on_run: Callable[[str], None] = lambda line: None,
) -> list[Evaluation]:
    """The set's metrics under the full ranking; with `ablate` also without each of its parts.

    `on_run` hears the full ranking as lines of a TREC run file.
    """
    rankings = {"full": Ranking()} | (PARTS if ablate else {})
    if ablate and library.reranker:
        rankings["without re-ranking"] = Ranking(rerank=False)
    evaluations: list[Evaluation] = []
    for name, ranking in rankings.items():
        rows: list[dict[str, float]] = []
        for question in questions.questions:
            k = SPAN_K if questions.kind == "spans" else JUDGED_K
            hits = library.search(Query(question.text, k), ranking=ranking).hits
            if name == "full":
                for hit in hits:
                    on_run(f"{question.id} Q0 {hit.passage_id} {hit.rank} {hit.score:.6f} loccit")
            rows.append(span_scores(question, hits) if questions.kind == "spans" else judged_scores(question, hits))
        evaluations.append(Evaluation(questions.name, name, tuple(_summaries(rows))))
    return evaluations


def span_scores(question: Question, hits: Sequence[Hit]) -> dict[str, float]:
    """One question's metrics. A passage hits when it has at least half of one stretch of the evidence."""
    wanted = {at for each in question.evidence for at in range(each.start, each.end)}
    first = match = None
    for rank, hit in enumerate(hits, start=1):
        match = next((each for each in question.evidence if _holds_half(hit, question.paper_id, each)), None)
        if match is not None:
            first = rank
            break
    scores = {f"hit@{k}": float(first is not None and first <= k) for k in (1, 5, 10)}
    scores["mrr@10"] = 1 / first if first is not None and first <= 10 else 0.0
    for budget in TOKEN_BUDGETS:
        seen = {at for span in _within(hits, question.paper_id, budget) for at in range(span.start, span.end)}
        scores[f"recall@{budget}t"] = len(wanted & seen) / len(wanted)
    if first is not None and first <= 5 and match is not None and match.section:
        scores["section accuracy"] = float(
            _bare(match.section) in [_bare(title) for title in hits[first - 1].citation.section]
        )
    return scores


def judged_scores(question: Question, hits: Sequence[Hit]) -> dict[str, float]:
    """One query's metrics over papers, each ranked by its best passage."""
    grades = dict(question.grades)
    ranked = list(dict.fromkeys(next((n for n in _names(hit) if n in grades), hit.citation.paper_id) for hit in hits))
    return {"ndcg@10": ndcg_at_k(ranked, grades, 10), "recall@10": recall_at_k(ranked, grades, 10)}


def ndcg_at_k(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """Normalised discounted cumulative gain, gain 2^grade - 1 (Järvelin & Kekäläinen 2002; Burges et al. 2005)."""

    def dcg(gains: Sequence[int]) -> float:
        return float(sum((2**gain - 1) / math.log2(place + 2) for place, gain in enumerate(gains[:k])))

    ideal = dcg(sorted(grades.values(), reverse=True))
    return dcg([grades.get(name, 0) for name in ranked]) / ideal if ideal else 0.0


def recall_at_k(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
    """The share of relevant papers that stand among the first `k`."""
    relevant = {name for name, grade in grades.items() if grade > 0}
    return len(relevant & set(ranked[:k])) / len(relevant) if relevant else 0.0


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % percentile interval of the mean; the same for the same values."""
    sample = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(_SEED)
    means = sample[random.integers(0, len(sample), size=(_N_RESAMPLES, len(sample)))].mean(axis=1)
    low, high = np.percentile(means, _INTERVAL)
    return float(low), float(high)


def _summaries(rows: Sequence[Mapping[str, float]]) -> list[Metric]:
    metrics: list[Metric] = []
    for name in dict.fromkeys(name for row in rows for name in row):
        values = [row[name] for row in rows if name in row]
        metrics.append(Metric(name, sum(values) / len(values), *bootstrap(values), len(values)))
    return metrics


def _span_questions(path: Path) -> list[Question]:
    found: list[Question] = []
    for n, line in enumerate(path.read_text(encoding="utf-8").split("\n")):
        if line.strip():
            row = json.loads(line)
            evidence = tuple(
                Evidence(int(each["start"]), int(each["end"]), (each.get("section") or [""])[-1])
                for each in row.get("evidence") or [row]
            )
            found.append(Question(str(row.get("id", n)), row["question"], str(row["paper_id"]), evidence))
    return found


def _judged_questions(queries: Path, qrels: Path) -> list[Question]:
    grades: dict[str, dict[str, int]] = {}
    with qrels.open(encoding="utf-8", newline="") as file:
        for query_id, paper_id, grade in list(csv.reader(file, delimiter="\t"))[1:]:
            grades.setdefault(query_id, {})[paper_id] = int(grade)
    rows = [json.loads(line) for line in queries.read_text(encoding="utf-8").split("\n") if line.strip()]
    return [
        Question(row["_id"], row["text"], grades=tuple(grades[row["_id"]].items()))
        for row in rows
        if row["_id"] in grades
    ]


def _names(hit: Hit) -> tuple[str, str]:
    """What a question set may call the hit's paper."""
    return hit.citation.source.rsplit("/", 1)[-1].rsplit(".", 1)[0], hit.citation.paper_id


def _holds_half(hit: Hit, paper_id: str, wanted: Evidence) -> bool:
    if paper_id not in _names(hit):
        return False
    shared = min(hit.citation.end, wanted.end) - max(hit.citation.start, wanted.start)
    return 2 * max(shared, 0) >= wanted.end - wanted.start


def _within(hits: Sequence[Hit], paper_id: str, budget: int) -> list[Span]:
    """What a reader of the first `budget` tokens sees of the paper; the passage that crosses the line is cut at it."""
    spans: list[Span] = []
    spent = 0.0
    for hit in hits:
        size = _WORDPIECES_PER_WORD * len(_WORD.findall(hit.text))
        start, end = hit.citation.start, hit.citation.end
        crosses = spent + size >= budget
        if crosses:
            end = math.ceil(start + (end - start) * (budget - spent) / max(size, 1.0))
        if paper_id in _names(hit):
            spans.append(Span(start, end))
        if crosses:
            break
        spent += size
    return spans


def _bare(title: str) -> str:
    """A section's title without its number, case and punctuation."""
    return re.sub(r"[^a-z0-9]+", " ", re.sub(r"^[\d.\s]+", "", title.lower())).strip()
