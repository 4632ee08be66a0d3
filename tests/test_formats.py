"""Bibliographies, read back by other people's parsers, and pages, by a Markdown parser."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import bibtexparser
import pytest
import rispy
from csl_reference import NameVariable, Reference
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pybtex.database import BibliographyData, parse_string

from service.answer import Kind, Quote, Status
from service.cite import Citation, CitedReference, Links
from service.formats import Style, export, render, search_results
from service.formats.anthropic import SearchResult, Text
from service.formats.entries import plain, read_entries
from service.names import Name, read_name
from service.printable import one_line
from service.replies import Answer, Hit, Scores, SearchReply
from tests.fakes import citation

LIMPETS = citation(
    paper_id="PMC9000001",
    title="Why *Patella vulgata* holds on: DNA & grip in <i>Fucus</i> beds",
    authors=("Ada Marsh", "Lindqvist, Bo", "Ludwig van Beethoven", "World Health Organization"),
    year=2021,
    journal="Journal of Shore Life",
    date="2021-04-12",
    doi="10.5555/limpets_2021.7",
    pmcid="PMC9000001",
    pmid="12345678",
    url="https://doi.org/10.5555/limpets_2021.7",
    section=("3. Results", "3.2. Grip & Temperature"),
    paragraph=2,
    sentences=(1,),
    start=120,
    end=180,
    exact="Grip fell by\nhalf [1,2].",
    source="limpets.md",
    label="Marsh et al. 2021, §3.2 Grip & Temperature, ¶2",
    links=Links("https://doi.org/10.5555/limpets_2021.7", ""),
    references=(
        CitedReference("[1,2]", "1", "Quill A. The adhesion of *limpets*. 1999.", "10.5555/quill.1999", ""),
        CitedReference("[1,2]", "2", "Brack C. Mucus films.", "", ""),
    ),
)
KETTLES = citation(
    paper_id="kettle_notes", title="Notes on a kettle", exact="Vinegar.", start=1, end=9, source="kettle notes.md"
)


def answer(
    quotes: Sequence[Citation], hits: Sequence[Citation] = (), status: Status = "answered", kind: Kind = "extractive"
) -> Answer:
    quoted = tuple(Quote(n, each.exact, (), "own", each) for n, each in enumerate(quotes, 1))
    return Answer(
        "why?",
        status,
        0.6,
        kind,
        "Said [1].",
        "a model" if kind == "generated" else "",
        "",
        quoted,
        search(hits).hits,
        (),
        1,
        1.0,
        None,
    )


def search(hits: Sequence[Citation]) -> SearchReply:
    found = tuple(
        Hit(rank, 0.5, Scores(0.5, 1.0, 0.5, None), f"id{rank}", each.exact, (), each)
        for rank, each in enumerate(hits, 1)
    )
    return SearchReply("why", 1, 1.0, (), found, None)


# Examples


def test_bibtex() -> None:
    assert export([LIMPETS, KETTLES, LIMPETS], "bibtex") == (
        "@article{marsh2021patella,\n"
        "  author = {Marsh, Ada and Lindqvist, Bo and van Beethoven, Ludwig and {World Health Organization}},\n"
        "  title = {Why {Patella} vulgata holds on: {DNA} \\& grip in {Fucus} beds},\n"
        "  journal = {Journal of Shore Life},\n"
        "  year = {2021},\n"
        "  month = apr,\n"
        "  day = {12},\n"
        "  doi = {10.5555/limpets_2021.7},\n"
        "  url = {https://doi.org/10.5555/limpets_2021.7},\n"
        "  pmid = {12345678},\n"
        "  pmcid = {PMC9000001},\n"
        "  note = {§3.2. Grip \\& Temperature, ¶2, sentence 1 (limpets.md:120-180)},\n"
        "}\n"
        "\n"
        "@misc{notes,\n"
        "  title = {Notes on a kettle},\n"
        "  note = {¶1, sentence 1 (kettle notes.md:1-9)},\n"
        "}\n"
    )


def test_ris() -> None:
    lines = export([LIMPETS, KETTLES], "ris").split("\r\n")
    assert lines == [
        "TY  - JOUR",
        "ID  - marsh2021patella",
        "AU  - Marsh, Ada",
        "AU  - Lindqvist, Bo",
        "AU  - van Beethoven, Ludwig",
        "AU  - World Health Organization",
        "TI  - Why Patella vulgata holds on: DNA & grip in Fucus beds",
        "T2  - Journal of Shore Life",
        "PY  - 2021",
        "DA  - 2021/04/12/",
        "DO  - 10.5555/limpets_2021.7",
        "UR  - https://doi.org/10.5555/limpets_2021.7",
        "AN  - 12345678",
        "C2  - PMC9000001",
        "N1  - §3.2. Grip & Temperature, ¶2, sentence 1 (limpets.md:120-180): “Grip fell by half [1,2].”",
        "ER  - ",
        "TY  - GEN",
        "ID  - notes",
        "TI  - Notes on a kettle",
        "N1  - ¶1, sentence 1 (kettle notes.md:1-9): “Vinegar.”",
        "ER  - ",
        "",
    ]


def test_csl_json() -> None:
    first, second = csl_items(export([LIMPETS, KETTLES], "csl-json"))
    assert first == {
        "id": "marsh2021patella",
        "type": "article-journal",
        "title": "Why Patella vulgata holds on: DNA & grip in Fucus beds",
        "author": [
            {"family": "Marsh", "given": "Ada"},
            {"family": "Lindqvist", "given": "Bo"},
            {"family": "van Beethoven", "given": "Ludwig"},
            {"literal": "World Health Organization"},
        ],
        "container-title": "Journal of Shore Life",
        "issued": {"date-parts": [[2021, 4, 12]]},
        "DOI": "10.5555/limpets_2021.7",
        "URL": "https://doi.org/10.5555/limpets_2021.7",
        "PMID": "12345678",
        "PMCID": "PMC9000001",
        "note": "§3.2. Grip & Temperature, ¶2, sentence 1 (limpets.md:120-180)",
    }
    assert second.keys() == {"id", "type", "title", "note"}


LIMPETS_LISTED = (
    "- Ada Marsh, Bo Lindqvist, Ludwig van Beethoven, World Health Organization (2021). Why Patella vulgata holds on: "
    "DNA & grip in Fucus beds. *Journal of Shore Life*. <https://doi.org/10.5555/limpets_2021.7>\n"
)
LIMPETS_PLACE = (
    "1. [Marsh et al. 2021, §3.2 Grip & Temperature, ¶2](https://doi.org/10.5555/limpets_2021.7), sentence 1 "
    "(`limpets.md:120-180`)\n"
)
LIMPETS_REFERENCES = (
    "   - [1] Quill A. The adhesion of limpets. 1999. [10.5555/quill.1999](https://doi.org/10.5555/quill.1999)\n"
    "   - [2] Brack C. Mucus films.\n"
)


def test_an_answer_as_markdown() -> None:
    assert render(answer([LIMPETS], [KETTLES]), "markdown") == (
        "**The papers say:**\n\n"
        "> [1] Grip fell by half \\[1,2\\].\n\n"
        f"{LIMPETS_PLACE}{LIMPETS_REFERENCES}\n"
        f"**Papers**\n\n{LIMPETS_LISTED}"
    )


def test_a_search_as_markdown() -> None:
    kettle = citation(
        paper_id="k", title="What of it?", exact="Boil it:\n\n- once\n- twice", label="Kettle", source="a `b`.md"
    )
    assert render(search([LIMPETS, kettle]), "markdown") == (
        f"{LIMPETS_PLACE}\n   > Grip fell by\n   > half \\[1,2\\].\n\n{LIMPETS_REFERENCES}\n"
        "2. Kettle, sentence 1 (`` a `b`.md:0-0 ``)\n\n   > Boil it:\n   >\n   > \\- once\\\n   > \\- twice\n\n"
        f"**Papers**\n\n{LIMPETS_LISTED}- What of it?\n"
    )


def test_search_results_of_an_answer_that_is_none_quite() -> None:
    said, result = search_results(answer([KETTLES], status="partial"), "https://papers.example.org")
    assert said == Text("The papers touch on this. The nearest sentences:")
    assert isinstance(result, SearchResult)
    whole = answer([KETTLES])
    reported = replace(whole, quotes=(replace(whole.quotes[0], basis="reported"),))
    (result,) = search_results(reported, "https://papers.example.org")
    assert isinstance(result, SearchResult)
    assert result.title == f"{KETTLES.label} (reported of others)"


def test_search_results_of_a_table_are_its_rows() -> None:
    rows = "| Osteoporosis | 19.8% (11) | 28.9% (7) |\n| None. | 1 | 2 |"
    (result,) = search_results(search([replace(KETTLES, exact=rows)]), "https://papers.example.org")
    assert isinstance(result, SearchResult)
    assert [each.text for each in result.content] == rows.split("\n")


@pytest.mark.parametrize(
    ("reply", "begins"),
    [
        (
            answer([], [KETTLES], "not_found", "none"),
            "**These papers do not seem to say. The nearest passages:**\n\n1. ",
        ),
        (answer([], [], "not_found", "none"), "**These papers do not seem to say.**\n"),
        (answer([KETTLES], [], "partial"), "**The papers touch on this. The nearest sentences:**\n\n> [1] Vinegar.\n"),
        (
            answer([KETTLES], [], kind="generated"),
            "**Written by a model. Each quote was found in its source; the wording is the model's.**\n\nSaid \\[1\\].",
        ),
        (search([]), "**No passage fits.**\n"),
    ],
)
def test_the_status_comes_first(reply: Answer | SearchReply, begins: str) -> None:
    assert render(reply, "markdown").startswith(begins)


@pytest.mark.parametrize("fields", [{"title": "0"}, {"title": "T", "authors": ("1",)}])
def test_a_number_with_the_full_stop_behind_it_begins_no_list(fields: dict[str, Any]) -> None:
    page = MARKDOWN.parse(export([citation(**fields)], "markdown"))
    assert [each.type for each in page].count("list_item_open") == 1


@pytest.mark.parametrize(("style", "empty"), [("bibtex", ""), ("ris", ""), ("csl-json", "[]\n"), ("markdown", "")])
def test_what_cites_nothing_exports_nothing(style: Style, empty: str) -> None:
    assert export([], style) == empty
    if style != "markdown":
        assert render(answer([], [KETTLES], "not_found", "none"), style) == empty


@pytest.mark.parametrize("style", ["bibtex", "ris", "csl-json"])
def test_an_answer_lists_its_quotes_papers_and_a_search_its_hits(style: Style) -> None:
    assert render(answer([LIMPETS], [KETTLES]), style) == export([LIMPETS], style)
    assert render(search([KETTLES, LIMPETS]), style) == export([KETTLES, LIMPETS], style)


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"authors": ("Jürgen Łukasz Çelik",), "year": 2004, "title": "The *β*-catenin"}, "celik2004catenin"),
        ({"authors": ("Rob B. van der Luijt",), "year": 2019, "title": "On NF-κB"}, "vanderluijt2019nfb"),
        ({"authors": ("王伟",), "year": 2020, "title": "骨", "paper_id": "PMC7"}, "pmc7"),
        ({"authors": (), "year": None, "title": "骨", "paper_id": "骨"}, "paper"),
    ],
)
def test_keys(fields: dict[str, Any], key: str) -> None:
    assert csl_items(export([citation(**fields)], "csl-json"))[0]["id"] == key


def test_papers_that_would_share_a_key_have_one_each_whatever_their_order() -> None:
    one, two, three = (
        citation(paper_id=name, authors=("Bo Li",), year=2007, title=title)
        for name, title in (("A", "Mouse"), ("B", "mouse tail"), ("C", "Mousea"))
    )
    keys = {each["title"]: each["id"] for each in csl_items(export([two, three, one], "csl-json"))}
    assert keys == {"Mouse": "li2007mouse-a", "mouse tail": "li2007mouse-b", "Mousea": "li2007mousea"}
    many = [citation(paper_id=f"{n:03}", title="Same") for n in range(60)]
    numbered = [each["id"] for each in csl_items(export(many, "csl-json"))]
    assert (numbered[25], numbered[26], numbered[-1]) == ("same-z", "same-aa", "same-bh")


@pytest.mark.parametrize(
    ("date", "year", "parts"),
    [
        ("2026-01-31", 2026, [2026, 1, 31]),
        ("2026-01", 2026, [2026, 1]),
        ("2026/1/3", 2026, [2026, 1, 3]),
        ("30 March 2007", 2007, [2007, 3, 30]),
        ("Mar 3rd, 2007", 2007, [2007, 3, 3]),
        ("2007 Sept", 2007, [2007, 9]),
        ("2007-02-30", 2007, [2007]),
        ("Spring 2007", 2007, [2007]),
        ("2014", 2014, [2014]),
    ],
)
def test_dates(date: str, year: int, parts: list[int]) -> None:
    cited = citation(paper_id="A", title="A", date=date, year=year)
    assert csl_items(export([cited], "csl-json"))[0]["issued"] == {"date-parts": [parts]}
    (entry,) = parse_string(export([cited], "bibtex"), "bibtex").entries.values()
    assert [entry.fields.get(name) is not None for name in ("year", "month", "day")] == [
        n < len(parts) for n in range(3)
    ]


@pytest.mark.parametrize(
    ("author", "name"),
    [
        ("Robert C De Lisle", Name("De Lisle", "Robert C", "", is_whole=False)),
        ("Martie Van der Walt", Name("Van der Walt", "Martie", "", is_whole=False)),
        ("Cornelis van ‘t Veer", Name("van ‘t Veer", "Cornelis", "", is_whole=False)),
        ("de Barros, Bruno de Cássio", Name("de Barros", "Bruno de Cássio", "", is_whole=False)),
        ("Fournier J. M.", Name("Fournier", "J. M.", "", is_whole=False)),
        ("Valverde Franco G", Name("Valverde Franco", "G", "", is_whole=False)),
        ("王 伟", Name("王", "伟", "", is_whole=False)),
        ("King, Martin, Jr.", Name("King", "Martin", "Jr.", is_whole=False)),
        ("Martin King, Jr.", Name("King", "Martin", "Jr.", is_whole=False)),
        ("**Ada Marsh**^1,2^†", Name("Marsh", "Ada", "", is_whole=False)),
        ("The RECOVERY Collaborative Group", Name("The RECOVERY Collaborative Group", "", "", is_whole=True)),
        ("Physicians for Peace", Name("Physicians for Peace", "", "", is_whole=True)),
        ("", Name("", "", "", is_whole=True)),
    ],
)
def test_names(author: str, name: Name) -> None:
    assert read_name(author) == name


@pytest.mark.parametrize(
    ("title", "kept"),
    [
        ("Loss of Sam68 and the RNA of Aβ in Mice", "Loss of {Sam68} and the {RNA} of {Aβ} in Mice"),
        ("Vitamin D in adults from Mauritius", "Vitamin {D} in adults from {Mauritius}"),
        ("The NF-κB Pathway: mRNA Turnover of Old Men", "The {NF}-{κB} Pathway: {mRNA} Turnover of Old Men"),
    ],
)
def test_capitals_that_styles_must_keep(title: str, kept: str) -> None:
    (entry,) = parse_string(export([citation(title=title)], "bibtex"), "bibtex").entries.values()
    assert entry.fields["title"] == kept


def test_people_and_bodies_in_bibtex() -> None:
    authors = ("Tom van der Poll", "Martin King Jr.", "Centers for Disease Control and Prevention", "A and B, C", "WHO")
    (entry,) = parse_string(export([citation(title="T", authors=authors)], "bibtex"), "bibtex").entries.values()
    parts = [(each.prelast_names, each.last_names, each.lineage_names) for each in entry.persons["author"]]
    assert parts == [
        (["van", "der"], ["Poll"], []),
        ([], ["King"], ["Jr."]),
        ([], ["{Centers for Disease Control and Prevention}"], []),
        ([], ["{A and B}"], []),
        ([], ["{WHO}"], []),
    ]


# Properties: whatever papers say


NASTY = (
    "}\n@article{x,\n title = {",
    "@comment{",
    "@string(a",
    "\r\nER  - \r\nTY  - JOUR\r\n",
    "\\end{document}",
    '{\\"u}',
    "and others",
    " and ",
    ", Jr., ",
    "<script>alert(1)</script>",
    "<!-- ",
    "![x](http://evil)",
    "[a]: http://evil\n",
    "\n# heading\n",
    "\n```\ncode",
    "\n|a|b|\n|-|-|\n|c|d|\n",
    "\n===\n",
    "\n---\n",
    "\n1. item\n   - item",
    "\n> quote",
    "\n    code",
    "&lt;b&gt; &#10; &copy;",
    "\u200f\u202eabc\u2066",
    "NF-κB β-catenin 😀 é",
    "\x1b[31m\x00\x85\u2028",
    '"" %s $x$ #1 _a_ ~b~ ^c^',
)
TEXTS = st.lists(st.one_of(st.text(max_size=20), st.sampled_from(NASTY)), max_size=4).map("".join)
NAMED = TEXTS.map(lambda text: f"x{text}")
CITATIONS = st.lists(
    st.builds(
        citation,
        paper_id=st.sampled_from("ABCD"),
        title=TEXTS,
        authors=st.lists(NAMED, max_size=3).map(tuple),
        year=st.none() | st.integers(1, 9999),
        journal=TEXTS,
        date=TEXTS | st.dates().map(str),
        doi=TEXTS,
        url=TEXTS | NAMED.map(lambda text: f"https://{text}"),
        pmid=TEXTS,
        pmcid=TEXTS,
        section=st.lists(TEXTS, max_size=2).map(tuple),
        exact=TEXTS,
        source=TEXTS,
        label=TEXTS,
        links=st.sampled_from(("", "https://doi.org/", "javascript:")).flatmap(
            lambda start: TEXTS.map(lambda text: Links(f"{start}{text}", ""))
        ),
        references=st.lists(st.builds(CitedReference, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS), max_size=2).map(tuple),
    ),
    min_size=1,
    max_size=5,
)
COMMANDS = {
    "textbackslash": "\\",
    "textbraceleft": "{",
    "textbraceright": "}",
    "textasciitilde": "~",
    "textasciicircum": "^",
    "textless": "<",
    "textgreater": ">",
    "textbar": "|",
}


def first_of_each(citations: Sequence[Citation]) -> list[Citation]:
    first: dict[str, Citation] = {}
    for each in citations:
        first.setdefault(each.paper_id, each)
    return list(first.values())


def unescaped(value: str) -> str:
    """What LaTeX prints of a field."""
    pieces = re.split(r"\{\\(text[a-z]+)\}|\\([&%$#_])|[{}]", value)
    texts, commands, characters = pieces[::3], pieces[1::3], pieces[2::3]
    between = [COMMANDS[command] if command else each or "" for command, each in zip(commands, characters, strict=True)]
    return "".join(text + special for text, special in zip(texts, [*between, ""], strict=True))


def csl_items(text: str) -> list[dict[str, Any]]:
    """The items, each valid after the CSL 1.0 data schema, with no other property than its own."""
    items: list[dict[str, Any]] = json.loads(text)
    known = {field.alias or name for name, field in Reference.model_fields.items()}
    of_name = {field.alias or name for name, field in NameVariable.model_fields.items()}
    for item in items:
        Reference.model_validate_json(json.dumps(item), strict=True)
        assert item.keys() <= known
        assert all(name.keys() <= of_name for name in item.get("author", []))
        assert item.get("issued", {}).keys() <= {"date-parts"}
        assert all(1 <= len(parts) <= 3 for parts in item.get("issued", {"date-parts": []})["date-parts"])
    return items


def check_bibtex(citations: list[Citation]) -> None:
    text = export(citations, "bibtex")
    papers = first_of_each(citations)
    read: BibliographyData = parse_string(text, "bibtex")
    assert len(read.entries) == len(papers)
    for paper, entry in zip(papers, read.entries.values(), strict=True):
        assert re.fullmatch(r"[a-z0-9]+(?:-[a-z]+)?", entry.key)
        assert unescaped(entry.fields["title"]) == (plain(paper.title) or paper.paper_id)
        assert unescaped(entry.fields.get("journal", "")) == plain(paper.journal)
        assert len(entry.persons.get("author", [])) == len(paper.authors)
        fields = {"title", "journal", "year", "month", "day", "doi", "url", "pmid", "pmcid", "note"}
        assert set(entry.fields) <= fields
    library = bibtexparser.parse_string(text)
    assert not library.failed_blocks
    assert [entry.key for entry in library.entries] == list(read.entries)
    assert len(library.blocks) == len(papers)
    titles = [entry.fields_dict["title"].value for entry in library.entries]
    assert titles == [entry.fields["title"] for entry in read.entries.values()]


def check_ris(citations: list[Citation]) -> None:
    text = export(citations, "ris")
    papers = first_of_each(citations)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", text.replace("\r\n", ""))
    assert all(re.match(r"[A-Z][A-Z0-9]  - ", line) for line in text.split("\r\n")[:-1])
    read = rispy.loads(text)
    assert [entry.get("title") for entry in read] == [plain(each.title) or each.paper_id for each in papers]
    assert [len(entry.get("authors", [])) for entry in read] == [len(each.authors) for each in papers]
    assert len({entry["id"] for entry in read}) == len(papers)
    notes = {note for entry in read for note in entry["notes"]}
    for each in citations:
        assert any(f"“{one_line(each.exact)}”" in note for note in notes) or not each.exact


def check_csl_json(citations: list[Citation]) -> None:
    items = csl_items(export(citations, "csl-json"))
    papers = first_of_each(citations)
    assert [item["title"] for item in items] == [plain(each.title) or each.paper_id for each in papers]
    assert [len(item.get("author", [])) for item in items] == [len(each.authors) for each in papers]
    assert len({item["id"] for item in items}) == len(papers)
    assert all(not re.search(r"[\x00-\x1f\x7f-\x9f]", str(value)) for item in items for value in item.values())


@settings(deadline=None)
@given(CITATIONS)
def test_bibliographies_read_back(citations: list[Citation]) -> None:
    check_bibtex(citations)
    check_ris(citations)
    check_csl_json(citations)
    keys = [item["id"] for item in csl_items(export(citations, "csl-json"))]
    assert keys == list(parse_string(export(citations, "bibtex"), "bibtex").entries)
    assert keys == [entry["id"] for entry in rispy.loads(export(citations, "ris"))]


MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEXT = {"text", "softbreak", "hardbreak"}


def quoted(page: str) -> list[str]:
    """What a reader sees in the page's block quotes."""
    texts: list[str] = []
    depth = 0
    for token in MARKDOWN.parse(page):
        depth += (token.type == "blockquote_open") - (token.type == "blockquote_close")
        if token.type == "blockquote_open":
            texts.append("")
        if depth and token.type == "inline":
            assert {child.type for child in token.children or ()} <= TEXT
            texts[-1] += " ".join(("", *(child.content for child in token.children or ())))
        elif depth:
            assert token.type in ("blockquote_open", "paragraph_open", "paragraph_close")
    return [" ".join(text.split()) for text in texts]


