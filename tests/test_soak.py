"""The short form of tests/torture/test_soak.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.torture.soak import soak


@pytest.mark.model
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")  # noqa: PTH112
def test_searches_go_on_while_the_index_changes(tmp_path: Path) -> None:
    found = soak(tmp_path, seconds=10, every_s=1, reading_s=2, n_updates=3)
    assert not found.errors
    assert len(found.generations) >= 3
    assert found.readings[-1].n_files <= found.readings[0].n_files + 8
