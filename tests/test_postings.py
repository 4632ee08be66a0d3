"""The word lists against FTS5's own BM25 and against counting, through every change that an index may see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.chunking import chunk
from indexer.config import BuildConfig
from indexer.embedding import PassageVectors
from indexer.errors import IndexDamagedError
from indexer.markdown import parse_markdown
from indexer.store import IndexReader, IndexWriter, Manifest, Snapshot
from indexer.store import postings as module
from indexer.store.embedded.folder import DATABASE
from indexer.store.embedded.schema import create, read_collection
from indexer.store.postings import FTS_WEIGHTS, PassageTerms, bm25, document_frequency, lists_of, write
from tests.databases import Connection, opened
from tests.fakes import WordEmbedder

EMBEDDER = WordEmbedder()
CONFIG = BuildConfig(model="words", max_wordpieces=32, merge_below=0)
MANIFEST = Manifest(CONFIG, EMBEDDER.identity, EMBEDDER.encoder)
WORDS = [
    *"bone sugar collagen femur mouse protein fracture gene insulin density".split(),
    "age",
    "AGEs",
    "IL-6",
    "naïve",
]
QUERIES = [
    ["bone"],
    ["bone", "sugar", "bone"],
    ["absent"],
    [],
    ["^age"],
    ["age", "^age", "absent"],
    ["^il 6"],
    ["bone sugar", "sugar", "mous protein", "naiv"],
    ["sugar bone femur", "absent bone"],
    ["femur", "method", "rare7", "6"],
    [*(f"rare{n}" for n in range(40)), "titl"],
]


class Corpus:
    """Random papers, put into an index and taken out again."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.present: set[str] = set()

    def put(self, writer: IndexWriter, paper_id: str) -> None:
        def sentence() -> str:
            words = self.random.choice(WORDS, self.random.integers(1, 12), p=np.arange(14, 0, -1) / 105)
            return f"We {' '.join(words)} rare{self.random.integers(40)}."

        paragraphs = "\n\n".join(sentence() for _ in range(self.random.integers(1, 5)))
        text = (
            f"# Titles of {self.random.choice(WORDS)}\n\n## Methods of {self.random.choice(WORDS)}\n\n{paragraphs}\n\n"
            f"## Funding\n\n{sentence()}\n"
        )
        paper = replace(parse_markdown(text, source=f"{paper_id}.md", sha256="0"), paper_id=paper_id)
        passages = chunk(paper, CONFIG, EMBEDDER.count, 32)
        writer.put(paper, f"/{paper_id}.md", passages, {}, {})
        self.present.add(paper_id)

    def change(self, writer: IndexWriter) -> None:
        """Add, replace or remove a paper."""
        if self.present and self.random.random() < 0.3:
            gone = self.random.choice(sorted(self.present))
            writer.remove(gone)
            self.present.remove(gone)
        else:
            self.put(writer, f"p{self.random.integers(40)}")


@contextmanager
def reading(folder: Path) -> Iterator[Snapshot]:
    reader = IndexReader(folder)
    with closing(reader), reader.snapshot() as snapshot:
        yield snapshot


def fts5(snapshot: Snapshot, phrases: list[str], ids: set[int]) -> dict[int, float]:
    """FTS5's own scores, by row id."""
    any_phrase = " OR ".join(f'"{phrase}"' for phrase in dict.fromkeys(phrases))
    rows = snapshot._connection.execute(
        f"SELECT rowid, -bm25(passages_fts, {', '.join(map(str, FTS_WEIGHTS))}) FROM passages_fts "
        "WHERE passages_fts MATCH ?",
        (any_phrase,),
    )
    return {row: score for row, score in rows if row in ids}


