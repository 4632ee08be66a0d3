"""Fit the model that says how likely an answer is, and measure it on papers that it was not fitted on.

    python benchmarks/calibrate.py [--work DIR] [--write]

A question of COVID-QA is answered by an index that has its paper, and taken not to be by one that has not. Each is
asked both ways, of all papers (the set's own and 200 others), of ten of them, and of one; SciFact's claims of ten
abstracts and of one. Papers are taken out of a large index for good before it is asked, and left out of the small ones
by a filter. The model is fitted on nine tenths of these and judged on the questions of other papers, ten times over;
the one that is written is fitted on all. QASPER, and SciFact's claims put to all abstracts, are judged by it and never
fitted on. `--write` puts the numbers into service/confidence.json, and what was measured into docs/confidence.md and
docs/confidence.svg. The indexes are those of `make eval`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from measure import QUESTIONS, answering, bring_up_to_date, by_stem
from numpy.typing import NDArray
from plot import Line, Panel, draw
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from indexer.config import DEFAULT_MODEL
from indexer.embedding import Embedder, load_embedder, mean_vector
from indexer.store import IndexReader, IndexWriter
from service.confidence import N_NAMED, N_RANKED, N_READ, Features, Model, features
from service.config import version
from service.evaluate import Question, load_questions
from service.query import Filters, Query
from service.reading import read_question
from service.search import Ranking, rank

Vector = NDArray[np.float64]
Flags = NDArray[np.bool_]

N_FOLDS = 10
N_BINS = 10
SIZES = (10, 1)
"""Papers of the small indexes."""
SETS = {"covidqa": ("COVID-QA", "paper"), "scifact": ("SciFact", "abstract"), "qasper": ("QASPER", "paper")}
"""What a set and its papers are called."""
MAIN = "COVID-QA, all papers"
"""The thresholds are set on this."""
FITTED = dict.fromkeys(
    (MAIN, "COVID-QA, 10 papers", "COVID-QA, 1 paper", "SciFact, 10 abstracts", "SciFact, 1 abstract")
)
"""What the model is fitted on. Of all of SciFact's abstracts many say the same, whichever is taken out."""
MIN_RECALL = 0.8
"""Of refusals: the share of unanswerable questions that must be refused; sets the threshold of `not_found`."""
MIN_PRECISION = 0.9
"""Of `answered`: the share that must be answerable; sets its threshold."""
_SEED = 20261124
_DOCS = Path(__file__).parents[1] / "docs"
_MODEL = Path(__file__).parents[1] / "service/confidence.json"
_NAMES = [field.name for field in fields(Features)]


@dataclass(frozen=True, slots=True)
class Case:
    """A question put to an index."""

    kind: str
    """Of index: `all papers`, `10 papers`, ..."""
    paper: str
    """Cases of one paper are fitted on or judged, never both."""
    answerable: bool
    features: tuple[float, ...]


class Asker:
    """An open index, asked for features."""

    def __init__(self, index: Path, embedder: Embedder) -> None:
        self._reader = IndexReader(index)
        self._embedder = embedder
        with self._reader.snapshot() as snapshot:
            self.papers = by_stem(snapshot)

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    def features(self, text: str, paper_ids: Sequence[str] = ()) -> tuple[float, ...]:
        """Of what the index, or these of its papers, say to a question."""
        query = Query(text, filters=Filters(paper_ids=tuple(paper_ids)))
        with self._reader.snapshot() as snapshot:
            question = read_question(snapshot, query.question, query.selection.paper_ids)
            vector = mean_vector([self._embedder.encode_query(each) for each in question.embedded])
            ranked = rank(snapshot, question, vector, N_RANKED, query.selection, Ranking())
            if not ranked:
                return (0.0,) * len(_NAMES)
            papers = snapshot.papers_of([each.row_id for each in ranked[:N_NAMED]])
            read = snapshot.passages([each.row_id for each in ranked[:N_READ]])
        return astuple(features(question, ranked, papers, read))


def cases_of(
    name: str, unit: str, index: Path, questions: Sequence[Question], work: Path, embedder: Embedder
) -> Iterator[Case]:
    """Every question, answerable and not, put to the whole index and to a few of its papers."""
    drawn = random.Random(_SEED)
    with Asker(index, embedder) as asker:
        for each in questions:
            label = each.paper_id or each.id
            yield Case(f"{name}, all {unit}s", label, True, asker.features(each.text))
            own = {asker.papers[paper] for paper in answering(each)}
            others = sorted(set(asker.papers.values()) - own)
            for size in (each for each in SIZES if each <= len(others)):
                kind = f"{name}, {size} {unit}{'s' if size > 1 else ''}"
                with_it, without = [min(own), *drawn.sample(others, size - 1)], drawn.sample(others, size)
                yield Case(kind, label, True, asker.features(each.text, with_it))
                yield Case(kind, label, False, asker.features(each.text, without))
    groups = [questions[::2], questions[1::2]] if unit == "abstract" else [[each] for each in questions]
    yield from without_papers(f"{name}, all {unit}s", index, groups, work, embedder)


