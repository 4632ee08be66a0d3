"""Sockets, and the server that answers on them."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from indexer.errors import LoccitError
from service.config import local_url


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
    """Answer requests until the process is told to stop."""
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
