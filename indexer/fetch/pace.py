"""When a host may be asked again: so many seconds after the last time, and when it says so itself."""

from __future__ import annotations

import math
import random
import time
from collections import defaultdict
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from indexer.errors import SourceError


def retry_after(value: str, now: datetime) -> float | None:
    """The seconds that a `Retry-After` header asks for, a number or a date; None where it says nothing (RFC 9110)."""
    value = value.strip()
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def back_off(attempt: int, first_s: float) -> float:
    """Seconds to wait after the attempt (from 0): doubled each time, and up to half of it more, so that clients that
    failed together do not come back together.
    """
    return first_s * 2.0**attempt * (1 + random.random() / 2)


class Pace:
    """Waits before each request, host by host."""

    def __init__(self, interval_s: float, max_wait_s: float) -> None:
        self._interval_s = interval_s
        self._max_wait_s = max_wait_s
        self._next: defaultdict[str, float] = defaultdict(float)

    def wait(self, host: str) -> None:
        """Sleep until the host may be asked. Raises SourceError when that is too long from now."""
        left = self._next[host] - time.monotonic()
        if left > self._max_wait_s:
            raise SourceError(f"{host} asks to wait for {math.ceil(left)} s: run the same again after that")
        if left > 0:
            time.sleep(left)
        self._next[host] = time.monotonic() + self._interval_s

    def hold(self, host: str, seconds: float) -> None:
        """The host is not to be asked for so long."""
        self._next[host] = max(self._next[host], time.monotonic() + seconds)


def now_utc() -> datetime:
    """Now, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
