"""The commands that serve: over HTTP, and to a chat assistant."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.errors import LoccitError, UsageError
from service import terminal
from service.cli.opening import chat_model_of, keep_numpy_to_one_thread, opened, settings_of
from service.cli.options import Index, Keys, LlmModel, LlmUrl, Rerank

if TYPE_CHECKING:
    from service.access import Policy
    from service.config import Settings

_log = logging.getLogger(__name__)


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
    keys: Keys = None,
    allow_anonymous: Annotated[
        bool, typer.Option("--allow-anonymous", help="Let everyone read who reaches it, from other machines too.")
    ] = False,
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
    """Serve the index over HTTP until stopped with Ctrl-C. Other machines need a key: see `loccit keys`."""
    settings = settings_of(
        index=index,
        host=host,
        port=port,
        rerank=rerank,
        llm_url=llm_url,
        llm_model=llm_model,
        keys=keys,
        allow_anonymous=allow_anonymous or None,
        log_format=log_format,
        log_level=log_level,
    )
    keep_numpy_to_one_thread()
    from service import api, observe
    from service.access import policy_of
    from service.workers import Workers

    policy = policy_of(settings)
    note = terminal.note if settings.log_format == "text" else _log.info

    if workers > 1 and not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError("this system cannot share a port between processes: leave out --workers")
    with (
        api.ended_in_order(),
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
        with Workers(workers - 1, partial(_serve_shared, shared, policy), observe.forget) as others:
            note(f"serving {settings.shown_index} at {address} (OpenAPI: /openapi.json); Ctrl-C stops")
            _note_access(settings, policy, note)
            app = api.create_app(library, shared.base_url, policy)
            observe.notify("READY=1")
            api.serve(app, listener, proxies=settings.trusted_proxies, on_stop=others.stop)


def mcp(index: Index = None, rerank: Rerank = None) -> None:
    """Serve the index to a chat assistant, which starts this command and speaks MCP over stdin and stdout."""
    settings = settings_of(index=index, rerank=rerank)
    keep_numpy_to_one_thread()
    from service.mcp_server import serve_stdio

    if sys.stdin.isatty():
        terminal.note("waiting for a chat assistant's requests on stdin; Ctrl-C stops")
    # Errors are to say where the index was looked for: the assistant started this in a folder of its own.
    if isinstance(settings.index, Path):
        settings = settings.model_copy(update={"index": settings.index.absolute()})
    serve_stdio(partial(opened, settings, settings.rerank), settings.base_url)


def _note_access(settings: Settings, policy: Policy, note: Callable[[str], None]) -> None:
    """Say what a user might not expect of who may ask."""
    from service.access import is_loopback

    is_local = is_loopback(settings.host)
    if policy.asks_no_one() and (settings.public_base_url or not is_local):
        note("no one is asked who they are: whoever reaches it may read")
    if not settings.public_base_url and not is_local:
        note(
            "other machines reach it too; set LOCCIT_PUBLIC_BASE_URL to the address that they use: links begin with "
            "it, and its name is answered to"
        )


def _bound(settings: Settings, workers: int) -> socket.socket:
    from service import api

    if workers == 1:
        return api.bind(settings.host, settings.port)
    # Bound alone first: a shared port would be shared with any other server as well.
    with api.bind(settings.host, settings.port) as alone:
        port = alone.getsockname()[1]
    return api.bind(settings.host, port, shared=True)


def _serve_shared(settings: Settings, policy: Policy) -> None:
    """Another process of `serve`. One that cannot start says why in the log, and ends."""
    from service import api, observe

    with api.ended_in_order(), observe.logging_to_stderr(settings.log_format, settings.log_level):
        try:
            with opened(settings, settings.rerank, chat_model_of(settings)) as library:
                library.warm()  # first: as soon as it listens, the system deals connections to it
                app = api.create_app(library, settings.base_url, policy)
                with api.bind(settings.host, settings.port, shared=True) as listener:
                    api.serve(app, listener, proxies=settings.trusted_proxies)
        except LoccitError as error:
            _log.error("%s", error)
            sys.exit(error.exit_code)
