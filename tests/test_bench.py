"""`make bench` as far as it is not the clock's: figures, report, plot, synthetic papers, clients, recall."""

from __future__ import annotations

import json
import re
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from indexer.embedding import Embedder
from indexer.store import IndexReader, Similarities
from service.library import Library
from service.query import Query

Benchmarks = Callable[[str], ModuleType]
SVG = "{http://www.w3.org/2000/svg}"
TIMES = {"n": 212, "p95_ms": 40.0, "p99_ms": 55.0}
ROW = {
    "rss_mb": 480.2,
    "anonymous_mb": 300.0,
    "open": {"n": 5, "median_s": 0.0234, "min_s": 0.02, "max_s": 0.03},
    "recall_questions": 0.99876,
    "recall_perturbed": 1.0,
    "n_questions": 212,
    "n_perturbed": 500,
}
MACHINE = {
    "processor": "Abacus",
    "cores": 2,
    "memory_gb": 8.0,
    "system": "Linux",
    "versions": {"Python": "3.11.7", "commit": "abc"},
}
ABOUT = {"at": "2026-01-31 12:00", "load": 0.25, "machine": MACHINE}


def searched(name: str, passages: int, p50: float, baseline: float) -> dict[str, Any]:
    return ROW | {
        "index": name,
        "passages": passages,
        "vectors": passages,
        "loccit": TIMES | {"p50_ms": p50, "took_p50_ms": p50 - 1},
        "baseline": TIMES | {"p50_ms": baseline},
    }


def filled(passages: int, put: float) -> dict[str, float]:
    spent = {"make_s": 9.0, "put_s": put, "commit_s": 1.0, "close_s": 1.0}
    return {"passages": passages, "papers": passages // 150, "folder_mb": passages / 100, **spent}


RESULTS: dict[str, Any] = {
    "growth": ABOUT | {"sizes": [filled(10_000, 18.0), filled(100_000, 198.0), filled(1_000_000, 1998.0)]},
    "latency": ABOUT
    | {
        "n_warm": 20,
        "indexes": [
            searched("200 papers", 26_000, 12.0, 10.0),
            searched("synthetic, 10,000", 10_000, 10.0, 5.0),
            searched("synthetic, 100,000", 100_000, 20.0, 50.0),
            searched("synthetic, 1,000,000", 1_000_000, 30.0, 500.0),
        ],
    },
    "cold": ABOUT
    | {
        "papers": 200,
        "help": {"n": 5, "median_s": 0.25, "min_s": 0.2, "max_s": 0.3, "peak_mb": 40.0},
        "ask": {"n": 5, "median_s": 1.0, "min_s": 0.9, "max_s": 1.25, "peak_mb": 300.0},
        "baseline": {"n": 5, "median_s": 4.0, "min_s": 3.9, "max_s": 4.5, "peak_mb": 434.4},
    },
    "throughput": ABOUT
    | {
        "papers": 200,
        "passages": 25_000,
        "tokens": 2_500_000,
        "seconds": 1000.0,
        "tokens_per_s": 2500.0,
        "peak_mb": 800.0,
        "again": {"n": 5, "median_s": 5.0, "min_s": 4.5, "max_s": 6.0},
        "folder_mb": 160.0,
        "baseline": {"passages": 3125, "tokens": 312_500, "seconds": 62.5, "tokens_per_s": 5000.0},
    },
    "neighbour": ABOUT
    | {
        "papers": 200,
        "n_warm": 20,
        "quiet": TIMES | {"p50_ms": 12.0},
        "busy": TIMES | {"p50_ms": 18.0, "p95_ms": 120.0},
        "quiet again": TIMES | {"p50_ms": 12.6},
    },
    "load": ABOUT
    | {
        "passages": 100_000,
        "one": TIMES | {"clients": 1, "n": 3000, "seconds": 60.0, "errors": 0, "per_s": 50.0, "p50_ms": 20.0},
        "many": TIMES | {"clients": 16, "n": 5400, "seconds": 60.2, "errors": 2, "per_s": 90.0, "p50_ms": 170.0},
    },
}


@pytest.mark.parametrize("n", [1, 2, 5, 100, 212])
def test_percentiles_are_numpys_nearest_ranks(benchmarks: Benchmarks, n: int) -> None:
    figures = benchmarks("figures")
    values = np.random.default_rng(n).exponential(size=n)
    wanted = np.percentile(values, [50, 95, 99], method="inverted_cdf")
    got = figures.spread(values.tolist())
    assert got.pop("n") == n
    assert list(got.values()) == pytest.approx((1000 * wanted).tolist())


def test_the_middle_and_the_exponent(benchmarks: Benchmarks) -> None:
    figures = benchmarks("figures")
    assert figures.middle([3.0, 1.0, 9.0, 2.0, 4.0]) == {"n": 5, "median_s": 3.0, "min_s": 1.0, "max_s": 9.0}
    assert figures.exponent((10, 7.0), (1000, 7.0 * 100**1.3)) == pytest.approx(1.3)
    assert figures.exponent((10, 5.0), (100, 5.0)) == 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.012345, "0.0123"), (4.567, "4.57"), (99.97, "100"), (1234.5, "1,230"), (1.0, "1.00"), (60.2, "60.2")],
)
def test_three_digits(benchmarks: Benchmarks, value: float, shown: str) -> None:
    assert benchmarks("report").number(value) == shown


