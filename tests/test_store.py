"""The store against oracles: brute force for vectors, a hand-counted BM25, and damage of every kind."""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import os
import shutil
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import apsw
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Vectors
from indexer.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    IndexNotWritableError,
    IndexStateError,
    NotFoundError,
    SourceError,
    UsageError,
)
from indexer.papers import Span
from indexer.plaintext import plain_text
from indexer.store import Ids, IndexReader, IndexWriter, Selection, Snapshot
from indexer.store.embedded import dense as dense_module
from indexer.store.embedded.database import damage_named
from indexer.store.embedded.folder import DATABASE, VECTORS
from indexer.store.manifest import Commit
from indexer.store.postings import FTS_WEIGHTS
from indexer.store.selection import folded_words, phrase_pattern
from indexer.terms import fold, terms
from tests.databases import opened
from tests.fakes import WordEmbedder

CONFIG = BuildConfig(model="words", max_wordpieces=32, merge_below=0)
WORDS = "bone sugar collagen femur mouse age protein fracture gene estrogen insulin density growth cell".split()


def write_papers(folder: Path, n: int = 12, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(n):
        paragraphs = ["The " + " ".join(random.choice(WORDS, 9)) + f" {number}." for _ in range(6)]
        (folder / f"paper{number:02}.md").write_text(
            f"# About {random.choice(WORDS)} {number}\n\nPMC{7000 + number} · J · {2000 + number}\n\n"
            f"## Methods\n\n{paragraphs[0]}\n\n{paragraphs[1]}\n\n## 2. Results\n\n{paragraphs[2]}\n\n"
            f"### 2.1. Bones\n\n{paragraphs[3]}\n\n{paragraphs[4]}\n\n## Funding\n\n{paragraphs[5]}\n",
            encoding="utf-8",
        )


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write_papers(tmp_path / "papers")
    build([tmp_path / "papers"], tmp_path / "index", WordEmbedder(), CONFIG)
    return tmp_path / "index"


def dense(snapshot: Snapshot, vector: Vectors, n: int, selected: Ids | None) -> dict[int, float]:
    """The nearest rows and their cosines by the rows' own vectors, which agree with the dense index's order."""
    nearest = snapshot.nearest(vector, n, selected).tolist()
    found = snapshot.similarities(vector, sorted(nearest))
    cosines = dict(zip(found.ids.tolist(), found.passages.tolist(), strict=True))
    in_order = [cosines[row_id] for row_id in nearest]
    assert in_order == pytest.approx(sorted(in_order, reverse=True), abs=1e-5)
    return dict(zip(nearest, in_order, strict=True))


def test_dense_search_is_brute_force(index: Path) -> None:
    embedder = WordEmbedder()
    query = embedder.encode_query("femur fracture of the old mouse")
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        rows = {p.row_id: p for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)}
        truth = {
            i: float(embedder.encode_query(p.passage.embedded_text) @ query)
            for i, p in rows.items()
            if p.passage.role == "body"
        }
        best = sorted(truth, key=lambda i: -truth[i])[:7]
        found = dense(snapshot, query, 7, None)
        assert list(found) == best
        assert found == pytest.approx({i: truth[i] for i in best}, abs=1e-5)
        every = snapshot.similarities(query, list(rows))
        assert dict(zip(every.ids.tolist(), every.passages.tolist(), strict=True)) == pytest.approx(truth, abs=1e-5)
        only = snapshot.select(Selection(section="2.1"))
        assert only is not None
        assert len(only) == 24
        assert list(dense(snapshot, query, 50, only)) == sorted(only.tolist(), key=lambda i: -truth[i])
    reader.close()


