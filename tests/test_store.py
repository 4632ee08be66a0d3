"""The store against oracles: brute force for vectors, a hand-counted BM25, and damage of every kind."""

from __future__ import annotations

import math
import multiprocessing
import shutil
import sqlite3
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from indexer.build import build
from indexer.config import BuildConfig
from indexer.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    NotFoundError,
)
from indexer.store import IndexReader, IndexWriter, Selection
from indexer.store.reader import FTS_WEIGHTS
from indexer.store.schema import DATABASE, VECTORS
from indexer.terms import terms
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
        found = snapshot.dense(query, 7, None)
        assert list(found) == best
        assert found == pytest.approx({i: truth[i] for i in best}, abs=1e-5)
        assert snapshot.dense_of(query, list(rows)) == pytest.approx(truth, abs=1e-5)
        only = snapshot.select(Selection(section="2.1"))
        assert only is not None
        assert len(only) == 24
        assert list(snapshot.dense(query, 50, only)) == sorted(only.tolist(), key=lambda i: -truth[i])
    reader.close()


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
        assert snapshot.lexical(asked, 1000, None) == pytest.approx({i: s for i, s in truth.items() if i in body})
        everything = snapshot.select(Selection(roles=("back_matter", "body")))
        assert snapshot.lexical(asked, 1000, everything) == pytest.approx(dict(truth))
        some = list(truth)[:5]
        assert snapshot.lexical_of(asked, some) == pytest.approx({i: truth[i] for i in some})
        assert snapshot.lexical([], 10, None) == {}
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
        assert chosen(section="no such words") == set()
        assert {paper for paper, _ in chosen(year_from=2009)} == {"PMC7009", "PMC7010", "PMC7011"}
        assert {paper for paper, _ in chosen(year_from=2002, year_to=2002)} == {"PMC7002"}
        assert {section for _, section in chosen(roles=("back_matter",))} == {"Funding"}
        with pytest.raises(NotFoundError, match="'PMC1'"):
            snapshot.select(Selection(paper_ids=("PMC7003", "PMC1")))
    reader.close()


def test_a_reader_holds_its_generation_while_a_writer_commits(index: Path) -> None:
    reader = IndexReader(index)
    query = WordEmbedder().encode_query("bone")
    with reader.snapshot() as old:
        before = (old.generation, old.counts(), old.dense(query, 5, None))
        with IndexWriter(index, None) as writer:
            writer.remove("PMC7000")
            writer.commit()
        assert (old.generation, old.counts(), old.dense(query, 5, None)) == before
    with reader.snapshot() as new:
        assert new.generation == before[0] + 1
        assert new.counts()["papers"] == 11
        found = new.dense(query, 1000, None)
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


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "foreign", "older"])
def test_the_vector_file_is_only_a_cache(index: Path, damage: str) -> None:
    query = WordEmbedder().encode_query("collagen density")
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        truth = snapshot.dense(query, 9, None)
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
    else:
        flipped = raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:]
        path.write_bytes({"empty": b"", "cut": raw[:-100], "flipped": flipped, "foreign": b"x" * 500}[damage])
    reader = IndexReader(index)
    with reader.snapshot() as snapshot:
        assert snapshot.dense(query, 9, None) == pytest.approx(truth)
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
    connection = sqlite3.connect(other / DATABASE)
    connection.execute("CREATE TABLE x (y)")
    connection.close()
    with pytest.raises(IndexDamagedError, match="not a loccit index"):
        IndexReader(other)
    newer = copy("newer")
    connection = sqlite3.connect(newer / DATABASE)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(IndexMismatchError, match="schema version 99"):
        IndexReader(newer)
    with pytest.raises(IndexMismatchError, match="schema version 99"):
        IndexWriter(newer, None)
    blank = copy("blank")
    connection = sqlite3.connect(blank / DATABASE)
    connection.execute("DELETE FROM meta WHERE key = 'manifest'")
    connection.commit()
    connection.close()
    with pytest.raises(IndexDamagedError, match="manifest"):
        IndexReader(blank)


def test_a_rebuild_sets_an_unreadable_index_aside(index: Path, tmp_path: Path) -> None:
    (index / DATABASE).write_bytes(b"not a database, but long enough to look like one" * 100)
    report = build([tmp_path / "papers"], index, WordEmbedder(), CONFIG, rebuild=True)
    assert len(report.added) == 12
    assert (index / f"{DATABASE}.unusable").read_bytes().startswith(b"not a database")


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
                found = snapshot.dense(query, 1000, None)
                assert len(found) == counts["vectors"]
                passages = snapshot.passages(list(found)[:20])
                assert snapshot.dense_of(query, list(found)) == pytest.approx(found, abs=1e-5)
                lexical = snapshot.lexical(terms("bone"), 1000, None)
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
