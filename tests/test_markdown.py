"""Markdown -> Paper: goldens for what it means, properties for what always holds."""

from __future__ import annotations

import csv
import gc
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from indexer.markdown import parse_markdown
from indexer.markdown.captions import titled_caption
from indexer.markdown.metadata import clean_doi
from indexer.markdown.sections import clean_title, role_of
from indexer.markdown.tables import piped_table
from indexer.papers import CONTENT_KINDS, Paper
from tests.golden import cases, outline_of
from tests.invariants import check_paper as check_invariants


def parse(text: str, source: str = "some/paper.md") -> Paper:
    return parse_markdown(text, source=source, sha256="")


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    assert outline_of(path) == path.with_suffix(".outline").read_text(encoding="utf-8"), "run `make golden` and review"


_PIECES = st.sampled_from(
    [
        "# T", "## 1. A", "### 1.1 B", "#", "###### ", "**Bold**", "**References**", "****", "---", "***", "> q", "- i",
        "  - j", "1. Introduction", "1. x", "2.1. Study design", "| a | b |", "|---|---|", "```", "~~~", "$$", "\\[",
        "\\begin{x}", "<table>", "</table>", "<!--", "-->", "<div>", "[12]", "[[1](#B1)]", "^1,2^", "(1)", "¹²",
        "[@doi:10.1/x; @pmid:3]", "[@tag:x]: url", "Table 1. Words", "**Figure 2** Words", "### Table 3.", "Table: t",
        "**Authors:** A B, C D", "PMC12345 · DOI: 10.1000/x · J · 2001", "Source: https://x.org", "title: x",
        "κ𝛼β", "\0", "\u2028", "\x0c", "\x85", "\ufeff", "    code", "\t", "_Full body text omitted_", "## References",
        "1. A 10.1/x", "===", "[3]–[5]", "[1]: http://x.org", "[1]: Smith J. 2001", "[^1]: A note", "draft: !!bool x",
        "a: &a [x]", "b: *a", "<Primary endpoints>", "- Smith J. 2001", "2005. A title", "x^2^", "(1) a; (2) b",
        "### Notes", "\u200b", ":::", "::: {#x}", "%%", "+---+", "| + |", "<h2>a</h2>", "{% for x in y %}",
        "{% endfor %}", "-- --", "----------", "\\end{x}", "\\begin{table}", "\\end{table}", "<ol><li id=b>", "</li>",
        "![](x)", "![[x]]", "[^1]", "[@a; @b]", "[@a]: doi:10.1/x",
        "$^{1}$", "##A b", "A B, C D", '<a href="#b">1</a>', "$$ x $$", "~~~~",
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
    "unit",
    [
        "[", "*", "#", "|", "$$", "(1", "^1", "![", "a ", "1. ", "<table>\n\n", "**a\n", "[1]", "{%",
        "[1]: http://x.org\n", "- a\n\nb\n\n", "<a ", "*a ", "a\n---\n", "[1]–", "(a) b. ", "[@a ", "10.1000/<1",
    ],
)  # fmt: skip
def test_time_grows_with_the_text_and_no_faster(unit: str) -> None:
    check_growth("# T\n\n## References\n\n", unit, "")
    check_growth("# T\n\n", unit, "and a last line\n")


def test_time_for_a_table_whose_rows_never_close() -> None:
    check_growth("<table>\n", "<tr><td>1\n<caption>", "</table>\n")
    check_growth("", "<table>\n\n<tr>", "")


def check_growth(opening: str, unit: str, closing: str) -> None:
    """Four times the text takes four times as long, not sixteen; below a tenth of a second nothing can be told."""

    def seconds(n: int) -> float:
        text = opening + unit * (n // len(unit)) + closing
        times = []
        gc.disable()  # what a collection takes depends on what other tests have left
        for _ in range(2):  # the better of two; of this thread alone, on a machine that others use too
            began = time.thread_time()
            parse(text)
            times.append(time.thread_time() - began)
        gc.enable()
        return min(times)

    shorter = seconds(15_000)
    assert seconds(60_000) < 8 * max(shorter, 0.1)


@pytest.mark.parametrize(
    ("source", "doi"),
    [
        ("doi: 10.1016/S0002-9440(10)65214-5.", "10.1016/S0002-9440(10)65214-5"),
        ("(https://doi.org/10.1000/abc)", "10.1000/abc"),
        ("see 10.1000/a.b; and more", "10.1000/a.b"),
        ("10.1/short", ""),
        ("none", ""),
        ("[10.1000/abc](https://doi.org/10.1000/abc)", "10.1000/abc"),
        ("10.1002/(SICI)1-4(1997)35:1<1::AID-JBM1>3.0.CO;2-#.", "10.1002/(SICI)1-4(1997)35:1<1::AID-JBM1>3.0.CO;2-#"),
        ("10.1002/1097-0142(2001)91:7&lt;12::AID-2&gt;3.0.CO;2-W", "10.1002/1097-0142(2001)91:7<12::AID-2>3.0.CO;2-W"),
        ("10.1000/abc<br>x", "10.1000/abc"),
        (r"*10.1000/a\_b*", "10.1000/a_b"),
    ],
)  # fmt: skip
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
        ("Peer review", "back_matter"),
        ("Peer review reports", "back_matter"),
        ("Peer review of preprints", "body"),
        ("Funding and acknowledgments", "back_matter"),
        ("Funding of rural hospitals", "body"),
        ("Copyright law and text mining", "body"),
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
        ("---\npaper_id: ..\n---\n# T\n", "a.md", "_.."),
    ],
)
def test_paper_id(text: str, source: str, paper_id: str) -> None:
    assert parse(text, source).paper_id == paper_id


