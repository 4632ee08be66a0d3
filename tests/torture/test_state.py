"""The long form of tests/test_state.py: hundreds of lives, half an hour."""

from __future__ import annotations

import os

import pytest

from tests.test_state import live, small_batches

__all__ = ["small_batches"]

N_LIVES = int(os.environ.get("TORTURE_LIVES", "300"))


@pytest.mark.usefixtures("small_batches")
def test_lives_of_changes_crashes_and_readers() -> None:
    live(N_LIVES, 50)


def test_lives_of_papers_that_are_committed_together() -> None:
    live(N_LIVES // 3, 50)