def test_the_cosines_of_sentences_are_those_of_their_vectors(index: Path) -> None:
    embedder = WordEmbedder()
    query = embedder.encode_query("femur fracture of the old mouse")
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        rows = [p for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)]
        found = snapshot.similarities(query, [p.row_id for p in rows])
        sentences = np.split(found.sentences, np.cumsum(found.n_sentences)[:-1])
        texts = {
            p.row_id: [
                plain_text(p.passage.text, each.start - p.passage.start, each.end - p.passage.start)
                for each in p.passage.sentences
            ]
            for p in rows
        }
        for row_id, cosines in zip(found.ids.tolist(), sentences, strict=True):
            assert cosines == pytest.approx([float(embedder.encode_query(t) @ query) for t in texts[row_id]], abs=0.01)
        none = snapshot.similarities(query, [p.row_id for p in rows if p.passage.role != "body"])
        assert (len(none.ids), len(none.passages), len(none.sentences), len(none.n_sentences)) == (0, 0, 0, 0)
    reader.close()


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index of more vectors than are all compared: 960, where 500 are the most."""
    monkeypatch.setattr(dense_module, "EXACT_ROWS", 500)
    write_papers(tmp_path / "papers", n=192)
    build([tmp_path / "papers"], tmp_path / "many", WordEmbedder(), CONFIG)
    return tmp_path / "many"


def exact(snapshot: Snapshot, vector: Vectors, selected: Ids | None) -> list[int]:
    """The rows nearest by their own vectors, all compared, best first."""
    rows = [p.row_id for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)]
    wanted = rows if selected is None else selected.tolist()
    found = snapshot.similarities(vector, wanted)
    return [int(row_id) for row_id in found.ids[np.argsort(-found.passages, kind="stable")]]


def test_a_large_index_finds_the_nearest(many: Path) -> None:
    embedder = WordEmbedder()
    reader = IndexReader(many)
    with reader.snapshot() as snapshot:
        structure = snapshot.structure
        assert (structure.n_lists, structure.n_made_with) == (16, 960)
        assert 1 <= structure.n_probed <= 16
        assert structure.recall >= dense_module.RECALL_WANTED
        shares: list[float] = []
        for word in WORDS:
            query = embedder.encode_query(f"{word} of the old mouse")
            found = snapshot.nearest(query, 200, None).tolist()
            assert len(set(found)) == 200
            shares.append(len(set(found) & set(exact(snapshot, query, None)[:10])) / 10)
            # A filter leaves nothing out, however few rows it lets through.
            for selection in (Selection(section="2.1"), Selection(paper_ids=("PMC7003", "PMC7190"))):
                only = snapshot.select(selection)
                assert only is not None
                assert set(snapshot.nearest(query, 1000, only).tolist()) == set(only.tolist())
                best = set(snapshot.nearest(query, 200, only).tolist())
                assert len(best & set(exact(snapshot, query, only)[:10])) >= min(9, len(only))
        assert np.mean(shares) >= 0.95
    reader.close()


def test_a_large_index_is_gone_on_with_and_made_anew_when_it_has_grown(many: Path, tmp_path: Path) -> None:
    query = WordEmbedder().encode_query("collagen density")

    def facts() -> tuple[int, int, int]:
        reader = IndexReader(many)
        with reader.snapshot() as snapshot:
            rows = set(exact(snapshot, query, None))
            assert set(snapshot.nearest(query, 99_999, None).tolist()) == rows
            structure = snapshot.structure
        reader.close()
        return structure.n_lists, structure.n_made_with, len(rows)

    def remove(numbers: range) -> None:
        with IndexWriter(many, None) as writer:
            for number in numbers:
                writer.remove(f"PMC{number}")
            writer.commit()

    def write_more(n: int) -> None:
        write_papers(tmp_path / "more", n=n, seed=5)
        for number in range(40, 192):  # the index has these from the folder before
            (tmp_path / "more" / f"paper{number:02}.md").unlink()

    assert facts() == (16, 960, 960)
    remove(range(7000, 7040))
    assert facts() == (16, 960, 760)
    write_more(292)
    build([tmp_path / "more"], many, WordEmbedder(), CONFIG)
    assert facts() == (16, 960, 1460)
    before = dense_module.load(many / VECTORS, 32)
    write_more(432)
    build([tmp_path / "more"], many, WordEmbedder(), CONFIG)
    assert facts() == (32, 2160, 2160)  # the writer made it anew
    connection = opened(many / DATABASE)
    held = before.caught_up(connection, 32)  # a reader goes on with what it has
    connection.close()
    assert (held.structure.n_made_with, held.structure.n_new, len(held.search(query, 9999))) == (960, 1400, 2160)
    remove(range(7000, 7400))
    assert facts() == (0, 0, 160)


def test_another_models_rows_are_not_searched_in_the_lists_of_the_old(many: Path, tmp_path: Path) -> None:
    """A rebuild, or a change of most rows at once, is not growth, however many rows there are after it."""

    class Otherwise(WordEmbedder):
        def encode_query(self, text: str) -> Vectors:
            return super().encode_query(f"{text} otherwise otherwise otherwise")[::-1].copy()

    held = dense_module.load(many / VECTORS, 32)
    build([tmp_path / "papers"], many, Otherwise(), CONFIG, rebuild=True)
    connection = opened(many / DATABASE)
    for caught_up in (held.caught_up(connection, 32), dense_module.load(many / VECTORS, 32)):
        assert not np.array_equal(lists_of(held), lists_of(caught_up))
        assert caught_up.structure.n_new == 0
    connection.close()


def lists_of(index: dense_module.DenseIndex) -> np.ndarray:
    """The middles of its lists."""
    return np.asarray(index._index.quantizer.reconstruct_n(0, index.structure.n_lists))


def test_rows_that_are_exchanged_bit_by_bit_make_the_lists_anew(many: Path, tmp_path: Path) -> None:
    for number in range(0, 192, 24):
        assert dense_module.load(many / VECTORS, 32).structure.n_new == number * 5
        for paper in sorted((tmp_path / "papers").iterdir())[number : number + 24]:
            paper.write_text(paper.read_text(encoding="utf-8").replace("The ", "A new "), encoding="utf-8")
        build([tmp_path / "papers"], many, WordEmbedder(), CONFIG)
    (tmp_path / "papers" / "more.md").write_text("# More\n\nOne more sentence.\n", encoding="utf-8")
    build([tmp_path / "papers"], many, WordEmbedder(), CONFIG)
    assert dense_module.load(many / VECTORS, 32).structure.n_new == 0


@pytest.mark.parametrize("exact_rows", [0, 500])
def test_rows_without_vectors_change_nothing_for_those_that_have_one(
    many: Path, monkeypatch: pytest.MonkeyPatch, exact_rows: int
) -> None:
    monkeypatch.setattr(dense_module, "EXACT_ROWS", exact_rows)
    query = WordEmbedder().encode_query("collagen density")
    reader = IndexReader(many)
    with reader.snapshot() as snapshot:
        every = snapshot.select(Selection(roles=("body", "back_matter")))
        assert every is not None
        assert len(every) == 192 * 6
        assert snapshot.nearest(query, 50, every).tolist() == snapshot.nearest(query, 50, None).tolist()
        others = snapshot.select(Selection(roles=("back_matter",)))
        assert snapshot.nearest(query, 50, others).tolist() == []
    reader.close()


def test_a_lost_file_of_a_large_index_is_made_anew(many: Path, caplog: pytest.LogCaptureFixture) -> None:
    query = WordEmbedder().encode_query("collagen density")
    reader = IndexReader(many)
    with reader.snapshot() as snapshot:
        before = snapshot.nearest(query, 50, None).tolist()
    reader.close()
    raw = bytearray((many / VECTORS).read_bytes())
    raw[-5000] ^= 1
    for damaged in (None, bytes(raw), bytes(raw[:-1])):
        if damaged is None:
            (many / VECTORS).unlink()
        else:
            (many / VECTORS).write_bytes(damaged)
        reader = IndexReader(many)
        with reader.snapshot() as snapshot:
            assert snapshot.nearest(query, 50, None).tolist() == before
        reader.close()
    assert "is damaged" in caplog.text


def bm25(snapshot: Snapshot, phrases: list[str], selected: Ids | None) -> dict[int, float]:
    ids, scores = snapshot.lexical(phrases, selected)
    assert ids.tolist() == sorted(ids.tolist())
    return dict(zip(ids.tolist(), scores.tolist(), strict=True))


def test_lexical_search_is_bm25(index: Path) -> None:
    """FTS5's BM25 by hand: Robertson's formula, term frequencies weighted by column, k1 1.2 and b 0.75."""
    reader = IndexReader(index)
    asked = terms("sugar in the femur")
    with reader.snapshot() as snapshot:
        rows = [p for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)]
        columns = {
            p.row_id: (terms(p.paper.title), terms(" ".join(p.passage.section)), terms(p.passage.embedded_text))
            for p in rows
        }
        lengths = {i: sum(map(len, parts)) for i, parts in columns.items()}
        average = sum(lengths.values()) / len(lengths)
        truth: Counter[int] = Counter()
        for term in asked:
            having = [i for i, parts in columns.items() if any(term in part for part in parts)]
            idf = max(math.log((len(rows) - len(having) + 0.5) / (len(having) + 0.5)), 1e-6)
            for i in having:
                f = sum(weight * part.count(term) for weight, part in zip(FTS_WEIGHTS, columns[i], strict=True))
                truth[i] += idf * f * 2.2 / (f + 1.2 * (0.25 + 0.75 * lengths[i] / average))
        body = {p.row_id for p in rows if p.passage.role == "body"}
        assert bm25(snapshot, asked, None) == pytest.approx({i: s for i, s in truth.items() if i in body})
        everything = snapshot.select(Selection(roles=("back_matter", "body")))
        assert bm25(snapshot, asked, everything) == pytest.approx(dict(truth))
        some = np.array(sorted(truth)[:5], dtype=np.int64)
        assert bm25(snapshot, asked, some) == pytest.approx({i: truth[i] for i in some.tolist()})
        assert bm25(snapshot, [], None) == {}
    reader.close()


def test_selections(index: Path) -> None:
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:

        def chosen(**fields: object) -> set[tuple[str, str]]:
            ids = snapshot.select(Selection(**fields))  # type: ignore[arg-type]
            assert ids is not None
            assert list(ids) == sorted(ids)
            return {(p.paper.paper_id, p.passage.section[-1]) for p in snapshot.passages(ids.tolist())}

        assert chosen(paper_ids=("PMC7003",)) == {
            ("PMC7003", "Methods"),
            ("PMC7003", "2. Results"),
            ("PMC7003", "2.1. Bones"),
        }
        assert {section for _, section in chosen(section="results")} == {"2. Results", "2.1. Bones"}
        assert {section for _, section in chosen(section="2")} == {"2. Results", "2.1. Bones"}
        assert {section for _, section in chosen(section="RESULTS")} == {"2. Results", "2.1. Bones"}
        assert chosen(section="no such words") == set()
        assert {paper for paper, _ in chosen(year_from=2009)} == {"PMC7009", "PMC7010", "PMC7011"}
        assert {paper for paper, _ in chosen(year_from=2002, year_to=2002)} == {"PMC7002"}
        assert {section for _, section in chosen(roles=("back_matter",))} == {"Funding"}
        with_dot = {section for _, section in chosen(section=" 2. ")}
        assert with_dot == {"2. Results", "2.1. Bones"}
        assert {section for _, section in chosen(section="bones results")} == {"2.1. Bones"}
        assert chosen(section="bones methods") == set()
        assert chosen(section="x" * 100_000) == set()
        for nothing in ("%", "_", "'", "the", "§", " ", '"'):
            with pytest.raises(UsageError, match="says nothing to look for"):
                chosen(section=nothing)
        with pytest.raises(UsageError, match="the section filter has 200 words"):
            chosen(section=" ".join(f"w{n}" for n in range(200)))
        with pytest.raises(NotFoundError, match="'PMC1'"):
            snapshot.select(Selection(paper_ids=("PMC7003", "PMC1")))
    reader.close()


PHRASES = """\
# Bone mass of mice