def kinds(paper: Paper) -> list[tuple[str, str]]:
    return [(block.kind, paper.text[block.start : block.end]) for block in paper.blocks]


def titles(text: str) -> list[str]:
    return [section.title for section in parse(text).sections[1:]]


@pytest.mark.parametrize(
    ("block", "kind"),
    [
        ("[1]: http://ex.org/1\n[a b]: <x.html> 'Title'\n[c]: ../d.png", "markup"),
        ("[@tag:x]: doi:10.1000/x\n[@y]: pmid:12", "markup"),
        ("[1]: #anchor", "markup"),
        ("".join(f"[{n}]: http://ex.org/{n}\n" for n in range(1, 40)) + "and a last line", "paragraph"),
        ("[^1]: The dose was 5 mg", "paragraph"),
        ("[1]: Smith J. On bones. 2001", "paragraph"),
    ],
)
def test_only_links_and_keys_are_defined(block: str, kind: str) -> None:
    assert kinds(parse(f"# T\n\n## L\n\n{block}\n"))[-1] == (kind, block)


def test_entries_typed_as_definitions() -> None:
    paper = parse("# T\n\nBones [2] fail.\n\n## References\n\n[1]: Smith J. 2001.\n[2]: https://doi.org/10.1000/abc\n")
    assert [(r.key, r.text, r.doi) for r in paper.references] == [
        ("1", "Smith J. 2001.", ""),
        ("2", "https://doi.org/10.1000/abc", "10.1000/abc"),
    ]


@pytest.mark.parametrize(
    "values",
    ["draft: !!bool foo", "a: !!int ''", "a: !!timestamp foo", f"b: 0x{'f' * 6000}", "? [a, b]\n: 1", "b: !!binary $"],
)
def test_front_matter_of_any_type_is_read_as_text(values: str) -> None:
    paper = parse(f"---\ntitle: 0x1F\nyear: 2019\ndoi: null\n{values}\n---\n\nWords.\n")
    assert [kind for kind, _ in kinds(paper)][-1] == "paragraph"
    if not values.startswith("?"):
        assert (paper.title, paper.year, paper.doi) == ("0x1F", 2019, "")


def test_front_matter_with_aliases_is_none() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))
    paper = parse(f"---\n{bomb}title: x\nauthors: [*a39]\n---\n\nWords.\n")
    assert paper.title == ""
    assert kinds(paper)[-1] == ("paragraph", "Words.")
    check_invariants(paper)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Title\n=====\n\nMethods\n-------\n\nWords.\n\nResults\n---\n\nWords.\n", ["Methods", "Results"]),
        ("# T\n\nMethods\n-------\n\nWords.\n", ["Methods"]),  # as long as the line: typed on purpose
        ("# T\n\nWords above a rule\n---\n\nWords.\n", []),
        ("# T\n\nTwo lines of\nwords above\n-----------\n\nWords.\n", []),
        ("Title\n=====\n\nThis is a sentence.\n---\n\nWords.\n", []),
        ("# T\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nx\n=\n", []),
    ],
)
def test_underlined_headings(text: str, expected: list[str]) -> None:
    paper = parse(text)
    assert [section.title for section in paper.sections[1:]] == expected
    assert paper.title in ("T", "Title")
    check_invariants(paper)


def test_byte_order_mark() -> None:
    paper = parse("\ufeff# Title\n\nWords.\n")
    assert (paper.title, kinds(paper)[-1]) == ("Title", ("paragraph", "Words."))
    check_invariants(paper)
    for nothing in ("\ufeff", "\ufeff\n\u200b\n\n\u2060\u200d\n", "# \u200b\n\n\u200b"):
        paper = parse(nothing)
        assert not any(block.kind in CONTENT_KINDS for block in paper.blocks)
        check_invariants(paper)


