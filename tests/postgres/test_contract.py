"""The contract of a store, of a folder, one server and two shards: what is read, against oracles and each other."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.build import build
from indexer.chunking import chunk
from indexer.embedding import PassageVectors
from indexer.errors import NotFoundError, UsageError
from indexer.markdown import parse_markdown
from indexer.papers import Abbreviation, AliasGroup
from indexer.store import Alias, Definition, IndexPlace, Reader, Selection, Snapshot, Writer, open_reader, open_writer
from indexer.store.postgres import snapshot as postgres_snapshot
from indexer.store.postgres import writer as postgres_writer
from indexer.store.postings import FTS_WEIGHTS
from indexer.terms import terms
from tests.fakes import WordEmbedder
from tests.postgres.saying import (
    CONFIG,
    EMBEDDER,
    KINDS,
    MANIFEST,
    ORDERS,
    Kind,
    assert_alike,
    bm25,
    cosines,
    fresh_place,
    passage_ids,
    reading,
    spread,
)
from tests.postgres.servers import Server
from tests.test_store import PHRASES, WORDS, write_papers
from tests.test_versions import FULL, JATS, PREPRINT

SEED = Path(__file__).parents[2] / "data" / "PMC12898183.md"
ODD = f"""---
title: "{"Long titles of limpets " * 250}50% of 'all' \\"said\\"?"
pmcid: PMC4300
date: 2011
---

# Odd

## Methods of {"x" * 3000}

A word of ten thousand letters: {"abcdefghij" * 1000}. It's 100 % "sure"? So \\% said `C:\\new\\table` and $1 {{}} %s.

Astral \U0001d6fc and \U0001f9b4 bones, bidi \u202eenob\u202c \u05d0\u05d1 and \u0628; nothing \ufdd0 or
\U0010fffe0 \U0010fffe1.

## Results

{"Filler of the sample, one of many words. " * 210}

A NUL \0 in the middle, \0\0 two more, \U0010fffe\0 and \0\U0010fffe.
"""


def write_corpus(folder: Path) -> None:
    """Plain papers, odd ones, a paper of several files and formats, one without passages, and one that is none."""
    write_papers(folder)
    (folder / "phrases.md").write_text(PHRASES, encoding="utf-8")
    (folder / "odd.md").write_text(ODD, encoding="utf-8")
    (folder / "full.xml").write_text(JATS, encoding="utf-8")
    (folder / "full.md").write_text(FULL, encoding="utf-8")
    (folder / "preprint.md").write_text(PREPRINT, encoding="utf-8")
    (folder / "empty.md").write_text("# Only a title\n\nPMC4400 · J · 2020\n", encoding="utf-8")
    (folder / "seed.md").write_bytes(SEED.read_bytes())
    (folder / "broken.md").write_bytes(b"\0" * 100)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their files. Read only."""
    folder = tmp_path_factory.mktemp("papers")
    write_corpus(folder)
    return folder


def build_corpus(place: IndexPlace, papers: Path) -> None:
    report = build([papers], place, WordEmbedder(), CONFIG)
    assert [each.source for each in report.failed] == ["broken.md"]