@settings(deadline=None)
@given(CITATIONS)
def test_a_page_shows_what_papers_say_and_nothing_else(citations: list[Citation]) -> None:
    page = render(answer(citations), "markdown")
    assert quoted(page) == [f"[{n}] {one_line(each.exact)}".strip() for n, each in enumerate(citations, 1)]
    assert_is_made_of_lists(page, citations)
    page = render(search(citations), "markdown")
    assert quoted(page) == [one_line(each.exact) for each in citations]
    assert_is_made_of_lists(page, citations)


def assert_is_made_of_lists(page: str, citations: Sequence[Citation]) -> None:
    """One numbered list of the places, one list of the papers, and no mark-up but the page's own."""
    tokens = MARKDOWN.parse(page)
    kinds = [(each.type, each.level) for each in tokens]
    assert kinds.count(("ordered_list_open", 0)) == kinds.count(("bullet_list_open", 0)) == 1
    references = [{(each.number, each.text, each.doi) for each in cited.references} for cited in citations]
    papers = {each.paper_id for each in citations}
    items = [each for each in tokens if each.type == "list_item_open"]
    assert len(items) == len(citations) + sum(map(len, references)) + len(papers)
    known = "paragraph ordered_list bullet_list list_item blockquote".split()
    assert {each.type for each in tokens} <= {
        "inline",
        *(f"{kind}_{end}" for kind in known for end in ("open", "close")),
    }
    inline = [child for each in tokens for child in each.children or ()]
    links = [each.attrs["href"] for each in inline if each.type == "link_open"]
    assert {each.type for each in inline} <= TEXT | {
        "strong_open",
        "strong_close",
        "em_open",
        "em_close",
        "link_open",
        "link_close",
        "code_inline",
    }
    assert all(str(link).startswith(("https://", "http://")) for link in links)
    spans = [one_line(each.span) for each in citations]
    assert [each.content for each in inline if each.type == "code_inline"] == spans
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", page)


@pytest.mark.parametrize("title", ["Kettles gather limescale", "[Retracted] Kettles gather limescale"])
def test_a_bibliography_says_that_a_paper_is_retracted(title: str) -> None:
    (entry,) = read_entries([citation(paper_id="a", title=title, authors=("Ada Marsh",), notices=("retracted",))])
    assert entry.title in ("RETRACTED: Kettles gather limescale", "[Retracted] Kettles gather limescale")
    (other,) = read_entries([citation(paper_id="a", title="Kettles", authors=("Ada Marsh",), notices=("corrected",))])
    assert other.title == "Kettles"