@pytest.mark.parametrize(
    ("text", "omitted"),
    [
        ("Full-text articles were omitted when not in English. We found 12 trials.", ""),
        ("## Methods\n\n_Full-text articles were omitted when not in English._", ""),
        ("_Full body text omitted from this view._ Fetch it: https://x.org/full.md", "https://x.org/full.md"),
        ("*Full text omitted*", "*Full text omitted*"),
        ("## Full text\n\nFull text omitted; see https://x.org/full.md.", "https://x.org/full.md"),
        ("## Methods\n\nFull text omitted; see https://x.org/full.md.", ""),
    ],
)
def test_a_body_is_omitted_only_where_a_notice_says_so(text: str, omitted: str) -> None:
    paper = parse(f"# T\n\n{text}\n")
    assert paper.body_omitted == omitted
    assert (kinds(paper)[-1][0] == "paragraph") == (not omitted)


@pytest.mark.parametrize(
    "line",
    [
        "Source: the data come from a registry of hip fractures.",
        "Date: we dated the samples by C14 in 2004.",
        "· First finding is big",
        "Journal: we searched every journal by hand.",
        "License: the drug was licensed in 2005 and withdrawn later on.",
        "Authors: we asked the authors of each trial for their data.",
        "DOI: none was given",
        "SHA: is the sodium salt of hyaluronic acid",
    ],
)
def test_prose_is_no_header_line(line: str) -> None:
    for text in (f"# T\n\n{line}\n", f"A title without a mark\n\nDOI: 10.1000/x\n\n{line}\n"):
        assert kinds(parse(text))[-1] == ("paragraph", line)


def test_header_lines() -> None:
    paper = parse(
        "# T\n\nAuthors: Ludwig van der Berg, 王 伟, Ana de la Cruz\nDate: 30 March 2007\nJournal: eLife\n"
        "DOI: [10.1000/abc](https://doi.org/10.1000/abc)\nLicense: Creative Commons Attribution 4.0\n"
        "PMCID: PMC7654321\nSource: https://x.org/a\n\nWords.\n"
    )
    assert [kind for kind, _ in kinds(paper)] == ["metadata", "metadata", "paragraph"]
    assert paper.authors == ("Ludwig van der Berg", "王 伟", "Ana de la Cruz")
    assert (paper.date, paper.year, paper.journal, paper.doi) == ("30 March 2007", 2007, "eLife", "10.1000/abc")
    assert (paper.licence, paper.pmcid) == ("Creative Commons Attribution 4.0", "PMC7654321")


@pytest.mark.parametrize(
    ("line", "authors"),
    [
        ("Jamieson, Amanda M", ("Jamieson, Amanda M",)),
        ("Tripp, Ralph A.; Tompkins, S. Mark", ("Tripp, Ralph A.", "Tompkins, S. Mark")),
        ("Ada Marsh, Bo Li and Cy Orr", ("Ada Marsh", "Bo Li", "Cy Orr")),
        ("Ada Marsh, Martin King, Jr., Bo Li", ("Ada Marsh", "Martin King, Jr.", "Bo Li")),
        ("WHO, Red Cross", ("WHO", "Red Cross")),
        ("王伟, 李娜", ("王伟", "李娜")),
        ("Quill, Mara and Tern, Otto", ("Quill, Mara", "Tern, Otto")),
        ("[[Mara Quill]] and [[people/tern|Otto Tern]]", ("Mara Quill", "Otto Tern")),
        ("nan", ()),
    ],
)
def test_authors(line: str, authors: tuple[str, ...]) -> None:
    assert parse(f"# T\n\nAuthors: {line}\nDate: 2016\n\nWords.\n").authors == authors


def test_only_known_names_are_tags() -> None:
    paper = parse("# T\n\n<Primary endpoints>\n\n- death\n\n<div class='x'></div>\n\n## Effect of <i>x</i> at <LOD\n")
    assert [kind for kind, _ in kinds(paper)] == ["metadata", "paragraph", "list_item", "markup", "heading"]
    assert paper.sections[1].title == "Effect of x at <LOD"


