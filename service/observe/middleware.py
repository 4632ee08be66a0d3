"""Each request watched from its arrival to the end of its reply: given an id, logged, counted, timed, traced.

It stands around everything else, so that nothing is answered unseen. Of a request it keeps the method, the path and
where it came from, and no more: not what is asked (a query string, a body), and no header.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.observe.logs import fields, request_id
from service.observe.metrics import Metrics
from service.observe.state import PROBLEM, key_name, state_of
from service.observe.tracing import Tracing
from service.stages import Stage, listen

REQUEST_ID = b"x-request-id"
CLIENT_GONE = 499
"""The status of a request whose client went away before it was answered; nginx's."""

_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"
_MAX_PATH_CHARACTERS = 200
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
"""What is asked every few seconds, by machines: not worth a line unless it goes wrong."""

_log = logging.getLogger(__name__)


class Watched:
    """An application, watched."""

    def __init__(self, app: ASGIApp, routes: list[BaseRoute], metrics: Metrics, tracing: Tracing | None) -> None:
        self._app = app
        self._metrics = metrics
        self._tracing = tracing
        self._plain = {each.path for each in routes if isinstance(each, Route) and "{" not in each.path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and watch it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Request(scope, self._metrics, self._tracing)
        # Neither is set back: each request has a context of its own, and what the server logs of it belongs to it.
        request_id.set(seen.id)
        listen(seen.stage)

        async def received() -> Message:
            began = time.perf_counter()
            try:
                return await receive()
            finally:
                seen.received_s += time.perf_counter() - began

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                _set_header(message, seen.id)
            await send(message)

        try:
            with seen.traced():
                await self._app(scope, received, sent)
        except BaseException:
            seen.failed = True
            raise  # the server logs it, with its traceback
        finally:
            seen.end(self._route(scope))

    def _route(self, scope: Scope) -> str:
        """The route's template; one name for all that there is not."""
        path: str | None = getattr(scope.get("route"), "path", None)
        if path is None and "endpoint" in scope and scope["path"] in self._plain:
            path = scope["path"]
        return path or _OTHER


class _Request:
    """What is seen of one request."""

    def __init__(self, scope: Scope, metrics: Metrics, tracing: Tracing | None) -> None:
        self.id = _id_of(scope)
        self.status = 0
        self.failed = False
        self.received_s = 0.0
        """Waited for the client to send."""
        self._scope = scope
        self._metrics = metrics
        self._tracing = tracing
        self._began = time.perf_counter()
        self._is_begun = False
        self._stages_s: dict[str, float] = {}
        state_of(scope)  # here, as what is in it is to be found again
        metrics.arrived()

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """A stage of the request, timed."""
        self._begin()
        began = time.perf_counter()
        span = self._tracing.begin_stage(name) if self._tracing else None
        try:
            yield
        finally:
            took_s = time.perf_counter() - began
            if span is not None:
                span.end()
            self._metrics.stage(name, took_s)
            self._stages_s[name] = self._stages_s.get(name, 0.0) + took_s

    @contextmanager
    def traced(self) -> Iterator[None]:
        """The request as a span, if there is anyone to tell."""
        if self._tracing is None:
            yield
            return
        with self._tracing.request(self._scope) as self._span:
            yield

    def _begin(self) -> None:
        """The first stage: until now it waited for its turn, or for its client."""
        if not self._is_begun:
            self._is_begun = True
            waited_s = max(0.0, time.perf_counter() - self._began - self.received_s)
            self._stages_s["wait"] = waited_s
            self._metrics.begun(waited_s)

    def end(self, route: str) -> None:
        """The request is done: say so."""
        took_s = time.perf_counter() - self._began
        if not self._is_begun:
            self._metrics.begun(None)
        state = state_of(self._scope)
        status = self.status or (HTTPStatus.INTERNAL_SERVER_ERROR if self.failed else CLIENT_GONE)
        method = self._scope["method"] if self._scope["method"] in _METHODS else _OTHER
        problem = state.get(PROBLEM) or (f"http-{int(status)}" if status >= HTTPStatus.BAD_REQUEST else None)
        self._metrics.answered(route, method, int(status), took_s, problem)
        if self._tracing is not None:
            self._tracing.answered(self._span, route, method, int(status), self.id)
        level = logging.INFO
        if self._scope["path"] in _QUIET and status < HTTPStatus.BAD_REQUEST:
            level = logging.DEBUG
        if _log.isEnabledFor(level):
            self._write(level, route, method, int(status), took_s, problem, key_name(self._scope))

    def _write(
        self, level: int, route: str, method: str, status: int, took_s: float, problem: str | None, key: str
    ) -> None:
        path = self._scope["path"][:_MAX_PATH_CHARACTERS]
        client = self._scope.get("client")
        address = client[0] if client else ""
        ms = round(1e3 * took_s, 1)
        stages = {name: round(1e3 * each, 1) for name, each in self._stages_s.items()}
        optional = {"problem": problem, "key": key, "stages_ms": stages}
        _log.log(
            level,
            "%s %s %d %.1f ms %s%s",
            method,
            path,
            status,
            ms,
            address or "-",
            "".join(f" {name}={each}" for name, each in optional.items() if each and name != "stages_ms"),
            extra=fields(
                method=method,
                path=path,
                route=route,
                status=status,
                ms=ms,
                client=address,
                **{name: each for name, each in optional.items() if each},
            ),
        )


def _id_of(scope: Scope) -> str:
    """The id that the client gave, if it is short and plain; else a new one."""
    given = next((value for name, value in scope["headers"] if name == REQUEST_ID), b"")
    return given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)


def _set_header(message: MutableMapping[str, Any], identity: str) -> None:
    headers = [each for each in message.get("headers", ()) if each[0].lower() != REQUEST_ID]
    message["headers"] = [*headers, (REQUEST_ID, identity.encode())]
