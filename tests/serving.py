"""The service over real connections, in a thread of this process."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from service.access import Policy
from service.api import bind, create_app
from service.api.listening import server_of
from service.library import Library


@contextmanager
def served(library: Library, policy: Policy | None = None) -> Iterator[tuple[str, int, uvicorn.Server]]:
    """Its host, its port, and the server, whose `config.app.state` is the app's."""
    listener = bind("127.0.0.1", 0)
    server = server_of(create_app(library, policy=policy or Policy()))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    host, port = listener.getsockname()
    try:
        yield host, port, server
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
    assert not thread.is_alive()


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it, for ten seconds at the most."""
    ends = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < ends, "it did not come to that"
        time.sleep(0.01)


def ask(
    address: tuple[str, int], method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """A reply's status, its headers with names in small letters, and what it says."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    sent = None if body is None else json.dumps(body)
    given = {"content-type": "application/json"} if sent is not None else {}
    connection.request(method, path, sent, {**given, **(headers or {})})
    reply = connection.getresponse()
    said = reply.read()
    connection.close()
    return reply.status, {name.lower(): value for name, value in reply.getheaders()}, said


def json_of(reply: tuple[int, dict[str, str], bytes]) -> Any:
    """What it says, as JSON."""
    return json.loads(reply[2])
