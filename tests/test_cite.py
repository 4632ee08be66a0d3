"""Labels for people, and the references that a cited text leans on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from indexer.papers import Reference
from indexer.store import IndexReader, StoredPassage
from service.cite import Citation, CitedReference, cite, cite_sentences, label
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
        (("World Health Organization",), 2020, "World Health Organization 2020"),
        (("Oxana Norkina", "Robert C De Lisle"), 2005, "Norkina & De Lisle 2005"),
        (("Dalia El Khoury", "A", "B"), 2018, "El Khoury et al. 2018"),
        (("Martie Van der Walt",), 2012, "Van der Walt 2012"),
        (("Fournier J. M.",), 2019, "Fournier 2019"),
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
    entry = (
        "Quill A, Tern B. The adhesion of limpets, measured at last. J Shore Life. 1999;4:11-19. doi:10.5555/quill.1999"
    )
    assert citation.references[0] == CitedReference("[1,2]", "1", entry, "10.5555/quill.1999", "")
    assert citation.links.doi == "https://doi.org/10.5555/limpets.2021.7"
    assert (
        citation.links.reader
        == f"/papers/PMC9000001?start={citation.start}&end={citation.end}&of={citation.source_sha256[:12]}#cited"
    )


def test_a_sentence_is_cited_with_its_own(stored: StoredPassage, built: Path) -> None:
    references = references_of(built)
    cited: list[Citation] = [cite_sentences(stored, references, [each]) for each in stored.passage.sentences]
    texts = [stored.passage.text[c.start - stored.passage.start : c.end - stored.passage.start] for c in cited]
    leaning = [text for text, citation in zip(texts, cited, strict=True) if citation.references]
    assert len(leaning) == 1
    assert leaning[0].startswith("Grip fell by half")
    assert [citation.sentences for citation in cited if citation.paragraph == 2] == [(1,), (2,), (3,)]
    assert [citation.exact for citation in cited] == texts
    surroundings = [f"{citation.prefix}{citation.exact}{citation.suffix}" for citation in cited]
    assert all(each in stored.passage.text for each in surroundings)
    assert (cited[0].prefix, cited[-1].suffix) == ("", "")
    assert all(len(citation.suffix) == 32 for citation in cited[:-1])


def test_sentences_in_a_row_are_cited_as_one(stored: StoredPassage, built: Path) -> None:
    first, second = stored.passage.sentences[1:3]
    citation = cite_sentences(stored, references_of(built), [first, second])
    assert (citation.start, citation.end, citation.sentences) == (first.start, second.end, (1, 2))


def test_every_quote_of_the_library_reads_in_its_file(library: Library, corpus: Path) -> None:
    for question in ("How strong is the grip of a limpet?", "How fast do lichens grow?", "What descales a kettle?"):
        answer = library.ask(question)
        assert answer.quotes
        for quote in answer.quotes:
            source = (corpus / quote.citation.source).read_bytes().decode()
            assert source[quote.citation.start : quote.citation.end] == quote.text