PMC4242 · J · 2001

## Title words

The *bone*
**mass** of `femurs` fell [1], and the BONE-MASS of ribs did not.

Bones massed here, one bone massed, and mass of bone; to be or not to be.

TNF-α and β-catenin rose by 2.5 % in naïve cells, says CO~2~ [1] theory.

## Bone mass

Nothing of that kind, or was there? Cafe&eacute;s of the tnf alpha sort.

Table 1. Growth per site.

| site | growth |
|------|--------|
| femur head of the old | fast at first |
| femur neck of the old | slow at last |
| femur shaft of the old | none at all |
| skull roof of the old | none at all |

## Funding

The bone mass fund paid for it.

## References

1. Quill A. On bone mass. 1999.
"""


def test_phrases_are_held_by_a_passages_own_words(tmp_path: Path) -> None:
    (tmp_path / "paper.md").write_text(PHRASES, encoding="utf-8")
    build([tmp_path / "paper.md"], tmp_path / "index", WordEmbedder(max_wordpieces=48), CONFIG)
    reader = IndexReader(tmp_path / "index")
    with reader.snapshot() as snapshot:

        def begin(**fields: object) -> list[str]:
            ids = snapshot.select(Selection(**fields))  # type: ignore[arg-type]
            assert ids is not None
            assert ids.dtype == np.int64
            return [each.passage.text[:9] for each in snapshot.passages(ids.tolist())]

        def holds(*phrases: str) -> list[str]:
            found, others = begin(phrases=phrases), begin(exclude=phrases)
            if len(phrases) == 1:
                assert sorted(found + others) == everything
            return found

        everything = sorted(begin(section="", roles=("body",), year_to=2001))
        assert len(everything) == len(set(everything)) >= 6
        mass, massed, greek = "The *bone", "Bones mas", "TNF-α and"
        cafe, first, rest = "Nothing o", "Table 1. ", "| femur n"
        assert holds("bone mass") == holds("Bone-Mass") == holds("bone\n mass!") == [mass]
        assert holds("bones massed") == holds("bone massed") == [massed]
        assert holds("mass of bone") == [massed]
        assert holds("mass bone") == holds("bon mass") == holds("bone mas") == []
        assert holds("bone mass", "ribs") == [mass]
        assert holds("bone mass", "massed") == []
        assert holds("to be or not to be") == holds("or not") == [massed]
        assert holds("of the") == [cafe, first, rest]
        assert holds("tnf alpha") == holds("TNF-α") == [greek, cafe]
        assert holds("TNFα") == [greek, cafe]
        assert holds("beta catenin") == holds("2.5 %") == holds("NAIVE cells") == [greek]
        assert holds("femurs fell and the") == [mass]  # its citation marker is no word of it
        assert holds("co2 theory") == [greek]
        assert holds("cafees") == [cafe]
        assert holds("growth per site") == [first]  # not the rows that are embedded with the caption
        assert begin(phrases=("none at all",), exclude=("site",)) == [rest]
        assert begin(phrases=("bone",), exclude=("mass of", "be or")) == []
        assert begin(phrases=("of",), exclude=("the",), section="title words") == [massed]
        assert begin(phrases=("bone mass",), roles=("back_matter", "body")) == [mass, "The bone "]
        assert begin(phrases=("of the",), section="bone mass", exclude=("old",)) == [cafe]
        assert begin(phrases=("bone mass",), year_from=2002) == []
        assert begin(exclude=("bone",), paper_ids=("PMC4242",), section="title") == [greek]
        for nothing in ("", " ", "±", '"', "_"):
            for fields in ({"phrases": ("bone", nothing)}, {"exclude": (nothing,)}):
                with pytest.raises(UsageError, match="says nothing to look for: give words"):
                    begin(**fields)
    reader.close()


def test_phrases_are_those_of_a_scan(index: Path) -> None:
    """The full-text index only narrows: what it gives is what reading every passage gives, ranked as any selection."""
    embedder = WordEmbedder()
    query = embedder.encode_query("femur")
    random = np.random.default_rng(5)
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        rows = [p for paper in snapshot.papers() for p in snapshot.passages_of(paper.paper_id)]
        texts = {p.row_id: f" {p.passage.text.lower().rstrip('.')} " for p in rows if p.passage.role == "body"}
        for n in range(60):
            one, other = (" ".join(random.choice([*WORDS, "the"], 1 + n % 3)) for _ in range(2))
            required = {i for i, text in texts.items() if f" {one} " in text}
            excluded = {i for i, text in texts.items() if f" {other} " in text}
            for selection, truth in (
                (Selection(phrases=(one,)), required),
                (Selection(exclude=(other,)), texts.keys() - excluded),
                (Selection(phrases=(one, other)), required & excluded),
                (Selection(phrases=(one,), exclude=(other,)), required - excluded),
                (Selection(exclude=(one, other)), texts.keys() - required - excluded),
            ):
                selected = snapshot.select(selection)
                assert selected is not None
                assert selected.tolist() == sorted(truth)
                assert dense(snapshot, query, 99, selected).keys() == truth
                lexical = bm25(snapshot, ["femur"], selected)
                assert lexical == {i: s for i, s in bm25(snapshot, ["femur"], None).items() if i in truth}
    reader.close()


def test_a_passages_own_words_are_its_source_without_markdown_and_markers(tmp_path: Path) -> None:
    (tmp_path / "paper.md").write_text(PHRASES, encoding="utf-8")
    build([tmp_path / "paper.md"], tmp_path / "index", WordEmbedder(max_wordpieces=48), CONFIG)
    reader = IndexReader(tmp_path / "index")
    with reader.snapshot() as snapshot:
        for stored in snapshot.passages_of("PMC4242"):
            passage, table = stored.passage, stored.passage.kind == "table"
            markers = [Span(start - passage.start, end - passage.start) for start, end, _ in stored.markers]
            words = plain_text(passage.text, 0, len(passage.text), tuple(markers), table=table)
            row = json.dumps(stored.markers)
            assert folded_words(passage.kind, passage.text, passage.embedded_text, passage.start, row) == fold(words)
    reader.close()


@pytest.mark.parametrize(
    ("phrase", "text", "holds"),
    [
        ("IL6", "of il-6 in", True),
        ("IL-6", "of il6 in", True),
        ("IL 6", "of il-6 in", True),
        ("il6 rise", "il-6 rise", True),
        ("IL6", "of il-61", False),
        ("IL6", "of xil-6", False),
        ("bone mass", "bonemass", False),
        ("day 10", "day 10", True),
    ],
)
def test_a_numbered_name_is_one_with_and_without_its_hyphen(phrase: str, text: str, holds: bool) -> None:
    assert bool(phrase_pattern(phrase).search(text)) == holds


def test_phrases_in_a_table_run_over_markers(tmp_path: Path) -> None:
    text = PHRASES.replace("| skull roof of the old |", "| skull [1] roof of IL-6 |")
    (tmp_path / "paper.md").write_text(text, encoding="utf-8")
    build([tmp_path / "paper.md"], tmp_path / "index", WordEmbedder(max_wordpieces=48), CONFIG)
    reader = IndexReader(tmp_path / "index")
    with reader.snapshot() as snapshot:
        assert any(stored.markers for stored in snapshot.passages_of("PMC4242") if stored.passage.kind == "table")
        for phrase in ("skull roof", "IL6", "roof of il-6"):
            selected = snapshot.select(Selection(phrases=(phrase,)))
            assert selected is not None
            assert [stored.passage.kind for stored in snapshot.passages(selected.tolist())] == ["table"]
    reader.close()


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("aK ſİßΣ\u0301\u0345µ℃αάＡ")))
def test_stretches_fold_as_the_whole_does(text: str) -> None:
    assert folded_words("paragraph", "", text) == fold(text)


def test_a_reader_holds_its_generation_while_a_writer_commits(index: Path) -> None:
    reader = IndexReader(index)
    query = WordEmbedder().encode_query("bone")
    with reader.snapshot() as old:
        before = (old.generation, old.counts(), dense(old, query, 5, None))
        with IndexWriter(index, None) as writer:
            writer.remove("PMC7000")
            writer.commit()
        assert (old.generation, old.counts(), dense(old, query, 5, None)) == before
    with reader.snapshot() as new:
        assert new.generation == before[0] + 1
        assert new.counts()["papers"] == 11
        found = dense(new, query, 1000, None)
        assert len(found) == new.counts()["vectors"]
        assert all(p.paper.paper_id != "PMC7000" for p in new.passages(list(found)))
    reader.close()


def test_what_is_not_committed_is_never_seen(index: Path) -> None:
    reader = IndexReader(index)
    with IndexWriter(index, None) as writer:
        writer.remove("PMC7000")
    with reader.snapshot() as snapshot:
        assert snapshot.counts()["papers"] == 12
    reader.close()


def test_a_section_number_names_what_is_below_it(tmp_path: Path) -> None:
    """Also subsections without a number, and those whose own number skips one; not 30, not the 3 in words."""
    (tmp_path / "paper.md").write_text(
        "# T\n\n## 3. Results\n\nOne.\n\n### Mice\n\nTwo.\n\n### 3.2. Men\n\nThree.\n\n#### Old\n\nFour.\n\n"
        "## 30. Other\n\nFive.\n\n## The 3 rules\n\nSix.\n\n## Appendix\n\n### 3.10. More\n\nSeven.\n"
    )
    build([tmp_path / "paper.md"], tmp_path / "index", WordEmbedder(), CONFIG)
    reader = IndexReader(tmp_path / "index")
    with reader.snapshot() as snapshot:

        def texts(section: str) -> list[str]:
            ids = snapshot.select(Selection(section=section))
            assert ids is not None
            return [each.passage.text for each in snapshot.passages(ids.tolist())]

        assert texts("3") == ["One.", "Two.", "Three.", "Four.", "Seven."]
        assert texts("3.2") == texts("3.2.") == ["Three.", "Four."]
        assert texts("3.1") == []
        assert texts("30") == ["Five."]
    reader.close()


def test_references_have_their_places(tmp_path: Path) -> None:
    text = (
        "# T\n\n## A\n\nSo say [1] and [2].\n\n## References\n\n1. Smith A. On mice. 1999.\n2. Doe B. On men. 2001.\n"
    )
    (tmp_path / "paper.md").write_text(text)
    build([tmp_path / "paper.md"], tmp_path / "index", WordEmbedder(), CONFIG)
    reader = IndexReader(tmp_path / "index")
    with reader.snapshot() as snapshot:
        entries = snapshot.references("paper")
        assert [text[each.start : each.end] for each in entries.values()] == [each.text for each in entries.values()]
        assert ["Smith" in entries[0].text, "Doe" in entries[1].text] == [True, True]
        assert snapshot.references("paper", [1]) == {1: entries[1]}
        (cited,) = (each for each in snapshot.passages_of("paper") if each.markers)
        assert [(text[start:end], numbers) for start, end, numbers in cited.markers] == [("[1]", (0,)), ("[2]", (1,))]
    reader.close()


def dense_and_truth(index: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Scores of every passage by its text, as the index gives them and as they are."""
    embedder = WordEmbedder()
    query = embedder.encode_query("collagen density")
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        found = dense(snapshot, query, 10_000, None)
        texts = {each.row_id: each.passage for each in snapshot.passages(list(found))}
        assert len(found) == snapshot.counts()["vectors"]
    reader.close()
    return (
        {passage.passage_id: found[row_id] for row_id, passage in texts.items()},
        {each.passage_id: float(embedder.encode_query(each.embedded_text) @ query) for each in texts.values()},
    )