@pytest.mark.parametrize(
    ("source", "title"),
    [
        ("HLA-B*27 and CYP2C19*2", "HLA-B*27 and CYP2C19*2"),
        (r"Hormones \& bones \*new\*", "Hormones & bones *new*"),
        ("*p*53 in *E. coli*", "p53 in E. coli"),
        ("**Effect of *E. coli***", "Effect of E. coli"),
        ("*it **bold** it*", "it bold it"),
        ("`x` and _y_ of snake_case", "x and y of snake_case"),
        ("CO<sub>2</sub> &amp; water {#sec:water}", "CO2 & water"),
        ("p < 0.05 * n", "p < 0.05 * n"),
    ],
)
def test_titles_as_they_read(source: str, title: str) -> None:
    assert clean_title(source) == title


@pytest.mark.parametrize(
    ("title", "caption"),
    [
        ("Plate 96 assays", None),
        ("Video 3D tracking of cells", None),
        ("Figure 3D printing of bone", None),
        ("Table 4 shows the rest", None),
        ("Table 1.", ("table_caption", False)),
        ("Table 1. Strength by group", ("table_caption", True)),
        ("Figure 2", ("figure_caption", False)),
        ("Figure 2: Loss", ("figure_caption", True)),
        ("Fig. 3 | Loss", ("figure_caption", True)),
        ("Supplementary Video 2. Cells", ("figure_caption", True)),
        ("Box 1", ("figure_caption", False)),
        ("Table S1", ("table_caption", False)),
        ("FIGURE 1 |", ("figure_caption", False)),
        ("Scheme 1", ("figure_caption", False)),
        ("Supplementary Table 2", ("table_caption", False)),
        ("Extended Data Fig. 1", ("figure_caption", False)),
        ("Table 1 Strength by group", ("table_caption", True)),
        ("Figure 3—figure supplement 1.", ("figure_caption", False)),
        ("Table of contents", None),
    ],
)
def test_headings_that_are_captions(title: str, caption: tuple[str, bool] | None) -> None:
    assert titled_caption(title) == caption


def test_roles_are_inherited_with_care() -> None:
    paper = parse(
        "# T\n\n## Supporting Information\n\nx\n\n### Patient Summary\n\nWhy was it done?\n\n#### Background\n\nx\n\n"
        "### Additional file 1\n\nx\n\n## References\n\n1. Smith J. 2001\n\n"
        "### Primary sources\n\n- Adams J. Letters. 1801\n\n"
        "### Appendix A\n\nWe solved Smith's model (2001).\n\n#### Proof\n\nIt follows.\n\n### Funding\n\nx\n"
    )
    assert [(section.title, section.role) for section in paper.sections[1:]] == [
        ("Supporting Information", "back_matter"),
        ("Patient Summary", "body"),
        ("Background", "body"),
        ("Additional file 1", "back_matter"),
        ("References", "references"),
        ("Primary sources", "references"),
        ("Appendix A", "body"),
        ("Proof", "body"),
        ("Funding", "back_matter"),
    ]
    assert [r.text for r in paper.references] == ["Smith J. 2001", "Adams J. Letters. 1801"]


def test_tables_and_notes_are_no_entries() -> None:
    paper = parse(
        "# T\n\n## References\n\n1. Smith J. 2001\n2. Jones K. 2002\n\nThose of 2001 count.\n\n| a |\n|---|\n| 1 |\n"
    )
    assert [r.key for r in paper.references] == ["1", "2"]
    unnumbered = parse("# T\n\n## References\n\nSmith J. On bones. 2001.\n\nJones K. On sugar. 2002.\n\nA note.\n")
    assert [r.text for r in unnumbered.references] == ["Smith J. On bones. 2001.", "Jones K. On sugar. 2002."]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ("[1] Smith J. Bone,\n2005. A title\n[2] Jones K. 2006", ["1 Smith J. Bone, 2005. A title", "2 Jones K. 2006"]),
        ("1. Smith J. Bone,\n2005. A title\n2. Jones K. 2006", ["1 Smith J. Bone, 2005. A title", "2 Jones K. 2006"]),
        ("1. Smith\n1. Jones\n1. Brown", ["1 Smith", "2 Jones", "3 Brown"]),
        ("- Smith\n- Jones", [" Smith", " Jones"]),
    ],
)  # fmt: skip
def test_keys_of_entries(entries: str, expected: list[str]) -> None:
    paper = parse(f"# T\n\nWords.\n\n## References\n\n{entries}\n")
    assert [f"{r.key} {' '.join(r.text.split())}" for r in paper.references] == expected
    check_invariants(paper)


def marked(body: str, n_entries: int, entry: str = "{n}. Work {n}. 2001") -> list[tuple[str, list[str]]]:
    listed = "\n".join(entry.format(n=n) for n in range(1, n_entries + 1))
    paper = parse(f"# T\n\n{body}\n\n## References\n\n{listed}\n")
    check_invariants(paper)
    return [(paper.text[m.start : m.end], [paper.references[n].key for n in m.references]) for m in paper.markers]


