"""Half an hour of searches from 8 clients, the index changed every 10 seconds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.torture.soak import soak

SECONDS = float(os.environ.get("TORTURE_SOAK_SECONDS", "1800"))


def test_it_stays_as_it_began(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = soak(tmp_path, seconds=SECONDS, every_s=10, reading_s=min(60, SECONDS / 10))
    with capsys.disabled():
        print("", *found.lines(), sep="\n")  # noqa: T201
    warm, last = found.readings[len(found.readings) // 10 + 1], found.readings[-1]
    assert not found.errors
    assert last.rss_mb < warm.rss_mb * 1.1
    assert last.n_files <= warm.n_files + 5
    assert last.p50_ms < warm.p50_ms * 2
    assert len(found.generations) > SECONDS / 30
