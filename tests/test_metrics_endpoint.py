"""`/metrics`: what is counted and timed, read back by Prometheus's own parser; and the figures of several processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from indexer.embedding import Embedder
from indexer.store import IndexWriter
from service.api import create_app
from service.library import Library
from service.observe import shared_folder
from service.stages import STAGES

QUESTION = "why do limpets lose their grip in warm water?"
Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parsed(text: str) -> Figures:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(figures: Figures, name: str, **labels: str) -> float:
    return figures[f"loccit_{name}", frozenset(labels.items())]


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library), raise_server_exceptions=False) as opened:
        yield opened


def scrape(client: TestClient) -> Figures:
    reply = client.get("/metrics")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return parsed(reply.text)


def search(client: TestClient, **fields: object) -> Any:
    return client.post("/v1/search", json={"query": QUESTION, "k": 2} | fields)


pytestmark = pytest.mark.model


def test_requests_are_counted_by_route(client: TestClient) -> None:
    for _ in range(3):
        search(client)
    search(client, k=0)
    client.get("/v1/papers/PMC9000001")
    client.get("/v1/papers/no-such-paper")
    found = scrape(client)
    assert of(found, "http_requests_total", route="/v1/search", method="POST", status="200") == 3
    assert of(found, "http_requests_total", route="/v1/search", method="POST", status="422") == 1
    paper = "/v1/papers/{paper_id:path}"
    assert of(found, "http_requests_total", route=paper, method="GET", status="200") == 1
    assert of(found, "http_requests_total", route=paper, method="GET", status="404") == 1
    assert of(found, "http_request_seconds_count", route="/v1/search") == 4
    assert of(found, "problems_total", problem="invalid-request") == 1
    assert of(found, "problems_total", problem="not-found") == 1
    assert of(found, "requests_in_flight") == 1  # the one that asks


def test_stages_are_timed(client: TestClient) -> None:
    began = time.perf_counter()
    for _ in range(3):
        search(client)
    client.post("/v1/ask", json={"question": QUESTION})
    took = time.perf_counter() - began
    found = scrape(client)
    counts = {name: of(found, "stage_seconds_count", stage=name) for name in ("wait", *STAGES)}
    assert counts == {"wait": 4, "encode": 4, "candidates": 4, "score": 4, "passages": 4, "rerank": 0, "generate": 0}
    spent = sum(of(found, "stage_seconds_sum", stage=name) for name in counts)
    assert 0 < spent < took
    assert spent <= sum(of(found, "http_request_seconds_sum", route=route) for route in ("/v1/search", "/v1/ask"))


def test_strangers_make_no_figures(client: TestClient) -> None:
    """Whatever is asked for, there are as many lines as before."""
    client.get("/none")
    client.request("BREW", "/none")
    client.get("/papers/none")
    before = scrape(client)
    for n in range(40):
        client.get(f"/none/{n}")
        client.request(f"BREW{n}", "/none")
        client.get(f"/papers/{n}")
        client.get("/healthz", headers={"x-request-id": f"id-{n}", "host": f"h{n}.example"})
    after = scrape(client)
    routes = {dict(labels)["route"] for _, labels in after.keys() - before.keys()}
    assert routes == {"/healthz", "/metrics"}  # these were not asked for before
    assert of(after, "http_requests_total", route="other", method="GET", status="404") == 41
    assert of(after, "http_requests_total", route="other", method="other", status="404") == 41


def test_the_index_and_what_changes_in_it(built: Path, tmp_path: Path, embedder: Embedder) -> None:
    folder = tmp_path / "index"
    shutil.copytree(built, folder)
    library = Library.open(folder, load=lambda name: embedder)
    with TestClient(create_app(library)) as client:
        info = library.info()
        first = scrape(client)
        assert of(first, "index_generation") == info.generation == 1
        assert (of(first, "index_papers"), of(first, "index_passages")) == (info.n_papers, info.n_passages)
        assert of(first, "index_bytes") == sum(path.stat().st_size for path in folder.iterdir())
        assert (of(first, "model_loaded"), of(first, "index_readable")) == (1, 1)
        with IndexWriter(folder, None) as writer:
            writer.remove("PMC9000001")
            writer.commit()
        second = scrape(client)
        assert (of(second, "index_generation"), of(second, "index_papers")) == (2, info.n_papers - 1)
        assert 0 <= time.time() - of(second, "index_written_timestamp_seconds") < 60
        assert of(second, "index_written_timestamp_seconds") > of(first, "index_written_timestamp_seconds")
    library.close()


def test_an_index_that_is_gone_is_a_figure_too(built: Path, tmp_path: Path, embedder: Embedder) -> None:
    folder = tmp_path / "index"
    shutil.copytree(built, folder)
    library = Library.open(folder, load=lambda name: embedder)
    with TestClient(create_app(library)) as client:
        shutil.rmtree(folder)
        found = scrape(client)
        assert of(found, "index_readable") == 0
        assert ("loccit_index_papers", frozenset()) not in found
        assert client.get("/readyz").status_code == 503
        assert of(scrape(client), "problems_total", problem="index-missing") == 1
    library.close()


def test_the_process(client: TestClient) -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc to see processes in")
    found = scrape(client)
    assert of(found, "processes") == 1
    resident = found["process_resident_memory_bytes", frozenset()]
    (line,) = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmRSS")]
    assert resident == pytest.approx(1024 * int(line.split()[1]), rel=0.2)
    assert 3 < found["process_open_fds", frozenset()] < 10_000


def test_it_answers_while_every_turn_is_taken(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches that go on, and others that wait for a turn: the figures say so, and do not wait themselves."""
    go_on, begun = threading.Event(), threading.Semaphore(0)
    real = Library._rank

    def slow(self: Library, *args: Any) -> Any:
        begun.release()
        go_on.wait(20)
        return real(self, *args)

    monkeypatch.setattr(Library, "_rank", slow)
    monkeypatch.setattr("service.api.app.available_cpus", lambda: 1)
    with TestClient(create_app(library)) as client:
        askers = [threading.Thread(target=search, args=(client,)) for _ in range(4)]
        for each in askers:
            each.start()
        assert begun.acquire(timeout=20)
        until(lambda: of(scrape(client), "requests_in_flight") == 5)
        # The first has not told of a stage yet: it stands before them.
        assert of(scrape(client), "requests_waiting") == 5
        assert client.get("/healthz").status_code == 200
        go_on.set()
        for each in askers:
            each.join(20)
        found = scrape(client)
    assert of(found, "requests_in_flight") == 1
    assert of(found, "stage_seconds_count", stage="wait") == 4
    assert of(found, "stage_seconds_sum", stage="wait") > 0