@pytest.fixture(scope="module")
def embedded(papers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    """What the index of them in a folder says."""
    folder = tmp_path_factory.mktemp("embedded") / "index"
    build_corpus(folder, papers)
    with reading(folder) as snapshot:
        yield snapshot


@pytest.fixture(scope="module", params=KINDS[1:])
def stored(
    request: pytest.FixtureRequest, server: Server, papers: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Snapshot]:
    """What the index of them on PostgreSQL says; of two shards, the second came when the papers were there."""
    with server.fresh_database() as one, server.fresh_database() as two:
        build_corpus(server.url(one), papers)
        if request.param == "shards":
            assert spread(server.url(one), server.url(two)) > 5
        with reading(server.url(one)) as snapshot:
            yield snapshot


@pytest.fixture(scope="module", params=KINDS)
def reader(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Reader]:
    """Plain papers, for what can be counted by hand."""
    folder = tmp_path_factory.mktemp("plain")
    write_papers(folder / "papers")
    with fresh_place(request.param, server, folder) as place:
        build([folder / "papers"], place, WordEmbedder(), CONFIG)
        with closing(open_reader(place)) as opened:
            yield opened


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[IndexPlace]:
    """A place for an index, to write to."""
    with fresh_place(request.param, server, tmp_path) as fresh:
        yield fresh


# What both say


def test_all_that_is_kept_is_as_in_a_folder(stored: Snapshot, embedded: Snapshot) -> None:
    papers = {each.paper_id: each for each in stored.papers()}
    assert len(papers) == 17
    assert papers["PMC4400"].n_passages == 0
    assert len(papers["PMC4300"].title) > 5000
    assert papers["PMC1000001"].n_versions == 2
    assert_alike(stored, embedded)
    assert stored.generation >= 1
    assert stored.manifest == embedded.manifest


def test_odd_characters_come_back_as_they_went(stored: Snapshot) -> None:
    passages = stored.passages_of("PMC4300")
    assert all(ODD[each.passage.start : each.passage.end] == each.passage.text for each in passages)
    text = "".join(each.passage.text for each in passages)
    for odd in (
        "\0\0",
        "\U0010fffe\0",
        "\U0010fffe0",
        "\U0010fffe1",
        "\U0001d6fc",
        "\u202e",
        "\ufdd0",
        "abcdefghij" * 3,
    ):
        assert odd in text
    assert stored.outline("PMC4300")[-2]["title"] == f"Methods of {'x' * 3000}"


def test_rows_are_in_the_order_in_which_they_came(embedded: Snapshot, server: Server, papers: Path) -> None:
    with server.fresh_database() as name:
        build_corpus(server.url(name), papers)
        with reading(server.url(name)) as stored:
            rows = [
                sorted(
                    (p.row_id, p.passage.passage_id) for each in one.papers() for p in one.passages_of(each.paper_id)
                )
                for one in (stored, embedded)
            ]
    assert [each[1] for each in rows[0]] == [each[1] for each in rows[1]]
    assert rows[0] == rows[1]


def test_words_and_phrases_have_the_same_scores(stored: Snapshot, embedded: Snapshot) -> None:
    asked = [
        ["bone mass"],  # across a line break in a text, in a heading, and in a title
        ["bone mass mice"],
        ["bone", "bone mass", "mass mice", "bone"],
        ["long titl limpet long titl", "titl limpet"],  # a phrase that overlaps with itself
        ["method"],
        ["result bone"],
        ["mass bone fell"],
        ["absent bone", "bone absent"],
        ["^age", "age"],
        ["tnf alpha", "il 6"],
        ["abcdefghij" * 1000],
        ["%", "?", "'", '"', "\\"],
        ["filler", "sampl on mani"],
        ["1", "2", "50"],
        *([f"{one} {other}"] for one, other in pairwise(WORDS)),
    ]
    everything = Selection(roles=("body", "back_matter", "references"))
    n_found = 0
    for phrases in asked:
        ours, theirs = bm25(stored, phrases), bm25(embedded, phrases)
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-9), phrases
        ours, theirs = (bm25(one, phrases, one.select(everything)) for one in (stored, embedded))
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-9), phrases
        n_found += bool(ours)
        for phrase in phrases:
            if '"' not in phrase:
                assert stored.occurs(phrase) == embedded.occurs(phrase), phrase
    assert n_found >= 15


def test_words_that_stand_and_how_often(stored: Snapshot, embedded: Snapshot) -> None:
    held = [
        {*terms(each.paper.title), *row["terms"].split(), *row["heading_terms"].split()}
        for paper in embedded.papers()
        for each, row in zip(
            embedded.passages_of(paper.paper_id), embedded.rows(paper.paper_id)["passages"], strict=True
        )
    ]
    counted = Counter(term for each in held for term in each)
    asked = ["absent", *sorted(counted)]
    assert len(asked) > 500
    assert stored.document_frequency(asked) == {term: counted[term] for term in asked}
    assert stored.document_frequency([]) == {}


