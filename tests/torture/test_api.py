"""The long form of tests/test_schemathesis.py: some tens of thousands of requests, for several minutes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from service.access.keys import Scope
from service.library import Library
from tests.test_schemathesis import SCOPES, guarded, hold, put_back, served

__all__ = ["put_back", "served"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis")

N_REQUESTS = int(os.environ.get("TORTURE_REQUESTS", "1000"))
"""Of each operation, that fit its schema, and as many that do not."""


@pytest.mark.parametrize("scope", SCOPES)
def test_every_reply_is_as_the_document_says(
    served: Library,
    tmp_path: Path,
    scope: Scope | None,
    put_back: Callable[[], object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = hold(*guarded(served, tmp_path / "keys", scope), put_back, n_requests=N_REQUESTS, n_walks=N_REQUESTS)
    with capsys.disabled():
        print(f"\n{scope or 'no'} key: {seen.total():,} requests: {dict(sorted(seen.items()))}")  # noqa: T201
