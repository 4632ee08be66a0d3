"""`make eval` over a few invented papers, BEIR's own layout on the way to figures, and what calibration and answers are
measured by."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from indexer.embedding import OnnxEmbedder, PassageText, PassageVectors
from service.answer import Quote
from tests.conftest import Run
from tests.corpus import KETTLES, LICHENS, LIMPETS
from tests.fakes import citation

pytestmark = pytest.mark.model

TEXTS = [
    {"_id": "4983", "title": "Slow lichens", "text": "Lichens on marble\nwiden by a third of a millimetre a year."},
    {"_id": "MED-10.b", "title": "", "text": "# Vinegar at five percent dissolves a millimetre of limescale."},
]


def write_beir(folder: Path, *, packed: bool, qrels: str) -> None:
    (folder / qrels).parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"{json.dumps(text)}\n" for text in TEXTS)
    if packed:
        (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    else:
        (folder / "corpus.jsonl").write_text(lines, encoding="utf-8")
    queries = [{"_id": "1", "text": "growth of lichens"}, {"_id": "2", "text": "what dissolves limescale?"}]
    (folder / "queries.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in queries), encoding="utf-8")
    (folder / qrels).write_text("query-id\tcorpus-id\tscore\n1\t4983\t1\n2\tMED-10.b\t2\n", encoding="utf-8")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A shared folder with two of the three question sets."""
    shared = tmp_path / "shared"
    for name, text in {
        "eval/covidqa/papers/limpets.md": LIMPETS,
        "papers/markdown/kettles.md": KETTLES,
        "papers/markdown/lichens.md": LICHENS,
    }.items():
        (shared / name).parent.mkdir(parents=True, exist_ok=True)
        (shared / name).write_text(text, encoding="utf-8")
    start = LIMPETS.index("Grip fell by half")
    question = {
        "question": "What does warm water do to grip?",
        "paper_id": "limpets",
        "start": start,
        "end": start + 60,
    }
    (shared / "eval/covidqa/questions.jsonl").write_text(json.dumps(question), encoding="utf-8")
    write_beir(shared / "eval/scifact", packed=True, qrels="qrels.tsv")
    return shared


