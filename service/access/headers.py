"""Headers that keep browsers from doing with a reply what it is not meant for. Knows nothing of what replies say."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OF_ALL: Mapping[str, str] = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""Unless the reply says otherwise, as pages do."""
_ONE_YEAR = "max-age=31536000"


class SecurityHeaders:
    """Puts the headers on every reply, those to bugs among them."""

    def __init__(self, app: ASGIApp, *, is_https: bool) -> None:
        """`is_https`: whether clients find the service there, so that browsers are to ask nowhere else."""
        self._app = app
        self._headers = {**_OF_ALL, **({"strict-transport-security": _ONE_YEAR} if is_https else {})}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, its reply's headers filled up."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sent if scope["type"] == "http" else send)
