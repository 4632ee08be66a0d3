"""What one request may be: its body, its words, how much it asks for; at every entry."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from indexer.errors import LoccitError
from service.access.bodies import Bodies
from service.api import MAX_BODY_BYTES, create_app, listening
from service.library import Library
from service.query import MAX_K, MAX_QUERY_CHARACTERS
from tests.serving import ask, served

TOO_LONG = "grip " * (MAX_QUERY_CHARACTERS // 5 + 1)


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library), base_url="http://localhost", raise_server_exceptions=False) as opened:
        yield opened


def tool(client: TestClient, name: str, **arguments: object) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    reply = client.post("/mcp", json=body, headers={"accept": "application/json, text/event-stream"})
    assert reply.status_code == 200
    return reply.json()["result"]


@pytest.mark.model
def test_the_length_of_a_question_at_every_entry(client: TestClient) -> None:
    messages = [{"role": "user", "content": TOO_LONG}]
    assert client.post("/v1/search", json={"query": TOO_LONG}).status_code == 422
    assert client.post("/v1/ask", json={"question": TOO_LONG}).status_code == 422
    assert client.get("/", params={"q": TOO_LONG}).status_code == 422
    chat = client.post("/v1/chat/completions", json={"model": "loccit", "messages": messages})
    assert chat.status_code == 400
    for name, argument in (("search", "query"), ("search_passages", "query"), ("ask", "question")):
        result = tool(client, name, **{argument: TOO_LONG})
        assert result["isError"], name
        assert "4000 characters" in result["content"][0]["text"]


@pytest.mark.model
@pytest.mark.parametrize("k", [0, -1, MAX_K + 1, 2**63, 10**30])
def test_how_much_may_be_asked_for_at_every_entry(client: TestClient, k: int) -> None:
    assert client.post("/v1/search", json={"query": "grip", "k": k}).status_code == 422
    assert client.post("/v1/ask", json={"question": "grip", "k": k}).status_code == 422
    assert client.get(f"/v1/papers?limit={k}").status_code == 422
    assert client.get(f"/v1/passages/PMC9000001:0?context={k}").status_code in (404, 422)
    assert tool(client, "search_passages", query="grip", k=k)["isError"]
    assert tool(client, "ask", question="grip", k=k)["isError"]
    assert tool(client, "list_papers", limit=k)["isError"]


# A body


@pytest.mark.model
def test_a_long_body_is_refused_in_each_form(client: TestClient) -> None:
    long = b" " * (MAX_BODY_BYTES + 1)
    json_type = {"content-type": "application/json"}
    for path, form in (("/v1/search", "application/problem+json"), ("/v1/chat/completions", "application/json")):
        reply = client.post(path, content=long, headers=json_type)
        assert (reply.status_code, reply.headers["content-type"]) == (413, form)
    mcp = client.post("/mcp", content=long, headers=json_type)
    assert (mcp.status_code, mcp.json()["error"]["message"]) == (413, "the body may have 4,000,000 bytes at the most")


@pytest.mark.model
def test_a_declared_length_is_enough_to_refuse(library: Library) -> None:
    """Not a byte of it is waited for."""
    with served(library) as (host, port, _), socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(b"POST /v1/search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000000\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


class App:
    """An app that says what it was given, behind bodies that are bounded."""

    def __init__(self, **limits: Any) -> None:
        self.taken: list[bytes] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.taken.append(await Request(scope, receive).body())
            await PlainTextResponse("taken")(scope, receive, send)

        def refuse(_: Request, error: LoccitError | HTTPException) -> Response:
            status = error.http_status if isinstance(error, LoccitError) else error.status_code
            return PlainTextResponse("refused", status)

        self.bodies = Bodies(app, **{"max_bytes": 100, "refuse": refuse, "timeout_s": 0.2} | limits)

    async def status(self, *parts: bytes, pause_s: float = 0.0, ends: bool = True) -> int:
        """Of the reply to a body that comes in these parts; 0 where there is none."""
        found = [0]
        left = [*parts]

        async def receive() -> Any:
            if left:
                await anyio.sleep(pause_s)
                part = left.pop(0)
                return {"type": "http.request", "body": part, "more_body": bool(left) or not ends}
            if not ends:
                return {"type": "http.disconnect"}
            await anyio.sleep_forever()
            raise AssertionError

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                found[0] = message["status"]

        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"transfer-encoding", b"chunked")]}
        await self.bodies(scope, receive, send)
        return found[0]


def test_a_body_comes_whole_or_not_at_all() -> None:
    app = App()

    async def run() -> list[int]:
        return [
            await app.status(b"a" * 60, b"b" * 40),
            await app.status(b"a" * 60, b"b" * 41),
            await app.status(b"a", pause_s=5),
            await app.status(b"a", ends=False),
            await app.status(b""),
        ]

    assert anyio.run(run) == [200, 413, 408, 0, 200]
    assert app.taken == [b"a" * 60 + b"b" * 40, b""]


def test_all_bodies_together_have_so_much_room() -> None:
    app = App(room=150)

    async def run() -> list[int]:
        statuses: list[int] = []

        async def one(*parts: bytes, pause_s: float) -> None:
            statuses.append(await app.status(*parts, pause_s=pause_s))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: one(b"a" * 80, b"b", pause_s=0.05))
            await anyio.sleep(0.07)
            statuses.append(await app.status(b"c" * 100))
        statuses.append(await app.status(b"c" * 100))  # what was refused or is done takes no room
        return statuses

    assert anyio.run(run) == [503, 200, 200]


# Connections


@pytest.mark.model
def test_slow_and_idle_connections_are_given_up(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "HEAD_S", 0.3)
    heads = [b"", b"G", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: "]
    with served(library) as (host, port, _):
        slow = [socket.create_connection((host, port), timeout=10) for _ in heads]
        for connection, head in zip(slow, heads, strict=True):
            connection.sendall(head)
        began = time.monotonic()
        for connection in slow:
            with suppress(ConnectionResetError):
                assert connection.recv(100) == b""
            connection.close()
        assert time.monotonic() - began < 3
        # One that goes on asking is not, however long it has been open.
        busy = http.client.HTTPConnection(host, port, timeout=10)
        busy.connect()
        opened = busy.sock
        for _ in range(4):
            time.sleep(0.15)
            busy.request("GET", "/healthz")
            assert busy.getresponse().read() == b'{"status":"alive"}'
        assert busy.sock is opened
        busy.close()


@pytest.mark.model
def test_the_longest_idle_connection_makes_room(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 20)
    with served(library) as (host, port, server):
        idle = [socket.create_connection((host, port), timeout=10) for _ in range(60)]
        for _ in range(3):
            with socket.create_connection((host, port), timeout=10) as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
                assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert len(server.server_state.connections) <= 20
        for each in idle:
            each.close()


@pytest.mark.model
def test_bodies_that_do_not_come_make_room(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 20)
    with served(library) as (host, port, server):
        head = b"POST /v1/search HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{"
        slow = []
        for _ in range(40):
            slow.append(socket.create_connection((host, port), timeout=10))
            slow[-1].sendall(head)
            assert ask((host, port), "GET", "/healthz")[0] == 200  # so that what was sent before has been read
        assert 10 < len(server.server_state.connections) <= 20
        for each in slow:
            each.close()


def _highest_file() -> int:
    """The number that the next file gets, or one below."""
    with Path(os.devnull).open("rb") as file:
        return file.fileno()


_CROWD = """
import socket, sys
them = [socket.socket() for _ in range(300)]
for each in them:
    each.setblocking(False)
    each.connect_ex((sys.argv[1], int(sys.argv[2])))
