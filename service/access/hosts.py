"""Which names the service answers to. A page of another site may be told by its name server that this machine is that
site (DNS rebinding), and would then read what it likes: its requests still name the site that they were meant for.

An address in figures is always answered to: no name server has a say in it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address

LOOPBACK_NAMES = ("localhost",)
ANY = "*"
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/?#@\[\]]+)(?::\d{0,5})?")


def is_answered(header: str, names: Collection[str]) -> bool:
    """Whether a `Host` is one of `names`, which are in small letters, or an address. `*` among them is any."""
    if ANY in names:
        return True
    found = _HOST.fullmatch(header)
    if found is None:
        return False
    host = found["host"].lower().rstrip(".")
    return host in names or is_address(host.strip("[]"))


def is_address(host: str) -> bool:
    """Whether that is an address rather than a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there. A name counts as others' unless it is `localhost`."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
