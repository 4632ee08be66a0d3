"""The HTTP service as schemathesis explores it: from its OpenAPI document, request by request and link by link."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from starlette.types import ASGIApp

Seen = Counter[tuple[str, int]]
"""How often each operation gave each status."""

_NOT_CHECKED = ["positive_data_acceptance", "ignored_auth"]
"""A schema cannot say which cursor is one, or which words are a question: others get a 422, as told. And the check
of keys sends wrong ones beside the right one that is on every request: tests/test_access.py has a table of all."""


def explore(
    app: ASGIApp, headers: Mapping[str, str], put_back: Callable[[], object], *, n_requests: int, n_walks: int
) -> Seen:
    """Send each operation so many requests that fit its schema and as many that do not, then walk the links.

    Whatever comes back is checked against the document: no server error, no status, media type, header or body that it
    does not name, and nothing accepted that it forbids. Raises what does not hold. `put_back` follows each paper
    that is taken out: without papers there is nothing to answer, and that is a server's error.
    """
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, headers=dict(headers))
    schema.config.checks.update(excluded_check_names=_NOT_CHECKED)
    chosen = settings(
        max_examples=n_requests,
        deadline=None,
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    seen: Seen = Counter()

    def note(case: Case, status: int) -> None:
        seen[case.operation.label, status] += 1
        if case.method == "DELETE" and status == HTTPStatus.OK:
            put_back()

    for found in schema.get_all_operations():
        for mode in GenerationMode:
            with suppress(Unsatisfiable):  # nothing of it could be wrong
                _send(found.ok().as_strategy(generation_mode=mode), headers, chosen, note)

    class Walk(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, case: Case) -> dict[str, Any]:
            return {"headers": dict(headers)}

        def after_call(self, response: schemathesis.Response, case: Case) -> None:
            note(case, int(response.status_code))

    Walk.run(settings=settings(chosen, max_examples=n_walks, stateful_step_count=8))
    return seen


def _send(cases: Any, headers: Mapping[str, str], chosen: settings, note: Callable[[Case, int], None]) -> None:
    @chosen
    @given(cases)
    def send(case: Case) -> None:
        response = case.call_and_validate(headers=dict(headers))
        note(case, int(response.status_code))

    send()
