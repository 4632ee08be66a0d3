"""More than can be done: what waits, what is refused and how, and that nothing that was begun is lost."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import CapacityLimiter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder, available_cpus
from indexer.errors import LoccitError, OverloadError
from service.access import Policy
from service.access import turns as turns_module
from service.access.turns import Turns, end_turn
from service.api import TURNS_A_CPU, create_app
from service.api.readiness import Readiness
from service.library import Library
from service.query import Query
from service.replies import Waiting
from tests.overload import check, overload
from tests.serving import ask, json_of, served, until

ROOT = Path(__file__).parents[1]
QUESTION = "why do limpets lose their grip in warm water?"
N_TURNS = TURNS_A_CPU * available_cpus()


class Served:
    """An app behind turns, whose requests each take until they are let go."""

    def __init__(self, n: int, **policy: Any) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.go = anyio.Event()
        self.limiter = CapacityLimiter(n)
        self.left: set[str] = set()
        """Clients that have gone."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            self.begun.append(scope["path"])
            if scope["path"].startswith("/writes"):
                end_turn(scope)
            await self.go.wait()
            self.ended.append(scope["path"])
            await PlainTextResponse("done")(scope, receive, send)

        def refuse(_: Request, error: LoccitError | Exception) -> Response:
            assert isinstance(error, OverloadError)
            return PlainTextResponse(str(error), error.http_status)

        self.turns = Turns(app, turns=self.limiter, policy=Policy(**policy), refuse=refuse)

    async def status(self, path: str) -> int:
        found = [0]
        given = False

        async def receive() -> Any:
            nonlocal given
            if not given:
                given = True
                return {"type": "http.request", "body": b"", "more_body": False}
            while path not in self.left:
                await anyio.sleep(0.01)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert found == [0], "two replies"
                found[0] = message["status"]

        await self.turns({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)
        return found[0]


def together(served: Served, paths: list[str], then: Any = None) -> dict[str, int]:
    """The statuses of requests that come one after another, without waiting for each other; `then` may let them go."""
    found: dict[str, int] = {}

    async def run() -> None:
        async def one(path: str) -> None:
            found[path] = await served.status(path)

        served.go = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for path in paths:
                tasks.start_soon(one, path)
                await anyio.sleep(0.005)
            if then is not None:
                await then()
            served.go.set()

    anyio.run(run)
    assert served.limiter.borrowed_tokens == 0
    return found


def test_so_many_work_so_many_wait_and_the_rest_is_refused_at_once() -> None:
    served = Served(2, max_waiting=3)
    seen: list[list[str]] = []

    async def look() -> None:
        seen.append([*served.begun])

    found = together(served, [f"/{n}" for n in range(8)], look)
    assert seen == [["/0", "/1"]]
    assert found == {f"/{n}": 200 if n < 5 else 503 for n in range(8)}
    assert served.begun == ["/0", "/1", "/2", "/3", "/4"]  # in the order in which they came


def test_what_waited_too_long_is_never_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "MAX_WAIT_S", 0.05)
    served = Served(1)
    found = together(served, ["/a", "/b"], lambda: anyio.sleep(0.2))
    assert (found, served.begun) == ({"/a": 200, "/b": 503}, ["/a"])


def test_whose_client_left_is_never_begun() -> None:
    served = Served(1)

    async def leave() -> None:
        served.left.add("/b")

    found = together(served, ["/a", "/b", "/c"], leave)
    assert (found, served.begun) == ({"/a": 200, "/b": 0, "/c": 200}, ["/a", "/c"])


def test_what_takes_too_long_is_answered_and_keeps_its_turn() -> None:
    served = Served(1, request_timeout_s=0.05, max_waiting=0)
    later: list[int] = []

    async def look() -> None:
        await anyio.sleep(0.15)
        assert (served.begun, served.ended) == (["/a"], [])
        later.append(await served.status("/b"))

    assert together(served, ["/a"], look) == {"/a": 503}
    assert (served.ended, later) == (["/a"], [503])


def test_who_waits_for_a_model_has_no_turn_and_no_deadline() -> None:
    served = Served(1, request_timeout_s=0.05, max_waiting=0)
    assert together(served, ["/writes/1", "/writes/2"], lambda: anyio.sleep(0.15)) == {
        "/writes/1": 200,
        "/writes/2": 200,
    }


def test_probes_and_metrics_are_answered_however_busy_it_is() -> None:
    served = Served(1, max_waiting=0)
    free = ["/healthz", "/readyz", "/metrics", "/static/style.css"]
    assert together(served, ["/a", *free, "/b"]) == {"/a": 200, **dict.fromkeys(free, 200), "/b": 503}


