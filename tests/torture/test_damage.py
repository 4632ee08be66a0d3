"""Every file of an index, cut at 20 places and with 200 bits turned: the right answer, or an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.damage import answers, harms, outcome_of
from tests.test_upkeep import indexes


@pytest.mark.parametrize("kind", ["closed", "in use"])
def test_a_spoilt_index_answers_rightly_or_says_so(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    index, rights = indexes(tmp_path)[kind]
    outcome = outcome_of(index, tmp_path, harms(index), rights, tmp_path / "papers")
    with capsys.disabled():
        print("", *outcome.lines(), sep="\n")  # noqa: T201
    assert not outcome.wrong
    assert answers(index) in rights
