"""How often one client may ask: token buckets in memory. Each process counts for itself. Knows nothing of HTTP."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

WINDOW_S = 60
MAX_CLIENTS = 10_000
"""Of whom it is known how often they asked: some 2 MB. The one who asked longest ago is forgotten for a new one."""
_SHARED_BITS = 64
"""One client of IPv6 has a network of 2^64 addresses to itself."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a client stands after a request."""

    allowed: bool
    quota: int
    """Requests that a full bucket has."""
    left: int
    full_in_s: int
    """Until it is full again, if the client asks for nothing."""
    retry_in_s: int
    """Until there is one more; 0 where there is."""


class Rates:
    """Buckets of `per_minute` requests each, filled evenly."""

    def __init__(
        self, per_minute: int, *, max_clients: int = MAX_CLIENTS, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._quota = per_minute
        self._per_s = per_minute / WINDOW_S
        self._max_clients = max_clients
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Requests left, and when that was."""

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: str) -> Standing:
        """Take one request of the client's, if there is one."""
        now = self._now()
        left, since = self._buckets.pop(client, (float(self._quota), now))
        left = min(left + (now - since) * self._per_s, float(self._quota))
        allowed = left >= 1
        if allowed:
            left -= 1
        self._buckets[client] = left, now
        if len(self._buckets) > self._max_clients:
            self._buckets.popitem(last=False)
        return Standing(
            allowed=allowed,
            quota=self._quota,
            left=int(left),
            full_in_s=math.ceil((self._quota - left) / self._per_s),
            retry_in_s=0 if left >= 1 else max(math.ceil((1 - left) / self._per_s), 1),
        )


def address_of(host: str) -> str:
    """The client that an address stands for."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return f"{IPv6Address(int(address) >> _SHARED_BITS << _SHARED_BITS)}/{_SHARED_BITS}"
    return str(address)