# The service


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Searches for the question take until this is set."""
    go = threading.Event()
    search = Library.search

    def waiting(library: Library, query: Query, **options: Any) -> Any:
        assert query.text != QUESTION or go.wait(30)
        return search(library, query, **options)

    monkeypatch.setattr(Library, "search", waiting)
    yield go
    go.set()


@pytest.mark.model
def test_overload_is_said_in_each_clients_form(library: Library, blocked: threading.Event) -> None:
    mcp = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    chat = {"model": "loccit", "messages": [{"role": "user", "content": QUESTION}]}
    with served(library, Policy(max_waiting=1)) as (host, port, server), ThreadPoolExecutor(N_TURNS + 1) as pool:
        address = host, port
        searches = [pool.submit(ask, address, "POST", "/v1/search", {"query": QUESTION}) for _ in range(N_TURNS + 1)]
        turns = server.config.app.state.turns
        until(lambda: turns.statistics().tasks_waiting == 1)
        page = ask(address, "GET", "/papers", headers={"accept": "text/html"})
        said = {
            "problem": ask(address, "POST", "/v1/ask", {"question": QUESTION}),
            "page": page,
            "chat": ask(address, "POST", "/v1/chat/completions", chat),
            "mcp": ask(address, "POST", "/mcp", mcp, {"accept": "application/json, text/event-stream"}),
        }
        assert {each[0] for each in said.values()} == {503}
        assert {each[1]["retry-after"] for each in said.values()} == {"1"}
        assert json_of(said["problem"])["type"] == "urn:loccit:problem:overloaded"
        assert json_of(said["chat"])["error"] == {
            "message": "the service has more to do than it can: try again in a moment",
            "type": "server_error",
            "param": None,
            "code": "overloaded",
        }
        assert json_of(said["mcp"])["error"]["code"] == -32603
        assert b"<h1" in page[2]
        for path in ("/healthz", "/readyz", "/static/style.css", "/signin"):
            assert ask(address, "GET", path)[0] == 200, path
        blocked.set()
        assert [each.result()[0] for each in searches] == [200] * (N_TURNS + 1)
        assert ask(address, "GET", "/v1/papers")[0] == 200


@pytest.mark.model
def test_a_late_reply_is_an_error_and_the_service_goes_on(library: Library, blocked: threading.Event) -> None:
    with served(library, Policy(request_timeout_s=0.3)) as (host, port, _):
        began = time.monotonic()
        reply = ask((host, port), "POST", "/v1/search", {"query": QUESTION})
        assert (reply[0], time.monotonic() - began < 3) == (503, True)
        assert "took longer than 0.3 s" in json_of(reply)["detail"]
        blocked.set()
        assert ask((host, port), "POST", "/v1/search", {"query": QUESTION})[0] == 200


@pytest.mark.model
def test_so_many_answers_are_written_at_once(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is refused, and does not wait for a model that has no end."""
    go = threading.Event()

    def written(*_: object, **__: object) -> Iterator[Any]:
        yield Waiting()
        assert go.wait(30)
        yield from ()

    monkeypatch.setattr(Library, "ask_stream", written)
    monkeypatch.setattr("service.api.app.MAX_WRITERS", 2)
    accept = {"accept": "text/event-stream"}
    chat = {"model": "loccit", "stream": True, "messages": [{"role": "user", "content": QUESTION}]}
    with served(library) as (host, port, server), ThreadPoolExecutor(2) as pool:
        body = {"question": QUESTION}
        writing = [pool.submit(ask, (host, port), "POST", "/v1/ask", body, accept) for _ in range(2)]
        until(lambda: server.config.app.state.writers.borrowed_tokens == 2)
        assert ask((host, port), "GET", "/?q=grip&generate=auto")[0] == 503
        assert ask((host, port), "POST", "/v1/ask", body, accept)[0] == 503
        assert ask((host, port), "POST", "/v1/chat/completions", chat)[0] == 503
        assert ask((host, port), "GET", "/v1/papers")[0] == 200
        go.set()
        assert [each.result()[0] for each in writing] == [200, 200]


@pytest.mark.model
def test_a_slow_sender_keeps_no_one_from_their_turn(library: Library) -> None:
    with served(library, Policy(max_waiting=0)) as (host, port, _):
        slow = [socket.create_connection((host, port), timeout=10) for _ in range(3 * N_TURNS)]
        for each in slow:
            each.sendall(b"POST /v1/search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{")
        assert [ask((host, port), "POST", "/v1/search", {"query": QUESTION})[0] for _ in range(3)] == [200] * 3
        for each in slow:
            each.close()