SELECTIONS = [
    Selection(paper_ids=("PMC7003",)),
    Selection(paper_ids=("PMC7003", "PMC4242", "PMC4300", "PMC7003")),
    Selection(paper_ids=("PMC4400",)),
    Selection(section="results"),
    Selection(section="RESULTS bones"),
    Selection(section="2"),
    Selection(section="2.1."),
    Selection(section="3.2"),
    Selection(section="bones methods"),
    Selection(section="x" * 3000),
    Selection(year_from=2009),
    Selection(year_from=2002, year_to=2005),
    Selection(year_to=2001, section="bone mass"),
    Selection(roles=("back_matter",)),
    Selection(roles=("body", "back_matter", "references")),
    Selection(roles=("references",), paper_ids=("PMC4242",)),
    Selection(roles=()),
    Selection(phrases=("bone mass",)),
    Selection(phrases=("bone\n mass!", "ribs")),
    Selection(phrases=("to be or not to be",)),
    Selection(phrases=("of the",)),
    Selection(phrases=("of the",), exclude=("bone", "to be")),
    Selection(exclude=("bone", "of the")),
    Selection(exclude=("the",), section="title words"),
    Selection(phrases=("tnf alpha",)),
    Selection(phrases=("TNFα",)),
    Selection(phrases=("growth per site",)),
    Selection(phrases=("100 %",)),
    Selection(phrases=("C:\\new",)),
    Selection(phrases=("nothing of that kind",), year_from=2001, year_to=2001, paper_ids=("PMC4242", "PMC7001")),
    Selection(phrases=("abcdefghij" * 30,)),
    Selection(phrases=("absent word",)),
]


def test_selections_are_the_same(stored: Snapshot, embedded: Snapshot) -> None:
    n_some = 0
    for selection in SELECTIONS:
        ours, theirs = stored.select(selection), embedded.select(selection)
        assert ours is not None
        assert theirs is not None
        assert ours.dtype == np.int64
        assert ours.tolist() == sorted(set(ours.tolist()))
        found = sorted(passage_ids(stored, ours))
        assert found == sorted(passage_ids(embedded, theirs)), selection
        n_some += 0 < len(found) < stored.n_passages()
        for phrases in (["bone"], ["bone mass", "sugar"]):
            assert bm25(stored, phrases, ours) == pytest.approx(bm25(embedded, phrases, theirs), rel=1e-5), selection
        near, other = (cosines(one, "old bone", 10_000, ids) for one, ids in ((stored, ours), (embedded, theirs)))
        assert near == pytest.approx(other, abs=1e-5), selection
        best = sorted(other.values(), reverse=True)[:25]  # alike ones may be in another order
        assert list(cosines(stored, "old bone", 25, ours).values()) == pytest.approx(best, abs=1e-5), selection
    assert n_some >= 20
    assert stored.select(Selection()) is None


def test_what_cannot_be_selected_is_told_alike(stored: Snapshot, embedded: Snapshot) -> None:
    for selection, kind in (
        (Selection(paper_ids=("PMC7003", "PMC1")), NotFoundError),
        (Selection(paper_ids=("PMC9", "preprint", "PMC1", "PMC7003")), NotFoundError),
        (Selection(paper_ids=("preprint",)), NotFoundError),
        (Selection(paper_ids=("it's",)), NotFoundError),
        (Selection(section="the"), UsageError),
        (Selection(section="%"), UsageError),
        (Selection(phrases=("bone", "_")), UsageError),
        (Selection(exclude=(" ",)), UsageError),
    ):
        said = []
        for one in (stored, embedded):
            with pytest.raises(kind) as caught:
                one.select(selection)
            said.append(str(caught.value))
        assert said[0] == said[1]


