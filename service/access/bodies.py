"""Reads a request's body whole before anything is done about it: who sends slowly keeps no one from their turn.

A body that is too long is refused as soon as that shows, one that does not come in time, and one that there is no room
for beside the others on their way.
"""

from __future__ import annotations

from http import HTTPStatus

from anyio import fail_after
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.errors import LoccitError, OverloadError
from service.access.policy import Refuse

BODY_S = 20.0
"""For a whole body: the longest one in that time takes 1.6 Mbit/s."""
MAX_ROOM_BYTES = 64_000_000
"""For the bodies of all requests that are on their way or wait."""
_CLOSE = {"connection": "close"}
"""The rest of a body is not waited for."""


class Bodies:
    """Passes requests on with their whole body."""

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, refuse: Refuse, timeout_s: float = BODY_S, room: int = MAX_ROOM_BYTES
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._refuse = refuse
        self._timeout_s = timeout_s
        self._room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on once its body is there. A client that leaves before gets no reply."""
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        if "content-length" not in headers and "transfer-encoding" not in headers:  # there is none (RFC 9112, 6.3)
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            with fail_after(self._timeout_s):
                is_whole = await self._read(scope, receive, body)
        except TimeoutError:
            too_slow = f"the body did not come within {self._timeout_s:g} s"
            await self._refused(scope, receive, send, HTTPException(HTTPStatus.REQUEST_TIMEOUT, too_slow, _CLOSE))
        except (LoccitError, HTTPException) as error:
            await self._refused(scope, receive, send, error)
        else:
            if is_whole:
                await self._app(scope, _replaying(bytes(body), receive), send)
        finally:
            self._room += len(body)

    async def _read(self, scope: Scope, receive: Receive, body: bytearray) -> bool:
        """Read it into `body`; False where the client left."""
        declared = Headers(scope=scope).get("content-length", "")
        self._check(int(declared) if declared.isdecimal() else 0)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            part = message.get("body", b"")
            self._check(len(body) + len(part))
            if len(part) > self._room:
                raise OverloadError("too many requests with long bodies are on their way: try again")
            body += part
            self._room -= len(part)
            if not message.get("more_body", False):
                return True

    def _check(self, n_bytes: int) -> None:
        if n_bytes > self._max_bytes:
            raise HTTPException(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body may have {self._max_bytes:,} bytes at the most", _CLOSE
            )

    async def _refused(self, scope: Scope, receive: Receive, send: Send, error: LoccitError | HTTPException) -> None:
        await self._refuse(Request(scope), error)(scope, receive, send)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, and after that what comes."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed
