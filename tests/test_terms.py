"""Index and query fold alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.terms import terms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NF-κB", "NF κB"),
        ("β-catenin", "beta-catenin"),
        ("TNF-α", "tnf alpha"),
        ("naïve", "naive"),
        ("ﬁbrosis", "fibrosis"),
        ("osteoclasts", "osteoclast"),
        ("Fractured", "fractures"),
        ("10⁻³ µM", "10-3 μM"),
    ],
)
def test_same_terms(one: str, other: str) -> None:
    assert terms(one) == terms(other)
    assert terms(one)


def test_question_words_go_and_order_stays() -> None:
    assert terms("How do AGEs affect the bone's quality?") == ["age", "affect", "bone", "qualiti"]


def test_nothing_but_stop_words() -> None:
    assert terms("what is it?") == []


@given(st.text())
def test_terms_hold_letters_and_digits_only(text: str) -> None:
    for term in terms(text):
        assert term
        assert term.isalnum()
        assert '"' not in term
