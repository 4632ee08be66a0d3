"""Index and query fold alike."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.terms import terms, variants


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("NF-κB", "NF κB"),
        ("β-catenin", "beta-catenin"),
        ("TNF-α", "TNF alpha"),
        ("naïve", "naive"),
        ("ﬁbrosis", "fibrosis"),
        ("osteoclasts", "osteoclast"),
        ("Fractured", "fractures"),
        ("10⁻³ µM", "10-3 μM"),
        ("IL6", "IL-6"),
        ("AGEs", "AGE"),
        ("TNFSF11", "TNFSF-11"),
        ("sox2", "Sox-2"),
    ],
)
def test_same_terms(one: str, other: str) -> None:
    assert terms(one) == terms(other)
    assert terms(one)


def test_question_words_go_and_order_stays() -> None:
    assert terms("How do AGEs affect the bone's quality?") == ["^age", "affect", "bone", "qualiti"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("At what age did AGEs form?", ["age", "^age", "form"]),
        ("RANKL", ["^rankl"]),
        ("mRNA of NF-κB", ["^mrna", "^nf", "kappa", "b"]),
        ("H1N1 and COVID-19", ["^h1n1", "^covid", "19"]),
        ("Bones of DNA", ["bone", "^dna"]),
        ("RESULTS AND DISCUSSION", ["result", "discuss"]),  # shouted: words
        ("RESULTS\nAGEs", ["result", "^age"]),  # each line by itself
        ("A study of vitamin A and T cells, type I", ["studi", "vitamin", "^a", "^t", "cell", "type", "^i"]),
        ("IT is it", ["^it"]),
    ],
)
def test_acronyms_are_terms_of_their_own(text: str, expected: list[str]) -> None:
    assert terms(text) == expected


@pytest.mark.parametrize("term", ["age", "^age"])
def test_variants(term: str) -> None:
    assert variants(term) == ("age", "^age")


def test_nothing_but_stop_words() -> None:
    assert terms("what is it?") == []


@given(st.text())
def test_terms_hold_letters_and_digits_only(text: str) -> None:
    for term in terms(text):
        assert term
        assert term.removeprefix("^").isalnum()
        assert '"' not in term
