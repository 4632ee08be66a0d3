"""Markdown -> Paper: goldens for what it means, properties for what always holds."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from indexer.markdown import parse_markdown
from indexer.markdown.metadata import clean_doi
from indexer.markdown.sections import role_of
from indexer.papers import Paper
from tests.golden import cases, outline_of


def parse(text: str, source: str = "some/paper.md") -> Paper:
    return parse_markdown(text, source=source, sha256="")


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    assert outline_of(path) == path.with_suffix(".outline").read_text(encoding="utf-8"), "run `make golden` and review"


def check_invariants(paper: Paper) -> None:
    text = paper.text
    covered = bytearray(len(text))
    last = 0
    for block in paper.blocks:
        assert last <= block.start < block.end <= len(text)
        assert not text[block.start].isspace()
        assert not text[block.end - 1].isspace()
        assert 0 <= block.section < len(paper.sections)
        for inner in (block.caption, block.header):
            assert inner is None or 0 <= inner.start < inner.end <= len(text)
        if block.header is not None:
            assert block.start <= block.header.start < block.header.end <= block.end
        covered[block.start : block.end] = b"\1" * (block.end - block.start)
        last = block.end
    assert all(covered[at] or text[at].isspace() for at in range(len(text)))
    assert paper.sections[0].parent == -1
    for number, section in enumerate(paper.sections[1:], start=1):
        assert 0 <= section.parent < number
        assert section.start >= paper.sections[number - 1].start
        assert section.level == paper.sections[section.parent].level + 1
    for reference in paper.references:
        assert text[reference.start : reference.end] == reference.text
    at = 0
    for marker in paper.markers:
        assert at <= marker.start < marker.end <= len(text)
        assert marker.references
        assert all(0 <= number < len(paper.references) for number in marker.references)
        at = marker.end
    assert paper.paper_id
    assert not any(character.isspace() or character == "/" for character in paper.paper_id)


_PIECES = st.sampled_from(
    [
        "# T", "## 1. A", "### 1.1 B", "#", "###### ", "**Bold**", "**References**", "****", "---", "***", "> q", "- i",
        "  - j", "1. Introduction", "1. x", "2.1. Study design", "| a | b |", "|---|---|", "```", "~~~", "$$", "\\[",
        "\\begin{x}", "<table>", "</table>", "<!--", "-->", "<div>", "[12]", "[[1](#B1)]", "^1,2^", "(1)", "¹²",
        "[@doi:10.1/x; @pmid:3]", "[@tag:x]: url", "Table 1. Words", "**Figure 2** Words", "### Table 3.", "Table: t",
        "**Authors:** A B, C D", "PMC12345 · DOI: 10.1000/x · J · 2001", "Source: https://x.org", "title: x",
        "κ𝛼β", "\0", "\u2028", "\x0c", "\x85", "\ufeff", "    code", "\t", "_Full body text omitted_", "## References",
        "1. A 10.1/x",
    ]
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECES, max_size=30), st.sampled_from(["\n", "\n\n", "\r\n", "\r", " "]))
@example(["---", "title: [", "---"], "\n")
@example(["---", "title: x"], "\n")
@example([">" * 300 + "x"], "\n")
@example(["- " * 200 + "x"], "\n")
def test_parsing_never_crashes_and_loses_nothing(pieces: list[str], newline: str) -> None:
    check_invariants(parse(newline.join(pieces)))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_any_text_at_all(text: str) -> None:
    paper = parse(text)
    assert paper.text is text
    check_invariants(paper)


@pytest.mark.parametrize(
    "unit", ["[", "*", "#", "|", "$$", "(1", "^1", "![", "a ", "1. ", "<table>\n\n", "**a\n", "[1]", "{%"]
)
def test_time_grows_with_the_text_and_no_faster(unit: str) -> None:
    def seconds(n: int) -> float:
        text = unit * (n // len(unit))
        began = time.perf_counter()
        parse(text)
        return time.perf_counter() - began

    seconds(1000)
    assert seconds(300_000) < 10


@pytest.mark.parametrize(
    ("source", "doi"),
    [
        ("doi: 10.1016/S0002-9440(10)65214-5.", "10.1016/S0002-9440(10)65214-5"),
        ("(https://doi.org/10.1000/abc)", "10.1000/abc"),
        ("see 10.1000/a.b; and more", "10.1000/a.b"),
        ("10.1/short", ""),
        ("none", ""),
    ],
)
def test_doi(source: str, doi: str) -> None:
    assert clean_doi(source) == doi


@pytest.mark.parametrize(
    ("title", "role"),
    [
        ("References", "references"),
        ("REFERENCES AND NOTES", "references"),
        ("Literature cited", "references"),
        ("5. Acknowledgments", "back_matter"),
        ("Authors’ contributions", "back_matter"),
        ("Conflict of interest statement", "back_matter"),
        ("Declaration of Competing Interest", "back_matter"),
        ("Data Availability Statement", "back_matter"),
        ("Supplementary Material", "back_matter"),
        ("Supplementary methods", "body"),
        ("Reference genome", "body"),
        ("Abbreviations", "body"),
        ("Funding", "back_matter"),
        ("Discussion", "body"),
    ],
)
def test_roles(title: str, role: str) -> None:
    assert role_of(title) == role


@pytest.mark.parametrize(
    ("text", "source", "paper_id"),
    [
        ("# T\n\nPMC123 · DOI: 10.1/x · J · 2001\n", "a.md", "PMC123"),
        ("# T\n\n · DOI: 10.1186/1471-2202-6-5 · J · 2005\n", "a.md", "10.1186_1471-2202-6-5"),
        ("# T\n\nwords\n", "sub/my paper.md", "my_paper"),
        ("---\npaper_id: own/id\n---\n# T\n\nPMC123 · J · 2001\n", "a.md", "own_id"),
        ("", ".md", ".md"),
    ],
)
def test_paper_id(text: str, source: str, paper_id: str) -> None:
    assert parse(text, source).paper_id == paper_id


@pytest.mark.shared
def test_invariants_over_every_shared_paper(shared: Path) -> None:
    files = [
        path
        for folder in ("papers/markdown", "papers/manubot", "eval", "seed")
        for path in (shared / folder).rglob("*.md")
    ]
    assert len(files) > 250
    for path in files:
        check_invariants(parse(path.read_bytes().decode(), path.name))


@pytest.mark.shared
def test_metadata_agrees_with_the_catalogue(shared: Path) -> None:
    rows = list(csv.DictReader((shared / "papers/INDEX.tsv").read_text(encoding="utf-8").splitlines(), delimiter="\t"))
    assert len(rows) == 200
    for row in rows:
        paper = parse((shared / "papers/markdown" / row["file"]).read_bytes().decode(), row["file"])
        found = (paper.doi, str(paper.year), paper.journal, paper.licence, paper.title, f"{paper.paper_id}.md")
        assert found == (row["doi"], row["year"], row["journal"], row["licence"], row["title"], row["file"])