def test_a_list_without_numbers_is_numbered_where_that_is_certain() -> None:
    bullets = "- Work {n}. 2001"
    assert marked("## A\n\nBones [1] and sugar [2–4].", 4, bullets) == [("[1]", ["1"]), ("[2–4]", ["2", "3", "4"])]
    assert marked("## A\n\nBones [1] and sugar [2–4].", 5, bullets) == []
    assert marked("## A\n\nBones [4] and sugar [1].", 4, bullets) == []


def test_brackets_joined_by_a_dash_name_what_lies_between() -> None:
    body = "## A\n\nFirst [1], [2], then [3]–[5] and [6, 7]."
    assert marked(body, 7) == [("[1]", ["1"]), ("[2]", ["2"]), ("[3]–[5]", ["3", "4", "5"]), ("[6, 7]", ["6", "7"])]


@pytest.mark.parametrize(
    "text",
    [
        "*η*^2^", "*r*^2^ = 0.3", "*Md*^2^", "chi^2^ test", "a 150-cm^2^ flask", "kg/m^2^", "χ^2^", "labelled ^14^C",
        "(^1^H NMR)", "[^3^H]thymidine", "of^13^C atoms", "r<sup>2</sup>", "<i>R</i><sup>2</sup>", "Ca²⁺ ions", "m² of",
        "*x*^3^",
    ],
)  # fmt: skip
def test_powers_and_isotopes_are_no_markers(text: str) -> None:
    body = f"## A\n\nIron.^1^ Bone is not.^2,3^ All^4^ of them. We saw {text}, and more.^5^"
    assert [marker for marker, _ in marked(body, 5)] == ["^1^", "^2,3^", "^4^", "^5^"]
    assert marked(f"## A\n\nWe saw {text}, and more.", 20) == []


def test_the_styles_that_are_not_the_papers_own_name_nothing() -> None:
    raised = " ".join(f"Word{n}.^{n}^" for n in range(1, 11))
    assert len(marked(f"## A\n\n{raised} The score was low [3] or 2 [1–3] in all, 4 [2–5], 5 [3, 7].", 10)) == 10
    brackets = " ".join(f"Word [{n}]." for n in range(1, 11))
    assert len(marked(f"## A\n\n{brackets} It is IC^4^ and (5) was so.", 10)) == 10
    assert (
        marked("## A\n\nWe measured: (1) time to recovery; (2) duration, (3) length and (4) death; (5) cost.", 10) == []
    )
    assert marked("## A\n\nIt was 12 (3) of 20 (5) and 14 (7), 15 (8) or 16 (9).", 10) == []


def test_parentheses_of_list_items_and_equations_are_none() -> None:
    cited = " ".join(f"Word ({n})." for n in range(1, 11))
    items = "(1) a paired test, as in Eq. (2).\n\nThere are: (3) one; (4) two and (5) three.\n\nx (1)U(r)=4"
    body = f"## A\n\n{cited}\n\n{items}"
    assert len(marked(body, 10)) == 10


def test_intervals_and_counts_are_none() -> None:
    cited = " ".join(f"Word [{n}]." for n in range(1, 11))
    table = "| GO:0008283 [4]: growth | 12 [3] | Smith 2010 [5] | type [6] |\n|---|---|---|---|\n| 1 [2] | b | c | d |"
    body = f"## A\n\n{cited} Median 2 [1–3], OR 0.8 [1, 2], range [1–5], in 2010 [2, 4].\n\n{table}"
    assert [marker for marker, _ in marked(body, 10)][10:] == ["[2, 4]", "[5]", "[6]"]


def test_authors_above_the_first_heading_are_not_cited() -> None:
    cited = " ".join(f"Word{n}.^{n}^" for n in range(1, 6))
    authors = "John Smith^1,2^, Mary Jones^2^ and Ana de la Cruz^3^\n\nInstitute of Bones^4^, Paris, France"
    opening = "What is said of bones in the opening is said with care.^1^"
    found = [marker for marker, _ in marked(f"{authors}\n\n{opening}\n\n## A\n\n{cited}", 5)]
    assert found == ["^1^", "^1^", "^2^", "^3^", "^4^", "^5^"]


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


NO_MARKERS = """
PMC5818571 10.7554_eLife.06003 PMC4704049 PMC6344533 PMC7910531 PMC6342521 PMC5943466 PMC6297173 PMC6053702
""".split()
"""Author-year papers, or such whose markers the file lost: `*η*^2^`, `^14^C`, `(1) time to` are all there is."""

