"""What the layers of the service tell of a request to whoever watches it, by name in its `scope["state"]`."""

from __future__ import annotations

from typing import Any

from starlette.types import Scope

from service.access.guard import Caller

PROBLEM = "loccit.problem"
"""The slug of the problem that it was answered with, if that has one."""


def state_of(scope: Scope) -> dict[str, Any]:
    """The request's state, to be read and written."""
    state: dict[str, Any] = scope.setdefault("state", {})
    return state


def key_name(scope: Scope) -> str:
    """The name of the access key that the request came with, never the key; empty for none."""
    caller = state_of(scope).get("caller")
    return caller.name if isinstance(caller, Caller) else ""
