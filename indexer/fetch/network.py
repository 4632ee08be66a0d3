"""Connections that go only where they may, and end in time. Knows nothing of HTTP.

A host's name is resolved here, every address it stands for is checked, and the connection goes to a checked address:
what the name stands for a moment later makes no difference. TLS still asks for the certificate of the name.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore

from indexer.errors import SourceError
from indexer.fetch.addresses import Hosts

Resolver = Callable[[str, int], list[str]]
"""The addresses of a host. Raises OSError where it has none."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system has them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Deadline:
    """When an exchange has to be over. For one exchange at a time."""

    def __init__(self) -> None:
        self._limit_s = 0.0
        self._end = 0.0

    def start(self, limit_s: float) -> None:
        """So many seconds from now."""
        self._limit_s = limit_s
        self._end = time.monotonic() + limit_s

    def left(self, timeout_s: float | None) -> float:
        """The seconds that one step may take. Raises SourceError when none are left."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise SourceError(f"it took longer than {self._limit_s:g} s and was broken off: try again later")
        return left if timeout_s is None else min(left, timeout_s)


class GuardedBackend(httpcore.NetworkBackend):
    """Connects to hosts that may be reached, at addresses that may."""

    def __init__(self, hosts: Hosts, deadline: Deadline, resolver: Resolver = resolve) -> None:
        self._hosts = hosts
        self._deadline = deadline
        self._resolver = resolver
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to the first checked address that answers."""
        try:
            addresses = self._resolver(host, port)
        except (OSError, UnicodeError) as error:  # a name too long, or with an empty part, cannot even be asked for
            raise httpcore.ConnectError(
                f"its name is not known ({getattr(error, 'strerror', None) or error})"
            ) from error
        for address in addresses:
            self._hosts.check_address(host, port, address)
        failure: Exception = httpcore.ConnectError("its name stands for no address")
        for address in addresses:
            try:
                stream = self._plain.connect_tcp(
                    address, port, self._deadline.left(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._deadline)
        raise failure


class _Stream(httpcore.NetworkStream):
    """A connection, each step of which ends with the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _Stream(secured, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