def another_index(tmp_path: Path) -> Path:
    """As many papers, passages and commits as `index`, other words."""
    write_papers(tmp_path / "others", seed=1)
    build([tmp_path / "others"], tmp_path / "another", WordEmbedder(), CONFIG)
    return tmp_path / "another"


def test_vector_files_of_two_indexes_swapped(index: Path, tmp_path: Path) -> None:
    another = another_index(tmp_path)
    files = [(folder / VECTORS).read_bytes() for folder in (index, another)]
    (index / VECTORS).write_bytes(files[1])
    (another / VECTORS).write_bytes(files[0])
    for folder, papers, file in ((index, "papers", files[0]), (another, "others", files[1])):
        found, truth = dense_and_truth(folder)
        assert found == pytest.approx(truth, abs=1e-5)
        build([tmp_path / papers], folder, WordEmbedder(), CONFIG)  # nothing changed: the writer mends the file
        assert (folder / VECTORS).read_bytes() == file


@pytest.mark.parametrize("opened", [False, True])
def test_an_older_database_put_back_and_gone_on_from(index: Path, tmp_path: Path, opened: bool) -> None:
    """Two ways on from one backup have commits of one number and rows of one id, and other vectors."""
    backup = (index / DATABASE).read_bytes()
    write_papers(tmp_path / "papers", n=14, seed=2)
    build([tmp_path / "papers"], index, WordEmbedder(), CONFIG)
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        generation = snapshot.generation
    (index / DATABASE).replace(tmp_path / "newer.sqlite")
    (index / DATABASE).write_bytes(backup)
    if not opened:
        reader.close()
    write_papers(tmp_path / "papers", n=14, seed=3)
    assert build([tmp_path / "papers"], index, WordEmbedder(), CONFIG).generation == generation
    found, truth = dense_and_truth(index)
    assert found == pytest.approx(truth, abs=1e-5)
    with reader.snapshot() as snapshot:
        query = WordEmbedder().encode_query("collagen density")
        rows = dense(snapshot, query, 10_000, None)
        assert {each.passage.passage_id for each in snapshot.passages(list(rows))} == truth.keys()
    reader.close()