FALSE_MARKERS = {
    "PMC8079727": [1468, 6817, 6925, 7231, 8116, 8177, 8230, 9237, 9329],
    "PMC8119626": [13342, 13444, 13551],
    "PMC6315100": [33199],
    "10.1371_journal.pone.0012262": [73883, 74096, 74210, 74316, 74412, 74497, 74625, 74731],
}
JOINED_MARKERS = {
    "10.1371_journal.pmed.1001300": {5441: "3 4 5", 7141: "3 4 5"},
}


@pytest.mark.shared
def test_markers_of_real_papers(shared: Path) -> None:
    def read(name: str) -> Paper:
        return parse((shared / f"papers/markdown/{name}.md").read_bytes().decode())

    assert [name for name in NO_MARKERS if read(name).markers] == []
    for name, offsets in FALSE_MARKERS.items():
        markers = read(name).markers
        assert markers
        assert not [at for at in offsets for marker in markers if marker.start <= at < marker.end]
    for name, expected in JOINED_MARKERS.items():
        paper = read(name)
        named = {m.start: " ".join(paper.references[n].key for n in m.references) for m in paper.markers}
        assert {at: named.get(at) for at in expected} == expected
    paper = read("PMC5838201")  # 318 lists without numbers; few of them are cited by number
    marker = next(marker for marker in paper.markers if marker.start == 186917)
    assert [paper.references[n].key for n in marker.references] == ["10", "46", "47", "48", "49"]
    assert paper.references[marker.references[0]].text.startswith("Bolen S, Tseng E, Hutfless S")


@pytest.mark.shared
def test_markers_name_most_of_a_list_or_none(shared: Path) -> None:
    for path in (shared / "papers/markdown").glob("*.md"):
        paper = parse(path.read_bytes().decode())
        named = {n for marker in paper.markers for n in marker.references}
        keyed = [n for n, reference in enumerate(paper.references) if reference.key]
        assert not named or len(named) > 0.6 * len(keyed), path.name


ANCHORED = {
    "anchor above": '<a id="B1"></a>\n1. Quill A. Limpets. 1999.\n\n<a id="B2"></a>\n2. Tern B. Mucus. 2007.\n\n'
    '<a id="B3"></a>\n3. Vik R. Ice. 2015.\n',
    "anchor before": '1. <a id="B1"></a>Quill A. Limpets. 1999.\n2. <a name="B2"></a>Tern B. Mucus. 2007.\n'
    '3. <span id="B3"></span>Vik R. Ice. 2015.\n',
    "no numbers": '<a id="B1"></a>\nQuill A. Limpets. 1999.\n\n<a id="B2"></a>\nTern B. Mucus, undated.\n\n'
    '<a id="B3"></a>\nVik R. Ice. 2015.\n',
}


@pytest.mark.parametrize("entries", ANCHORED.values(), ids=ANCHORED)
@pytest.mark.parametrize(
    ("citation", "named"),
    [
        ("[[1](#B1)]", {"[[1](#B1)]": [0]}),
        ("[[1](#B1)]–[[3](#B3)]", {"[[1](#B1)]–[[3](#B3)]": [0, 1, 2]}),
        ("[[1](#B1)], [[3](#B3)]", {"[[1](#B1)]": [0], "[[3](#B3)]": [2]}),
        ("<sup>[1](#B1)-[3](#B3)</sup>", {"<sup>[1](#B1)-[3](#B3)</sup>": [0, 1, 2]}),
        ("([Quill, 1999](#B1); [Vik, 2015](#B3))", {"([Quill, 1999](#B1); [Vik, 2015](#B3))": [0, 2]}),
        ("([Quill, 1999](#B1), see [Fig. 1](#F1))", {"[Quill, 1999](#B1)": [0]}),
        ("[Fig. 1](#F1)", {}),
    ],
)
def test_links_to_anchored_entries_are_markers(entries: str, citation: str, named: dict[str, list[int]]) -> None:
    paper = parse(f"# T\n\n## One\n\nLimpets hold on {citation} with mucus.\n\n## References\n\n{entries}")
    texts = ["Quill A. Limpets. 1999.", "Tern B. Mucus", "Vik R. Ice. 2015."]
    assert [entry.text.startswith(text) for entry, text in zip(paper.references, texts, strict=True)] == [True] * 3
    assert {paper.text[m.start : m.end]: list(m.references) for m in paper.markers} == named


