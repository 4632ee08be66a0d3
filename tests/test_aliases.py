"""Aliases from a record's entity lists: what the seed gives, and why the rest is left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.aliases import REJECTED, find_aliases, gate
from indexer.markdown import parse_markdown
from indexer.papers import AliasGroup, Entity, Paper

SEED = Path(__file__).parents[1] / "data" / "PMC12898183.md"

OTHER_SPECIES = "another species' gene"
PSEUDOGENE = "the pseudogene's own name"
COMMON = "a common word"


def parse(text: str) -> Paper:
    return parse_markdown(text, source="paper.md", sha256="")


def aliases(body: str, *rows: str) -> list[tuple[str, ...]]:
    """The groups of a paper with that text, and with those lists (`Genes: A (b) {aka C}`) in its record."""
    lists = "\n".join(f"- **{kind}:** {names}" for kind, _, names in (row.partition(": ") for row in rows))
    return [
        group.names
        for group in find_aliases(parse(f"# T\n\n## Abstract\n\n{body}\n\n## Full-text entities\n\n{lists}\n"))
    ]


def test_the_seed() -> None:
    assert find_aliases(parse(SEED.read_text("utf-8"))) == (
        AliasGroup(
            ("RANKL", "TNFSF11", "TNF superfamily member 11", "CD254", "ODF", "OPGL", "OPTB2", "TNLG6B"),
            "NCBI Gene 8600",
        ),
        AliasGroup(("OPG", "OCIF", "TNFRSF11B"), ""),
        AliasGroup(
            ("β-catenin", "CTNNB1", "catenin beta 1", "CTNNB", "EVR7", "MRD19", "NEDSDV"),
            "NCBI Gene 1499",
        ),
    )


def test_the_seeds_rejected_names() -> None:
    """Every name of every row that is no alias. Others that are in no group do not occur or stand alone."""
    rejected = {
        (row.kind, verdict.name): verdict.reason
        for row in parse(SEED.read_text("utf-8")).entities
        for verdict in gate(row)
        if verdict.reason
    }
    assert rejected == {
        ("Proteins", "BTF3P11"): PSEUDOGENE,
        ("Proteins", "basic transcription factor 3 pseudogene 11"): PSEUDOGENE,
        ("Proteins", "ctnnb1.S"): OTHER_SPECIES,
        ("Proteins", "catenin beta 1 S homeolog"): OTHER_SPECIES,
        ("Proteins", "shh.L"): OTHER_SPECIES,
        ("Proteins", "sonic hedgehog L homeolog"): OTHER_SPECIES,
        ("Genes", "BTF3P11"): PSEUDOGENE,
        ("Genes", "basic transcription factor 3 pseudogene 11"): PSEUDOGENE,
        ("Genes", "BRF3L1"): PSEUDOGENE,
        ("Genes", "BTF3L1"): PSEUDOGENE,
        ("Genes", "HUMBTFB"): PSEUDOGENE,
        ("Genes", "armadillo"): COMMON,
        ("Diseases", "osteoporosis"): COMMON,
        ("Diseases", "loss"): COMMON,
        ("Diseases", "hyperglycemia"): COMMON,
        ("Diseases", "fracture"): COMMON,
        ("Diseases", "inflammation"): COMMON,
        ("Chemicals", "advanced"): COMMON,
        ("Species", "Homo sapiens"): "Species: no names that mean the same",
        ("Species", "human, species"): "Species: no names that mean the same",
    }


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("Genes", "TNFSF11", ""),
        ("Genes", "beta-catenin", ""),
        ("Genes", "β-catenin", ""),
        ("Genes", "p53", ""),
        ("Genes", "C3", ""),
        ("Genes", "c-Kit", ""),
        ("Chemicals", "vitamin D", ""),
        ("Genes", "IL", "too short"),
        ("Genes", "c3", "too short"),
        ("Genes", "A", "too short"),
        ("Genes", "x" * 61 + "1", "too long"),
        ("Genes", "123-4", "no letters"),
        ("Diseases", "bone mineral density (", "a bracket without its partner"),
        ("Genes", "KIT", "an English word"),
        ("Genes", "Cat", "an English word"),
        ("Genes", "MICE", "an English word"),
        ("Genes", "PCR", "a method or a measure"),
        ("Chemicals", "DNA", "a substance of every bench"),
        ("Genes", "ALS", "a disease"),
        ("Genes", "armadillo", COMMON),
        ("Chemicals", "glucose", COMMON),
        ("Cell lines", "HEK293", "Cell lines: no names that mean the same"),
        ("", "TNFSF11", "rows without a kind: no names that mean the same"),
    ],
)
def test_gate(kind: str, name: str, reason: str) -> None:
    ((_, given_reason),) = gate(Entity(kind, name, "", "", ()))
    assert given_reason == reason


def test_a_full_name_may_be_one_word() -> None:
    row = Entity("Genes", "SOST", "sclerostin", "NCBI Gene 50964", ("sclerostins", "dead"))
    assert [verdict.reason for verdict in gate(row)] == ["", "", COMMON, COMMON]
    assert aliases("Levels of sclerostin fell.", "Genes: SOST (sclerostin)") == [("sclerostin", "SOST")]


@pytest.mark.parametrize(
    ("body", "used"),
    [
        ("Wnt/β-catenin", "β-catenin"),
        ("the Wnt and *β*-catenin path", "β-catenin"),
        ("beta-catenin rises", "beta-catenin"),
        ("β catenin rises", "β catenin"),
        ("Catenin beta-1 rises", "Catenin beta-1"),
        ("𝛽-catenin rises", "𝛽-catenin"),
        ("Beta-catenin rises", "Beta-catenin"),
        ("CTNNB1 rises", "CTNNB1"),
        ("Ctnnb1 rises", "Ctnnb1"),
        ("CTNNB-1 rises", "CTNNB-1"),
    ],
)
def test_as_the_paper_has_it(body: str, used: str) -> None:
    ((first, *others),) = aliases(body, "Genes: CTNNB1 (catenin beta 1) {aka EVR7, armadillo}")
    assert first == used
    assert set(others) >= {"CTNNB1", "EVR7"} - {used, "CTNNB1" if used.upper().startswith("CTNNB") else ""}
    assert "armadillo" not in others


@pytest.mark.parametrize(
    "body",
    [
        "the age of bone",  # AGE
        "bone of that Age",
        "ages",
        "AGEs are",
        "AGER is",
        "the IL-1β level",  # IL1
        "IL-1 receptor",
        "IL 1",
        "il1",
        "BMP–Smad of BMP",  # BMP1
        "bone morphogenetic protein",
        "bone morphogenetic protein 12",
        "BMP1A and 2BMP1",
        "bone, morphogenetic protein 1",  # no name reaches over a sign
        "a loss of armadillo",
        "RANK-L",
    ],
)
def test_does_not_occur(body: str) -> None:
    rows = (
        "Genes: AGE (angry gene) {aka AGX}, IL1 (interleukin one) {aka IL1X}, RANK (a name) {aka RNK}, "
        "BMP1 (bone morphogenetic protein 1) {aka OI13}, CTNNB1 (catenin beta 1) {aka armadillo}"
    )
    assert aliases(f"We speak of {body}.", rows) == []


@pytest.mark.parametrize(
    ("name", "body", "used"),
    [
        ("P53", "p53 rises", "p53"),
        ("p53", "P53 rises", "P53"),
        ("TNFSF11", "Tnfsf11 rises", "Tnfsf11"),
        ("Tnfsf11", "TNFSF11 rises", "TNFSF11"),
        ("IL6", "IL-6 rises", "IL-6"),
        ("IL-6", "of IL6", "IL6"),
        ("TNFA", "TNFA is", "TNFA"),
        ("TNF-alpha", "TNFα is", "TNFα"),
        ("Beta-catenin", "some beta-catenin is", "beta-catenin"),
        ("Rankl", "Rankl is", "Rankl"),
        ("C3", "C3 is", "C3"),
    ],
)
def test_a_symbol_occurs(name: str, body: str, used: str) -> None:
    assert aliases(f"And {body}.", f"Genes: {name} {{aka ZZ99Z}}")[0][0] == used


@pytest.mark.parametrize(("name", "body"), [("C3", "c3"), ("RANKL", "Rankl"), ("AGE1", "age 1"), ("IL-6", "il 6")])
def test_a_symbol_does_not_occur(name: str, body: str) -> None:
    assert aliases(f"And {body} is.", f"Genes: {name} {{aka ZZ99Z}}") == []


def test_a_name_in_a_reference_or_another_list_is_not_the_papers_own() -> None:
    text = (
        "# On CTNNB1\n\n**Authors:** CTNNB1\n\n## Abstract\n\nNothing.\n\n"
        "## References\n\n1. Smith J. CTNNB1. 2003.\n\n"
        "## Linked entities\n\n- **Proteins:** CTNNB1 (catenin beta 1)\n"
    )
    assert find_aliases(parse(text)) == ()


def test_rows_for_one_thing_are_one_group() -> None:
    rows = ("Proteins: TNFSF11 (TNF superfamily member 11)", "Genes: TNFSF11 [NCBI Gene 8600] {aka RANKL}")
    assert aliases("RANKL and TNFSF11 rose.", *rows) == [("TNFSF11", "RANKL", "TNF superfamily member 11")]
    rows = ("Genes: Abc1 [NCBI Gene 7] {aka XYZ}", "Genes: Abc2 [NCBI Gene 7] {aka UVW}")
    assert aliases("XYZ rose.", *rows) == [("XYZ", "Abc1", "Abc2", "UVW")]
    rows = ("Genes: ABC1 {aka XYZ}", "Genes: DEF1 {aka UVW}", "Genes: GHI1 {aka ABC1, DEF1}")
    assert aliases("XYZ rose.", *rows) == [("XYZ", "ABC1", "DEF1", "UVW", "GHI1")]


def test_a_name_that_two_things_share_names_neither() -> None:
    rows = ("Genes: MAPK14 [NCBI Gene 1432] {aka p38, CSBP}, AHSA1 [NCBI Gene 10598] {aka p38, AHA1}",)
    assert aliases("p38 rose.", *rows) == []
    assert aliases("p38 and CSBP rose.", *rows) == [("CSBP", "MAPK14")]


def test_diseases_with_one_identifier_are_not_one() -> None:
    rows = ("Diseases: EDOP (MESH:D010024), bone thinning (MESH:D010024)",)
    assert aliases("EDOP and bone thinning.", *rows) == []


def test_a_gene_is_not_the_disease_of_its_name() -> None:
    rows = ("Genes: SOD1 {aka ABX, IPOA}", "Diseases: ABX {aka Abx disease}")
    assert aliases("ABX rose with SOD1.", *rows) == [("SOD1", "IPOA")]


def test_a_chemicals_names() -> None:
    rows = ("Chemicals: Vitamin D3 (cholecalciferol) {aka Vitamin-D3, 7-dehydro thing}",)
    assert aliases("A dose of vitamin D3.", *rows) == [("vitamin D3", "7-dehydro thing")]


def test_rejected_names_have_reasons() -> None:
    assert all(reason and name == name.upper() for name, reason in REJECTED.items())


_NAMES = st.sampled_from(
    [
        "CTNNB1",
        "β-catenin",
        "catenin beta 1",
        "(",
        ")",
        "{aka ",
        "}",
        "[",
        "]",
        ", ",
        "RANKL",
        "𝛼",
        "ﬁ1",
        "loss",
        "²",
        "A",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_NAMES, max_size=12), st.lists(_NAMES, max_size=12), st.sampled_from([" ", "", "-"]))
def test_groups_hold_for_any_lists(body: list[str], rows: list[str], joint: str) -> None:
    text = f"## Abstract\n\n{joint.join(body)}\n\n## Full-text entities\n\n- **Genes:** {joint.join(rows)}\n"
    paper = parse(f"# T\n\n{text}")
    names = [name for group in find_aliases(paper) for name in group.names]
    assert len(names) == len(set(names))
    assert all(len(group.names) > 1 for group in find_aliases(paper))
