"""A build that is spread over a Ray cluster makes the index that it makes alone, whatever becomes of the machines.

The cluster is a real one, of three nodes on this machine: a head without a CPU, and two with one each.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import indexer.build.embed
from indexer.build import BuildReport, Progress, build, spread
from indexer.build.spread import Cluster, joined
from indexer.build.workshop import Bench, Job, Parts, Sheet, open_sheet, take_apart
from indexer.config import BuildConfig
from indexer.embedding import Embedder, PassageText
from indexer.errors import ClusterError, ConfigError, ModelError
from indexer.papers import Paper
from indexer.store import FileRecord, IndexReader, IndexWriter
from tests.corpus import PAPERS
from tests.fakes import SlowEmbedder, WordEmbedder, other_weights

CONFIG = BuildConfig(model="words", max_wordpieces=32, merge_below=8)
ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
_QUICK = {"RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "2000"}
"""A node that is lost is missed after three seconds, not fifteen."""


def sentences(seed: int, n: int) -> str:
    """So many sentences, of words that no other seed gives."""

    def word(number: int) -> str:
        return "".join(chr(ord("a") + int(digit)) for digit in f"{seed:03}{number:04}".replace("-", "9"))

    return " ".join(f"We {' '.join(word(10 * k + i) for i in range(8))} here." for k in range(n))


def write_papers(folder: Path, n: int = 9) -> Path:
    """Papers with and without ids, two of one name, two files of one paper, and two files that are none."""
    (folder / "sub").mkdir(parents=True)
    for name, text in PAPERS.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for number in range(n):
        text = f"# Paper {number}\n\n## Methods\n\n{sentences(number, 30)}\n\n## Results\n\n{sentences(-number, 30)}\n"
        (folder / ("sub/twin.md" if number == 1 else "twin.md" if number == 0 else f"p{number}.md")).write_text(text)
    shutil.copy(folder / "p2.md", folder / "sub" / "copy of p2.md")
    (folder / "a-bad.md").write_bytes(b"# Caf\xe9\n")
    (folder / "z-empty.md").write_bytes(b" \n")
    return folder


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    return write_papers(tmp_path_factory.mktemp("ray") / "papers")


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1500)
        yield


@dataclass(frozen=True, slots=True)
class Alone:
    index: Path
    report: BuildReport


@pytest.fixture(scope="module")
def alone(papers: Path, small_batches: None) -> Alone:
    """What is made of the papers without a cluster. Read only."""
    index = papers.with_name("alone")
    return Alone(index, build([papers], index, WordEmbedder(), CONFIG))


def contents(index: Path) -> tuple[list[object], dict[tuple[str, str], np.ndarray]]:
    """All that stands in an index, passage by passage and file by file; and its vectors, by paper and text."""
    found: list[object] = []
    vectors: dict[tuple[str, str], np.ndarray] = {}
    with closing(IndexReader(index)) as reader, reader.snapshot() as snapshot:
        for paper in snapshot.papers():
            found.append(replace(paper, key=0) if hasattr(paper, "key") else paper)
            found += [each.passage for each in snapshot.passages_of(paper.paper_id)]
            for text, each in snapshot.vectors_of(paper.paper_id).items():
                vectors[paper.paper_id, text] = np.vstack([each.passage, each.sentences])
    with IndexWriter(index, None) as writer:
        found += [writer.files.at(origin) for origin, _, _ in writer.files.origins()]
        found += writer.files.failures()
    return found, vectors


def report_of(report: BuildReport) -> dict[str, Any]:
    return asdict(report) | {"seconds": 0.0}


def assert_same(index: Path, other: Path) -> None:
    (found, vectors), (wanted, wanted_vectors) = contents(index), contents(other)
    assert found == wanted
    assert vectors.keys() == wanted_vectors.keys()
    for key, each in vectors.items():
        np.testing.assert_allclose(each, wanted_vectors[key], atol=1e-6)


# The seam, without Ray: a workshop of threads that are done in any order.


@dataclass
class Threads:
    """Works ahead of what is asked for, on threads; the later ones are done first."""

    bench: Bench
    pool: ThreadPoolExecutor
    begun: list[str] = field(default_factory=list)
    most: int = 0
    works_ahead: bool = True

    def has_room(self, n_begun: int, n_bytes: int) -> bool:
        assert n_bytes > 0 or n_begun == 0
        self.most = max(self.most, n_begun)
        return n_begun < 4

    def begin(self, sheet: Sheet) -> Job:
        self.begun.append(sheet.file.source)
        return Threaded(self.bench, self.pool.submit(self._open, sheet, 0.02 / len(self.begun)))

    @staticmethod
    def _open(sheet: Sheet, pause_s: float) -> tuple[Paper, FileRecord]:
        time.sleep(pause_s)
        return open_sheet(replace(sheet, file=replace(sheet.file)))


@dataclass
class Threaded:
    bench: Bench
    begun: Future[tuple[Paper, FileRecord]]

    def is_done(self) -> bool:
        return self.begun.done()

    def opened(self) -> tuple[Paper, FileRecord]:
        return self.begun.result()

    def parts(self, paper: Paper) -> Parts:
        return take_apart(paper, self.bench.config, self.bench.embedder)


def test_work_begun_ahead_makes_the_same_index(tmp_path: Path) -> None:
    embedder, papers = WordEmbedder(), write_papers(tmp_path / "papers")
    alone = build([papers], tmp_path / "alone", embedder, CONFIG)
    with ThreadPoolExecutor(4) as pool:
        threads = Threads(Bench(CONFIG, embedder), pool)
        ahead = build([papers], tmp_path / "ahead", embedder, CONFIG, workshop=threads)
        assert report_of(ahead) == report_of(alone)
        assert_same(tmp_path / "ahead", tmp_path / "alone")
        assert [each.source for each in ahead.failed] == ["a-bad.md", "z-empty.md"]
        assert [each.source for each in ahead.versions] == ["sub/copy of p2.md"]
        assert threads.most == 4
        # What is as the index knows it is not worked on; what changed is, and what was not to be read is tried again.
        threads.begun.clear()
        changed = papers / "p5.md"
        changed.write_text(changed.read_text().replace("We aafaada ", "We changed "))
        again = build([papers], tmp_path / "ahead", embedder, CONFIG, workshop=threads)
        assert threads.begun == ["a-bad.md", "p5.md"]
        assert (again.updated, again.n_embedded) == (["p5"], 1)
        build([papers], tmp_path / "alone", embedder, CONFIG)
        assert_same(tmp_path / "ahead", tmp_path / "alone")


def test_no_address() -> None:
    pytest.importorskip("ray")
    for address in ("", "local", "ray://127.0.0.1:10001", "head", "head:port", "head:0", "head:99999", "http://a:1"):
        with pytest.raises(ConfigError, match=r"name HOST:PORT of its head, or `auto`"), joining(address):
            pass


def joining(address: str) -> Any:
    return joined(address, CONFIG, WordEmbedder(), WordEmbedder)


def test_nobody_listens() -> None:
    pytest.importorskip("ray")
    began = time.monotonic()
    with pytest.raises(ClusterError, match=r"no Ray cluster answers at 127\.0\.0\.1:\d+ .*refused.*ray start --head"):
        joining(f"127.0.0.1:{free_port()}").__enter__()
    assert time.monotonic() - began < 10


def test_another_service_listens() -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            with suppress(OSError), closing(server.accept()[0]) as line:
                line.recv(64)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(ClusterError, match=rf"127\.0\.0\.1:{port} \(what listens there is no Ray head\)"):
            joining(f"127.0.0.1:{port}").__enter__()
        thread.join()


def test_without_ray_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install 'loccit\[ray\]'"):
        joining("auto").__enter__()


def test_a_worker_of_another_version_is_refused() -> None:
    other = tuple((name, "0.0.1" if name == "loccit" else found) for name, found in spread._versions())
    with pytest.raises(ClusterError, match=r"the node .+ has loccit .+, and this machine 0\.0\.1: install the same"):
        spread._bench(other, b"")


# The cluster.


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Nodes:
    """A head and two nodes, each with its processes in a group of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._starts: list[subprocess.Popen[bytes]] = []
        self.address = f"127.0.0.1:{free_port()}"
        port = self.address.rpartition(":")[2]
        self._wait(
            self._start("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={folder}")
        )
        self.workers: list[subprocess.Popen[bytes]] = []
        for _ in range(2):  # one after the other: at once, they take each other's ports
            self.workers.append(self._start(f"--address={self.address}", "--num-cpus=1"))
            self._wait(self.workers[-1])

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "started").open("ab") as log:
            started = subprocess.Popen(
                [BIN / "ray", "start", *arguments, "--object-store-memory=200000000", "--include-log-monitor=false"],
                env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"} | _QUICK,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._starts.append(started)
        return started

    def _wait(self, started: subprocess.Popen[bytes]) -> None:
        assert started.wait(120) == 0, (self._folder / "started").read_text()

    def kill(self, n: int) -> None:
        """All processes of a node, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.workers[n].pid, signal.SIGKILL)

    def stop(self) -> None:
        for each in reversed(self._starts):
            with suppress(ProcessLookupError):
                os.killpg(each.pid, signal.SIGKILL)
            each.wait()


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    if importlib.util.find_spec("ray") is None:
        message = "ray is not installed: pip install 'loccit[ray]'"
        pytest.fail(message) if os.environ.get("LOCCIT_REQUIRE_ALL") else pytest.skip(message)
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the path of a socket may have 107 characters
    started = Nodes.__new__(Nodes)
    try:
        started.__init__(folder)  # type: ignore[misc]
        yield started
    finally:
        started.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(nodes: Nodes) -> Iterator[Cluster]:
    with joined(nodes.address, CONFIG, SlowEmbedder(), SlowEmbedder) as found:
        yield found


def run(papers: Path, index: Path, cluster: Cluster, progress: Progress | None = None) -> BuildReport:
    return build([papers], index, cluster.embedder, CONFIG, workshop=cluster, progress=progress)


class Halfway:
    """Progress that does something once, when half of the papers are through."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act = act
        self._left = 0
        self.acted_at = 0.0

    def started(self, n_files: int) -> None:
        self._left = n_files // 2

    def advanced(self, n_papers: int, n_passages: int, n_wordpieces: int) -> None:
        self._left -= n_papers
        if self._left <= 0 and not self.acted_at:
            self.acted_at = time.monotonic()
            self._act()


def test_the_index_is_the_one_that_is_made_alone(papers: Path, tmp_path: Path, cluster: Cluster, alone: Alone) -> None:
    report = run(papers, tmp_path / "spread", cluster)
    assert report_of(report) == report_of(alone.report)
    assert len(report.failed) == 2
    assert "byte 0xe9 in line 1" in report.failed[0].reason
    assert_same(tmp_path / "spread", alone.index)
    n_papers = len(report.added) + len(report.versions)
    assert run(papers, tmp_path / "spread", cluster).n_unchanged == n_papers


def test_passages_come_back_in_order_and_each_is_sent_once(cluster: Cluster) -> None:
    passages = [PassageText(f"passage {n % 30}", (f"passage {n % 30}",)) for n in range(40)]
    heard: list[int] = []
    found = cluster.embedder.encode(passages, heard.append)
    for one, wanted in zip(found, WordEmbedder().encode(passages), strict=True):
        np.testing.assert_array_equal(one.passage, wanted.passage)
        np.testing.assert_array_equal(one.sentences, wanted.sentences)
    assert sum(heard) == sum(WordEmbedder().count([each.text for each in passages[:30]]))
    assert cluster.embedder.encode([]) == []
    too_long = PassageText("word " * 100, ())
    with pytest.raises(ModelError, match="would be cut"):
        cluster.embedder.encode([too_long])


def test_a_worker_with_another_model_is_refused(papers: Path, tmp_path: Path, cluster: Cluster) -> None:
    import ray

    words = WordEmbedder()
    setup = spread._Setup(CONFIG, other_weights, words.identity, words.encoder.precision)
    other = Cluster(ray, "here", setup, words)
    with pytest.raises(ClusterError, match=r"other weights of the model words \(SHA-256 111111111111…, here 0000"):
        run(papers, tmp_path / "index", other)
    with closing(IndexReader(tmp_path / "index")) as reader, reader.snapshot() as snapshot:
        assert snapshot.counts()["papers"] == 0


def test_a_worker_without_the_code_is_told(papers: Path, tmp_path: Path, cluster: Cluster) -> None:
    import ray

    words = WordEmbedder()
    other = Cluster(ray, "here", spread._Setup(CONFIG, WordEmbedder, words.identity, "reference"), words)
    other._given = spread._versions(), b"cno_such_package\nload\n."
    with pytest.raises(ClusterError, match=r"No module named 'no_such_package'\): have loccit\[ray\] .+ on each node"):
        run(papers, tmp_path / "index", other)


def test_a_file_that_ends_its_worker_stands_in_the_report(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import ray

    monkeypatch.setattr(spread, "_TIMES", 1)
    papers = tmp_path / "papers"
    papers.mkdir()
    (papers / "p3.md").write_text("# Bad\n\n## Methods\n\nThis is POISON to whoever reads it, and so on.\n")
    (papers / "p4.md").write_text("# Good\n\n## Methods\n\nThis does well to whoever reads it, and so on.\n")
    slow = SlowEmbedder()
    other = Cluster(ray, "here", spread._Setup(CONFIG, SlowEmbedder, slow.identity, "reference"), slow)
    report = run(papers, tmp_path / "index", other)
    assert report.added == ["p4"]
    ((source, reason),) = [(each.source, each.reason) for each in report.failed]
    assert source == "p3.md"
    assert reason.startswith("the file p3.md ended each of 2 processes that were at it (")
    assert "the Ray cluster: A worker died or was killed while executing a task" in caplog.text


@pytest.mark.model
def test_the_command(papers: Path, tmp_path: Path, nodes: Nodes, embedder: Embedder) -> None:
    """With the real model, which each worker loads; on stdout stands the report, and nothing else."""
    alone = build([papers], tmp_path / "alone", embedder, BuildConfig())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCCIT_")}
    program = "import sys; from service.cli import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-c", program, "index", papers, "--index", tmp_path / "spread", "--json"],
        env=environment | {"PYTHONPATH": str(ROOT), "LOCCIT_RAY": nodes.address},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ran.returncode == 1, ran.stderr
    wanted = alone.generation  # its batches are larger
    assert json.loads(ran.stdout) | {"seconds": 0.0, "generation": wanted} == json.loads(json.dumps(report_of(alone)))
    assert re.fullmatch(r"loccit: 2 of \d+ files failed; the others are in the index\n", ran.stderr)
    assert_same(tmp_path / "spread", tmp_path / "alone")


def test_ctrl_c_leaves_what_was_committed(papers: Path, tmp_path: Path, cluster: Cluster, alone: Alone) -> None:
    halfway = Halfway(lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run(papers, tmp_path / "index", cluster, halfway)
    assert time.monotonic() - halfway.acted_at < 20
    with closing(IndexReader(tmp_path / "index")) as reader, reader.snapshot() as snapshot:
        assert 0 < snapshot.counts()["papers"] < len(alone.report.added)
    build([papers], tmp_path / "index", WordEmbedder(), CONFIG)
    assert_same(tmp_path / "index", alone.index)


def test_a_node_is_lost_halfway(papers: Path, tmp_path: Path, nodes: Nodes, cluster: Cluster, alone: Alone) -> None:
    """Its work is done again elsewhere, and is stored once."""
    halfway = Halfway(lambda: nodes.kill(0))
    report = run(papers, tmp_path / "spread", cluster, halfway)
    assert halfway.acted_at
    assert report_of(report) == report_of(alone.report)
    assert_same(tmp_path / "spread", alone.index)


def test_all_nodes_are_lost(
    papers: Path, tmp_path: Path, nodes: Nodes, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "_PATIENCE_S", 3.0)
    nodes.kill(0)
    with pytest.raises(
        ClusterError, match=r"has had no CPU for 3 s: start a node with `ray start --address=HOST:PORT`"
    ):
        run(papers, tmp_path / "index", cluster, Halfway(lambda: nodes.kill(1)))
    with closing(IndexReader(tmp_path / "index")) as reader, reader.snapshot() as snapshot:
        assert snapshot.counts()["papers"] > 0
