"""The HTTP front end put together: routes, limits, and how errors leave."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI

from indexer.embedding import available_cpus
from indexer.errors import LoccitError
from service import mcp_server
from service.api import completions, v1
from service.api.documented import DocumentedApp
from service.api.problems import install
from service.config import DEFAULT_BASE_URL, version
from service.library import Library
from service.observe import Metrics, Tracing
from service.web import pages

MAX_BODY_BYTES = 4_000_000
"""A reply of 200 hits, sent back to be verified, has half a megabyte; characters that are escaped (`\\u4e00`) take six
times their place."""

MAX_WRITERS = 64
"""Answers that a model writes at once. They wait for it, and take no turn of a search meanwhile."""

_log = logging.getLogger(__name__)


def create_app(library: Library, base_url: str = DEFAULT_BASE_URL) -> FastAPI:
    """The service over an open library, which stays the caller's to close.

    `base_url` is where clients find it, without a slash at the end: what absolute links begin with.
    """

    mcp = mcp_server.Endpoint(library, base_url)
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

    app = DocumentedApp(
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
    app.state.base_url = base_url
    app.state.writers = CapacityLimiter(MAX_WRITERS)
    app.state.metrics = Metrics()
    app.state.tracing = tracing
    app.state.watchers = CapacityLimiter(1)
    app.state.is_draining = False
    app.include_router(v1.papers)
    app.include_router(v1.state)
    app.include_router(completions.router)
    app.router.routes.append(mcp.route())
    app.include_router(pages.router)
    install(app, max_body_bytes=MAX_BODY_BYTES)
    return app