@pytest.mark.model
def test_a_new_generation_is_taken_up_without_a_failed_request(
    built: Path, corpus: Path, embedder: Embedder, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(built, tmp_path / "index"))
    papers = Path(shutil.copytree(corpus, tmp_path / "papers"))
    library = Library.open(folder, load=lambda _: embedder)
    replies: list[tuple[int, Any]] = []
    done = threading.Event()
    with served(library) as (host, port, _):

        def search() -> None:
            while not done.is_set():
                reply = ask((host, port), "POST", "/v1/search", {"query": QUESTION, "k": 3})
                replies.append((reply[0], json_of(reply)))

        with ThreadPoolExecutor(3) as pool:
            searching = [pool.submit(search) for _ in range(3)]
            for n in range(4):
                text = f"# Whelks {n}\n\nWhelks of bay {n} drill through the shells of mussels in cold water.\n"
                (papers / f"whelks-{n}.md").write_text(text, encoding="utf-8")
                build([papers], folder, embedder, BuildConfig())
            last = ask((host, port), "POST", "/v1/search", {"query": "whelks of bay 3", "k": 1})
            done.set()
            for each in searching:
                each.result()
    library.close()
    assert {status for status, _ in replies} == {200}
    generations = [said["generation"] for _, said in replies]
    assert len(set(generations)) > 2
    assert json_of(last)["generation"] == 5
    assert json_of(last)["hits"][0]["citation"]["source"] == "whelks-3.md"
    assert {said["hits"][0]["citation"]["source"] for _, said in replies} == {"limpets.md"}


# How it stops

SLOW = """\
import sys, time
from service.library import Library
from service.query import Query

search = Library.search
def slow(*arguments, **options):
    time.sleep(0.7)
    return search(*arguments, **options)
Library.search = slow
if __name__ == "__main__":
    from service.cli import main
    raise SystemExit(main())
"""
"""The command, whose searches take their time, in every process that it starts."""


def stop_in_flight(built: Path, workdir: Path, workers: int, told: signal.Signals) -> None:
    """Tell the service to stop while it is asked, and see that every request is answered and its exit code right."""
    script = workdir / "slow.py"
    script.write_text(SLOW, encoding="utf-8")
    command = [sys.executable, str(script), "serve", "--index", str(built), "--port", "0"]
    command += ["--workers", str(workers), "--log-level", "warning"]
    process = subprocess.Popen(
        command,
        cwd=workdir,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stderr is not None
        found = re.search(r"at http://127\.0\.0\.1:(\d+) ", process.stderr.readline())
        assert found is not None
        address = ("127.0.0.1", int(found[1]))
        n = 4  # as many as one processor answers before the last one has waited too long

        def are_there() -> bool:
            _, _, figures = ask(address, "GET", "/metrics")
            return f"loccit_processes {workers}.0".encode() in figures

        until(are_there, timeout_s=60)  # connections are dealt out among all of them
        with ThreadPoolExecutor(n) as pool:
            asked = [pool.submit(ask, address, "POST", "/v1/search", {"query": QUESTION}) for _ in range(n)]
            time.sleep(0.5)
            process.send_signal(told)
            began = time.monotonic()
            statuses = [each.result()[0] for each in asked]
        _, err = process.communicate(timeout=40)
        assert statuses == [200] * n
        assert time.monotonic() - began < 20
        assert process.returncode == (0 if told == signal.SIGTERM else 130)
        assert err.endswith("loccit: stopped\n") == (told == signal.SIGINT)
        assert "Traceback" not in err
        with pytest.raises(ConnectionRefusedError):
            ask(address, "GET", "/healthz")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.model
def test_what_is_in_flight_is_answered_before_it_stops(built: Path, workdir: Path) -> None:
    stop_in_flight(built, workdir, 1, signal.SIGTERM)


@pytest.mark.model
def test_three_times_the_capacity(built: Path, workdir: Path) -> None:
    check(overload(built, workdir, clients=100, seconds=4))


@pytest.mark.model
def test_readiness_says_when_it_stops(library: Library) -> None:
    app = create_app(library)
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 200
        app.state.is_stopping = lambda: True
        reply = client.get("/readyz")
        assert (reply.status_code, reply.json()["type"]) == (503, "urn:loccit:problem:overloaded")
        assert client.get("/healthz").json() == {"status": "alive"}


def test_many_who_ask_whether_it_is_ready_are_told_by_a_few_tries() -> None:
    """No key is asked of them: they must not have a search made each."""
    tries: list[float] = []

    def probe() -> None:
        tries.append(time.monotonic())
        time.sleep(0.02)

    async def ask() -> None:
        readiness = Readiness(probe, CapacityLimiter(1))
        began = time.monotonic()
        for _ in range(10):
            await asyncio.gather(*(readiness.check() for _ in range(100)))
        assert time.monotonic() - began >= 9 * 0.08  # three quarters of it rest

    asyncio.run(ask())
    assert len(tries) == 10


def test_who_asks_while_readiness_is_tried_is_told_by_a_later_try() -> None:
    """What is mended, or breaks, after a try began is not told of by it."""
    is_broken = False
    begun = threading.Event()

    def probe() -> None:
        before = is_broken
        begun.set()
        time.sleep(0.02)
        if before:
            raise LoccitError("it is broken")

    async def ask() -> None:
        nonlocal is_broken
        readiness = Readiness(probe, CapacityLimiter(1))
        first = asyncio.create_task(readiness.check())
        await asyncio.to_thread(begun.wait, 5)
        is_broken = True
        with pytest.raises(LoccitError):
            await readiness.check()
        await first

    asyncio.run(ask())
