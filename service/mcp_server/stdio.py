"""The server on standard input and output, for a client that starts it. Nothing but the protocol goes to stdout."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, redirect_stdout
from threading import Lock
from typing import Any

import anyio
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from indexer.embedding import available_cpus
from service.library import Library
from service.mcp_server.server import create_server


class _AtFirstUse:
    """The library, opened when it is first asked for; where that fails, the next call tries again.

    A client shows an error that it gets as a reply, and of a server that does not start only that it is gone.
    """

    def __init__(self, opened: Callable[[], AbstractContextManager[Library]]) -> None:
        self._opened = opened
        self._opening = Lock()
        self._library: Library | None = None
        self._stack = ExitStack()

    def __call__(self) -> Library:
        with self._opening:
            if self._library is None:
                self._library = self._stack.enter_context(self._opened())
            return self._library

    def close(self) -> None:
        """Let go of it, if it was opened."""
        self._stack.close()


def serve_stdio(opened: Callable[[], AbstractContextManager[Library]], base_url: str) -> None:
    """Answer requests until standard input ends, or the process is told to stop.

    `opened` gives the library, closed afterwards.
    """
    with closing(_AtFirstUse(opened)) as library:

        def end(*_: object) -> None:
            library.close()
            os._exit(0)  # a thread waits for standard input, and cannot be woken

        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, end)
        anyio.run(_serve, create_server(library, base_url, anyio.CapacityLimiter(available_cpus())))


async def _serve(server: Server[dict[str, Any]]) -> None:
    # The transport points file descriptor 1 at stderr; what Python holds back for it must not come out afterwards.
    async with stdio_server() as (read, write):
        with redirect_stdout(sys.stderr):
            await server.run(read, write, server.create_initialization_options())
