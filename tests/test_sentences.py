"""Sentence spans are exact, and scientific prose does not break them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from indexer.sentences import split_sentences


def sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AGEs rise. Bone fails.", ["AGEs rise.", "Bone fails."]),
        ("Wild *E. coli* sp. were seen. None died.", ["Wild *E. coli* sp. were seen.", "None died."]),
        ("As Couderc et al. [47] showed it. See below.", ["As Couderc et al. [47] showed it.", "See below."]),
        ("Loss was high (**Fig. 5** and Fig. 6). It stayed.", ["Loss was high (**Fig. 5** and Fig. 6).", "It stayed."]),
        ("It inhibits heme iron.^30^ The rest stays.", ["It inhibits heme iron.^30^", "The rest stays."]),
        ("Cross-linking stiffens collagen. [3,4] It cracks.", ["Cross-linking stiffens collagen. [3,4]", "It cracks."]),
        ("Does β-catenin rise? 𝛼 does! (Yes.)", ["Does β-catenin rise?", "𝛼 does!", "(Yes.)"]),
        ("p was 0.05 vs. 0.01 for i.e. both. Then 10 mM.", ["p was 0.05 vs. 0.01 for i.e. both.", "Then 10 mM."]),
        ("See Supplementary Figs. 7b and c too. It rose.", ["See Supplementary Figs. 7b and c too.", "It rose."]),
        ("8) (n = 23) Gene names", ["8) (n = 23) Gene names"]),
        (
            "(A) TNF rose (Kim et al., 2006). Through it, IL-8 did. (B) None.",
            ["(A) TNF rose (Kim et al., 2006).", "Through it, IL-8 did.", "(B) None."],
        ),
        (
            "(C) AUROCC of 10 genes. (D). Random Forest model of them. The 12 genes.",
            ["(C) AUROCC of 10 genes.", "(D). Random Forest model of them.", "The 12 genes."],
        ),
        ("no stop at all", ["no stop at all"]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_boundaries(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_offsets_are_of_the_whole_text() -> None:
    text = "αβγ. Left out. One here. Two here. Left out."
    spans = split_sentences(text, 15, 34)
    assert [text[span.start : span.end] for span in spans] == ["One here.", "Two here."]


@example("(A) (B). (C) x. (D). ", 0)
@example(".B\x85.", 0)
@example("vitamin B\xa0\u2009\x85. Next", 0)
@given(
    st.text(alphabet=st.sampled_from(list("aB1 .!?()[]^*\n\r\t\u2028\x85κ𝛼\xa0,;\"'”")), max_size=80),
    st.integers(0, 10),
)
def test_every_character_is_in_one_sentence(text: str, start: int) -> None:
    start = min(start, len(text))
    covered = [0] * len(text)
    last = start
    for span in split_sentences(text, start):
        assert last <= span.start < span.end <= len(text)
        assert text[span.start : span.end].strip() == text[span.start : span.end]
        last = span.end
        for at in range(span.start, span.end):
            covered[at] += 1
    for at in range(start, len(text)):
        assert covered[at] == 1 or text[at].isspace()