def test_an_open_reader_follows_a_database_that_is_replaced(index: Path, tmp_path: Path) -> None:
    """By a rebuild that sets the old one aside, or by hand: no connection answers from the old file."""
    query = WordEmbedder().encode_query("collagen density")
    reader = IndexReader(index)
    with reader.snapshot() as outer, reader.snapshot() as inner:
        assert outer.counts() == inner.counts() == {"papers": 12, "passages": 72, "vectors": 60}  # two connections
    connection = opened(index / DATABASE)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    write_papers(tmp_path / "new", n=2, seed=4)
    with reader.snapshot() as old:
        build([tmp_path / "new"], index, WordEmbedder(), CONFIG, rebuild=True)
        assert old.counts()["papers"] == 12  # held still until the block ends
    for _ in range(3):
        with reader.snapshot() as outer, reader.snapshot() as inner:
            assert outer.counts() == inner.counts() == {"papers": 2, "passages": 12, "vectors": 10}
            rows = dense(outer, query, 99, None)
            assert len(rows) == 10
    another = another_index(tmp_path)
    index.rename(tmp_path / "aside")
    with pytest.raises(IndexMissingError), reader.snapshot():
        pass
    another.rename(index)
    with reader.snapshot() as snapshot:
        assert snapshot.counts()["papers"] == 12
        assert len(dense(snapshot, query, 99, None)) == 60
    reader.close()
    gc.collect()  # a connection left open would warn here, and warnings fail