def test_passages_and_their_neighbours(stored: Snapshot, embedded: Snapshot) -> None:
    rows = [each.row_id for paper in stored.papers() for each in stored.passages_of(paper.paper_id)]
    chance = np.random.default_rng(3)
    shuffled = [rows[n] for n in chance.permutation(len(rows))]
    found = stored.passages(shuffled)
    assert [each.row_id for each in found] == shuffled
    assert stored.papers_of(shuffled) == [each.paper.paper_id for each in found]
    theirs = {p.passage.passage_id: p.row_id for e in embedded.papers() for p in embedded.passages_of(e.paper_id)}
    ascending = sorted(rows)
    words = dict(zip(passage_ids(stored, ascending), stored.words_of(ascending), strict=True))
    ids = sorted(theirs.values())
    assert words == dict(zip(passage_ids(embedded, ids), embedded.words_of(ids), strict=True))
    for each in found[::7]:
        passage = each.passage
        for context in (0, 1, 100):
            (ours, at), (others, there) = (one.passage(passage.passage_id, context) for one in (stored, embedded))
            assert at == there
            assert [(p.passage, p.paper) for p in ours] == [(p.passage, p.paper) for p in others]
            assert ours[at].row_id == each.row_id
        holding = stored.passages_at(passage.paper_id, passage.start, passage.end)
        assert passage in [p.passage for p in holding]
        assert [p.passage for p in holding] == [
            p.passage for p in embedded.passages_at(passage.paper_id, passage.start, passage.end)
        ]
    assert (stored.passages([]), stored.papers_of([]), stored.words_of([])) == ([], [], [])


def test_what_is_not_there_is_told_alike(stored: Snapshot, embedded: Snapshot) -> None:
    for ask in (
        lambda one: one.passage("PMC7003:0000000000000000"),
        lambda one: one.paper("PMC1"),
        lambda one: one.paper("10.1101_2020.01.02"),
        lambda one: one.rows("nothing"),
        lambda one: one.outline("%"),
        lambda one: one.passages_of("?"),
        lambda one: one.passages_at("'", 0, 1),
    ):
        said = []
        for one in (stored, embedded):
            with pytest.raises(NotFoundError) as caught:
                ask(one)
            said.append(str(caught.value))
        assert said[0] == said[1]
    assert stored.references("PMC1") == {}
    assert stored.kept_text("PMC1") is None
    assert stored.files("PMC1") == []
    assert stored.vectors_of("PMC1") == {}
    assert not stored.has("PMC1")
    with pytest.raises(UsageError, match="cursor names no paper"):
        stored.papers(after="PMC1")


def test_papers_page_by_page_in_every_order(stored: Snapshot, embedded: Snapshot) -> None:
    for order in ORDERS:
        whole = [each.paper_id for each in embedded.papers(order)]
        for size in (1, 3, 100):
            found: list[str] = []
            after = ""
            while page := stored.papers(order, after=after, limit=size):
                assert len(page) <= size
                found += [each.paper_id for each in page]
                after = found[-1]
            assert found == whole, (order, size)
        assert stored.papers(order, limit=0) == []


def test_references_texts_and_files(stored: Snapshot, embedded: Snapshot) -> None:
    entries = stored.references("PMC4242")
    assert [each.text for each in entries.values()] == ["Quill A. On bone mass. 1999."]
    assert stored.references("PMC4242", [0, 7]) == entries
    assert stored.references("PMC4242", []) == {}
    text = stored.kept_text("PMC1000001")
    assert text is not None
    assert "\n# Strength of cortical bone" in text
    searched, *versions = stored.files("PMC1000001")
    assert searched.is_searched
    assert {each.source for each in (searched, *versions)} == {"full.xml", "full.md", "preprint.md"}
    for each in versions:
        ours, theirs = (
            [(f.origin, f.sha256) for f in one.versions_holding(each.sha256, each.own_id)] for one in (stored, embedded)
        )
        assert ours[0] == theirs[0]
        assert sorted(ours) == sorted(theirs)
    paper = stored.paper("PMC7003")
    assert stored.papers_holding(paper.sha256, paper.source) == [paper]
    assert [(each.source, each.reason) for each in stored.failures()] == [
        (each.source, each.reason) for each in embedded.failures()
    ]


