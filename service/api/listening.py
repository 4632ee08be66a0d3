"""Sockets, and the server that answers on them: what it does with connections that are slow, and how it stops."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from indexer.errors import LoccitError
from service.config import local_url
from service.observe import notify

HEAD_S = 10.0
"""For a request's line and headers, from when a connection is open or the request begins."""
STALLED_S = 30.0
"""A reader who takes nothing for so long is gone."""
MAX_CONNECTIONS = 500
"""In each process; systems mostly let it have 1,024 files."""
AT_ONCE = 100
"""New connections that asyncio takes before it looks at any: these have files beyond `MAX_CONNECTIONS`, for a few turns
of its loop."""
QUEUED = 2048
"""New connections that the system keeps meanwhile, if it may."""
GRACE_S = 20
"""For what is in flight when the service is told to stop."""


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. Raises LoccitError when it cannot.

    With `shared`, other sockets bound so may listen there too, and the system deals connections out among them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named by its protocol: else asyncio leaves out TCP_NODELAY, and every second reply waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise LoccitError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --host or --port"
        ) from error
    return listener


def url(listener: socket.socket) -> str:
    """Where clients on this machine find it."""
    host, port, *_ = listener.getsockname()
    return local_url(host, port)


def serve(
    app: FastAPI,
    listener: socket.socket,
    *,
    proxies: Collection[str] = (),
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests until the process is told to stop; then no connection is taken any more, and what is in flight
    has `GRACE_S` to end. `on_stop` is called as soon as it is told.

    What `proxies` say of where a request came from counts.
    """
    server_of(app, proxies=proxies, on_stop=on_stop).run(sockets=[listener])


def server_of(
    app: FastAPI, *, proxies: Collection[str] = (), on_stop: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """The server, not running yet."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_config=None,  # its log is everyone's, and a line for each request is ours
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=GRACE_S,
        backlog=AT_ONCE,
    )
    server = _Server(config, on_stop)
    app.state.is_stopping = lambda: server.should_exit
    return server


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends the process as Ctrl-C does, with all that is to be closed, and its exit code is 0."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(_: int, __: FrameType | None) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Server(uvicorn.Server):
    """Says when it is told to stop."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, with a longer queue than asyncio has made."""
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(QUEUED)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, and let it be known."""
        super().handle_exit(sig, frame)
        notify("STOPPING=1")
        self._on_stop()


class PatientProtocol(H11Protocol):
    """Gives up connections on which nothing goes on: uvicorn itself waits for a request's headers, and for a reply to
    be taken, without an end.

    Where there are too many, the one that has been idle longest makes room, else the one whose body has been on its way
    longest, else the new one is turned away: the files that a process may have open are for its index too.
    """

    _head: asyncio.TimerHandle | None = None
    _delivery: asyncio.TimerHandle | None = None
    _idle_since: float = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, for a while."""
        has_room = len(self.connections) < MAX_CONNECTIONS or self._make_room()
        super().connection_made(transport)
        if has_room:
            self._await_head()
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read it: the headers of a request, or a part of them."""
        super().data_received(data)
        if self._is_busy():
            self._stop_waiting()
        elif self._head is None and not self.transport.is_closing():
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        self.resume_writing()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the end of the connection."""
        self._idle_since = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_delivery()

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection, also where what was said last is not being read."""
        super().timeout_keep_alive_handler()
        self._await_delivery()

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to."""
        super().pause_writing()
        self._await_delivery()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self._delivery is not None:
            self._delivery.cancel()
            self._delivery = None
        super().resume_writing()

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_head(self) -> None:
        self._idle_since = self.loop.time()
        self._head = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        self._head = None
        if not self._is_busy():
            self.transport.abort()

    def _await_delivery(self) -> None:
        if self._delivery is None:
            left = self.transport.get_write_buffer_size()
            self._delivery = self.loop.call_later(STALLED_S, self._check_delivery, left)

    def _check_delivery(self, before: int) -> None:
        self._delivery = None
        left = self.transport.get_write_buffer_size()
        if left and left >= before:
            self.transport.abort()
        elif left:
            self._await_delivery()

    def _make_room(self) -> bool:
        others = [each for each in self.connections if isinstance(each, PatientProtocol) and each._may_make_room()]
        if others:
            min(others, key=lambda each: (each._is_busy(), each._idle_since)).transport.abort()
        return bool(others)

    def _may_make_room(self) -> bool:
        is_sending = self.cycle is not None and self.cycle.more_body
        return (is_sending or not self._is_busy()) and not self.transport.is_closing()