def test_the_report_has_every_part_beside_its_baseline(benchmarks: Benchmarks) -> None:
    page = benchmarks("report").render(RESULTS)
    for row in (
        '| `loccit ask "how do AGEs affect bone quality?"` of 200 papers | 1.00 | 0.900 | 1.25 | 300 | 0.250 |',
        "| `loccit index` from nothing | 25,000 | 2,500,000 | 1,000 | 2,500 | 0.500 |",
        "| synthetic, 1,000,000 | 1,000,000 | 30.0 | 40.0 | 55.0 | 29.0 | 500 | 40.0 | 0.0600 |",
        "| 200 papers | 26,000 | 0.9988 | 1.0000 | 480 | 300 | 0.0234 |",
        "| beside a busy process | 18.0 | 120 | 55.0 | 1.50 | 3.00 |",
        "| 16 | 5,400 | 2 | 90.0 | 170 | 40.0 | 55.0 | 1.80 |",
        "| 10,000 | 9.00 | 18.0 | 1.00 | 1.00 | 20.0 |  | 100 | 10.0 |  |",
        "| 100,000 | 9.00 | 198 | 1.00 | 1.00 | 200 | 1.00 | 1,000 | 20.0 | 0.30 |",
        "| load | 2026-01-31 12:00 | 0.250 |",
    ):
        assert f"{row}\n" in page
    assert "5.00 s\n(median of 5; 4.50 to 6.00), 0.00500 of the first time." in page
    assert "Abacus, 2 cores, 8 GB of memory, Linux.\nPython 3.11.7, commit abc." in page
    assert "Not measured" not in page
    assert "held to one core" not in page  # where it could not be measured, it is not shown
    assert not re.search(r"[{}]", page)


def test_a_report_of_some_parts_says_what_is_missing(benchmarks: Benchmarks) -> None:
    report = benchmarks("report")
    page = report.render({"growth": RESULTS["growth"], "load": RESULTS["load"] | {"machine": MACHINE | {"cores": 8}}})
    assert "Not measured: cold, throughput, latency, neighbour.\n" in page
    assert "## A search" not in page
    assert "benchmarks.svg" not in page
    assert "growth: Abacus, 2 cores" in page
    assert "load: Abacus, 8 cores" in page
    assert report.panels({"growth": RESULTS["growth"]}) == []


def test_the_plot_has_every_point_where_it_belongs(benchmarks: Benchmarks) -> None:
    root = ET.fromstring(benchmarks("plot").draw(benchmarks("report").panels(RESULTS)))
    circles = [(float(each.attrib["cx"]), float(each.attrib["cy"]), each[0].text) for each in root.iter(f"{SVG}circle")]
    assert [label for _, _, label in circles] == [
        "put, commit, close: 10,000, 20",
        "put, commit, close: 100,000, 200",
        "put, commit, close: 1,000,000, 2,000",
        "loccit, over HTTP: 10,000, 10",
        "loccit, over HTTP: 100,000, 20",
        "loccit, over HTTP: 1,000,000, 30",
        "baseline: encode, exact FAISS: 10,000, 5",
        "baseline: encode, exact FAISS: 100,000, 50",
        "baseline: encode, exact FAISS: 1,000,000, 500",
    ]
    (x1, y1, _), (x2, y2, _), (x3, y3, _) = circles[:3]
    assert x2 - x1 == pytest.approx(x3 - x2)  # a decade is a decade
    assert y1 - y2 == pytest.approx(y2 - y3)
    assert y1 > y2  # up is more
    lines = [line.attrib["points"] for line in root.iter(f"{SVG}polyline")]
    assert [line.count(",") for line in lines] == [3, 3, 3]
    texts = [each.text for each in root.iter(f"{SVG}text")]
    assert {"passages", "seconds", "milliseconds", "10,000", "1,000,000", "A search, p50"} <= set(texts)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert all(0 < x < width and 0 < y < height for x, y, _ in circles)


