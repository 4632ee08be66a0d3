"""Passages: exact, whole, within the embedder's limit, and the same every time."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.chunking import chunk, split_block
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.errors import ConfigError
from indexer.markdown import parse_markdown
from indexer.papers import Paper, Passage
from tests.invariants import CONFIG, LIMIT, count
from tests.invariants import check_passages as check_invariants


def parse(text: str) -> Paper:
    return parse_markdown(text, source="paper.md", sha256="0" * 64)


def passages_of(text: str) -> list[Passage]:
    return chunk(parse(text), CONFIG, count, LIMIT)


PAPER = """# Bones and sugar

**Authors:** Ada Lovelace, Charles Babbage

## 1. Introduction

Sugar binds to collagen over many years. The bond is slow to form and slow to break. Bone then loses its give, and a
fall that once bruised now breaks. We ask how.

Short one.

Another short one.

## 2. Results

### 2.1. Collagen

- First item.
- Second item.

**Table 1** Strength by group.

| Group | Strength |
|---|---|
| sugar | 12 |
| none | 20 |

### 2.2. Nothing under this

## References

1. Lovelace A. On bones. J Bone 2001 1 2 10.1000/xyz
"""


def test_passages_of_a_paper_by_hand() -> None:
    passages = passages_of(PAPER)
    assert [(p.section, p.kind, p.role, " ".join(p.text.split())[:34]) for p in passages] == [
        (("1. Introduction",), "paragraph", "body", "Sugar binds to collagen over many "),
        (("1. Introduction",), "paragraph", "body", "Bone then loses its give, and a fa"),
        (("2. Results", "2.1. Collagen"), "list_item", "body", "- First item. - Second item."),
        (("2. Results", "2.1. Collagen"), "table", "body", "**Table 1** Strength by group. | G"),
        (("2. Results", "2.2. Nothing under this"), "heading", "body", "### 2.2. Nothing under this"),
        (("References",), "list_item", "references", "1. Lovelace A. On bones. J Bone 20"),
    ]
    check_invariants(parse(PAPER), passages, LIMIT)


def test_sentences_are_numbered_in_their_paragraph() -> None:
    first, second = passages_of(PAPER)[:2]
    assert [(s.paragraph, s.number) for s in first.sentences] == [(1, 1), (1, 2)]
    assert [(s.paragraph, s.number) for s in second.sentences] == [(1, 3), (1, 4), (2, 1), (3, 1)]
    assert second.text.endswith("We ask how.\n\nShort one.\n\nAnother short one.")


def test_a_long_table_is_split_by_row_and_keeps_its_caption_and_header() -> None:
    rows = "\n".join(f"| gene{n} | {n} | up |" for n in range(60))
    text = f"# T\n\n## Results\n\n**Table 3** Hub genes.\n\n| Gene | Degree | Way |\n|---|---|---|\n{rows}\n"
    passages = passages_of(text)
    assert len(passages) > 3
    assert passages[0].text.startswith("**Table 3** Hub genes.")
    assert passages[0].embedded_text.startswith("Table 3 Hub genes.; Gene, Degree, Way; gene0")
    assert [(s.paragraph, s.number) for s in passages[0].sentences][:3] == [(1, 1), (2, 1), (2, 2)]
    for passage in passages[1:]:
        assert passage.text.startswith("| gene")
        assert passage.embedded_text.startswith("Table 3 Hub genes.. Gene, Degree, Way. gene")
    check_invariants(parse(text), passages, LIMIT)


def test_a_sentence_longer_than_the_model_reads_is_cut_between_words() -> None:
    text = "# T\n\n## S\n\n" + " ".join(f"word{n}" for n in range(500))
    passages = passages_of(text)
    check_invariants(parse(text), passages, LIMIT)
    assert all(p.n_wordpieces <= LIMIT for p in passages)
    assert " ".join(p.text for p in passages) == text.split("\n\n")[-1]
    assert {s.number for p in passages for s in p.sentences} == {1}


def test_a_long_sentence_that_the_model_reads_stays_whole() -> None:
    sentence = " ".join(f"word{n}" for n in range(50)) + "."
    passages = passages_of(f"# T\n\n## S\n\n{sentence}\n")
    assert [p.text for p in passages] == [sentence]


def test_an_abstract_stays_whole_when_the_model_reads_it() -> None:
    sentences = [f"Sugar of kind {n} binds to the collagen of old bone." for n in range(5)]
    text = f"# T\n\n## Abstract\n\n{' '.join(sentences)}\n\n## Methods\n\n{' '.join(sentences)}\n"
    assert [p.section[0] for p in passages_of(text)] == ["Abstract"] + ["Methods"] * 3


def test_ids_come_from_content_only() -> None:
    ids = {p.text: p.passage_id for p in passages_of(PAPER)}
    edited = {p.text: p.passage_id for p in passages_of(PAPER.replace("Short one.", "Short two."))}
    assert len(ids.keys() & edited.keys()) == len(ids) - 1
    assert all(ids[text] == edited[text] for text in ids.keys() & edited.keys())
    assert passages_of(PAPER)[0].passage_id == "paper:e024acdf65ca043e"  # the same on every machine


def test_twins_in_one_section_have_different_ids() -> None:
    same = "Sugar binds to collagen over many years and the bond is slow to form and slow to break again."
    passages = passages_of(f"# T\n\n## S\n\n{same}\n\n{same}\n")
    assert [p.text for p in passages] == [same, same]
    assert passages[0].passage_id != passages[1].passage_id


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("| a | b |\n|---|---|\n| 1 | 2 |", ["| a | b |\n|---|---|", "| 1 | 2 |"]),
        ("+---+\n| a |\n+===+\n| 1 |\n|   |\n+---+\n| 2 |\n+---+",
         ["+---+\n| a |\n+===+", "| 1 |\n|   |\n+---+", "| 2 |\n+---+"]),
        ("a   b\n--- ---\n1   2\n3   4", ["a   b\n--- ---", "1   2", "3   4"]),
        ("----------\na    b\n---- -----\n1    2\n     x\n\n3    4\n----------",
         ["----------\na    b\n---- -----", "1    2\n     x", "3    4\n----------"]),
        ("a | b\n--|--\n  1 | 2", ["a | b\n--|--", "1 | 2"]),
        ("<table>\n<tr><th>a</th></tr>\n\n<tr><td>1</td></tr>\n</table>",
         ["<table>\n<tr><th>a</th></tr>", "<tr><td>1</td></tr>\n</table>"]),
        ("\\begin{tabular}{l}\na \\\\ \\hline\n1 \\\\\n2\n\\end{tabular}",
         ["\\begin{tabular}{l}\na \\\\ \\hline", "1 \\\\", "2\n\\end{tabular}"]),
    ],
)  # fmt: skip
def test_rows_of_tables(table: str, rows: list[str]) -> None:
    text = f"# T\n\n## S\n\n{table}\n"
    block = next(block for block in parse(text).blocks if block.kind == "table")
    assert [text[span.start : span.end] for span in split_block(text, block)] == rows
    check_invariants(parse(text), passages_of(text), LIMIT)


def test_words_of_a_drawn_table_are_those_in_its_cells() -> None:
    (passage,) = passages_of("# T\n\n## S\n\n+---+----+\n| a | b  |\n+===+====+\n| + | 10 |\n+---+----+\n")
    assert passage.embedded_text == "a, b; +, 10"


def test_a_heading_over_a_caption_is_read_with_the_table() -> None:
    (passage,) = passages_of("# T\n\n## S\n\n### TABLE 1.\n\nMeans by group.\n\n| a |\n|---|\n| 1 |\n")
    assert passage.embedded_text == "TABLE 1.; Means by group.; a; 1"
    assert passage.section == ("S",)


_LINES = st.sampled_from(
    [
        "# Title", "## 1. One", "### 1.1. Two", "## References", "**Bold head**", "### Table 2.", "---", "",
        "A sentence here. And *another one* of some length, with [12] in it. Third!", "- item one", "1. numbered",
        "| a | b |", "|---|---|", "| 1 | 2 |", "**Table 1** Caption words.", "**Figure 1** A caption. With two.", "```",
        "$$", "> quoted words", "<table>", "<tr><td>x</td></tr>", "</table>", "+---+", "a  b", "-- --",
        "----------", "~~~~", "%%", "x" * 70, "word " * 90, "é𝛼 β. Γ\u2028δ",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(_LINES, max_size=24), st.sampled_from(["\n", "\n\n", "\r\n", "\r"]))
def test_invariants_hold_for_any_lines(lines: list[str], newline: str) -> None:
    text = newline.join(lines)
    paper = parse(text)
    passages = chunk(paper, CONFIG, count, LIMIT)
    check_invariants(paper, passages, LIMIT)
    assert passages == chunk(parse(text), CONFIG, count, LIMIT)


@pytest.mark.parametrize("field", [{"max_wordpieces": 3}, {"merge_below": -1}, {"model": ""}])
def test_a_configuration_that_cannot_be_is_refused(field: dict[str, int | str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(field)).split("_")[0]):
        BuildConfig(**field)


@pytest.mark.shared
def test_nothing_is_lost_of_any_shared_paper(shared: Path, embedder: Embedder) -> None:
    """DESIGN's property over real papers, with the real model's tokenizer and limit."""
    files = sorted((shared / "papers/markdown").glob("*.md"))
    assert len(files) == 200
    limit = embedder.identity.max_wordpieces
    assert limit == 256
    for path in files:
        paper = parse_markdown(path.read_bytes().decode(), source=path.name, sha256="0" * 64)
        check_invariants(paper, chunk(paper, BuildConfig(), embedder.count, limit), limit, embedder.count)
