"""What the settings say of who may ask, in the form that the middleware takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from indexer.errors import ConfigError, LoccitError
from service.access.hosts import ANY, LOOPBACK_NAMES, is_loopback
from service.access.keys import KeyFile
from service.config import DEFAULT_REQUEST_S, DEFAULT_WAITING, Settings

Refuse: TypeAlias = Callable[[Request, LoccitError | HTTPException], Response]
"""Makes a reply of an error, in the form that the client reads."""

Anonymous = Literal["always", "until keys", "never"]

DEFAULT_RATE = 600
"""Requests a minute beyond loopback: ten a second are more than one reader or assistant asks for."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may ask. As it stands no one is asked who they are: what is meant for a library in the same process."""

    keys: KeyFile | None = None
    anonymous: Anonymous = "always"
    """Whether those without a key may read: always, while there is no key at all, or never. None may ever change
    anything."""
    hosts: frozenset[str] = frozenset({ANY})
    """Names that the service answers to, in small letters."""
    origins: tuple[str, ...] = ()
    """Sites whose pages may read replies (CORS)."""
    rate_per_minute: int = 0
    """Requests of one key, or of one address without; 0 for any number."""
    max_waiting: int = DEFAULT_WAITING
    """Requests that wait for a turn; what comes beyond is refused."""
    request_timeout_s: float = DEFAULT_REQUEST_S
    """How long a client waits for a reply to begin, models' writing aside."""

    def asks_no_one(self) -> bool:
        """Whether those without a key may read, as things stand. Raises ConfigError."""
        return self.anonymous == "always" or (self.anonymous == "until keys" and not (self.keys and self.keys.all()))


def policy_of(settings: Settings) -> Policy:
    """The policy of these settings. Raises ConfigError where others would be let in and not asked who they are."""
    local = is_loopback(settings.host)
    keys = KeyFile(settings.keys_file)
    has_keys = bool(keys.all())
    if not (local or has_keys or settings.allow_anonymous):
        raise ConfigError(
            f"{settings.host} is reached from other machines, and there is no key in {keys.path}: make one with "
            "`loccit keys add NAME`, listen on 127.0.0.1, or let everyone read with --allow-anonymous"
        )
    named = urlsplit(settings.base_url).hostname or ""
    rate = settings.rate_per_minute
    return Policy(
        keys=keys,
        anonymous="always" if settings.allow_anonymous else "until keys" if local else "never",
        hosts=frozenset({*LOOPBACK_NAMES, named.lower(), *(each.lower() for each in settings.allowed_hosts)}),
        origins=settings.cors_origins,
        rate_per_minute=(0 if local else DEFAULT_RATE) if rate is None else rate,
        max_waiting=settings.max_waiting,
        request_timeout_s=settings.request_timeout_s,
    )