@pytest.mark.model
def test_synthetic_papers_stand_where_they_say_and_are_found(
    benchmarks: Benchmarks, built: Path, embedder: Embedder, tmp_path: Path
) -> None:
    synthetic = benchmarks("synthetic")
    (took,) = synthetic.main(built, tmp_path, [300])
    folder = tmp_path / "synthetic-300"
    assert took["passages"] == 300
    real = synthetic.read_real(built)
    made = {each.paper.paper_id: each for each in synthetic.make_papers(real, 300)}
    assert took["papers"] == len(made) in (2, 3)
    known = set(real.sentences)
    with IndexReader(folder).snapshot() as snapshot:
        assert snapshot.counts() == {"papers": len(made), "passages": 300, "vectors": 300}
        ids = set()
        n_rare = 0
        for paper_id, each in made.items():
            text = each.paper.text
            assert [one.passage for one in snapshot.passages_of(paper_id)] == each.passages
            assert {section.level for section in each.paper.sections} == {0, 1, 2}
            assert 2000 <= each.paper.year <= 2025
            for block in each.paper.blocks:
                assert text[block.start : block.end] == text[block.start : block.end].strip()
            for section in each.paper.sections[1:]:
                assert text.startswith(f"{'#' * (section.level + 1)} {section.title}\n", section.start)
            for passage in each.passages:
                ids.add(passage.passage_id)
                vectors = each.vectors[passage.passage_id]
                assert text[passage.start : passage.end] == passage.text
                assert np.linalg.norm(vectors.passage) == pytest.approx(1, abs=1e-5)
                assert vectors.sentences.shape == (len(passage.sentences), 384)
                new = [text[one.start : one.end] for one in passage.sentences]
                new = [one for one in new if one not in known]
                assert len(new) <= 1
                n_rare += len(new)
            found = snapshot.vectors_of(paper_id)[each.passages[0].embedded_text]
            assert found.passage == pytest.approx(each.vectors[each.passages[0].passage_id].passage)
    assert len(ids) == 300
    assert 10 < n_rare < 60
    library = Library.open(folder, load=lambda name: embedder)
    for word, question in {
        "lichen": "How fast do lichens grow on slate?",
        "grip": "what loosens a limpet's grip?",
    }.items():
        hits = library.search(Query(question, 10)).hits
        assert len(hits) == 10
        for hit in hits:
            cite = hit.citation
            assert made[cite.paper_id].paper.text[cite.start : cite.end] == hit.text
            assert made[cite.paper_id].paper.sha256 == cite.source_sha256
        assert word in hits[0].text.lower()
    library.close()


@pytest.mark.model
def test_synthetic_indexes_are_kept_while_they_are_current(benchmarks: Benchmarks, built: Path, tmp_path: Path) -> None:
    synthetic = benchmarks("synthetic")
    (first,) = synthetic.main(built, tmp_path, [120])
    assert synthetic.main(built, tmp_path, [120]) == [first]
    assert synthetic.main(built, tmp_path, [120], anew=True) != [first]
    (tmp_path / "synthetic-120/index.sqlite").write_bytes(b"not an index")
    (again,) = synthetic.main(built, tmp_path, [120])
    assert again["passages"] == 120


def test_the_nearest_others(benchmarks: Benchmarks) -> None:
    angles = np.array([0.0, 0.1, 0.25, 1.5])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = benchmarks("synthetic").nearest_others(vectors, 2)
    assert found.tolist() == [[1, 2], [0, 2], [1, 0], [2, 1]]
    assert benchmarks("synthetic").nearest_others(vectors, 50).shape == (4, 3)


