"""What ranx says of random rankings: `pip install ranx==0.3.21`, `python -m tests.golden.metrics`, then `git diff`.

ranx is no dependency: with numba, pandas, matplotlib and what else it wants it is 22 packages of 430 MB.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_suffix(".jsonl")
METRICS = ("ndcg_burges@10", "recall@10", "mrr@10", "hit_rate@1", "hit_rate@5", "hit_rate@10")
"""ranx's names. Its `ndcg_burges` has the gain 2^grade - 1."""


@dataclass(frozen=True, slots=True)
class Case:
    """A query's judgements, and the papers found for it, best first, each once."""

    grades: dict[str, int]
    ranked: list[str]


def random_cases(n: int, seed: int) -> list[Case]:
    """Cases with several papers of a grade, with none found, with none relevant, with papers that nobody judged."""
    random = np.random.default_rng(seed)
    cases = []
    for _ in range(n):
        papers = [f"d{number}" for number in range(int(random.integers(1, 31)))]
        n_judged, n_found = random.integers(1, len(papers) + 1), random.integers(0, len(papers) + 1)
        judged = random.permutation(papers)[:n_judged].tolist()
        highest = int(random.choice([0, 1, 2, 3, 3, 3]))
        grades = {paper: int(random.integers(0, highest + 1)) for paper in judged}
        cases.append(Case(grades, random.permutation(papers)[:n_found].tolist()))
    return cases


def by_ranx(cases: Sequence[Case]) -> list[dict[str, float]]:
    """Each metric of each case. ranx is told the ranks, so that it has no ties to break."""
    os.environ["NUMBA_DISABLE_JIT"] = "1"  # the same arithmetic, without a minute of compiling
    import ranx

    names = [f"q{n:04}" for n in range(len(cases))]  # in the order of the alphabet, as ranx puts them
    qrels = ranx.Qrels({name: case.grades for name, case in zip(names, cases, strict=True)})
    found = {
        name: {paper: 1 / (i + 1) for i, paper in enumerate(case.ranked)}
        for name, case in zip(names, cases, strict=True)
        if case.ranked  # the queries without any are missing from the run
    }
    scores = [
        ranx.evaluate(qrels, ranx.Run(found), metric, return_mean=False, make_comparable=True) for metric in METRICS
    ]
    return [dict(zip(METRICS, map(float, of_case), strict=True)) for of_case in zip(*scores, strict=True)]


def load() -> list[tuple[Case, dict[str, float]]]:
    """The cases of the golden file, and their metrics."""
    rows = [json.loads(line) for line in PATH.read_text(encoding="utf-8").splitlines()]
    return [(Case(row["grades"], row["ranked"]), row["ranx"]) for row in rows]


if __name__ == "__main__":
    cases = random_cases(60, seed=1)
    rows = [
        json.dumps({"grades": case.grades, "ranked": case.ranked, "ranx": scores})
        for case, scores in zip(cases, by_ranx(cases), strict=True)
    ]
    PATH.write_text("\n".join(rows) + "\n", encoding="utf-8")
