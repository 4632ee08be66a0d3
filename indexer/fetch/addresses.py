"""Which hosts, and which network addresses, may be reached. Knows nothing of requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from indexer.errors import SourceError, UsageError

HTTPS_PORT = 443
_HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.IGNORECASE | re.ASCII)
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052: the last 32 bits are the IPv4 address that is reached through it."""


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts that may be asked, by name and port; and whether their address may be a private one."""

    known: Mapping[tuple[str, int], bool]

    @classmethod
    def of(cls, public_urls: Iterable[str], own_urls: Iterable[str] = (), own_hosts: Iterable[str] = ()) -> Hosts:
        """The hosts of these addresses. `own_urls` and `own_hosts` (`HOST` or `HOST:PORT`) are those that the user
        named: only they may have private addresses.

        Raises UsageError for what names no host.
        """
        known = {_place(url): False for url in public_urls}
        known.update({_place(url): True for url in own_urls})
        known.update({_place(f"https://{host}"): True for host in own_hosts})
        return cls(known)

    def check(self, scheme: str, host: str, port: int | None) -> None:
        """Raise SourceError unless that may be asked."""
        if scheme != "https":
            raise SourceError(f"{scheme}://{host} is not asked: only https addresses are fetched")
        if (host.lower(), port or HTTPS_PORT) not in self.known:
            if _is_address(host) and (why := why_not(ip_address(host), private_ok=True)):
                raise SourceError(f"{host} is {why}: it is not asked")
            named = host if port in (None, HTTPS_PORT) else f"{host}:{port}"
            raise SourceError(
                f"{named} is no host that loccit knows: if you trust it, name it with --allow-host {named}"
            )

    def check_address(self, host: str, port: int, address: str) -> None:
        """Raise SourceError unless a connection may go to `address`, which is what the host's name stands for."""
        found = ip_address(address)
        why = why_not(found, private_ok=self.known.get((host.lower(), port), False))
        if why:
            raise SourceError(f"{host} stands for {found}, {why}: it is not asked")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def why_not(address: IPv4Address | IPv6Address, *, private_ok: bool) -> str:
    """What is wrong with an address, in words; empty where nothing is."""
    address = _reached(address)
    if address.is_link_local:
        return "a link-local address, where machines keep their credentials"
    if address.is_multicast or address.is_unspecified:
        return "which is no machine's address"
    if address.is_loopback or not address.is_global:
        return "" if private_ok and (address.is_loopback or not address.is_reserved) else "a private address"
    return ""


def _reached(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that is reached through an IPv6 one that stands for it."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)


def _place(url: str) -> tuple[str, int]:
    """The host of an address, and its port. Raises UsageError where there is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or HTTPS_PORT
    except ValueError:
        host, port = "", 0
    if not host or not _HOST.fullmatch(url.removeprefix("https://").partition("/")[0]):
        raise UsageError(f"{url.removeprefix('https://')!r} names no host: give one such as papers.example.org")
    return host, port
