"""The long form of tests/test_schemathesis.py: some tens of thousands of requests, for several minutes."""

from __future__ import annotations

import os

import pytest

from service.api import create_app
from service.library import Library
from tests.test_schemathesis import hold, served

__all__ = ["served"]

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:schemathesis")

N_REQUESTS = int(os.environ.get("TORTURE_REQUESTS", "1000"))
"""Of each operation, that fit its schema, and as many that do not."""


def test_every_reply_is_as_the_document_says(served: Library) -> None:
    seen = hold(create_app(served), {}, n_requests=N_REQUESTS, n_walks=N_REQUESTS)
    print(f"{seen.total():,} requests: {dict(sorted(seen.items()))}")  # noqa: T201
