"""The long forms of tests/test_overload.py: 200 clients at three times the capacity for two minutes, and every way to
stop with requests in flight."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.overload import check, overload
from tests.test_overload import stop_in_flight

SECONDS = float(os.environ.get("TORTURE_LOAD_SECONDS", "120"))
CLIENTS = int(os.environ.get("TORTURE_LOAD_CLIENTS", "200"))


def test_three_times_the_capacity(built: Path, workdir: Path) -> None:
    figures = overload(built, workdir, clients=CLIENTS, seconds=SECONDS)
    print(json.dumps(figures, indent=1))  # noqa: T201
    check(figures)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_what_is_in_flight_is_answered_before_it_stops(
    built: Path, workdir: Path, workers: int, told: signal.Signals
) -> None:
    stop_in_flight(built, workdir, workers, told)
