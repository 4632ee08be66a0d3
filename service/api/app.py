"""The HTTP front end put together: routes, limits, and how errors leave."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from indexer.embedding import available_cpus
from indexer.errors import LoccitError
from service import mcp_server
from service.access import Policy
from service.access.bodies import Bodies
from service.access.guard import Guard
from service.access.headers import SecurityHeaders
from service.access.hosts import ANY
from service.access.turns import Turns
from service.api import completions, v1
from service.api.documented import DocumentedApp
from service.api.problems import install, refusal
from service.api.readiness import Readiness
from service.config import DEFAULT_BASE_URL, version
from service.library import Library
from service.observe import Metrics, Pulse, Tracing, Watched
from service.web import pages, signin

MAX_BODY_BYTES = 4_000_000
"""A reply of 200 hits, sent back to be verified, has half a megabyte; characters that are escaped (`\\u4e00`) take six
times their place."""

TURNS_A_CPU = 2
"""Requests at work for each processor: while one is between the threads and the network, another is in a thread."""

MAX_WRITERS = 64
"""Answers that a model writes at once. They wait for it, and take no turn of a search meanwhile."""

_SCRAPERS = 4
"""That may wait for figures at once: it is one look that they wait for."""

_NO_ONE_IS_ASKED = Policy()

_log = logging.getLogger(__name__)


class _App(DocumentedApp):
    """An app whose every reply has the headers that keep it safe, those to bugs too, and whose requests are watched."""

    def build_middleware_stack(self) -> ASGIApp:
        """Starlette's own, around all of it the headers, and around these who watches."""
        safe = SecurityHeaders(super().build_middleware_stack(), is_https=self.state.base_url.startswith("https:"))
        return Watched(safe, self.routes, self.state.metrics, self.state.tracing)


def create_app(library: Library, base_url: str = DEFAULT_BASE_URL, policy: Policy = _NO_ONE_IS_ASKED) -> FastAPI:
    """The service over an open library, which stays the caller's to close.

    `base_url` is where clients find it, without a slash at the end: what absolute links begin with. `policy` says who
    may ask; without one, whoever reaches it.
    """

    mcp = mcp_server.Endpoint(library, base_url, policy.hosts - {ANY}, policy.origins)
    tracing = Tracing.from_environment()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Requests that are worked on at once: more would only wait for one another.
        to_thread.current_default_thread_limiter().total_tokens = available_cpus()
        try:
            await to_thread.run_sync(library.warm)
        except LoccitError as error:
            _log.warning("not ready: %s", error)  # /readyz says so until it is mended
        async with mcp.running():
            yield
        if tracing is not None:
            await to_thread.run_sync(tracing.close)

    app = _App(
        title="loccit",
        summary="Semantic search and questions over full-text papers, every passage cited to the character.",
        version=version(),
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # it would lead to where a proxy found the service
        generate_unique_id_function=lambda route: route.name,  # stable: the handler's name
    )
    app.state.library = library
    app.state.keys = policy.keys
    app.state.is_stopping = lambda: False
    app.state.base_url = base_url
    app.state.writers = CapacityLimiter(MAX_WRITERS)
    app.state.turns = CapacityLimiter(TURNS_A_CPU * available_cpus())
    app.state.metrics = Metrics()
    app.state.tracing = tracing
    app.state.pulse = Pulse(library.vital_signs)
    app.state.scrapers = CapacityLimiter(_SCRAPERS)
    app.state.readiness = Readiness(library.probe, CapacityLimiter(1))
    app.include_router(v1.papers)
    app.include_router(v1.state)
    app.include_router(completions.router)
    app.router.routes.append(mcp.route())
    app.include_router(signin.router)
    app.include_router(pages.router)
    install(app)
    _protect(app, policy)
    return app


def _protect(app: FastAPI, policy: Policy) -> None:
    """Put in what stands before the routes; the last one added is the first that sees a request."""
    app.add_middleware(Turns, turns=app.state.turns, policy=policy, refuse=refusal)
    app.add_middleware(Bodies, max_bytes=MAX_BODY_BYTES, refuse=refusal)
    app.add_middleware(Guard, policy=policy, refuse=refusal)
    if policy.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=policy.origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type", "x-api-key", "mcp-protocol-version"],
            expose_headers=["ratelimit", "ratelimit-policy", "retry-after", "x-request-id"],
        )
