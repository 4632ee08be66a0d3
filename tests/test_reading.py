"""What a question is taken to ask: acronyms, short and long forms, names from records, Greek letters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer.build import build
from indexer.config import BuildConfig
from indexer.store import IndexReader, IndexWriter
from indexer.store.embedded.folder import DATABASE
from indexer.terms import greek_spellings, terms
from service.library import Library
from service.query import Filters, Query
from service.reading import Question, read_question
from tests.databases import opened
from tests.fakes import WordEmbedder

CONFIG = BuildConfig(model="words", max_wordpieces=48, merge_below=0)

RECORD = """# Bone and its signals

PMC7001 · Journal · 2026-01-31

## Abstract

Bone loss follows RANKL and OPG. The Wnt/β-catenin pathway builds bone.

## Linked entities

- **Proteins:** TNFSF11 (TNF superfamily member 11), ctnnb1.S (catenin beta 1 S homeolog)

## Full-text entities

- **Genes:** CTNNB1 (catenin beta 1) [NCBI Gene 1499] {aka CTNNB, armadillo}, TNFSF11 [NCBI Gene 8600] {aka ODF, RANKL}
"""
SUGAR = """# Sugar in old bone

PMC7002 · Journal · 2020-01-31

## Results

Advanced glycation end products (AGEs) stiffen collagen. AGEs and the WNT signal were measured.

At the age of ten years the age of bone was measured with TNFSF11 in blood.

Old age is the age at which Wnt falls, and Wnt rises again with the Wnt ligands at any age.
"""
SKIN = """# Skin

PMC7003 · Journal · 2021-01-31

## Results

Atopic dermatitis (AD) itches. In AD the skin is dry.
"""
MIND = """# Mind

PMC7004 · Journal · 2022-01-31

## Results