def test_a_list_of_anchored_entries_is_a_reference_list_whatever_its_heading() -> None:
    paper = parse('# T\n\n## One\n\n[Q](#b1)\n\n## Sources\n\n- <a id="b1"></a>Quill A.\n- <a id="b2"></a>Tern B.\n')
    assert [(entry.key, entry.text) for entry in paper.references] == [("b1", "Quill A."), ("b2", "Tern B.")]
    assert [section.role for section in paper.sections] == ["body", "body", "references"]


@pytest.mark.parametrize(
    ("text", "notices"),
    [
        ("# RETRACTED: Bone and sugar\n\nText.\n", ("retracted",)),
        ("# [Retracted] Bone and sugar\n\nText.\n", ("retracted",)),
        ("---\ntitle: Bone\nretracted: true\n---\n\nText.\n", ("retracted",)),
        ("---\ntitle: Bone\nnotices: [corrected, concern]\n---\n\nText.\n", ("corrected", "concern")),
        ("---\ntitle: Bone\nnotices: {retracted: no}\n---\n\nText.\n", ()),
        ("# Retracted papers in biology: a survey\n\nText.\n", ()),
    ],
)
def test_notices(text: str, notices: tuple[str, ...]) -> None:
    assert parse_markdown(text, source="x.md", sha256="").notices == notices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# T\n\n##Methods\n\nWords.\n", ["Methods"]),
        ("# T\n\n#bone\n\nWords.\n", []),
        ("# T\n\n<h2 id='m'>Methods</h2>\n<p>Words.</p>\n", ["Methods"]),
        ("# T\n\n## 1. One\n\n## 2. Two\n\n# 3. Three\n\n## References\n",
         ["1. One", "2. Two", "3. Three", "References"]),
        ("## Bone loss in diabetes\n\n## Abstract\n\nWords.\n", ["Abstract"]),
        ("## Open access\n\n## Abstract\n\nWords.\n", ["Open access", "Abstract"]),
        ("# T\n\n## A B S T R A C T\n\nWords.\n", ["ABSTRACT"]),
        ("# T\n\n## One\n\n~~~~~~~~\n\nWords.\n\n## Two\n\nWords.\n", ["One", "Two"]),
        ("# T\n\n## One\n\n```\n## Two\n```\n\n## Three\n", ["One", "Three"]),
    ],
)  # fmt: skip
def test_headings_as_found(text: str, expected: list[str]) -> None:
    paper = parse(text)
    assert [section.title for section in paper.sections[1:]] == expected
    assert {section.parent for section in paper.sections[1:]} <= {0}
    check_invariants(paper)


def test_a_numbered_section_may_begin_anew_inside_another() -> None:
    paper = parse("# T\n\n## 1 A\n\n### 1. X\n\n### 2. Y\n\n## 2 B\n\n### 1. Z\n\n## 3 C\n")
    assert [paper.section_path(n) for n in range(1, len(paper.sections))] == [
        ("1 A",), ("1 A", "1. X"), ("1 A", "2. Y"), ("2 B",), ("2 B", "1. Z"), ("3 C",),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "authors"),
    [
        ("Mara Quill^1^, Otto van der Tern^2,\\*^", ("Mara Quill", "Otto van der Tern")),
        ("Mara Quill a,*, Élodie Tern b", ("Mara Quill", "Élodie Tern")),
        ("Mara J. Quill<sup>1</sup> and Otto Tern", ("Mara J. Quill", "Otto Tern")),
        ("Original Article, Open Access", ()),
        ("Institute of Bones, Northport", ()),
        ("Bone, Sugar and Time", ()),
        ("Sugar binds to collagen, and bone fails.", ()),
        ("Mara Quill", ()),
    ],
)
def test_the_line_under_a_title(line: str, authors: tuple[str, ...]) -> None:
    paper = parse(f"# T\n\n{line}\n\n## Abstract\n\nWords.\n")
    assert paper.authors == authors
    assert kinds(paper)[1] == ("metadata" if authors else "paragraph", line)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("![](a.png)", ["markup"]),
        ("![[scan.png]]", ["markup"]),
        ("![A rib](a.png)", ["figure_caption"]),
        ('<span id="p"></span>![](a.png)\nFigure 1: A rib.', ["figure_caption"]),
        ("<p><b>Table 1.</b> Means</p>", ["table_caption"]),
        ("[MISSING_PAGE_EMPTY:3]", ["markup"]),
        ("%% one\n\ntwo %%", ["markup"]),
        ("%% left open", ["paragraph"]),
        ("::: {.note}\nA note.\n:::", ["markup", "paragraph", "markup"]),
        ("$$\nx\n\ny\n$$\nwhere x is y", ["equation", "paragraph"]),
        ("\\begin{table}\n\nx\n\\end{table}\nTable 1: Means", ["table", "table_caption"]),
        ("\\begin{itemize}\n\\item x\n\\end{itemize}", ["list_item"]),
        ("{% for a in b %}\n- {{a}}\n\n{% endfor %}", ["markup"]),
        ("The value is {{value}} by now.", ["paragraph"]),
        ("<script>\nvar a;\n</script>", ["markup"]),
        ("<div><table>\n\n<tr><td>1</td></tr>\n\n</table></div>", ["table"]),
        ("<table><tr><td>1</td></tr></table>\nWords under it.", ["table", "paragraph"]),
        ("[^1]: A note.\n\n    Its second part.", ["paragraph", "paragraph"]),
        ("Words.\n\n    code()", ["paragraph", "code"]),
        ("Table 1 Means by group\n\n| a |\n|---|\n| 1 |", ["table_caption", "table"]),
        ("Table 1 shows it.\n\n| a |\n|---|\n| 1 |", ["paragraph", "table"]),
        ("a  b\n-- --\n1  2", ["table"]),
        ("Words.\n+---+\n| a |\n+---+", ["paragraph", "table"]),
        ("== ==\na  b\n== ==\n1  2\n== ==", ["table"]),
        ("-- --\n\nWords.", ["markup", "paragraph"]),
        ("#bone #diabetes/type2", ["metadata"]),
    ],
)
def test_blocks_as_found(source: str, expected: list[str]) -> None:
    paper = parse(f"# T\n\n## One\n\nBefore.\n\n{source}\n\n## Two\n\nAfter.\n")
    assert [kind for kind, _ in kinds(paper)][3:-2] == expected
    check_invariants(paper)


