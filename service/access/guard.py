"""Lets requests in: by the host that they name, the key that they bring, and how often their sender asked."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from indexer.errors import AccessError, ConfigError, KeyNeededError, LoccitError, MisdirectedError, RateError
from service.access.hosts import is_answered
from service.access.keys import PREFIX
from service.access.policy import Policy, Refuse
from service.access.rates import WINDOW_S, Rates, Standing, address_of

COOKIE = "loccit_signin"
PROBES = frozenset({"/healthz", "/readyz"})
"""What balancers and supervisors ask: whoever they are, by whatever name, and however busy the service is."""
STATIC = "/static/"
_SIGNING_IN = ("/signin", "/signout")
_FOR_PROGRAMS = re.compile(r"/(?:v1|mcp|metrics|openapi\.json)(?:/|$)")
_TOKEN = re.compile(rf"(?:^|; ?){COOKIE}=([0-9a-f]{{64}})(?:;|$)")
"""As it was set. Python's own parser takes seconds for a cookie of quoted backslashes (CVE-2024-7592)."""
_BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)
_MAKE_ONE = "whoever runs the service makes one with `loccit keys add NAME"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str = ""
    """The key's; empty for those without."""
    scope: Literal["anonymous", "read", "admin"] = "anonymous"


def check_admin(request: Request) -> None:
    """Whether who asks may change the index. Raises AccessError, for those without a key KeyNeededError: whatever else
    is open to them, this is not."""
    caller = getattr(request.state, "caller", Caller())
    if caller.scope == "anonymous":
        raise KeyNeededError(f"this changes the index, and asks for a key that may: {_MAKE_ONE} --scope admin`")
    if caller.scope != "admin":
        raise AccessError(f"the key may read, and this changes the index: {_MAKE_ONE} --scope admin`")
    _log.info("%s %s with the key %s", request.method, request.url.path, caller.name)


class Guard:
    """Passes on the requests of those who may ask, and says in `scope["state"]["caller"]` who they are."""

    def __init__(self, app: ASGIApp, *, policy: Policy, refuse: Refuse) -> None:
        self._app = app
        self._policy = policy
        self._keys = policy.keys
        self._refuse = refuse
        self._rates = Rates(policy.rate_per_minute) if policy.rate_per_minute else None
        self._had_keys = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        told = send
        try:
            self._check_host(scope)
            caller, denied = self._identified(scope)
            if self._rates is not None and not scope["path"].startswith(STATIC):
                kind = "key" if caller.name else "address"
                standing = self._rates.take(f"{kind} {caller.name or _address(scope)}")
                told = _telling(kind, standing, send)
                if not standing.allowed:
                    raise RateError(
                        f"more than {standing.quota:,} requests a minute: wait {standing.retry_in_s} s",
                        standing.retry_in_s,
                    )
            if denied is not None:
                raise denied
        except LoccitError as error:
            await self._refuse(Request(scope), error)(scope, receive, told)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, told)

    def _check_host(self, scope: Scope) -> None:
        if not is_answered(Headers(scope=scope).get("host", ""), self._policy.hosts):
            raise MisdirectedError(
                "the request names a host that the service does not answer to: use another address of it, or set "
                "LOCCIT_PUBLIC_BASE_URL or LOCCIT_ALLOWED_HOSTS where it runs"
            )

    def _identified(self, scope: Scope) -> tuple[Caller, LoccitError | None]:
        """Who asks, and why they may not, if so."""
        headers, path = Headers(scope=scope), scope["path"]
        secret = _secret(headers)
        try:
            caller = self._with_key(secret) if secret else self._signed_in(scope, headers)
            lets_anyone = self._lets_anyone_read()
        except ConfigError as error:
            _log.error("%s", error)  # where the file is concerns no one who asks
            return Caller(), ConfigError("the keys of this service cannot be read: its log says why")
        if caller is not None:
            return caller, None
        if path.startswith(STATIC) or path in _SIGNING_IN:
            return Caller(), None
        if secret.startswith(PREFIX):
            return Caller(), KeyNeededError("this key is not known here, or not any more: ask for another one")
        if lets_anyone:
            return Caller(), None  # clients of OpenAI's protocol have to send some key, and send one of others
        what = "the key that was sent is none of this service's" if secret else "this service asks for a key"
        how = f"as `Authorization: Bearer {PREFIX}…` or `X-API-Key: {PREFIX}…`"
        return Caller(), KeyNeededError(f"{what}: send one {how}; {_MAKE_ONE}`")

    def _with_key(self, secret: str) -> Caller | None:
        key = self._keys.with_secret(secret) if self._keys else None
        return Caller(key.name, key.scope) if key else None

    def _signed_in(self, scope: Scope, headers: Headers) -> Caller | None:
        """Whose browser it is: that may read pages, whatever else its key may."""
        if self._keys is None or scope["method"] not in ("GET", "HEAD") or _FOR_PROGRAMS.match(scope["path"]):
            return None
        found = _TOKEN.search(headers.get("cookie", ""))
        key = self._keys.with_token(found[1]) if found else None
        return Caller(key.name, "read") if key else None

    def _lets_anyone_read(self) -> bool:
        if self._policy.anonymous != "until keys":
            return self._policy.anonymous == "always"
        # What has asked for keys once goes on to: a file that went away opens nothing.
        self._had_keys = self._had_keys or bool(self._keys and self._keys.all())
        return not self._had_keys


def _secret(headers: Headers) -> str:
    """What was sent for a key, one that looks like ours before any other; empty where nothing was."""
    bearer = _BEARER.fullmatch(headers.get("authorization", ""))
    sent = [bearer[1] if bearer else "", headers.get("x-api-key", "").strip()]
    return next((each for each in sent if each.startswith(PREFIX)), sent[0] or sent[1])


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return address_of(client[0]) if client else ""


def _telling(kind: str, standing: Standing, send: Send) -> Send:
    """Says in the reply where the client stands, as draft-ietf-httpapi-ratelimit-headers has it."""

    async def told(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["ratelimit-policy"] = f'"{kind}";q={standing.quota};w={WINDOW_S}'
            headers["ratelimit"] = f'"{kind}";r={standing.left};t={standing.full_in_s}'
        await send(message)

    return told