def check(snapshot: Snapshot) -> None:
    """Every score and count is what FTS5 or counting gives."""
    rows = snapshot._connection.execute("SELECT id, title || ' ' || headings || ' ' || body FROM passage_terms")
    held = {row: set(text.split()) for row, text in rows}
    frequency = Counter(term for each in held.values() for term in each)
    asked = ["absent", *sorted(frequency)]
    assert snapshot.document_frequency(asked) == {term: frequency[term] for term in asked}
    assert snapshot.n_passages() == len(held)
    bodies = {row[0] for row in snapshot._connection.execute("SELECT id FROM passages WHERE role = 'body'")}
    some = np.array(sorted(held)[::3], dtype=np.int64)
    for phrases in QUERIES:
        for selected, rows_of in ((None, bodies), (some, set(some.tolist()))):
            ids, scores = snapshot.lexical(phrases, selected)
            assert (ids.dtype, scores.dtype) == (np.int64, np.float64)
            assert ids.tolist() == sorted(ids.tolist())
            expected = fts5(snapshot, phrases, rows_of) if phrases else {}
            assert dict(zip(ids.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def counts(folder: Path) -> tuple[int, int, int]:
    """Numbers of segments, of rows in them, and of rows noted as removed."""
    with closing(opened(folder / DATABASE)) as connection:
        lengths = [len(row[0]) for row in connection.execute("SELECT passages FROM segments")]
        (segments_of_lists,) = connection.execute("SELECT count(DISTINCT segment) FROM postings").fetchone()
        (n_removed,) = connection.execute("SELECT count(*) FROM removed_rows").fetchone()
    assert segments_of_lists == len(lengths)
    return len(lengths), sum(lengths) // module._PASSAGE.itemsize, n_removed


@pytest.mark.parametrize("seed", range(6))
def test_scores_and_counts_through_random_changes(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits, removals, replacements, merges of several tiers, a rebuild, and what a writer sees before it commits."""
    monkeypatch.setattr(module, "_SMALL", 8 if seed % 2 else 1024)
    corpus = Corpus(seed)
    with IndexWriter(tmp_path, MANIFEST) as writer:
        check(writer.view())
    reader = IndexReader(tmp_path)
    for n in range(30):
        rebuild = n == 20
        with IndexWriter(tmp_path, MANIFEST, rebuild=rebuild) as writer:
            if rebuild:
                corpus.present.clear()
            for _ in range(corpus.random.integers(1, 5)):
                corpus.change(writer)
                if corpus.random.random() < 0.2:
                    writer.checkpoint()
                if corpus.random.random() < 0.2:
                    check(writer.view())
            writer.commit()
        if n % 5 == 4 or rebuild:
            with reader.snapshot() as snapshot:
                check(snapshot)
        n_segments, n_rows, n_removed = counts(tmp_path)
        with reader.snapshot() as snapshot:
            assert n_rows - n_removed == snapshot.n_passages()
        assert n_segments <= 28
        assert n_removed <= 0.25 * n_rows
    reader.close()
    with IndexWriter(tmp_path, None) as writer:
        for paper_id in corpus.present:
            writer.remove(paper_id)
        writer.commit()
        check(writer.view())
    assert counts(tmp_path) == (0, 0, 0)


def test_by_default_bodies_and_what_has_a_vector_are_searched(tmp_path: Path) -> None:
    text = "# T\n\n## A\n\nBone is old.\n\n## Funding\n\nBone is paid for.\n\n## Acknowledgements\n\nBone is good.\n"
    paper = parse_markdown(text, source="paper.md", sha256="0")
    passages = chunk(paper, CONFIG, EMBEDDER.count, 32)
    assert [each.role for each in passages] == ["body", "back_matter", "back_matter"]
    vectors = {
        passages[2].passage_id: PassageVectors(EMBEDDER.encode_query("bone"), EMBEDDER.encode_query("bone")[np.newaxis])
    }
    with IndexWriter(tmp_path, MANIFEST) as writer:
        writer.put(paper, "/paper.md", passages, vectors, {})
        writer.commit()
    with reading(tmp_path) as snapshot:
        ids, _ = snapshot.lexical(["bone"], None)
        assert [each.passage.ordinal for each in snapshot.passages(ids.tolist())] == [0, 2]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """An index's tables, without papers, whose row ids go up to 100,000."""
    with closing(create(tmp_path, MANIFEST)) as made:
        made.execute("BEGIN")
        made.execute("INSERT INTO sqlite_sequence VALUES ('passages', 100000)")
        yield made


def some_terms(row: int) -> PassageTerms:
    return PassageTerms(row % 5 > 0, "titl", "head bone", f"bone term{row % 7} {'bone ' * (row % 3)}\nrow{row}")


def scored(connection: Connection, *asked: str) -> dict[int, float]:
    collection = read_collection(connection)
    scores = bm25(collection, lists_of(connection, asked))
    return {int(place) + collection.first: float(scores[place]) for place in np.flatnonzero(scores)}


def test_segments_stay_few_and_lists_are_copied_few_times(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 commits of 4 rows have five tiers: at most 7 segments of each, and a row is written once in each."""
    n_written = 0
    insert = module._insert

    def counted(connection: Connection, passages: np.ndarray, lists: Iterable[tuple[str, bytes]]) -> None:
        nonlocal n_written
        n_written += len(passages)
        insert(connection, passages, lists)

    monkeypatch.setattr(module, "_insert", counted)
    monkeypatch.setattr(module, "_SMALL", 1)
    most = 0
    for n in range(1000):
        write(connection, {row: some_terms(row) for row in range(4 * n + 1, 4 * n + 5)})
        (n_segments,) = connection.execute("SELECT count(*) FROM segments").fetchone()
        most = max(most, n_segments)
    assert 7 < most <= 25
    assert n_written <= 4 * 4000
    merged = scored(connection, "bone", "term3", "row77")
    assert document_frequency(connection, read_collection(connection), ["bone", "term3", "row77", "x"]) == {
        "bone": 4000,
        "term3": 572,
        "row77": 1,
        "x": 0,
    }
    for table in ("segments", "postings"):
        connection.execute(f"DELETE FROM {table}")
    write(connection, {row: some_terms(row) for row in range(1, 4001)})
    assert scored(connection, "bone", "term3", "row77") == merged


def test_rows_that_are_gone_leave_with_the_next_merge(connection: Connection) -> None:
    """At once when a quarter of their segment is gone; else when it is one of eight; never to come back."""
    for n in range(7):
        write(connection, {row: some_terms(row) for row in range(100 * n + 1, 100 * n + 101)})
    gone = [*range(101, 127), *range(650, 655)]  # over a quarter of the second segment, five of the last
    connection.executemany("INSERT INTO removed_rows VALUES (?)", [(row,) for row in gone])

    def noted() -> list[int]:
        return [row[0] for row in connection.execute("SELECT id FROM removed_rows ORDER BY id")]

    def living() -> None:
        rows = sorted({*range(1, 701)} - {*gone})
        assert sorted(scored(connection, "bone")) == rows
        frequency = document_frequency(connection, read_collection(connection), ["bone", "row651", "row110", "row1"])
        assert frequency == {"bone": len(rows), "row651": 0, "row110": 0, "row1": 1}
        assert read_collection(connection).n_passages == len(rows)

    living()
    write(connection, {})
    assert noted() == gone[26:]
    living()
    expected = scored(connection, "bone", "titl", "term2")
    assert [row for (row,) in connection.execute("SELECT DISTINCT term FROM postings WHERE term = 'row110'")] == []
    write(connection, {row: PassageTerms(False, "", "", "else") for row in range(701, 801)})
    assert noted() == []
    assert connection.execute("SELECT count(*) FROM segments").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM postings WHERE term IN ('row110', 'row651')").fetchone() == (0,)
    assert scored(connection, "bone", "titl", "term2").keys() == expected.keys()


def test_a_frequency_too_large_to_store_is_the_largest(connection: Connection) -> None:
    write(connection, {1: PassageTerms(True, "", "", "bone " * 40_000), 2: PassageTerms(True, "", "", "a b")})
    (blob,) = connection.execute("SELECT postings FROM postings WHERE term = 'bone'").fetchone()
    assert np.frombuffer(blob, dtype=module.POSTING).tolist() == [(1, 65_535)]


def test_a_reader_sees_its_own_lists_while_a_writer_commits(tmp_path: Path) -> None:
    corpus = Corpus(1)
    with IndexWriter(tmp_path, MANIFEST) as writer:
        for n in range(7):
            corpus.put(writer, f"p{n}")
            corpus.put(writer, f"q{n}")
            writer.commit()
        reader = IndexReader(tmp_path)
        with reader.snapshot() as old:
            before = [[each.tolist() for each in old.lexical(phrases, None)] for phrases in QUERIES]
            check(old)
            writer.remove("p2")
            corpus.put(writer, "p3")
            writer.commit()  # the eighth: merged
            assert counts(tmp_path) == (1, writer.view().n_passages(), 0)
            with reader.snapshot() as new:
                check(new)
                check(old)
                assert new.n_passages() != old.n_passages()
            assert [[each.tolist() for each in old.lexical(phrases, None)] for phrases in QUERIES] == before
        reader.close()


def test_a_transaction_that_ends_early_leaves_nothing(tmp_path: Path) -> None:
    corpus = Corpus(2)
    with IndexWriter(tmp_path, MANIFEST) as writer:
        corpus.put(writer, "p1")
        writer.commit()
    before = counts(tmp_path)
    with IndexWriter(tmp_path, MANIFEST) as writer:
        corpus.put(writer, "p2")
        check(writer.view())  # written, not committed
        corpus.put(writer, "p1")
    assert counts(tmp_path) == before
    with IndexWriter(tmp_path, MANIFEST) as writer:
        corpus.put(writer, "p2")
        writer._connection.execute("ROLLBACK")  # as SQLite does of itself when the disk is full
        corpus.put(writer, "p3")
        writer.commit()
        check(writer.view())
    with reading(tmp_path) as snapshot:
        assert [each.paper_id for each in snapshot.papers()] == ["p1", "p3"]
        check(snapshot)


def test_a_rebuild_writes_its_segments_as_it_goes(tmp_path: Path) -> None:
    corpus = Corpus(3)
    with IndexWriter(tmp_path, MANIFEST) as writer:
        corpus.put(writer, "old")
        writer.commit()
        before = counts(tmp_path)
    with IndexWriter(tmp_path, MANIFEST, rebuild=True) as writer:
        for n in range(20):
            corpus.put(writer, f"p{n}")
            writer.checkpoint()
            assert not writer._new
        corpus.put(writer, "p4")
        assert counts(tmp_path) == before  # not seen yet
        writer.commit()
    with reading(tmp_path) as snapshot:
        assert snapshot.counts()["papers"] == 20
        check(snapshot)


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE postings SET postings = postings || x'00' WHERE term = 'bone'",
        "UPDATE postings SET postings = x'ffffffff0100' WHERE term = 'bone'",
        "UPDATE postings SET postings = x'000000000100' WHERE term = 'bone'",
        "UPDATE segments SET passages = substr(passages, 2)",
        "UPDATE segments SET passages = x'ffffffff0100000001'",
    ],
)
def test_damaged_lists_are_named(tmp_path: Path, harm: str) -> None:
    corpus = Corpus(4)
    with IndexWriter(tmp_path, MANIFEST) as writer:
        for n in range(5):
            corpus.put(writer, f"p{n}")
        writer.commit()
    with closing(opened(tmp_path / DATABASE)) as connection:
        connection.execute(harm)
    with reading(tmp_path) as snapshot:
        with pytest.raises(IndexDamagedError, match="word lists cannot be read"):
            snapshot.lexical(["sugar", "bone"], None)
        if "|| x" in harm or "substr" in harm:
            with pytest.raises(IndexDamagedError, match="--rebuild"):
                snapshot.document_frequency(["bone"])