@pytest.mark.parametrize(
    ("body", "markers"),
    [
        ("Shown [@quill2019; see @tern, p. 3].", {"[@quill2019; see @tern, p. 3]": ["quill2019", "tern"]}),
        ("As [@fig:rib] and a@b.org and @home show.", {}),
        ("By [@late] and @late.\n\n[@late]: doi:10.1000/x", {"[@late]": ["late"], "@late": ["late"]}),
        ("By [@tag:late] and [@doi:10.1000/x].\n\n[@tag:late]: doi:10.1000/x",
         {"[@tag:late]": ["tag:late"], "[@doi:10.1000/x]": ["tag:late"]}),
        ("Shown[^1][^q].\n\n[^1]: Tern O. Bone Rep. 2001.\n\n[^q]: https://doi.org/10.1000/x",
         {"[^1][^q]": ["1", "q"]}),
        ("Shown[^1].\n\n[^1]: Only in the year 2001.", {}),
    ],
)  # fmt: skip
def test_keys_and_notes_are_markers(body: str, markers: dict[str, list[str]]) -> None:
    paper = parse(f"# T\n\n## One\n\n{body}\n")
    assert {
        paper.text[m.start : m.end]: [paper.references[n].key for n in m.references] for m in paper.markers
    } == markers
    check_invariants(paper)


def test_links_and_lists_of_html_are_markers_and_entries() -> None:
    paper = parse(
        '# T\n\n## One\n\n<p>So<sup><a href="#R1">1</a>,<a href="#R2">2</a></sup>.</p>\n\n<h2>References</h2>\n\n'
        '<ol>\n<li id="R1">Quill A. 1999.</li>\n<li id="R2"><i>Tern B.</i> 2007.</li>\n</ol>\n'
    )
    assert [(entry.key, entry.text) for entry in paper.references] == [
        ("1", "Quill A. 1999."),
        ("2", "<i>Tern B.</i> 2007."),
    ]
    assert [(paper.text[m.start : m.end], m.references) for m in paper.markers] == [
        ('<sup><a href="#R1">1</a>,<a href="#R2">2</a></sup>', (0, 1))
    ]


_TABLE_LINES = st.sampled_from(
    ["| a | b |", "|---|---|", "a | b", "--- | ---", "|:-:|", "| 1 |", "|", "", "  ", "    | c |", "> q", "- i", "# h",
     "---", "```", "<div>", "\\| a", "x", "\t| t |", "1. n", "***"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(_TABLE_LINES, max_size=14))
def test_tables_end_where_markdown_it_ends_them(lines: list[str]) -> None:
    """Against its own rule, which reads every cell."""
    ours, theirs = MarkdownIt("commonmark").enable("table"), MarkdownIt("commonmark").enable("table")
    ours.block.ruler.at("table", piped_table, {"alt": ["paragraph", "reference"]})
    text = "\n".join(lines)
    assert [each.map for each in ours.parse(text) if each.type == "piped_table" and not each.level] == [
        each.map for each in theirs.parse(text) if each.type == "table_open" and not each.level
    ]
