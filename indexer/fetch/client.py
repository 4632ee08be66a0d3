"""A polite and wary https client: known hosts, checked addresses and redirects, limits on size and time.

It waits between requests to a host, tries again when a host is busy or a reply breaks off, and asks whether there is
something newer where it has the last answer. What a reply's body means, it does not know. For one thread at a time.
"""

from __future__ import annotations

import re
import ssl
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import httpcore
import httpx

from indexer.errors import SourceError
from indexer.fetch.addresses import Hosts
from indexer.fetch.network import Deadline, GuardedBackend, Resolver, resolve
from indexer.fetch.pace import Pace, back_off, now_utc, retry_after

Kind = Literal["xml", "markdown", "json"]

_BYTES = frozenset({"", "application/octet-stream", "binary/octet-stream"})
"""What stores that do not know better call everything."""
_TYPES: Mapping[Kind, frozenset[str]] = {
    "xml": frozenset({"application/xml", "text/xml", "application/jats+xml"}) | _BYTES,
    "markdown": frozenset({"text/markdown", "text/x-markdown", "text/plain"}) | _BYTES,
    "json": frozenset({"application/json", "text/json"}) | _BYTES,
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_BUSY = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much, how long and how often."""

    max_bytes: int = 50_000_000
    """Of a body, as it comes and unpacked: as much as a paper's file may have."""
    connect_s: float = 15
    read_s: float = 30
    """Without a byte."""
    total_s: float = 180
    """For a whole exchange, however steadily it drips."""
    tries: int = 4
    first_wait_s: float = 1
    """Before the second try; doubled before each one after."""
    max_wait_s: float = 120
    """A host that asks for a longer one is left alone."""
    interval_s: float = 0.34
    """Between requests to one host: three a second, as NCBI asks of clients that it does not know."""


@dataclass(frozen=True, slots=True)
class Known:
    """What an address answered last time."""

    url: str
    etag: str
    last_modified: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What an address answers."""

    status: Literal[200, 304, 404, 410]
    """304: as it was the last time. 410: there was something, and it was withdrawn."""
    url: str
    """The one that answered, after redirects."""
    body: bytes = b""
    content_type: str = ""
    etag: str = ""
    last_modified: str = ""
    whole: bool = True
    """Whether the reply said how long it is, so that a body that breaks off was noticed."""


class _AgainError(Exception):
    """It may do better the next time; after so many seconds, if the host says."""

    def __init__(self, why: str, after_s: float | None = None) -> None:
        super().__init__(why)
        self.after_s = after_s


class Client:
    """Asks hosts for what they have. Close it after use."""

    def __init__(self, hosts: Hosts, agent: str, limits: Limits | None = None, resolver: Resolver = resolve) -> None:
        self.limits = limits or Limits()
        self._hosts = hosts
        self._pace = Pace(self.limits.interval_s, self.limits.max_wait_s)
        self._deadline = Deadline()
        self._headers = {"user-agent": agent, "accept": "*/*", "accept-encoding": "gzip"}
        trusted = httpx.create_ssl_context()  # SSL_CERT_FILE, else certifi's
        trusted.load_default_certs()  # ... and the system's
        # Not httpx.Client: it reads redirects and keeps cookies by itself, and proxies connect to unchecked addresses.
        backend = GuardedBackend(hosts, self._deadline, resolver)
        self._pool = httpcore.ConnectionPool(trusted, max_connections=4, keepalive_expiry=5, network_backend=backend)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    def get(self, url: str, *kinds: Kind, known: Known | None = None, max_bytes: int | None = None) -> Reply:
        """What the address has, of one of these kinds. With `known`, a body only where there is something newer.

        Raises SourceError, which says what it did instead.
        """
        address, attempt = _parsed(url), 0
        while True:
            try:
                return self._follow(address, kinds, known, max_bytes or self.limits.max_bytes)
            except _AgainError as error:
                attempt += 1
                if attempt >= self.limits.tries:
                    raise SourceError(f"{error}, {attempt} times in a row: try again later") from error
                wait_s = back_off(attempt - 1, self.limits.first_wait_s) if error.after_s is None else error.after_s
                self._pace.hold(address.host, wait_s)

    def _follow(self, address: httpx.URL, kinds: tuple[Kind, ...], known: Known | None, max_bytes: int) -> Reply:
        first = address.host
        for _ in range(_MAX_REDIRECTS + 1):
            self._hosts.check(address.scheme, address.host, address.port)
            if address.userinfo:
                raise SourceError(f"{address.host} is not asked with a user's name: take it out of the address")
            self._pace.wait(address.host)
            reply = self._exchange(address, kinds, known, max_bytes)
            if isinstance(reply, Reply):
                return reply
            try:
                address = _parsed(address.join(reply))
                self._hosts.check(address.scheme, address.host, address.port)
            except SourceError as error:
                raise SourceError(f"{first} redirects to another place: {error}") from error
        raise SourceError(f"{first} redirects more than {_MAX_REDIRECTS} times")

    def _exchange(
        self, address: httpx.URL, kinds: tuple[Kind, ...], known: Known | None, max_bytes: int
    ) -> Reply | httpx.URL:
        """One request: its reply, or the place that it redirects to."""
        host, conditions = address.host, _conditions(known, address)
        self._deadline.start(self.limits.total_s)
        try:
            with self._sent(address, conditions) as response:
                status = response.status_code
                if status in _REDIRECTS and "location" in response.headers:
                    return _parsed(response.headers["location"])
                if status in _BUSY:
                    asked = retry_after(response.headers.get("retry-after", ""), now_utc())
                    raise _AgainError(f"{host} answers {status} {response.reason_phrase}", asked)
                if status == 404:
                    return Reply(404, str(address))
                if status == 410:
                    return Reply(410, str(address))
                if status == 304 and conditions:
                    return _reply(304, address, response, b"")
                if status != 200:
                    raise SourceError(f"{host} answers {status} {response.reason_phrase}")
                _check_type(response, host, kinds)
                return _reply(200, address, response, _body(response, host, max_bytes))
        except httpcore.TimeoutException as error:
            self._deadline.left(None)  # raises when it was the whole that took too long, not one step
            raise _AgainError(f"{host} says nothing for {self.limits.read_s:g} s") from error
        except httpcore.ConnectError as error:
            if any(isinstance(each, ssl.SSLCertVerificationError) for each in error.args):
                raise SourceError(f"{host} has no certificate for its name that is trusted here: {error}") from error
            raise _AgainError(f"{host} cannot be reached: {error}") from error
        except httpcore.NetworkError as error:
            raise _AgainError(f"{host} broke the connection off: {error or 'no reason given'}") from error
        except httpcore.ProtocolError as error:
            raise _AgainError(f"{host} sent a reply that breaks off or is no HTTP: {error}") from error

    @contextmanager
    def _sent(self, address: httpx.URL, conditions: Mapping[str, str]) -> Iterator[httpx.Response]:
        """The reply to one request, its body still to be read. Errors are httpcore's."""
        limits = self.limits
        timeouts = {"connect": limits.connect_s, "read": limits.read_s, "write": limits.read_s, "pool": limits.read_s}
        url = httpcore.URL(scheme=address.raw_scheme, host=address.raw_host, port=address.port, target=address.raw_path)
        request = httpx.Request("GET", address, headers={**self._headers, **conditions})
        given = self._pool.handle_request(
            httpcore.Request("GET", url, headers=request.headers.raw, extensions={"timeout": timeouts})
        )
        try:
            yield httpx.Response(given.status, headers=given.headers, stream=_Body(given), extensions=given.extensions)
        finally:
            given.close()


_SENDABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""What a header may hold: others' words are kept in a file, which anybody may have written in."""


def _conditions(known: Known | None, address: httpx.URL) -> dict[str, str]:
    """The headers that ask for something newer, at the address that the last answer came from."""
    if known is None or _parsed(known.url) != address:
        return {}
    headers = {"if-none-match": known.etag, "if-modified-since": known.last_modified}
    return {name: value for name, value in headers.items() if _SENDABLE.fullmatch(value)}


def _reply(status: Literal[200, 304], address: httpx.URL, response: httpx.Response, body: bytes) -> Reply:
    headers = response.headers
    return Reply(
        status,
        str(address),
        body,
        _content_type(response),
        headers.get("etag", ""),
        headers.get("last-modified", ""),
        "content-length" in headers or "chunked" in headers.get("transfer-encoding", "").lower(),
    )


def _content_type(response: httpx.Response) -> str:
    kind: str = response.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _check_type(response: httpx.Response, host: str, kinds: tuple[Kind, ...]) -> None:
    given = _content_type(response)
    if not any(given in _TYPES[kind] for kind in kinds):
        what = "a web page" if given in ("text/html", "application/xhtml+xml") else repr(given)
        raise SourceError(f"{host} sent {what} where {' or '.join(kinds)} was asked for")


def _body(response: httpx.Response, host: str, max_bytes: int) -> bytes:
    """The body, unpacked. Raises before more is read or unpacked than may be."""
    claimed = response.headers.get("content-length", "")
    if claimed.isdecimal() and int(claimed) > max_bytes:
        raise SourceError(f"{host} says that it is {int(claimed):,} bytes long, and {max_bytes:,} are the limit")
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if packing not in ("identity", "gzip", "x-gzip"):
        raise SourceError(f"{host} packed it as {packing!r}, which was not asked for")
    pieces: list[bytes] = []
    size = 0
    for piece in response.iter_raw() if packing == "identity" else _unpacked(response, host, max_bytes):
        size += len(piece)
        if size > max_bytes:
            raise SourceError(f"{host} sends more than {max_bytes:,} bytes, which are the limit")
        pieces.append(piece)
    return b"".join(pieces)


def _unpacked(response: httpx.Response, host: str, max_bytes: int) -> Iterator[bytes]:
    """The pieces of a gzipped body, no piece longer than is needed to see that it is too long."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        for piece in response.iter_raw():
            yield unpacker.decompress(piece, max_bytes + 1)
            while unpacker.unused_data:  # another member (RFC 1952) goes on where the first ends
                rest = unpacker.unused_data
                unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                yield unpacker.decompress(rest, max_bytes + 1)
    except zlib.error as error:
        raise _AgainError(f"{host} sent a body that is not packed as it says: {error}") from error
    if not unpacker.eof:
        raise _AgainError(f"{host} sent a packed body that breaks off")


def _parsed(url: str | httpx.URL) -> httpx.URL:
    try:
        address = httpx.URL(url).copy_with(fragment=None)
        address.host.encode("idna")  # raises for a name that none can have
        return address
    except (httpx.InvalidURL, ValueError) as error:  # those of idna are ValueErrors too
        raise SourceError(f"{str(url)!r} is no address: {error}") from error


class _Body(httpx.SyncByteStream):
    """A reply's body, as it comes."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        yield from self._response.iter_stream()
