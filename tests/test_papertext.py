"""A paper put together again from its passages, citations of its parts, and what its markers name."""

from pathlib import Path

import pytest

from indexer.errors import NotFoundError, UsageError
from indexer.papers import Reference
from indexer.sources import SourceFile, parse_source, read_bytes
from service.cite import CitedReference
from service.library import Library
from service.query import Filters, Query
from service.resolve import resolve


def test_every_block_stands_in_the_source_and_every_content_block_is_there(library: Library, corpus: Path) -> None:
    for summary in library.papers().papers:
        path = corpus / summary.source
        source = path.read_text(encoding="utf-8")
        text = library.text(summary.paper_id)
        for block in text.blocks:
            assert "".join(source[block.start : block.end].split()) == "".join(block.text.split())
            assert len(block.text) == block.end - block.start
            for marker in block.markers:
                assert block.start <= marker.start < marker.end <= block.end
                assert all(number < len(text.references) for number in marker.references)
        parsed = parse_source(SourceFile(path, summary.source), read_bytes(path))
        wanted = [(each.start, each.end, each.section - 1) for each in parsed.blocks if each.paragraph]
        assert [(each.start, each.end, each.section) for each in text.blocks if each.paragraph] == wanted


def test_a_citation_of_a_part_is_that_of_the_quote(library: Library) -> None:
    quote = library.ask("how fast do limpets grip?").quotes[0].citation
    assert library.cite(quote.paper_id, quote.start, quote.end) == quote


def test_what_no_passage_holds_is_not_cited(library: Library) -> None:
    paper_id = library.papers().papers[0].paper_id
    for start, end in ((0, 10**6), (5, 5), (9, 3), (-5, 2), (0, 10**30)):
        with pytest.raises(NotFoundError, match=rf"no passage of {paper_id} holds characters {start} to {end}: "):
            library.cite(paper_id, start, end)


@pytest.mark.parametrize(
    ("marker", "keys"),
    [
        ("[2]", ["2"]),
        ("2", ["2"]),
        ("[1, 3]", ["1", "3"]),
        ("[1–3]", ["1", "2", "3"]),
        ("¹⁻³", ["1", "2", "3"]),
        ("[1]–[3]", ["1", "2", "3"]),
        ("doi:10.1000/x", ["doi:10.1000/x"]),
    ],
)
def test_a_marker_as_people_write_it(marker: str, keys: list[str]) -> None:
    entries = [Reference(key, f"Entry {key}", "", "", 0, 1) for key in ("1", "2", "3", "doi:10.1000/x")]
    assert [each.number for each in resolve(marker, [], entries)] == keys


def test_a_marker_as_the_text_has_it_names_what_it_names_there() -> None:
    cited = [CitedReference("[1-3]", key, f"Entry {key}", "", "") for key in ("7", "8", "9")]
    assert resolve("[1 – 3]", [*cited, *cited], []) == tuple(cited)


@pytest.mark.parametrize("marker", ["[4]", "[1-4]", "Smith 2020", "[3-1]", "[1-9999]"])
def test_an_unknown_marker_says_what_there_is(marker: str) -> None:
    entries = [Reference(key, "", "", "", 0, 1) for key in ("1", "2", "3")]
    with pytest.raises(NotFoundError, match=r"in this paper: its reference list has 3, 1 to 3$"):
        resolve(marker, [], entries)


def test_references_of_a_passage_and_of_a_paper(library: Library) -> None:
    reply = library.references("PMC9000001", "[1, 2]")
    assert [(each.marker, each.number, each.doi) for each in reply.references] == [
        ("[1,2]", "1", "10.5555/quill.1999"),
        ("[1,2]", "2", "10.5555/brack.2007"),
    ]
    first = library.paper("PMC9000001").passage_ids[0]
    with pytest.raises(NotFoundError, match="is a passage of another paper than kettle_notes"):
        library.references("kettle_notes", "[1]", passage_id=first)
    with pytest.raises(NotFoundError, match=r"'\[\]' is no marker: give it as it stands"):
        library.references("PMC9000001", "[]")
    assert library.references("PMC9000001", "2", passage_id=first).references[0].doi == "10.5555/brack.2007"
    with pytest.raises(NotFoundError, match="no reference '3' in this paper: its reference list has 2, 1 to 2"):
        library.references("PMC9000001", "[1-3]")
    with pytest.raises(NotFoundError, match="is not in its file"):
        library.references("PMC9000004", "[1]")


def test_papers_in_every_order(library: Library) -> None:
    papers = library.papers().papers
    keys = {
        "paper_id": lambda each: each.paper_id,
        "title": lambda each: (each.title.lower(), each.paper_id),
        "year": lambda each: (-(each.year or 0), each.paper_id),
        "journal": lambda each: (each.journal.lower(), each.paper_id),
    }
    for order, key in keys.items():
        listed, cursor = [], ""
        while cursor is not None:
            page = library.papers(sort=order, cursor=cursor, limit=1)  # type: ignore[arg-type]
            listed += page.papers
            cursor = page.next_cursor
        assert listed == sorted(papers, key=key)
        with pytest.raises(UsageError, match="the cursor names no paper of this index"):
            library.papers(sort=order, cursor="gone")  # type: ignore[arg-type]


def test_a_number_of_two_lists_names_both() -> None:
    entries = [Reference(key, f"Entry {n}", "", "", 0, 1) for n, key in enumerate(("1", "", "1", "2"))]
    assert [each.text for each in resolve("[1-2]", [], entries)] == ["Entry 0", "Entry 2", "Entry 3"]


def test_a_doi_is_an_id(library: Library) -> None:
    by_id, by_doi = (library.text(each) for each in ("10.5555_lichen.2019.3", "10.5555/lichen.2019.3"))
    assert by_id == by_doi
    passage_id = library.paper("10.5555/lichen.2019.3").passage_ids[0]
    assert library.passage(passage_id.replace("_", "/")).passage.passage_id == passage_id
    found = library.search(Query("slow growth", filters=Filters(("10.5555/lichen.2019.3",)))).hits
    assert {hit.citation.paper_id for hit in found} == {"10.5555_lichen.2019.3"}