def test_names_that_records_give(stored: Snapshot, embedded: Snapshot) -> None:
    asked = [" ".join(terms(name)) for name in ("RANKL", "TNFSF11", "β-catenin", "OPG", "absent", "bone")]
    found = stored.aliases(asked, ())
    assert ("TNFSF11", "PMC12898183") in {(each.name, each.paper_id) for each in found}
    assert found == embedded.aliases(asked, ())
    assert stored.aliases(asked, ["PMC7003"]) == []
    assert stored.aliases([], ()) == []


# Against what is counted by hand


def test_dense_search_is_brute_force(reader: Reader) -> None:
    query = "femur fracture of the old mouse"
    vector = EMBEDDER.encode_query(query)
    with reader.snapshot() as snapshot:
        rows = [p for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)]
        truth = {
            p.passage.passage_id: float(EMBEDDER.encode_query(p.passage.embedded_text) @ vector)
            for p in rows
            if p.passage.role == "body"
        }
        best = sorted(truth, key=lambda i: -truth[i])
        found = cosines(snapshot, query, 7)
        assert list(found) == best[:7]
        assert found == pytest.approx({i: truth[i] for i in best[:7]}, abs=1e-5)
        assert cosines(snapshot, query, 1000) == pytest.approx(truth, abs=1e-5)
        assert cosines(snapshot, query, 0) == {}
        only = snapshot.select(Selection(section="2.1"))
        assert only is not None
        assert len(only) == 24
        chosen = set(passage_ids(snapshot, only))
        assert list(cosines(snapshot, query, 50, only)) == [i for i in best if i in chosen]
        assert list(cosines(snapshot, query, 5, only)) == [i for i in best if i in chosen][:5]
        nothing = np.empty(0, dtype=np.int64)
        assert cosines(snapshot, query, 5, nothing) == {}
        every = snapshot.similarities(vector, [p.row_id for p in rows])
        assert every.ids.tolist() == sorted(every.ids.tolist())
        found = dict(zip(passage_ids(snapshot, every.ids), every.passages.tolist(), strict=True))
        assert found == pytest.approx(truth, abs=1e-5)
        assert len(every.sentences) == every.n_sentences.sum()
        none = snapshot.similarities(vector, [])
        assert (len(none.ids), len(none.passages), len(none.sentences), len(none.words)) == (0, 0, 0, 0)


def test_lexical_search_is_bm25(reader: Reader) -> None:
    asked = terms("sugar in the femur")
    with reader.snapshot() as snapshot:
        rows = [p for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)]
        columns = {
            p.passage.passage_id: tuple(
                terms(text) for text in (p.paper.title, " ".join(p.passage.section), p.passage.embedded_text)
            )
            for p in rows
        }
        lengths = {i: sum(map(len, parts)) for i, parts in columns.items()}
        average = sum(lengths.values()) / len(lengths)
        truth: Counter[str] = Counter()
        for term in asked:
            having = [i for i, parts in columns.items() if any(term in part for part in parts)]
            idf = max(math.log((len(rows) - len(having) + 0.5) / (len(having) + 0.5)), 1e-6)
            for i in having:
                f = sum(weight * part.count(term) for weight, part in zip(FTS_WEIGHTS, columns[i], strict=True))
                truth[i] += idf * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * lengths[i] / average))
        body = {p.passage.passage_id for p in rows if p.passage.role == "body"}
        assert bm25(snapshot, asked) == pytest.approx({i: s for i, s in truth.items() if i in body})
        assert bm25(snapshot, [*asked, *asked]) == pytest.approx({i: s for i, s in truth.items() if i in body})
        everything = snapshot.select(Selection(roles=("back_matter", "body")))
        assert bm25(snapshot, asked, everything) == pytest.approx(dict(truth))
        some = np.array(sorted(p.row_id for p in rows)[::5], dtype=np.int64)
        chosen = set(passage_ids(snapshot, some))
        assert bm25(snapshot, asked, some) == pytest.approx({i: s for i, s in truth.items() if i in chosen})
        assert bm25(snapshot, []) == bm25(snapshot, ["absent"]) == bm25(snapshot, asked, some[:0]) == {}


