"""Sockets, and the server that answers on them."""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from indexer.errors import LoccitError
from service.config import local_url
from service.observe import notify


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


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Answer requests until the process is told to stop, and those that have come by then."""
    config = uvicorn.Config(app, log_config=None, access_log=False)  # its log is everyone's; a line a request is ours
    _Server(config, app).run(sockets=[listener])


class _Server(uvicorn.Server):
    """A server whose app knows that it is told to stop."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Be told to stop, by a signal."""
        self._app.state.is_draining = True
        notify("STOPPING=1")
        super().handle_exit(sig, frame)