print(len(them), flush=True)
sys.stdin.read()
"""


@pytest.mark.model
def test_a_crowd_that_comes_at_once_does_not_use_up_the_files(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(listening, "MAX_CONNECTIONS", 20)
    monkeypatch.setattr(listening, "AT_ONCE", 10)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with served(library) as (host, port, server):
        assert ask((host, port), "GET", "/healthz")[0] == 200  # it has begun
        server.servers[0].get_loop().call_soon_threadsafe(time.sleep, 0.5)  # so that they have all come when it looks
        crowd = subprocess.Popen(
            [sys.executable, "-c", _CROWD, host, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == b"300\n"
        resource.setrlimit(resource.RLIMIT_NOFILE, (_highest_file() + 100, before[1]))
        try:
            assert ask((host, port), "GET", "/healthz")[0] == 200
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            crowd.communicate()
    assert not caplog.records


@pytest.mark.model
def test_a_reader_that_takes_nothing_is_given_up(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "STALLED_S", 0.3)
    with served(library) as (host, port, server):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect((host, port))
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 200)
        until = time.monotonic() + 10
        while server.server_state.connections and time.monotonic() < until:
            time.sleep(0.05)
        assert not server.server_state.connections
        connection.close()


@pytest.mark.model
def test_nothing_says_what_serves(library: Library) -> None:
    with served(library) as (host, port, _):
        status, headers, _ = ask((host, port), "GET", "/healthz")
    assert (status, "server" in headers) == (200, False)
