"""Where an index may be: in a folder, or on a PostgreSQL server, by its URL. Knows nothing of what is there.

Nothing here repeats a URL that it cannot read: there may be a password in it.
"""

from __future__ import annotations

import re
from pathlib import Path

from indexer.errors import UsageError

SCHEMES = ("postgresql://", "postgres://")
FORM = "postgresql://USER@HOST:PORT/DATABASE"
MAX_PORT = 65535

IndexPlace = Path | str
"""A folder, or a URL that begins with one of `SCHEMES`."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_MEANT = re.compile(r"postgres(?:ql)?:", re.IGNORECASE)


def _without(ends: str) -> str:
    """A pattern for a part of a URL, which these characters end."""
    return rf"(?:[^\x00-\x20\x7f-\U0010ffff%{ends}]|%(?!00)[0-9A-Fa-f]{{2}})*"


_NAMED_HOST = _without(r":,@/?\[\]")
_HOST = rf"(?:\[[0-9A-Fa-f:.]+\]|{_NAMED_HOST})(?::\d*)?"
_PARAMETER = rf"\w+={_without('=&')}"
_URL = re.compile(
    rf"postgres(?:ql)?://(?:{_without(':@/')}(?P<secret>:{_without('@/')})?@)?(?P<hosts>{_HOST}(?:,{_HOST})*)"
    rf"(?:/{_without('/?')})?(?:\?(?:{_PARAMETER}(?:&{_PARAMETER})*)?)?",
    re.ASCII,
)
"""As libpq reads it (PostgreSQL's manual, "Connection URIs"), but for a bare `/` in a database's name."""
_SECRET_SETTING = re.compile(r"(?<=[?&])(?:password|sslpassword|oauth_client_secret)=[^&]*&?")


def place_of(given: IndexPlace) -> IndexPlace:
    """The place that is meant: what is no URL is a folder. Raises UsageError for a URL of another kind, or that cannot
    be read."""
    if isinstance(given, Path):
        return given
    found = _SCHEME.match(given)
    if found is None and not _MEANT.match(given):
        return Path(given)
    if found is not None and found[0] not in SCHEMES:
        raise UsageError(f"a {found[0]} URL names no index: give a folder, or {FORM}")
    parts = _URL.fullmatch(given)
    ports = re.findall(r":(\d+)(?=,|$)", parts["hosts"]) if parts else []
    if parts is None or any(not 0 < int(port) <= MAX_PORT for port in ports):
        raise UsageError(
            f"the index's URL cannot be read: give {FORM}, and what is special in a name or password as %XX, such as "
            "%40 for @"
        )
    return given


def has_password(url: str) -> bool:
    """Whether a URL that `place_of` gave holds a password, or another secret."""
    return without_password(url) != url


def without_password(url: str) -> str:
    """The same URL without its secrets: whoever connects by it has them from PGPASSWORD or ~/.pgpass."""
    parts = _URL.fullmatch(url)
    if parts is None:
        raise UsageError(f"the index's URL cannot be read: give {FORM}")
    if parts["secret"]:
        url = url[: parts.start("secret")] + url[parts.end("secret") :]
    return _SECRET_SETTING.sub("", url).rstrip("?&")
