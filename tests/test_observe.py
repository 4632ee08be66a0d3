"""What is seen of a running service: its log, the ids of requests, their stages, and word to the supervisor."""

from __future__ import annotations

import io
import json
import logging
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from service.access import KeyFile, Policy
from service.api import create_app
from service.config import LogFormat, LogLevel
from service.library import Library
from service.observe import logging_to_stderr, notify
from service.observe.logs import fields
from service.query import Query
from service.stages import Stage, listen, stage

QUESTION = "why do limpets lose their grip in warm water?"
SECRETS = {
    "authorization": "Bearer sekrit-1",
    "cookie": "session=sekrit-2",
    "x-api-key": "sekrit-3",
}


class Written:
    """What was logged, a line each."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    @property
    def text(self) -> str:
        return self._stream.getvalue()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


@contextmanager
def logged(form: LogFormat = "json", level: LogLevel = "info") -> Iterator[Written]:
    """The log of a block, as it goes to stderr."""
    stream = io.StringIO()
    before, sys.stderr = sys.stderr, stream
    try:
        with logging_to_stderr(form, level):
            yield Written(stream)
    finally:
        sys.stderr = before


@pytest.fixture
def app(library: Library) -> FastAPI:
    return create_app(library)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as opened:
        yield opened


def search(client: TestClient, **headers: str) -> Any:
    return client.post("/v1/search", json={"query": QUESTION, "k": 2}, headers=headers)


# The log


@pytest.mark.model
def test_a_request_is_a_line(client: TestClient) -> None:
    with logged() as written:
        reply = search(client)
    (line,) = written.records
    assert datetime.fromisoformat(line["time"]).utcoffset().total_seconds() == 0  # type: ignore[union-attr]
    assert line["time"].endswith("Z")
    assert line["request_id"] == reply.headers["x-request-id"]
    assert (line["level"], line["method"], line["path"], line["status"]) == ("info", "POST", "/v1/search", 200)
    assert line["client"] == "testclient"
    assert list(line["stages_ms"]) == ["wait", "encode", "candidates", "score", "passages"]
    assert sum(line["stages_ms"].values()) <= line["ms"] + 1


@pytest.mark.model
def test_as_text_too(client: TestClient) -> None:
    with logged("text") as written:
        search(client, **{"x-request-id": "mine"})
    stamp, level, identity, method, path, status, _, unit, address = written.text.split()
    assert (level, identity, method, path, status, unit) == ("INFO", "[mine]", "POST", "/v1/search", "200", "ms")
    assert datetime.fromisoformat(stamp).tzinfo is not None
    assert address == "testclient"


@pytest.mark.model
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_asked_and_who_asks_stays_out_of_the_log(client: TestClient, form: LogFormat) -> None:
    with logged(form, "debug") as written:
        search(client, **SECRETS)
        client.get("/", params={"q": QUESTION}, headers=SECRETS)
        client.get("/v1/papers", params={"sort": "sekrit-4"}, headers=SECRETS)
        client.post("/v1/ask", json={"question": QUESTION}, headers=SECRETS)
        client.post("/v1/ask", json={"question": QUESTION, "generate": "always"}, headers=SECRETS)
        client.post("/v1/search", json={"query": "sekrit-5", "k": 0}, headers=SECRETS)
    assert written.text.count("\n") == 6
    assert "sekrit" not in written.text
    assert "limpet" not in written.text


@pytest.mark.model
def test_the_key_is_known_by_its_name(library: Library, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys")
    secret = keys.add("reader-1", "read")
    with TestClient(create_app(library, policy=Policy(keys=keys))) as client, logged(level="debug") as written:
        assert search(client, authorization=f"Bearer {secret}").status_code == 200
        search(client, authorization="Bearer sekrit")
    known, unknown = written.records
    assert (known["key"], known["status"]) == ("reader-1", 200)
    assert known["message"].endswith(" key=reader-1")
    assert "key" not in unknown
    assert secret not in written.text
    assert "sekrit" not in written.text


@pytest.mark.model
def test_what_machines_ask_all_the_time_is_no_line(client: TestClient) -> None:
    with logged() as written:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert client.get(path).status_code == 200
    assert written.text == ""
    with logged(level="debug") as written:
        client.get("/healthz")
    assert [each["path"] for each in written.records] == ["/healthz"]


@pytest.mark.model
def test_a_bug_is_logged_with_its_request(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the server, as Starlette gives it on: within the request's context, so that it has its id."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("it \n2026-01-31 FORGED \x1b[31m")

    monkeypatch.setattr(Library, "search", broken)
    with logged() as written, TestClient(create_app(library), raise_server_exceptions=False) as client:
        served = client.app

        async def as_server(scope: Any, receive: Any, send: Any) -> None:
            try:
                await served(scope, receive, send)  # type: ignore[operator]
            except RuntimeError as error:
                logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)

        reply = search(TestClient(as_server), **{"x-request-id": "broken-1"})
    assert (reply.status_code, reply.headers["x-request-id"]) == (500, "broken-1")
    access, failure = written.records
    assert (access["status"], access["request_id"], access["problem"]) == (500, "broken-1", "http-500")
    assert (failure["level"], failure["request_id"], failure["logger"]) == ("error", "broken-1", "uvicorn.error")
    assert failure["traceback"].startswith("Traceback (most recent call last):")
    assert "in broken" in failure["traceback"]


@pytest.mark.model
def test_each_request_has_its_own_id(client: TestClient) -> None:
    one, other = (search(client).headers["x-request-id"] for _ in range(2))
    assert one != other
    assert len(one) == len(other) == 16


@pytest.mark.model
@pytest.mark.parametrize("given", ["a" * 65, "two words", "", "semi;colon", "newline\\n", "é"])
def test_an_id_that_is_not_plain_is_not_taken(client: TestClient, given: str) -> None:
    reply = client.get("/healthz", headers={"x-request-id": given.encode()})
    assert reply.headers["x-request-id"] != given
    assert len(reply.headers.get_list("x-request-id")) == 1


@pytest.mark.model
@pytest.mark.parametrize(
    "path",
    ["/%0a2026-01-31T12:00:00.000Z%20ERROR%20forged", "/%1b[2J", "/%e2%80%ae/gpj.exe", "/%c2%85", "/" + "a" * 999],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_path_forges_no_line(client: TestClient, form: LogFormat, path: str) -> None:
    with logged(form) as written:
        client.get(path)
    assert len(written.text.splitlines()) == 1
    assert written.text.strip().isprintable() or "\ufffd" in written.text
    assert "\x1b" not in written.text
    assert "\u202e" not in written.text
    assert written.text.count("a" * 200) <= 2
    assert len(written.text) < 900


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_whatever_is_logged_is_one_line(message: str, raised: str) -> None:
    for form in ("text", "json"):
        with logged(form) as written:  # type: ignore[arg-type]
            logging.getLogger("service.any").warning("%s", message)
        assert len(written.text.splitlines()) == 1
        with logged(form) as written:  # type: ignore[arg-type]
            try:
                raise ValueError(raised)
            except ValueError:
                logging.getLogger("service.any").exception("it failed", extra=fields(path=message))
        lines = written.text.splitlines()
        assert [line for line in lines[1:] if not line.startswith("    ")] == []
        assert form == "text" or len(lines) == 1


def test_libraries_speak_only_when_they_warn() -> None:
    with logged(level="debug") as written:
        logging.getLogger("httpcore.http11").debug("send_request_headers.started headers=[('Authorization', 'x')]")
        logging.getLogger("service.here").debug("said")
        logging.getLogger("elsewhere").warning("warned")
    assert [each["message"] for each in written.records] == ["said", "warned"]


def test_the_log_is_left_as_it_was() -> None:
    root = logging.getLogger()
    before = (root.handlers, root.level, logging.getLogger("service").level)
    with logged():
        assert root.handlers != before[0]
    assert (root.handlers, root.level, logging.getLogger("service").level) == before


# Stages


class Heard:
    """Notes the stages that begin."""

    def __init__(self) -> None:
        self.names: list[Stage] = []

    def __call__(self, name: Stage) -> AbstractContextManager[None]:
        @contextmanager
        def noted() -> Iterator[None]:
            self.names.append(name)
            yield

        return noted()


@pytest.fixture
def heard() -> Iterator[Heard]:
    found = Heard()
    listen(found)
    yield found
    listen(None)


@pytest.mark.model
def test_the_stages_of_a_search(library: Library, heard: Heard) -> None:
    library.search(Query(QUESTION, 2))
    assert heard.names == ["encode", "candidates", "score", "passages"]
    library.ask(QUESTION)
    assert heard.names[4:] == ["encode", "candidates", "score", "passages"]


def test_nobody_needs_to_listen() -> None:
    with stage("encode"), stage("encode"):
        pass


@pytest.mark.model
def test_a_chat_assistants_search_is_seen_too(client: TestClient) -> None:
    sent = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    sent["params"] = {"name": "search", "arguments": {"query": QUESTION}}  # type: ignore[assignment]
    with logged() as written:
        reply = client.post(
            "http://127.0.0.1:8000/mcp", json=sent, headers={"accept": "application/json, text/event-stream"}
        )
    assert reply.json()["result"]["structuredContent"]["results"]
    (line,) = [each for each in written.records if "path" in each]
    assert (line["path"], line["route"]) == ("/mcp", "/mcp")
    assert set(line["stages_ms"]) >= {"encode", "candidates", "score", "passages"}


# The supervisor


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "s"))
        yield lambda: listener.recv(100).decode()


def test_the_supervisor_is_told(supervisor: Callable[[], str]) -> None:
    assert notify("READY=1")
    assert supervisor() == "READY=1"


def test_without_a_supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not notify("READY=1")


# Readiness


@pytest.mark.model
def test_it_is_not_ready_once_it_is_to_stop(app: FastAPI, client: TestClient) -> None:
    app.state.is_stopping = lambda: True
    reply = client.get("/readyz")
    assert (reply.status_code, reply.json()["detail"]) == (503, "the service is stopping: ask another one")
    assert client.get("/healthz").json() == {"status": "alive"}