def without_papers(
    kind: str, index: Path, groups: Sequence[Sequence[Question]], work: Path, embedder: Embedder
) -> Iterator[Case]:
    """The questions that no paper answers any more: those of one paper, or of a group, asked with their papers gone."""
    by_papers: dict[tuple[str, ...], list[Question]] = {}
    for group in groups:
        papers = tuple(sorted({name for each in group for name in answering(each)}))
        by_papers.setdefault(papers, []).extend(group)
    copy = work / "without"
    for papers, questions in by_papers.items():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(index, copy)
        with Asker(copy, embedder) as asker:
            known = asker.papers
        with IndexWriter(copy, None) as writer:
            for name in papers:
                if name in known:
                    writer.remove(known[name])
            writer.commit()
        with Asker(copy, embedder) as asker:
            for each in questions:
                yield Case(kind, each.paper_id or each.id, False, asker.features(each.text))
    shutil.rmtree(copy, ignore_errors=True)


def fit(cases: Sequence[Case]) -> dict[str, Any]:
    """The model's numbers, all but its thresholds."""
    values = np.array([each.features for each in cases])
    means, deviations = values.mean(axis=0), values.std(axis=0)
    fitted = LogisticRegression().fit((values - means) / deviations, [each.answerable for each in cases])
    rows = zip(_NAMES, fitted.coef_[0], means, deviations, strict=True)
    return {
        "bias": round(float(fitted.intercept_[0]), 6),
        "features": {
            name: {"weight": round(float(w), 6), "mean": round(float(m), 6), "deviation": round(float(d), 6)}
            for name, w, m, d in rows
        },
    }


def probabilities(model: Mapping[str, Any], cases: Sequence[Case]) -> Vector:
    """As the product computes them, (n,)."""
    rows = model["features"].values()
    made = Model(
        model["bias"], *(tuple(row[part] for row in rows) for part in ("weight", "mean", "deviation")), 1.0, 0.0
    )
    return np.array([made.probability(Features(*each.features)) for each in cases])


def judged(cases: Sequence[Case]) -> Vector:
    """Each case's probability by a model that was fitted on other papers, (n,)."""
    papers = sorted({each.paper for each in cases})
    random.Random(_SEED).shuffle(papers)
    fold = {paper: n % N_FOLDS for n, paper in enumerate(papers)}
    found = np.zeros(len(cases))
    for n in range(N_FOLDS):
        model = fit([each for each in cases if fold[each.paper] != n])
        own = [at for at, each in enumerate(cases) if fold[each.paper] == n]
        found[own] = probabilities(model, [cases[at] for at in own])
    return found


def thresholds(truth: Flags, probability: Vector) -> tuple[float, float]:
    """Of `answered` and `not_found`, to two places."""
    grid = np.arange(0.01, 1.0, 0.01)
    not_found = next(t for t in grid if np.mean(probability[~truth] < t) >= MIN_RECALL)
    answered = next(t for t in grid if t > not_found and np.mean(truth[probability >= t]) >= MIN_PRECISION)
    return round(float(answered), 2), round(float(not_found), 2)


def calibration(truth: Flags, probability: Vector) -> list[tuple[float, float, int]]:
    """Of each tenth of the scale: mean probability, share answerable, number; those without a case left out."""
    bins = np.minimum((probability * N_BINS).astype(int), N_BINS - 1)
    groups = [bins == n for n in range(N_BINS)]
    return [(float(probability[own].mean()), float(truth[own].mean()), int(own.sum())) for own in groups if own.any()]


def scores(truth: Flags, probability: Vector, answered: float, not_found: float) -> dict[str, float]:
    """What is reported of a set of cases."""
    refused = probability < not_found
    rows = calibration(truth, probability)
    return {
        "AUROC": float(roc_auc_score(truth, probability)),
        "expected calibration error": sum(abs(p - share) * n for p, share, n in rows) / len(truth),
        "refusals that are right": float(np.mean(~truth[refused])),
        "unanswerable that are refused": float(np.mean(refused[~truth])),
        "answerable that are refused": float(np.mean(refused[truth])),
        "`answered` that are answerable": float(np.mean(truth[probability >= answered])),
        "answerable that are `answered`": float(np.mean((probability >= answered)[truth])),
    }