Alzheimer's disease (AD) takes memory. Amyloid is found in AD brains.
"""
MIND_TOO = MIND.replace("PMC7004", "PMC7005").replace("takes memory", "ends badly")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    papers = tmp_path_factory.mktemp("papers")
    for n, text in enumerate((RECORD, SUGAR, SKIN, MIND, MIND_TOO)):
        (papers / f"{n}.md").write_text(text, encoding="utf-8")
    folder = tmp_path_factory.mktemp("reading") / "index"
    report = build([papers], folder, WordEmbedder(max_wordpieces=128), CONFIG)
    assert not report.failed
    return folder


@pytest.fixture(scope="module")
def reader(folder: Path) -> Iterator[IndexReader]:
    reader = IndexReader(folder)
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def library(folder: Path) -> Iterator[Library]:
    library = Library.open(folder, load=lambda name: WordEmbedder(name, max_wordpieces=128))
    yield library
    library.close()


def read(reader: IndexReader, text: str, *paper_ids: str) -> Question:
    with reader.snapshot() as snapshot:
        return read_question(snapshot, text, paper_ids)


def shown(question: Question) -> list[tuple[str, str, str]]:
    return [(each.term, each.expansion, each.source) for each in question.expansions]


def test_a_short_form_is_read_by_the_papers_definition(reader: IndexReader) -> None:
    question = read(reader, "How do AGEs stiffen bone?")
    assert question.readings == (
        (("^age",), ("stiffen",), ("bone",)),
        (("advanc glycat end product",), ("stiffen",), ("bone",)),
    )
    assert shown(question) == [("AGEs", "Advanced glycation end products", "PMC7002")]
    assert question.embedded == ("How do Advanced glycation end products stiffen bone?",)  # "ages" would mislead


@pytest.mark.parametrize("text", ["at what age", "the age of bone", "aging", "Age of onset"])
def test_a_word_that_looks_like_a_short_form_is_a_word(reader: IndexReader, text: str) -> None:
    question = read(reader, text)
    assert len(question.readings) == 1
    assert not any("^" in phrase for slot in question.readings[0] for phrase in slot)
    assert question.expansions == ()


def test_a_long_form_is_read_by_its_short_one_too(reader: IndexReader) -> None:
    question = read(reader, "advanced glycation end products in collagen")
    assert question.readings[1] == (("^age",), ("collagen",))
    assert shown(question) == [("advanced glycation end products", "AGE", "PMC7002")]
    assert question.embedded == ("advanced glycation end products in collagen",)


def test_a_question_that_says_both_is_read_once(reader: IndexReader) -> None:
    assert len(read(reader, "advanced glycation end products (AGEs)").readings) == 1


def test_most_papers_decide_and_named_papers_for_themselves(reader: IndexReader) -> None:
    assert shown(read(reader, "what helps in AD")) == [("AD", "Alzheimer's disease", "PMC7004")]
    assert shown(read(reader, "what helps in AD", "PMC7003")) == [("AD", "Atopic dermatitis", "PMC7003")]
    assert shown(read(reader, "what helps in AD", "PMC7003", "PMC7004")) != []
    assert shown(read(reader, "what helps in AD", "PMC7001")) == []


def test_a_short_form_counts_only_where_it_means_the_same(library: Library) -> None:
    hits = library.search(Query("Alzheimer's disease", 10)).hits
    lexical = {hit.text: hit.scores.lexical for hit in hits}
    assert lexical["Alzheimer's disease (AD) takes memory. Amyloid is found in AD brains."] > 0
    assert lexical["Atopic dermatitis (AD) itches. In AD the skin is dry."] == 0


def test_names_of_a_record_find_each_other(library: Library) -> None:
    for asked, other in (("TNFSF11", "RANKL"), ("RANKL", "TNFSF11"), ("RANKL ligand", "TNFSF11")):
        reply = library.search(Query(asked, 3))
        assert [(each.expansion, each.source) for each in reply.expansions] == [(other, "PMC7001")]
        assert {hit.citation.paper_id for hit in reply.hits[:2]} == {"PMC7001", "PMC7002"}
        assert all(hit.scores.lexical > 0 for hit in reply.hits[:2])


def test_names_that_stand_in_no_paper_are_not_put_in(reader: IndexReader) -> None:
    assert shown(read(reader, "RANKL")) == [("RANKL", "TNFSF11", "PMC7001")]  # not ODF
    assert shown(read(reader, "armadillo")) == []
    assert read(reader, "TNFSF11").embedded == ("TNFSF11", "RANKL")  # the paper's own name says most
    assert read(reader, "RANKL").embedded == ("RANKL",)


@pytest.mark.parametrize("text", ["β-catenin", "beta-catenin", "beta catenin", "Beta-Catenin", "β catenin"])
def test_spellings_rank_alike(library: Library, text: str) -> None:
    wanted = library.search(Query("β-catenin", 10)).hits
    found = library.search(Query(text, 10)).hits
    if text[0] != "B":  # the model of this test takes case for a difference in nothing, but `Catenin` is embedded so
        assert [(hit.passage_id, hit.score) for hit in found] == [(hit.passage_id, hit.score) for hit in wanted]
    assert found[0].citation.paper_id == "PMC7001"
    assert "β-catenin" in found[0].text


def test_an_acronym_that_papers_also_write_as_a_word_is_both(reader: IndexReader) -> None:
    assert read(reader, "the WNT signal").readings[0][0] == ("^wnt", "wnt")
    assert read(reader, "rankl").readings[0] == (("rankl", "^rankl"),)
    assert read(reader, "NOWHERE AT").readings[0] == (("nowher",),)


def test_a_numbered_acronym_is_one_slot(reader: IndexReader) -> None:
    for text in ("TNFSF11 in blood", "TNFSF-11 in blood", "tnfsf11 in blood"):
        assert read(reader, text).readings[0][0][-1] == "^tnfsf 11"


def test_a_number_stays_when_the_letters_before_it_are_named(reader: IndexReader) -> None:
    question = read(reader, "AGE-2 in bone")
    assert question.readings == (
        (("^age 2",), ("bone",)),
        (("advanc glycat end product",), ("2",), ("bone",)),
    )


@pytest.mark.parametrize(
    ("text", "embedded", "term"),
    [
        ("do AGEs link type I collagen?", "do Advanced glycation end products link type I collagen?", "AGEs"),
        ("does vitamin A lower AGEs?", "does vitamin A lower Advanced glycation end products?", "AGEs"),
        ("anti-AGE drugs", "anti-Advanced glycation end products drugs", "AGE"),
        ("AGE-induced loss", "Advanced glycation end products-induced loss", "AGE"),
        ("(AGEs)/bone", "(Advanced glycation end products)/bone", "AGEs"),
        ("ﬁbre AGEs", "ﬁbre Advanced glycation end products", "AGEs"),
    ],
)
def test_only_the_name_itself_is_replaced(reader: IndexReader, text: str, embedded: str, term: str) -> None:
    question = read(reader, text)
    assert question.embedded == (embedded,)
    assert shown(question) == [(term, "Advanced glycation end products", "PMC7002")]


def test_two_names_in_one_word(reader: IndexReader) -> None:
    question = read(reader, "AGEs/AD")
    assert question.embedded[-1] == "Advanced glycation end products/Alzheimer's disease"


def test_a_word_in_small_letters_is_no_short_form(tmp_path: Path) -> None:
    """Not even where the papers have the short form and never the word."""
    (tmp_path / "1.md").write_text(
        "# T\n\n## R\n\nAdvanced glycation end products (AGEs) form. AGEs stay. Gene ontology (GO) terms. GO again.\n\n"
        + "".join(f"AGEs and GO are in passage {n}.\n\n" for n in range(30)),
        encoding="utf-8",
    )
    build([tmp_path / "1.md"], tmp_path / "index", WordEmbedder(max_wordpieces=128), CONFIG)
    reader = IndexReader(tmp_path / "index")
    for text in ("how does aging change it", "aged rats", "old age", "where does it go"):
        assert read(reader, text).expansions == ()
        assert read(reader, text).embedded == (text,)
    assert read(reader, "aging").readings == ((("age",),),)
    assert read(reader, "ages").readings == ((("age", "^age"),),)  # by its letters it may be
    reader.close()


def test_parts_can_be_left_out(reader: IndexReader) -> None:
    with reader.snapshot() as snapshot:
        assert len(read_question(snapshot, "AGEs and RANKL").expansions) == 2
        assert shown(read_question(snapshot, "AGEs and RANKL", abbreviations=False)) == [
            ("RANKL", "TNFSF11", "PMC7001")
        ]
        assert [each.term for each in read_question(snapshot, "AGEs and RANKL", aliases=False).expansions] == ["AGEs"]


def test_the_reply_shows_what_was_put_in(library: Library) -> None:
    answer = library.ask("AGEs stiffen collagen", filters=Filters())
    assert [(each.term, each.expansion) for each in answer.expansions] == [("AGEs", "Advanced glycation end products")]
    assert answer.quotes[0].text.startswith("Advanced glycation end products (AGEs) stiffen")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    words=st.lists(
        st.sampled_from("AGEs AD β-catenin RANKL IL-6 TNFSF11 what is the age of bone? advanced glycation end".split()),
        max_size=12,
    ),
    noise=st.text(max_size=10),
)
def test_any_text_can_be_read(reader: IndexReader, words: list[str], noise: str) -> None:
    question = read(reader, " ".join([*words, noise]))
    phrases = {phrase for reading in question.readings for slot in reading for phrase in slot}
    assert phrases == question.weights.keys()
    assert all(slot for reading in question.readings for slot in reading)
    assert 1 <= len(question.readings) <= 2
    assert question.embedded


@given(st.text())
def test_greek_spellings_have_the_same_terms(text: str) -> None:
    assert {tuple(terms(each.lower())) for each in greek_spellings(text.lower())} == {tuple(terms(text.lower()))}


def test_names_go_with_their_paper(folder: Path, tmp_path: Path) -> None:
    """Stored with offsets into the source; taken out with the paper."""
    copy = tmp_path / "index"
    copy.mkdir()
    (copy / DATABASE).write_bytes((folder / DATABASE).read_bytes())
    connection = opened(copy / DATABASE)
    rows = connection.execute("SELECT short, short_start, short_end, long, long_start, long_end FROM abbreviations")
    spans = {short: (SUGAR[a:b], long, SUGAR[c:d]) for short, a, b, long, c, d in rows if short == "AGE"}
    assert spans == {"AGE": ("AGEs", "Advanced glycation end products", "Advanced glycation end products")}
    assert connection.execute("SELECT count(*) FROM aliases").fetchone()[0] > 2
    connection.close()
    with IndexWriter(copy, None) as writer:
        for paper_id in ("PMC7001", "PMC7002", "PMC7003", "PMC7004", "PMC7005"):
            writer.remove(paper_id)
        writer.commit()
    connection = opened(copy / DATABASE)
    assert connection.execute("SELECT count(*) FROM aliases").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM abbreviations").fetchone() == (0,)
    connection.close()
