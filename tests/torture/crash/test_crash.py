"""The long forms: a fault at every call that changes a file, and some hundreds of kills. Their figures are printed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.torture.crash.operations import OPERATIONS
from tests.torture.crash.running import killed, swept

N_KILLS = int(os.environ.get("TORTURE_KILLS", "300"))
SEEDS = os.environ.get("TORTURE_SEEDS", "2")
"""Power cuts with a part lost, at each call."""


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_fault_at_every_call(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sweep,) = swept(tmp_path, name, "--seeds", SEEDS)
    failures = sweep.pop("failures")
    with capsys.disabled():
        print(f"\n{json.dumps(sweep)}")  # noqa: T201
    assert failures == []
    assert sum(sweep["points"].values()) > 5


def test_kills_at_random_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = killed(tmp_path, "--kills", str(N_KILLS))
    with capsys.disabled():
        print(f"\n{json.dumps(done)}")  # noqa: T201
    assert (done["unreadable"], done["lost"], done["wrong"], done["reader_errors"]) == ([], [], [], [])
    assert done["kills"] == N_KILLS
    assert done["citations"] > 10 * N_KILLS
