"""Labels for people, and the references that a cited text leans on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from indexer.papers import Reference
from indexer.store import IndexReader, StoredPassage
from service.cite import Citation, CitedReference, cite, cite_sentence, label
from service.library import Library


@pytest.fixture
def stored(built: Path) -> StoredPassage:
    """The limpets' passage on grip, which leans on both references."""
    reader = IndexReader(built)
    with reader.snapshot() as snapshot:
        found = [each for each in snapshot.passages_of("PMC9000001") if "fell by half" in each.passage.text]
        assert len(found) == 1
    reader.close()
    return found[0]


def references_of(built: Path) -> dict[int, Reference]:
    reader = IndexReader(built)
    with reader.snapshot() as snapshot:
        found = dict(snapshot.references("PMC9000001"))
    reader.close()
    return found


@pytest.mark.parametrize(
    ("authors", "year", "named"),
    [
        (("Chin-Yen Pang", "Li-Ru Chen", "Kuo-Hu Chen"), 2026, "Pang et al. 2026"),
        (("Fournier, Carole", "Ibsen, Dag"), 2019, "Fournier & Ibsen 2019"),
        (("Fournier C",), 2019, "Fournier 2019"),
        (("Ludwig van Beethoven",), None, "van Beethoven"),
        (("Martin King Jr.",), 1963, "King 1963"),
        (("WHO",), 2020, "WHO 2020"),
        ((), 2001, "Why limpets hold on: grip and temperature in a tidal pool 2001"),
    ],
)
def test_label_names_the_authors(stored: StoredPassage, authors: tuple[str, ...], year: int | None, named: str) -> None:
    paper = replace(stored.paper, authors=authors, year=year)
    assert label(paper, ("3. Results", "3.2. AGEs and Bone"), "3.2", 4) == f"{named}, §3.2 AGEs and Bone, ¶4"
    assert label(paper, (), "", 0) == named


def test_a_long_title_stands_in_shortened(stored: StoredPassage) -> None:
    paper = replace(stored.paper, authors=(), year=None, title="word " * 40)
    named = label(paper, (), "", 0)
    assert len(named) <= 60
    assert named.endswith("…")


def test_a_passage_is_cited_with_all_that_it_leans_on(stored: StoredPassage, built: Path) -> None:
    citation = cite(stored, references_of(built))
    assert (citation.section, citation.paragraph) == (("3. Results", "3.2. Grip and Temperature"), 1)
    assert (citation.start, citation.end) == (stored.passage.start, stored.passage.end)
    assert [(each.marker, each.doi) for each in citation.references] == [
        ("[1,2]", "10.5555/quill.1999"),
        ("[1,2]", "10.5555/brack.2007"),
    ]
    assert isinstance(citation.references[0], CitedReference)


def test_a_sentence_is_cited_with_its_own(stored: StoredPassage, built: Path) -> None:
    references = references_of(built)
    cited: list[Citation] = [cite_sentence(stored, references, each) for each in stored.passage.sentences]
    texts = [stored.passage.text[c.start - stored.passage.start : c.end - stored.passage.start] for c in cited]
    leaning = [text for text, citation in zip(texts, cited, strict=True) if citation.references]
    assert len(leaning) == 1
    assert leaning[0].startswith("Grip fell by half")
    assert [citation.sentences for citation in cited if citation.paragraph == 2] == [(1,), (2,), (3,)]


def test_every_quote_of_the_library_reads_in_its_file(library: Library, corpus: Path) -> None:
    for question in ("How strong is the grip of a limpet?", "How fast do lichens grow?", "What descales a kettle?"):
        answer = library.ask(question)
        assert answer.quotes
        for quote in answer.quotes:
            source = (corpus / quote.citation.source).read_bytes().decode()
            assert source[quote.citation.start : quote.citation.end] == quote.text
