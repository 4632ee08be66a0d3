"""The server over streamable HTTP: stateless, one JSON reply a request, for a route of the HTTP front end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import mcp_types
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from service.library import Library
from service.mcp_server.server import create_server

PATH = "/mcp"
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Endpoint:
    """An ASGI application that answers while `running`."""

    def __init__(
        self, library: Library, base_url: str, hosts: Collection[str] = (), origins: Collection[str] = ()
    ) -> None:
        """`base_url` is where clients find the service: what links begin with, and a host that they may name.

        They may name these `hosts` too, and pages of these `origins` may ask.
        """
        self._server = create_server(lambda: library, base_url)
        self._security = _security(base_url, hosts, origins)
        self._manager: StreamableHTTPSessionManager | None = None

    def route(self) -> Route:
        """Where it stands. Without a session there is nothing to GET or DELETE."""
        return Route(PATH, self, methods=["POST"])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answers until the block ends; may be entered again then."""
        self._manager = StreamableHTTPSessionManager(
            self._server, json_response=True, stateless=True, security_settings=self._security
        )
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        assert self._manager is not None, "the app's lifespan has not begun"
        await self._manager.handle_request(scope, receive, send)


def refusal(status: int, message: str) -> dict[str, object]:
    """The body of a reply to a request that was not taken: an error to no request in particular, as the protocol has
    it."""
    code = mcp_types.INTERNAL_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else mcp_types.INVALID_REQUEST
    return {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}


def _security(base_url: str, others: Collection[str], origins: Collection[str]) -> TransportSecuritySettings:
    """A page of another site, which the browser has been told is this host, is refused (DNS rebinding)."""
    named = urlsplit(base_url)
    host = named.hostname or ""
    ours = f"[{host}]" if ":" in host else host
    hosts = (*_LOOPBACK, ours, *others)
    sites = [f"http://{each}" for each in hosts] + [f"{named.scheme}://{each}" for each in (ours, *others)]
    return TransportSecuritySettings(
        allowed_hosts=[allowed for each in hosts for allowed in (each, f"{each}:*")],
        allowed_origins=[*origins, *(allowed for each in sites for allowed in (each, f"{each}:*"))],
    )