# Graphs of vectors


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_graph_finds_the_nearest(kind: Kind, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 480 vectors where 100 are the most that are all compared: on one server, or about 240 on each of two."""
    for module in (postgres_snapshot, postgres_writer):
        monkeypatch.setattr(module, "EXACT_ROWS", 100)
    monkeypatch.setattr(postgres_snapshot, "_EXACT_SELECTED", 100)
    write_papers(tmp_path / "papers", n=96)
    wide = WordEmbedder(dim=256)
    with server.fresh_database() as one, server.fresh_database() as two:
        url = server.url(one)
        build([tmp_path / "papers"], url, wide, CONFIG)
        if kind == "shards":
            spread(url, server.url(two))

        def nearest(snapshot: Snapshot, words: str, n: int, selection: Selection) -> tuple[list[int], list[int]]:
            """What is found, and what is nearest by the vectors themselves."""
            vector = wide.encode_query(words)
            only = snapshot.select(selection)
            rows = [p.row_id for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)]
            truth = snapshot.similarities(vector, rows if only is None else only.tolist())
            best = truth.ids[np.lexsort((truth.ids, -truth.passages))]
            found = snapshot.nearest(vector, n, only).tolist()
            assert len(found) == len(set(found)) == min(n, len(best))
            return found, best[:n].tolist()

        with reading(url) as snapshot:
            assert snapshot.structure.is_graph
            for selection, share in (
                (Selection(), 0.9),
                (Selection(year_from=2030), 0.9),  # more than 100 are selected: the graph is searched for them
                (Selection(section="2.1", year_from=2040), 0.9),
                (Selection(paper_ids=("PMC7003", "PMC7090")), 1.0),  # few: these are compared
            ):
                shares = []
                for word in WORDS[::2]:
                    found, best = nearest(snapshot, f"{word} of the old mouse", 20, selection)
                    shares.append(len(set(found) & set(best)) / len(best))
                assert np.mean(shares) >= share, (selection, shares)
                found, best = nearest(snapshot, "old", 10_000, selection)
                assert sorted(found) == sorted(best)
        for number in range(0, 96, 2):
            (tmp_path / "papers" / f"paper{number:02}.md").unlink()
        build([tmp_path / "papers"], url, wide, CONFIG, prune=True)
        with reading(url) as snapshot:
            found, best = nearest(snapshot, "old", 10_000, Selection())
            assert len(best) == 240
            assert sorted(found) == sorted(best)


# What papers define


def put(writer: Writer, paper_id: str, text: str, **given: Any) -> None:
    """Put a paper in by hand, each passage with a vector."""
    paper = replace(parse_markdown(text, source=f"{paper_id}.md", sha256=paper_id), paper_id=paper_id)
    passages = chunk(paper, CONFIG, EMBEDDER.count, 32)
    vectors = {
        each.passage_id: PassageVectors(
            EMBEDDER.encode_query(each.embedded_text),
            np.array([EMBEDDER.encode_query(each.embedded_text)] * len(each.sentences), dtype=np.float32),
        )
        for each in passages
    }
    writer.put(paper, f"/{paper_id}.md", passages, vectors, {}, **given)


def defines(*pairs: tuple[str, str]) -> list[Abbreviation]:
    return [Abbreviation(short, long, 0, 1, 2, 3) for short, long in pairs]


def test_definitions_aliases_and_other_meanings(place: IndexPlace) -> None:
    ages, other = ("AGE", "advanced glycation end product"), ("AGE", "arterial gas embolism")
    spelt = ("AGE", "Advanced Glycation End Product")
    given: dict[str, tuple[list[Abbreviation], list[AliasGroup]]] = {
        "p1": (defines(spelt, ("OPG", "osteoprotegerin")), [AliasGroup(("OPG", "TNFRSF11B", "OCIF"), "Gene 1")]),
        "p2": (defines(ages, ages), [AliasGroup(("OCIF", "osteoprotegerin"), "")]),
        "p3": (defines(other), []),
        "p4": (defines(ages, other), [AliasGroup(("%", "?"), "")]),
        "p5": ([], []),
    }
    short, long = " ".join(terms("AGE")), " ".join(terms(ages[1]))
    otherwise = " ".join(terms(other[1]))
    with open_writer(place, MANIFEST) as writer:
        for paper_id, (abbreviations, aliases) in given.items():
            put(writer, paper_id, f"# T\n\n## A\n\nBone {paper_id}.\n", abbreviations=abbreviations, aliases=aliases)
        writer.commit()
    with reading(place) as snapshot:
        assert snapshot.definitions([short], [], []) == [
            Definition(*spelt, short, long, 3, "p1"),
            Definition(*other, short, otherwise, 2, "p3"),
        ]
        assert snapshot.definitions([], [otherwise], []) == [Definition(*other, short, otherwise, 2, "p3")]
        assert snapshot.definitions([short], [otherwise], ["p4", "p5"]) == [
            Definition(*ages, short, long, 1, "p4"),
            Definition(*other, short, otherwise, 1, "p4"),
        ]
        assert snapshot.definitions(["absent"], [], []) == snapshot.definitions([], [], []) == []
        rows = {p.paper.paper_id: p.row_id for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)}
        meaning = snapshot.definitions([short], [], [])[0]
        assert snapshot.rows_meaning_otherwise(list(rows.values()), meaning) == {rows["p3"]}
        assert snapshot.rows_meaning_otherwise([rows["p5"], rows["p1"]], meaning) == set()
        assert snapshot.rows_meaning_otherwise([], meaning) == set()
        ocif, opg = " ".join(terms("OCIF")), " ".join(terms("OPG"))
        assert snapshot.aliases([ocif], []) == [
            Alias(ocif, "OPG", opg, True, "p1"),
            Alias(ocif, "TNFRSF11B", " ".join(terms("TNFRSF11B")), True, "p1"),
            Alias(ocif, "osteoprotegerin", " ".join(terms("osteoprotegerin")), False, "p2"),
        ]
        assert [each.paper_id for each in snapshot.aliases([ocif, opg], ["p2"])] == ["p2"]


# What little there is


def test_an_empty_index_says_nothing(place: IndexPlace) -> None:
    with open_writer(place, MANIFEST):
        pass
    with reading(place) as snapshot:
        assert snapshot.counts() == {"papers": 0, "passages": 0, "vectors": 0}
        assert snapshot.papers() == snapshot.papers("title", limit=5) == snapshot.failures() == []
        assert bm25(snapshot, ["bone", "bone mass"]) == cosines(snapshot, "bone", 5) == {}
        assert snapshot.document_frequency(["bone"]) == {"bone": 0}
        assert not snapshot.occurs("bone")
        assert not snapshot.occurs("bone mass")
        for selection in (Selection(section="2"), Selection(phrases=("bone",)), Selection(exclude=("of the",))):
            found = snapshot.select(selection)
            assert found is not None
            assert len(found) == 0


def test_texts_with_nul_in_every_field(place: IndexPlace) -> None:
    """Of texts that no file may have, but a program may put in; sorted and paged as elsewhere."""
    titles = ["b\0", "b", "\0a", "a\U0010fffe", "a\0\U0010fffe", "a", "b\U0010ffff", "b\U0010fffd"]
    with open_writer(place, MANIFEST) as writer:
        for n, title in enumerate(titles):
            put(writer, f"p{n}", f"# {title}\n\n## A\0B\n\nBone \0 of {n} \U0010fffe.\n")
        writer.commit()
    with reading(place) as snapshot:
        found = {each.paper_id: each.title for each in snapshot.papers()}
        assert found == {f"p{n}": title for n, title in enumerate(titles)}
        for size in (1, 2, 3):
            paged: list[str] = []
            while page := snapshot.papers("title", after=paged[-1] if paged else "", limit=size):
                paged += [each.paper_id for each in page]
            assert sorted(paged) == sorted(found), size
        assert [row["title"] for row in snapshot.outline("p0")][-1] == "A\0B"
        assert {p.passage.text for each in found for p in snapshot.passages_of(each)} == {
            f"Bone \0 of {n} \U0010fffe." for n in range(len(titles))
        }
