"""The commands that serve: over HTTP, and to a chat assistant."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.errors import UsageError
from service import terminal
from service.cli.opening import chat_model_of, keep_numpy_to_one_thread, opened, settings_of
from service.cli.options import Index, LlmModel, LlmUrl, Rerank

if TYPE_CHECKING:
    from service.config import Settings


def serve(
    index: Index = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="The port to listen on; 0 for a free one (default: 8000).")] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="How many processes answer, each with the index in memory.")
    ] = 1,
    rerank: Rerank = None,
    llm_url: LlmUrl = None,
    llm_model: LlmModel = None,
    log_format: Annotated[
        str | None, typer.Option(metavar="text|json", help="How the log on stderr is written (default: text).")
    ] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            metavar="debug|info|warning|error", help="The least that is logged (default: info, each request)."
        ),
    ] = None,
) -> None:
    """Serve the index over HTTP until stopped with Ctrl-C."""
    settings = settings_of(
        index=index,
        host=host,
        port=port,
        rerank=rerank,
        llm_url=llm_url,
        llm_model=llm_model,
        log_format=log_format,
        log_level=log_level,
    )
    keep_numpy_to_one_thread()
    from service import api, observe
    from service.workers import Workers

    note = terminal.note if settings.log_format == "text" else logging.getLogger(__name__).info

    if workers > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError("this system cannot share a port between processes: leave out --workers")
    with (
        _unwound_when_told_to_stop(),
        observe.logging_to_stderr(settings.log_format, settings.log_level),
        observe.shared_folder() if workers > 1 else nullcontext(),
        opened(settings, settings.rerank, chat_model_of(settings)) as library,
        _bound(settings, workers) as listener,
    ):
        with terminal.working("loading the model"):
            library.warm()
        address = api.url(listener)
        shared = settings.model_copy(
            update={"port": listener.getsockname()[1], "public_base_url": settings.public_base_url or address}
        )
        with Workers(workers - 1, partial(_serve_shared, shared), observe.forget):
            note(f"serving {settings.index} at {address} (OpenAPI: /openapi.json); Ctrl-C stops")
            if not settings.public_base_url and listener.getsockname()[0] in ("0.0.0.0", "::"):
                note(
                    "other machines reach it too, and no one is asked who they are; set LOCCIT_PUBLIC_BASE_URL to the "
                    "address that they use: links begin with it, and /mcp answers to its name"
                )
            observe.notify("READY=1")
            api.serve(api.create_app(library, shared.base_url), listener)


def mcp(index: Index = None, rerank: Rerank = None) -> None:
    """Serve the index to a chat assistant, which starts this command and speaks MCP over stdin and stdout."""
    settings = settings_of(index=index, rerank=rerank)
    keep_numpy_to_one_thread()
    from service.mcp_server import serve_stdio

    if sys.stdin.isatty():
        terminal.note("waiting for a chat assistant's requests on stdin; Ctrl-C stops")
    # Errors are to say where the index was looked for: the assistant started this in a folder of its own.
    settings = settings.model_copy(update={"index": settings.index.absolute()})
    serve_stdio(partial(opened, settings, settings.rerank), settings.base_url)


@contextmanager
def _unwound_when_told_to_stop() -> Iterator[None]:
    """Within, SIGTERM ends the program as Ctrl-C does: what is open is closed. That is success, as it was asked for."""

    def stop(*_: object) -> None:
        sys.exit(0)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _bound(settings: Settings, workers: int) -> socket.socket:
    from service import api

    if workers == 1:
        return api.bind(settings.host, settings.port)
    # Bound alone first: a shared port would be shared with any other server as well.
    with api.bind(settings.host, settings.port) as alone:
        port = alone.getsockname()[1]
    return api.bind(settings.host, port, shared=True)


def _serve_shared(settings: Settings) -> None:
    """Another process of `serve`."""
    from service import api, observe

    with (
        observe.logging_to_stderr(settings.log_format, settings.log_level),
        opened(settings, settings.rerank, chat_model_of(settings)) as library,
        api.bind(settings.host, settings.port, shared=True) as listener,
    ):
        library.warm()
        api.serve(api.create_app(library, settings.base_url), listener)