def test_every_set_is_scored_and_indexed_once(
    loccit: Callable[..., Run],
    benchmarks: Callable[[str], ModuleType],
    small: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evaluate = benchmarks("eval").evaluate
    names = ["covidqa", "qasper", "scifact"]
    assert evaluate(names, small, tmp_path / ".eval") == 0
    first = capsys.readouterr()
    assert first.out.startswith("covidqa, 1 questions\n  full\n    hit@1             1.000")
    assert "scifact, 2 questions\n  full\n    ndcg@10           1.000" in first.out
    assert first.out.count("without BM25") == 2
    assert f"no qasper: {small / 'eval/qasper10'} is not there; set LOCCIT_SHARED" in first.err
    assert "papers    3 added" in first.err
    embedded: list[str] = []
    encode = OnnxEmbedder.encode

    def heard(self: OnnxEmbedder, passages: Sequence[PassageText], **options: Any) -> list[PassageVectors]:
        embedded.extend(text for each in passages for text in (each.text, *each.sentences))
        return encode(self, passages, **options)

    monkeypatch.setattr(OnnxEmbedder, "encode", heard)
    assert evaluate(names, small, tmp_path / ".eval") == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert second.err.count("unchanged") == 2
    assert embedded == []
    (small / "papers/markdown/kettles.md").write_text(KETTLES + "\nOne line more.\n", encoding="utf-8")
    assert evaluate(["covidqa"], small, tmp_path / ".eval") == 0
    assert "One line more." in embedded


def test_no_sets_at_all(
    benchmarks: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmarks("eval").evaluate(["scifact"], tmp_path, tmp_path / ".eval") == 1
    said = f"no scifact: {tmp_path / 'eval/scifact'} is not there; set LOCCIT_SHARED to the folder that has eval/\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.parametrize(("packed", "qrels"), [(True, "qrels.tsv"), (False, "qrels/test.tsv")])
def test_from_a_beir_folder_to_its_figures(
    loccit: Callable[..., Run],
    benchmarks: Callable[[str], ModuleType],
    tmp_path: Path,
    workdir: Path,
    packed: bool,
    qrels: str,
) -> None:
    write_beir(tmp_path / "set", packed=packed, qrels=qrels)
    benchmarks("beir").write_papers(next((tmp_path / "set").glob("corpus.*")), workdir / "papers")
    written = {path.name: path.read_text(encoding="utf-8") for path in (workdir / "papers").iterdir()}
    assert written == {
        "4983.md": "# Slow lichens\n\n## Abstract\n\nLichens on marble widen by a third of a millimetre a year.\n",
        "MED-10.b.md": "## Abstract\n\n# Vinegar at five percent dissolves a millimetre of limescale.\n",
    }
    assert loccit("index", "papers").code == 0
    (done,) = json.loads(loccit("eval", tmp_path / "set", "--json").out)["evaluations"]
    assert {metric["name"]: (metric["mean"], metric["n"]) for metric in done["metrics"]} == {
        "ndcg@10": (1.0, 2),
        "recall@10": (1.0, 2),
    }


def test_an_id_that_is_no_file_name(benchmarks: Callable[[str], ModuleType], tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "AC/DC", "title": "", "text": ""}\n', encoding="utf-8")
    with pytest.raises(SystemExit, match="the id AC/DC cannot be a file's name"):
        benchmarks("beir").write_papers(tmp_path / "corpus.jsonl", tmp_path / "papers")


def test_calibration_and_thresholds_by_hand(benchmarks: Callable[[str], ModuleType]) -> None:
    calibrate = benchmarks("calibrate")
    truth = np.array([False, False, True, False, True, True, True, True, False, False])
    probability = np.array([0.05, 0.15, 0.17, 0.32, 0.61, 0.66, 0.95, 0.97, 0.33, 0.99])
    rows = calibrate.calibration(truth, probability)
    assert rows[0] == (pytest.approx(0.05), 0.0, 1)
    assert rows[1] == (pytest.approx(0.16), 0.5, 2)
    assert rows[-1] == (pytest.approx((0.95 + 0.97 + 0.99) / 3), pytest.approx(2 / 3), 3)
    sure = truth | (probability == 0.99)
    answered, not_found = calibrate.thresholds(sure, probability)
    assert not_found == 0.34  # three of the four unanswerable are below 0.33, and the fourth stands there
    assert answered == 0.35
    scores = calibrate.scores(sure, probability, answered, not_found)
    assert scores["refusals that are right"] == pytest.approx(4 / 5)
    assert scores["answerable that are refused"] == pytest.approx(1 / 6)
    assert scores["AUROC"] == pytest.approx(1 - 2 / 24)


def test_a_fitted_model_tells_cases_apart(benchmarks: Callable[[str], ModuleType]) -> None:
    calibrate = benchmarks("calibrate")
    random = np.random.default_rng(0)
    cases = [
        calibrate.Case("all", f"paper {n % 20}", n % 2 == 0, tuple(random.normal(n % 2 == 0, 0.5, 4).tolist()))
        for n in range(400)
    ]
    found = calibrate.judged(cases)
    truth = np.array([each.answerable for each in cases])
    assert found[truth].mean() > 0.9 > 0.1 > found[~truth].mean()


def test_what_quotes_hold_by_hand(benchmarks: Callable[[str], ModuleType]) -> None:
    answers = benchmarks("answers")
    here = Quote(1, "", (), "own", citation(paper_id="p", start=10, end=20, sentences=(1,)))
    next_one = Quote(2, "", (), "own", citation(paper_id="p", start=20, end=30, sentences=(2,)))
    elsewhere = Quote(3, "", (), "own", citation(paper_id="q", start=10, end=30, sentences=(1, 2)))
    assert answers.holds([here, next_one], "p", [(15, 25)])
    assert not answers.holds([here, elsewhere], "p", [(15, 25)])
    sentences = [(0, 10), (10, 20), (20, 30), (30, 40)]
    assert answers.evidence_f1([here, elsewhere], "p", [(10, 31)], sentences) == pytest.approx(2 / 5)
    assert answers.evidence_f1([here, next_one], "p", [(10, 31)], sentences) == 1.0
    assert answers.evidence_f1([], "p", [(10, 31)], sentences) == 0.0