def until(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came about")


_PROCESS = """
import sys
from service.observe import Metrics
metrics = Metrics()
for _ in range(3):
    metrics.arrived()
    metrics.begun(0.5)
    metrics.answered("/v1/search", "POST", 200, 1.0, None)
metrics.arrived()
print("counted", flush=True)
sys.stdin.read()
"""


def test_processes_tell_of_each_other() -> None:
    """Any of them says what all have counted; of one that was killed, what it had counted and not what it was at."""
    reader = (
        "import sys\nfrom indexer.errors import IndexMissingError\nfrom service.observe import Metrics, forget\n"
        "def gone():\n    raise IndexMissingError('none')\n"
        "for pid in sys.argv[1:]:\n    forget(int(pid))\n"
        "sys.stdout.write(Metrics().text(gone).decode())"
    )

    def told(*ended: int) -> Figures:
        arguments = [sys.executable, "-c", reader, *map(str, ended)]
        return parsed(subprocess.run(arguments, check=True, capture_output=True, text=True).stdout)

    with shared_folder():
        folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
        workers = [
            subprocess.Popen([sys.executable, "-c", _PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        try:
            for each in workers:
                assert each.stdout is not None
                assert each.stdout.readline() == "counted\n"
            found = told()
            labels = {"route": "/v1/search", "method": "POST", "status": "200"}
            assert of(found, "http_requests_total", **labels) == 6
            assert of(found, "http_request_seconds_sum", route="/v1/search") == 6
            assert of(found, "stage_seconds_sum", stage="wait") == 3
            assert (of(found, "requests_in_flight"), of(found, "requests_waiting")) == (2, 2)
            assert of(found, "processes") == 3  # the one that tells, too
        finally:
            for each in workers:
                each.kill()
                each.communicate()
        found = told(*(each.pid for each in workers))
        assert of(found, "http_requests_total", **labels) == 6
        assert of(found, "requests_in_flight") == 0
    assert not folder.exists()
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_two_apps_of_a_process_count_apart(library: Library) -> None:
    with TestClient(create_app(library)) as one, TestClient(create_app(library)) as other:
        search(one)
        labels = {"route": "/v1/search", "method": "POST", "status": "200"}
        assert of(scrape(one), "http_requests_total", **labels) == 1
        assert ("loccit_http_requests_total", frozenset(labels.items())) not in scrape(other)
