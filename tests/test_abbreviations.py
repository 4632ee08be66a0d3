"""Short forms and their long forms: as papers write them, what is refused, and what holds for any text."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.abbreviations import find_abbreviations
from indexer.markdown import parse_markdown
from indexer.papers import Abbreviation, Paper
from indexer.shortforms import is_long_form, is_short_form, singular


def parse(text: str) -> Paper:
    return parse_markdown(text, source="paper.md", sha256="")


def pairs(text: str) -> list[tuple[str, str]]:
    return [(each.short, each.long) for each in find_abbreviations(parse(f"# A title\n\n## 1. Methods\n\n{text}\n"))]


@pytest.mark.parametrize(
    ("text", "short", "long"),
    [
        ("of advanced glycation end products (AGEs) in bone", "AGE", "advanced glycation end products"),
        ("inhibitors of DPP-4 (dipeptidyl peptidase-4) are", "DPP-4", "dipeptidyl peptidase-4"),
        ("and tumor necrosis factor alpha (TNF-α) rose", "TNF-α", "tumor necrosis factor alpha"),
        ("and tumor necrosis factor-α (TNF-α) rose", "TNF-α", "tumor necrosis factor-α"),
        ("the α-smooth muscle actin (α-SMA) stain", "α-SMA", "α-smooth muscle actin"),
        ("severe acute respiratory syndrome (SARS) spread", "SARS", "severe acute respiratory syndrome"),
        ("in receptors [estrogen receptor alpha [ERα]] of", "ERα", "estrogen receptor alpha"),
        ("bone mineral density [BMD] fell", "BMD", "bone mineral density"),
        ("*bone mineral density* (**BMD**) fell", "BMD", "bone mineral density"),
        ("type 2 diabetes (T~2~D) is", "T2D", "type 2 diabetes"),
        ("type 2 diabetes (T<sub>2</sub>D) is", "T2D", "type 2 diabetes"),
        ("trabecular bone score (hereafter TBS) is", "TBS", "trabecular bone score"),
        ("trabecular bone score (abbreviated as “TBS”) is", "TBS", "trabecular bone score"),
        ("bone mineral density (BMD; g/cm2) fell", "BMD", "bone mineral density"),
        ("a line named DRIL (for Disease Resistance Inbred Line) was", "DRIL", "Disease Resistance Inbred Line"),
        ("with GLP 1 (glucagon-like peptide 1) receptors", "GLP 1", "glucagon-like peptide 1"),
        ("patients with multiple myeloma (MM) were", "MM", "multiple myeloma"),
        ("the release of nitric oxide (NO) is", "NO", "nitric oxide"),
        ("tetralogy of Fallot (TOF) was", "TOF", "tetralogy of Fallot"),
        ("after in vitro fertilization (IVF) the", "IVF", "in vitro fertilization"),
        ("data of The Cancer Genome Atlas (TCGA) show", "TCGA", "The Cancer Genome Atlas"),
        ("the buprenorphine (BUP) dose", "BUP", "buprenorphine"),
        ("countries of Western Europe (WE) and", "WE", "Western Europe"),
        ("a methicillin-sensitive S. aureus (MSSA) strain", "MSSA", "methicillin-sensitive S. aureus"),
        ("fermentable oligo-, di-, and mono-saccharides and polyols (FODMAP)", "FODMAP",
         "fermentable oligo-, di-, and mono-saccharides and polyols"),
    ],
)  # fmt: skip
def test_defined_at_a_parenthesis(text: str, short: str, long: str) -> None:
    assert pairs(f"We speak {text} here.") == [(short, long)]


@pytest.mark.parametrize(
    "text",
    [
        "and the study of growth (XYZ) was",  # nothing spells it
        "of lipids and proteins (AP) was",  # begins with a conjunction
        "all of the lipids (TL) were",  # with an article
        "the age (AGE) of",  # a word of the long form
        "changes in BMD of the hip (BMD) were",
        "the STAT2 pathway of P-STAT2 (STAT2) is",
        "matrix metallopeptidase (Mmp-) is",  # ends in a sign
        "the sodium channel (S+) and",
        "in three isoform inhibitors (III) of",  # a roman numeral
        "a fragment of the ingot (Fig) was",  # a label
        "the total abundance by length (Table 1) was",
        "a mass of kilodaltons (kDa) was",  # a unit
        "the number in the group (n = 12) was",  # statistics
        "a probability (p) of",
        "a probability (P) of",  # one letter
        "as in the work (Wu, 2003) of",  # a citation
        "drugs (Smith and Jones 2003; SJ) were",
        "for serum [12] and",  # a marker
        "in Cambodia, Laos, Myanmar, Thailand and Vietnam (China) was",  # an enumeration
        "it was seen that the growth is hindered (WSG) in",  # a clause
        "it was fixed overnight and stained with carmine alum (Sigma) and",  # a company
        "mTOR (1 of 3) was",
    ],
)
def test_refused(text: str) -> None:
    assert pairs(f"We speak of {text} here.\n\n## References\n\n12. Smith J. A title. 2003.") == []


@pytest.mark.parametrize(
    "text",
    [
        "## Abbreviations\n\nAGE = advanced glycation end product; BMD = bone mineral density.",
        "## Abbreviations\n\nAGE: advanced glycation end product\n\nBMD: bone mineral density",
        "## List of abbreviations\n\n- AGE – advanced glycation end product\n- BMD – bone mineral density",
        "## Abbreviations\n\nadvanced glycation end product (AGE), bone mineral density (BMD)",
        "## Abbreviations\n\n| AGE | Advanced glycation end product |\n|---|---|\n| BMD | Bone mineral density |",
        "## Abbreviations\n\n| AGE | Advanced glycation end product | BMD | Bone mineral density |\n|---|---|---|---|",
        "| Abbreviation | Meaning |\n|---|---|\n| AGE | Advanced glycation end product |\n"
        "| BMD | Bone mineral density |",
        "**Abbreviations:** AGE, advanced glycation end product; BMD, bone mineral density.",
        "Abbreviations used: AGE, advanced glycation end product, BMD, bone mineral density",
        "**Figure 1.** Bones. *Abbreviations: AGE* advanced glycation end product, *BMD* bone mineral density",
        "AGE, advanced glycation end product; BMD, bone mineral density.",
        "Values are means. AGE, advanced glycation end product; BMD, bone mineral density.",
    ],
)
def test_listed(text: str) -> None:
    found = [(short, long.lower()) for short, long in pairs(text)]
    assert found == [("AGE", "advanced glycation end product"), ("BMD", "bone mineral density")]


def test_a_list_is_believed_where_letters_do_not_tell() -> None:
    table = "| {} | |\n|---|---|\n| Atm | ataxia telangiectasia |\n| WC | wide |"
    assert pairs(table.format("Abbreviation")) == [("Atm", "ataxia telangiectasia"), ("WC", "wide")]
    assert pairs(table.format("Gene")) == []


def test_a_list_of_references_defines_nothing() -> None:
    text = "We cite [1].\n\n## References\n\n1. Smith J. Advanced glycation end products (AGEs) in bone. 2003."
    assert pairs(text) == []


def test_a_citation_marker_is_no_part() -> None:
    text = "# T\n\n## A\n\nThe bone mineral [1] density [1] (BMD) fell.\n\n## References\n\n1. Smith J. Bone. 2003.\n"
    assert [each.long for each in find_abbreviations(parse(text))] == ["bone mineral density"]


def test_two_meanings_stay_in_reading_order() -> None:
    text = (
        "The magnetic resonance (MR) of mitral regurgitation (MR) and again magnetic resonance (MR).\n\n"
        "The Magnetic Resonances (MRs)."
    )
    assert pairs(text) == [("MR", "magnetic resonance"), ("MR", "mitral regurgitation")]


def test_offsets() -> None:
    text = "# T\n\n## A\n\nOf *advanced\nglycation* end products (**AGEs**) in bone.\n"
    (found,) = find_abbreviations(parse(text))
    assert (found.short, found.long) == ("AGE", "advanced glycation end products")
    assert text[found.short_start : found.short_end] == "AGEs"
    assert text[found.long_start : found.long_end] == "advanced\nglycation* end products"


@pytest.mark.parametrize(
    ("short", "expected"),
    [("AGEs", "AGE"), ("SARS", "SARS"), ("As", "As"), ("miRNAs", "miRNA"), ("IL-6s", "IL-6"), ("Cs", "Cs")],
)
def test_singular(short: str, expected: str) -> None:
    assert singular(short) == expected


@pytest.mark.parametrize("text", ["AGE", "5-HT", "TNF-α", "mTOR", "GLP 1", "H&E", "IL-1β", "CD4", "IV", "APACHE II"])
def test_short_forms(text: str) -> None:
    assert is_short_form(text)


@pytest.mark.parametrize(
    "text",
    ["", "A", "bone", "12", "1.5", "n = 12", "IL-", "CD4+", "p.", "In mice", "Palo Alto", "E. coli", "Institute",
     "A B C", "ABCDEFGHIJK"],
)  # fmt: skip
def test_no_short_forms(text: str) -> None:
    assert not is_short_form(text)


@pytest.mark.parametrize(
    ("short", "long", "expected"),
    [
        ("MMP", "matrix metalloproteinase", True),
        ("IIS", "insulin/insulin-like growth factor-1 signaling", True),
        ("AGE", "advanced glycation end products of", False),
        ("AGE", "the advanced glycation end products", False),
        ("AGE", "of aged", False),
        ("RNA-seq", "RNA sequencing", True),
        ("CoV", "SL-CoV ZXC21", False),
        ("ES", "elevated plasma levels of many biomarkers", False),
    ],
)
def test_long_forms(short: str, long: str, expected: bool) -> None:
    assert is_long_form(short, long) is expected


def bare(text: str) -> str:
    """What is left of a source text when its mark-up and citation markers go: its letters and digits."""
    return "".join(filter(str.isalnum, re.sub(r"\[\d\]|<[^<>]*>", "", text)))


def check(paper: Paper, found: Abbreviation) -> None:
    short = bare(paper.text[found.short_start : found.short_end])
    assert short in (bare(found.short), bare(found.short) + "s")
    assert bare(paper.text[found.long_start : found.long_end]) == bare(found.long)
    for start, end in ((found.short_start, found.short_end), (found.long_start, found.long_end)):
        assert 0 <= start < end <= len(paper.text)
        assert not paper.text[start].isspace()
        assert not paper.text[end - 1].isspace()
    assert found.long == " ".join(found.long.split())
    assert found.short == singular(found.short)


_PIECES = st.sampled_from(
    [
        "advanced glycation end products", "bone *mineral* density", "(AGEs)", "[BMD]", "(BMD", ")", "(", "[", "[1]",
        "AGE", "AGE,", "BMD =", "tumor necrosis factor", "(**TNF-α**)", "TNF~α~ (tumor necrosis factor α)", "; ", ". ",
        ", ", "|", "\n", "\n\n", "## Abbreviations\n\n", "Abbreviations: ", "<sub>", "</sub>", "<td>", "*", "_", "`",
        "^", "“", "𝛼", "ﬁ", "\u2028", "\x85", "\u200b", "the", "of", "and", "AB a b", "(a b)",
        "| AGE | a g e |\n|---|---|",
        "\n\n## References\n\n1. Smith J. 2001\n\n",
    ]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECES, max_size=30), st.sampled_from([" ", "", "\n"]))
def test_offsets_hold_for_any_text(pieces: list[str], joint: str) -> None:
    paper = parse("# T\n\n## A\n\n" + joint.join(pieces) + "\n\n## References\n\n1. Smith J. Bone. 2003.\n")
    found = find_abbreviations(paper)
    for each in found:
        check(paper, each)
    assert len({(each.short, each.long) for each in found}) == len(found)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    paper = parse(text)
    for each in find_abbreviations(paper):
        check(paper, each)


@pytest.mark.parametrize(
    "piece",
    [
        "(", "[", "a (", "(AB) ", "alpha beta (AB) ", "AB, ", "AB; ", "Abbreviations: AB, c ", "AB alpha beta, ", "A. ",
        "A1 = ", "_ ", '"', "<b ", "α (β) ", "a", "(or the as to by ", "| ABC ", "a-",
    ],
)  # fmt: skip
def test_time_grows_with_length_alone(piece: str) -> None:
    def seconds(length: int) -> float:
        paper = parse("# T\n\nAbbreviations: " + piece * (length // len(piece)))
        times = []
        for _ in range(2):
            started = time.process_time()
            find_abbreviations(paper)
            times.append(time.process_time() - started)
        return min(times)

    assert seconds(100_000) < 25 * max(seconds(10_000), 0.01)


def test_a_paragraph_of_200_000_characters() -> None:
    prose = (
        "In bone the advanced glycation end products (AGEs) bind their receptor (RAGE), and (as was said) fibres age. "
    )
    paper = parse("# T\n\n" + prose * (200_000 // len(prose)))
    started = time.process_time()
    assert [each.short for each in find_abbreviations(paper)] == ["AGE"]
    assert time.process_time() - started < 2


@pytest.mark.shared
def test_real_papers(shared: Path) -> None:
    """Offsets hold, and a paper defines what its readers find in it."""
    papers = {path.stem: parse(path.read_text("utf-8")) for path in sorted((shared / "papers/markdown").glob("*.md"))}
    found = {name: find_abbreviations(paper) for name, paper in papers.items()}
    for name, abbreviations in found.items():
        for each in abbreviations:
            check(papers[name], each)
    assert 3300 <= sum(map(len, found.values())) <= 3900  # 3,586 when 200 of them were read, 2 of them wrong
    guideline = {(each.short, each.long) for each in found["PMC5838201"]}
    assert guideline >= {("SMBG", "Self-monitoring of blood glucose"), ("AGI", "Alpha-glucosidase inhibitors")}
    arthritis = {(each.short, each.long) for each in found["10.1186_ar1901"]}
    assert arthritis >= {("RA", "rheumatoid arthritis"), ("QTL", "quantitative trait locus")}