def test_recall_is_the_share_of_the_exact_neighbours(benchmarks: Benchmarks) -> None:
    probe = benchmarks("probe")
    faiss = pytest.importorskip("faiss")
    random = np.random.default_rng(1)
    vectors = random.standard_normal((40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    flat = faiss.IndexFlatIP(8)
    flat.add(vectors)

    class Dense:
        def __init__(self, miss: int) -> None:
            self.miss = miss

        def nearest(self, vector: np.ndarray, n: int, selected: None) -> np.ndarray:
            return np.argsort(-(vectors @ vector))[self.miss :][:n]

        def similarities(self, vector: np.ndarray, rows: list[int]) -> Similarities:
            nothing = np.empty(0, dtype=np.float32)
            return Similarities(np.array(rows), vectors[rows] @ vector, nothing, nothing.astype(np.int64), [])

    queries = vectors[:7]
    assert probe.recall(Dense(0), flat, queries) == 1
    assert probe.recall(Dense(3), flat, queries) == pytest.approx(0.7)


@pytest.mark.model
def test_the_exact_index_is_of_the_rows(benchmarks: Benchmarks, built: Path) -> None:
    ids, flat = benchmarks("probe").exact_index(built)
    with IndexReader(built).snapshot() as snapshot:
        assert flat.ntotal == len(ids) == snapshot.counts()["vectors"]
        assert snapshot.nearest(flat.reconstruct(0), 1, None).tolist() == [int(ids[0])]


class Service(BaseHTTPRequestHandler):
    """Answers every search but one question's."""

    protocol_version = "HTTP/1.1"
    heard: ClassVar[Counter[str]] = Counter()
    connections: ClassVar[set[tuple[str, int]]] = set()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.heard[body["query"]] += 1
        self.connections.add(self.client_address)
        reply = b'{"took_ms": 2.5, "hits": []}'
        self.send_response(500 if body["query"] == "broken" else 200)
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    Service.heard.clear()
    Service.connections.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_one_client_asks_each_question_once_over_one_connection(benchmarks: Benchmarks, service: str) -> None:
    got = benchmarks("load").latency(service, ["a", "b"], ["c", "d", "e"])
    assert Service.heard == Counter("abcde")
    assert len(Service.connections) == 1
    assert (got["n"], got["took_p50_ms"]) == (3, 2.5)
    assert 0 < got["p50_ms"] <= got["p99_ms"]


def test_many_clients_count_what_failed(
    benchmarks: Benchmarks, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    load = benchmarks("load")
    got = load.throughput(service, ["a", "b", "broken"], 3, 0.1)
    assert got["clients"] == 3
    assert got["n"] == Service.heard["a"] + Service.heard["b"] > 0
    assert got["errors"] == Service.heard["broken"] > 0
    assert got["per_s"] == pytest.approx(got["n"] / got["seconds"])
    assert len(Service.connections) == 3
    assert f"{got['errors']} times HTTPException('status 500" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="answered nothing"):
        load.throughput(service, ["broken"], 1, 0.01)


def test_a_part_without_its_material_is_left_out_and_the_others_are_kept(
    benchmarks: Benchmarks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = benchmarks("bench")
    where = bench.Bench(tmp_path / "shared", tmp_path / "work", (10,), 1.0)
    assert not bench.run(where, ["throughput", "neighbour"])
    said = capsys.readouterr().err
    assert f"no throughput: {tmp_path / 'shared/papers/markdown'} is not there; set LOCCIT_SHARED" in said
    assert "no neighbour: " in said
    monkeypatch.setitem(bench.PARTS, "growth", lambda given: {"sizes": given.sizes})
    monkeypatch.setitem(bench.PARTS, "load", lambda given: {"passages": 1})
    assert bench.run(where, ["growth"])
    assert bench.run(where, ["load"])
    kept = bench.kept(where.work)
    assert list(kept) == ["growth", "load"]
    assert kept["growth"]["sizes"] == [10]
    assert {"at", "load", "machine"} <= kept["load"].keys()


def test_a_process_is_timed_and_its_failure_shown(benchmarks: Benchmarks) -> None:
    processes = benchmarks("processes")
    done = processes.timed(["/bin/sh", "-c", "exit 4"], (0, 4))
    assert done.seconds > 0
    assert done.peak_mb > 1
    with pytest.raises(SystemExit, match="ended with 3: no such luck"):
        processes.timed(["/bin/sh", "-c", "echo no such luck >&2; exit 3"])