def report(
    model: Mapping[str, Any], tables: Mapping[str, Mapping[str, float]], rows: Sequence[tuple[float, float, int]]
) -> str:
    """docs/confidence.md."""
    names = list(next(iter(tables.values())))
    lines = [
        "# Confidence, and when an answer says that the papers do not",
        "",
        "`confidence` is the probability that the indexed papers answer a question, given what the search found, when",
        "half of all questions are answered. It is a logistic model of four features (service/confidence.py):",
        "",
        "| feature | mean | deviation | weight |",
        "|---|---|---|---|",
        *(
            f"| {n} | {r['mean']:.3f} | {r['deviation']:.3f} | {r['weight']:.2f} |"
            for n, r in model["features"].items()
        ),
        "",
        f"Status: `answered` from {model['answered']}, `not_found` below {model['not_found']}, `partial` between. The",
        f"first is where {MIN_PRECISION:.0%} of what counts as answered is; the second where {MIN_RECALL:.0%} of what",
        "no paper answers is refused.",
        "",
        "`python benchmarks/calibrate.py --write` fits it and writes this page. Each question is put to an index that",
        "has its paper, and to one that has not. The first five rows are judged by models fitted on the questions of",
        "other papers, ten folds; the others by the model fitted on these five.",
        "",
        f"| | {' | '.join(names)} |",
        f"|---|{'---|' * len(names)}",
        *(f"| {kind} | {' | '.join(f'{value:.3f}' for value in table.values())} |" for kind, table in tables.items()),
        "",
        "COVID-QA, all papers:",
        "",
        "![Reliability diagram](confidence.svg)",
        "",
        "| confidence, mean | answerable | questions |",
        "|---|---|---|",
        *(f"| {p:.2f} | {share:.2f} | {n} |" for p, share, n in rows),
        "",
        _CAVEATS,
    ]
    return "\n".join(lines)


_CAVEATS = """\
What this does not say: a question whose own paper was taken out may be answered by another one, and counts as
unanswerable all the same. With a cross-encoder (`--rerank`) the passages stand in another order than the model was
fitted on. How well an answer is quoted is another figure: [decisions/0007](decisions/0007-answers.md).
"""


def run(shared: Path, work: Path, *, write: bool) -> None:
    """Measure, fit, print, and write where asked."""
    embedder = load_embedder(DEFAULT_MODEL, threads=1)
    cases: list[Case] = []
    for name, (shown, unit) in SETS.items():
        index = work / f"{name}-index"
        if code := bring_up_to_date(name, shared, work):
            sys.exit(code)
        questions = load_questions(shared / QUESTIONS[name]).questions
        cases += cases_of(shown, unit, index, questions, work, embedder)
    own = [each for each in cases if each.kind in FITTED]
    rest = [each for each in cases if each.kind not in FITTED]
    model = fit(own)
    every, found = own + rest, np.concatenate([judged(own), probabilities(model, rest)])
    truth, kinds = np.array([each.answerable for each in every]), np.array([each.kind for each in every])
    measured = {kind: (truth[kinds == kind], found[kinds == kind]) for kind in dict.fromkeys(kinds.tolist())}
    answered, not_found = thresholds(*measured[MAIN])
    model |= {"answered": answered, "not_found": not_found}
    tables = {kind: scores(*each, answered, not_found) for kind, each in measured.items()}
    rows = calibration(*measured[MAIN])
    model["provenance"] = {
        "fitted_on": FITTED,
        "n_cases": len(own),
        "model": embedder.identity.name,
        "loccit": version(),
        "date": datetime.now(UTC).date().isoformat(),
        "script": "benchmarks/calibrate.py",
        "scikit_learn": metadata.version("scikit-learn"),
        "measured": {name: round(value, 4) for name, value in tables[MAIN].items()},
    }
    page = report(model, tables, rows)
    sys.stdout.write(page)
    if write:
        order = ("provenance", "bias", "features", "answered", "not_found")
        _MODEL.write_text(json.dumps({key: model[key] for key in order}, indent=2) + "\n", encoding="utf-8")
        (_DOCS / "confidence.md").write_text(page, encoding="utf-8")
        lines = [Line("measured", [(p, share) for p, share, _ in rows]), Line("ideal", [(0.0, 0.0), (1.0, 1.0)])]
        panel = Panel("Confidence on COVID-QA, papers not fitted on", "confidence", "share answerable", lines, True)
        (_DOCS / "confidence.svg").write_text(draw([panel]), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(".eval"))
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    run(Path(os.environ.get("LOCCIT_SHARED") or "../shared").absolute(), args.work, write=args.write)
