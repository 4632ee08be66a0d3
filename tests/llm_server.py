"""An OpenAI-compatible endpoint that behaves as a test says: chat completions, streamed in the real protocol."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """One request. A behaviour writes the whole reply."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        endpoint = self.server.endpoint
        endpoint.requests.append(Received(self.path, dict(self.headers.items()), body))
        behaviour = endpoint.behaviours.pop(0) if len(endpoint.behaviours) > 1 else endpoint.behaviours[0]
        self.close_connection = True
        try:
            behaviour(self)
        except (BrokenPipeError, ConnectionResetError):
            endpoint.left.set()

    def log_message(self, *_: object) -> None:
        pass

    def start(
        self, status: int = 200, kind: str = "text/event-stream", headers: Mapping[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "connection": "close", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def data(self, text: str) -> None:
        self.wfile.write(f"data: {text}\n\n".encode())
        self.wfile.flush()

    def delta(self, finish: str | None = None, **delta: str) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        self.data(json.dumps(chunk))


Behaviour = Callable[[Handler], None]


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    endpoint: Endpoint


@dataclass
class Endpoint:
    """Where it listens, what it was sent, and what it does: each behaviour once, the last one from then on."""

    url: str
    behaviours: list[Behaviour] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when a client went away in the middle of a reply."""
    closing: threading.Event = field(default_factory=threading.Event)

    def does(self, *behaviours: Behaviour) -> None:
        self.behaviours[:] = behaviours


@contextmanager
def serving() -> Iterator[Endpoint]:
    """The endpoint, for as long as it is used."""
    with _Server(("127.0.0.1", 0), Handler) as server:
        server.endpoint = Endpoint(f"http://127.0.0.1:{server.server_address[1]}/v1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.endpoint
        finally:
            server.endpoint.closing.set()
            server.shutdown()
            thread.join()


def says(text: str, *, finish: str = "stop", size: int = 7, thoughts: str = "") -> Behaviour:
    """A whole reply, in pieces of `size` characters."""

    def reply(handler: Handler) -> None:
        handler.start()
        handler.delta(role="assistant", content="")
        for at in range(0, len(thoughts), size):
            handler.delta(reasoning_content=thoughts[at : at + size])
        for at in range(0, len(text), size):
            handler.delta(content=text[at : at + size])
        handler.delta(finish=finish)
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        handler.data(json.dumps({"id": "1", "object": "chat.completion.chunk", "choices": [], "usage": usage}))
        handler.data("[DONE]")

    return reply


def refuses(status: int, message: str, code: str = "", param: str = "", **headers: str) -> Behaviour:
    """An error, as OpenAI's API words it."""

    def reply(handler: Handler) -> None:
        body = json.dumps({"error": {"message": message, "type": "x", "param": param or None, "code": code or None}})
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.start(status, "application/json", given | {"content-length": str(len(body.encode()))})
        handler.wfile.write(body.encode())

    return reply


def breaks_off(text: str) -> Behaviour:
    """A reply whose connection closes in the middle."""

    def reply(handler: Handler) -> None:
        handler.start()
        handler.delta(content=text)

    return reply


def fails_within(text: str, message: str) -> Behaviour:
    """A reply that turns into an error after its status was sent."""

    def reply(handler: Handler) -> None:
        handler.start()
        handler.delta(content=text)
        handler.data(json.dumps({"error": {"message": message, "type": "server_error"}}))

    return reply


def sends(content: str, kind: str) -> Behaviour:
    """Something else with HTTP status 200."""

    def reply(handler: Handler) -> None:
        handler.start(kind=kind)
        handler.wfile.write(content.encode())

    return reply


def hangs_up(handler: Handler) -> None:
    """No reply at all."""


def drips(text: str = "") -> Behaviour:
    """Text, and then a byte that means nothing every hundredth of a second, for ten seconds."""

    def reply(handler: Handler) -> None:
        handler.start()
        if text:
            handler.delta(content=text)
        for _ in range(1000):
            handler.wfile.write(b":")
            handler.wfile.flush()
            if handler.server.endpoint.closing.wait(0.01):
                return

    return reply


def drips_headers(handler: Handler) -> None:
    """A head that goes on for ten seconds."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
    for _ in range(1000):
        handler.wfile.write(b"z")
        handler.wfile.flush()
        if handler.server.endpoint.closing.wait(0.01):
            return