def test_a_snapshot_taken_before_a_commit_needs_no_file(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of a newer commit serve an older snapshot of the same line; they are not read anew."""
    reader = IndexReader(index)
    file, connection = reader._lend()
    connection.execute("BEGIN")
    commit = connection.execute("SELECT generation, token FROM commits ORDER BY generation DESC").fetchone()
    with IndexWriter(index, None) as writer:
        writer.remove("PMC7000")
        writer.commit()
    with reader.snapshot() as snapshot:
        assert snapshot.counts()["vectors"] == 55
    monkeypatch.setattr(reader, "folder", index / "nowhere")
    vectors = reader._vectors_at(file, connection, Commit(*commit), 32)
    assert (len(vectors.ids), vectors.commit) == (60, commit)
    connection.execute("ROLLBACK")
    reader._take_back(file, connection)
    reader.close()


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "cut", "flipped", "foreign", "older", "another's", "other kind"]
)
def test_the_vector_file_is_only_a_cache(index: Path, tmp_path: Path, damage: str) -> None:
    query = WordEmbedder().encode_query("collagen density")
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        truth = dense(snapshot, query, 9, None)
    reader.close()
    path = index / VECTORS
    raw = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "older":
        with IndexWriter(index, None) as writer:
            writer.move("PMC7001", "/elsewhere.md", "elsewhere.md")
            writer.commit()
        path.write_bytes(raw)
    elif damage == "another's":
        other = (another_index(tmp_path) / VECTORS).read_bytes()
        assert (other[:24], len(other)) == (raw[:24], len(raw))  # of the same generation and size
        path.write_bytes(other)
    elif damage == "other kind":
        build([tmp_path / "papers"], tmp_path / "wide", WordEmbedder(dim=48), CONFIG)
        shutil.copy(tmp_path / "wide" / VECTORS, path)
    else:
        flipped = raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:]
        path.write_bytes({"empty": b"", "cut": raw[:-100], "flipped": flipped, "foreign": b"x" * 500}[damage])
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        assert dense(snapshot, query, 9, None) == pytest.approx(truth)
    reader.close()


def test_the_vector_file_is_caught_up_after_a_change(index: Path) -> None:
    before = (index / VECTORS).read_bytes()
    with IndexWriter(index, None) as writer:
        writer.remove("PMC7000")
        writer.commit()
    assert len((index / VECTORS).read_bytes()) < len(before)


def test_missing_and_damaged_indexes_are_told_apart(index: Path, tmp_path: Path) -> None:
    with pytest.raises(IndexMissingError, match="loccit index"):
        IndexReader(tmp_path / "nowhere")

    def copy(name: str) -> Path:
        return Path(shutil.copytree(index, tmp_path / name))

    half = copy("half")
    raw = (half / DATABASE).read_bytes()
    (half / DATABASE).write_bytes(raw[: len(raw) // 2])
    with pytest.raises(IndexDamagedError, match=r"cut short|malformed"):
        IndexReader(half)
    (half / DATABASE).unlink()
    with pytest.raises(IndexDamagedError, match="is missing, though"):
        IndexReader(half)
    (half / DATABASE).write_bytes(b"")
    with pytest.raises(IndexDamagedError, match="is empty"):
        IndexReader(half)
    (half / DATABASE).write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(IndexDamagedError, match="not a database"):
        IndexReader(half)
    other = tmp_path / "other"
    other.mkdir()
    connection = opened(other / DATABASE)
    connection.execute("CREATE TABLE x (y)")
    connection.close()
    with pytest.raises(IndexDamagedError, match="not a loccit index"):
        IndexReader(other)
    newer = copy("newer")
    connection = opened(newer / DATABASE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(IndexMismatchError, match="schema version 99"):
        IndexReader(newer)
    with pytest.raises(IndexMismatchError, match="schema version 99"):
        IndexWriter(newer, None)
    blank = copy("blank")
    connection = opened(blank / DATABASE)
    connection.execute("DELETE FROM meta WHERE key = 'manifest'")
    connection.close()
    with pytest.raises(IndexDamagedError, match="manifest"):
        IndexReader(blank)


def test_a_rebuild_sets_an_unreadable_index_aside(index: Path, tmp_path: Path) -> None:
    (index / DATABASE).write_bytes(b"not a database, but long enough to look like one" * 100)
    report = build([tmp_path / "papers"], index, WordEmbedder(), CONFIG, rebuild=True)
    assert len(report.added) == 12
    assert (index / f"{DATABASE}.unusable").read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("harm", ["manifest", "pages"])
def test_a_rebuild_mends_what_shows_only_when_it_is_read(index: Path, tmp_path: Path, harm: str) -> None:
    if harm == "manifest":
        connection = opened(index / DATABASE)
        connection.execute("DELETE FROM meta WHERE key = 'manifest'")
        connection.close()
    else:
        raw = bytearray((index / DATABASE).read_bytes())
        raw[4096:] = b"\xff" * (len(raw) - 4096)
        (index / DATABASE).write_bytes(raw)
    with pytest.raises(IndexDamagedError, match="--rebuild"):
        build([tmp_path / "papers"], index, WordEmbedder(), CONFIG)
    assert len(build([tmp_path / "papers"], index, WordEmbedder(), CONFIG, rebuild=True).added) == 12
    found, truth = dense_and_truth(index)
    assert found == pytest.approx(truth, abs=1e-5)


def sqlite_says(statement: str) -> apsw.Error:
    with closing(apsw.Connection(":memory:")) as connection:
        try:
            connection.execute(statement)
        except apsw.Error as error:
            return error
    raise AssertionError(statement)


def test_only_damage_is_called_damage(tmp_path: Path) -> None:
    def told(error: Exception) -> type[BaseException]:
        with pytest.raises((apsw.Error, IndexStateError)) as caught, damage_named(tmp_path):
            raise error
        return caught.type

    def failed(code: int) -> type[BaseException]:
        return told(apsw.exception_for(code))

    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"no database " * 100)
    with pytest.raises(IndexDamagedError, match="not a database"), damage_named(tmp_path):
        opened(garbage)
    assert told(sqlite_says("SELECT * FROM papers")) is IndexDamagedError  # the schema's version says it is there
    assert told(sqlite_says(f"SELECT 'x' LIKE '{'x' * 60_000}'")) is apsw.SQLError
    assert told(sqlite_says(f"SELECT {' AND '.join(['1'] * 2000)}")) is apsw.SQLError
    assert told(apsw.ConnectionClosedError("The connection has been closed")) is apsw.ConnectionClosedError
    assert failed(apsw.SQLITE_IOERR_DATA) is failed(apsw.SQLITE_IOERR_SHORT_READ) is IndexDamagedError
    assert failed(apsw.SQLITE_IOERR_WRITE) is failed(apsw.SQLITE_IOERR_FSYNC) is IndexNotWritableError
    assert failed(apsw.SQLITE_BUSY) is IndexBusyError
    connection = opened(tmp_path / "small")
    connection.execute("PRAGMA max_page_count = 2")
    connection.execute("CREATE TABLE x (y)")
    with pytest.raises(IndexNotWritableError, match="free space"), damage_named(tmp_path):
        connection.execute("INSERT INTO x VALUES (zeroblob(100000))")
    connection.close()


def test_a_killed_writers_half_file_is_swept_away(index: Path) -> None:
    stale = [index / f".{name}.12345678.part{log}" for name in (DATABASE, VECTORS) for log in ("", "-journal")]
    for each in stale:
        each.write_bytes(b"half")
    IndexWriter(index, None).close()
    assert not any(each.exists() for each in stale)


def test_the_first_error_is_the_one_that_is_told(index: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder in the vector file's place: closing fails, and says so unless something else went wrong before."""
    (index / VECTORS).unlink()
    (index / VECTORS).mkdir()
    with pytest.raises(IndexNotWritableError, match="the papers themselves are safe"), IndexWriter(index, None):
        pass
    with pytest.raises(SourceError, match="the first"), IndexWriter(index, None):
        raise SourceError("the first")
    assert "could not be closed in order" in caplog.text
    (index / VECTORS).rmdir()
    IndexWriter(index, None).close()  # the lock was let go each time


def test_a_second_writer_is_told_at_once(index: Path) -> None:
    with IndexWriter(index, None), pytest.raises(IndexBusyError, match="another process is writing"):
        IndexWriter(index, None)
    IndexWriter(index, None).close()


def _rewrite(index: Path, papers: Path, stop: threading.Event) -> None:
    """Another process: edit, re-index, remove, again and again."""
    n = 0
    while not stop.is_set():
        n += 1
        write_papers(papers, n=12 - n % 3, seed=n)
        build([papers], index, WordEmbedder(), CONFIG, prune=True)


def test_searching_while_another_process_writes(index: Path, tmp_path: Path) -> None:
    """No error and no torn result: every hit is of the snapshot's own rows, and reads as its paper says."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    writer = context.Process(target=_rewrite, args=(index, tmp_path / "papers", stop))
    writer.start()
    embedder = WordEmbedder()
    generations: set[int] = set()
    reader = IndexReader(index)
    try:
        for n in range(4000):
            query = embedder.encode_query(WORDS[n % len(WORDS)])
            with reader.snapshot() as snapshot:
                generations.add(snapshot.generation)
                counts = snapshot.counts()
                found = dense(snapshot, query, 1000, None)
                assert len(found) == counts["vectors"]
                passages = snapshot.passages(list(found)[:20])
                lexical = bm25(snapshot, terms("bone"), None)
                assert lexical.keys() <= found.keys()
                assert all(p.passage.passage_id.startswith(p.paper.paper_id) for p in passages)
            if len(generations) >= 6:
                break
    finally:
        stop.set()
        writer.join(60)
        reader.close()
    assert writer.exitcode == 0
    assert len(generations) >= 3


def test_counts_and_papers(index: Path) -> None:
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        assert snapshot.counts() == {"papers": 12, "passages": 72, "vectors": 60}
        assert [p.paper_id for p in snapshot.papers(after="PMC7009", limit=5)] == ["PMC7010", "PMC7011"]
        paper = snapshot.paper("PMC7004")
        assert (paper.year, paper.source, paper.n_passages) == (2004, "paper04.md", 6)
        assert [row["title"] for row in snapshot.outline("PMC7004")] == [
            "Methods",
            "2. Results",
            "2.1. Bones",
            "Funding",
        ]
        middle = snapshot.passages_of("PMC7004")[2].passage
        around, at = snapshot.passage(middle.passage_id, 1)
        assert (at, [p.passage.ordinal for p in around]) == (1, [1, 2, 3])
        first, at = snapshot.passage(snapshot.passages_of("PMC7004")[0].passage.passage_id, 3)
        assert (at, len(first)) == (0, 4)
        with pytest.raises(NotFoundError, match="no passage"):
            snapshot.passage("PMC7004:0000000000000000")
    reader.close()


def test_an_index_of_another_user_is_read_anew_once_it_was_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the folder takes no files, SQLite reads the database as it stands, and would mix old pages with new."""
    access, is_other_user = os.access, False
    monkeypatch.setattr(
        "indexer.store.embedded.database.os.access", lambda *given: access(*given) and not is_other_user
    )

    def write(n: int) -> None:
        nonlocal is_other_user
        is_other_user = False
        write_papers(tmp_path / "papers", n=n)
        build([tmp_path / "papers"], tmp_path / "index", WordEmbedder(), CONFIG)
        is_other_user = True

    write(3)
    with closing(IndexReader(tmp_path / "index")) as reader:
        with reader.snapshot() as snapshot:
            assert snapshot.n_papers() == 3
        write(4)
        with reader.snapshot() as snapshot:
            assert (snapshot.n_papers(), snapshot.generation) == (4, 2)
        with pytest.raises(IndexBusyError, match="written to"), reader.snapshot():
            write(5)
        with reader.snapshot() as snapshot:
            assert snapshot.n_papers() == 5
