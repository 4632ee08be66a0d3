"""An index from one place to another, whichever holds it, with every row."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indexer.build import build
from indexer.errors import IndexDamagedError, IndexMismatchError, UsageError
from indexer.store import IndexPlace, open_writer
from indexer.store.embedded.writer import IndexWriter
from indexer.store.postgres.writer import PostgresWriter
from indexer.store.rows import PaperRows
from indexer.store.writing import Writer
from indexer.upkeep import copy
from tests.fakes import WordEmbedder
from tests.postgres.saying import CONFIG, KINDS, MANIFEST, assert_alike, facts, fresh_place, reading
from tests.postgres.servers import Server
from tests.postgres.test_contract import write_corpus
from tests.test_store import write_papers


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index in a folder. Read only."""
    folder = tmp_path_factory.mktemp("source")
    write_papers(folder / "papers", n=8)
    write_corpus(folder / "papers")
    build([folder / "papers"], folder / "index", WordEmbedder(), CONFIG)
    return folder / "index"


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[IndexPlace]:
    """A place for an index."""
    with fresh_place(request.param, server, tmp_path) as fresh:
        yield fresh


def test_there_and_back(source: Path, place: IndexPlace, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    copied = copy(source, place, lambda done, n: heard.append((done, n)))
    assert (copied.n_papers, copied.n_new, heard[-1]) == (17, 17, (17, 17))
    assert copied.overlap >= 0.9
    assert copied.n_searches == 100
    back = copy(place, tmp_path / "back")
    assert (back.n_papers, back.n_new, back.n_passages) == (17, 17, copied.n_passages)
    with reading(source) as one, reading(place) as two, reading(tmp_path / "back") as three:
        assert_alike(one, two)
        assert_alike(one, three)
    again = copy(source, place)
    assert (again.n_new, again.generation) == (0, copied.generation)


def test_what_was_begun_is_gone_on_with(source: Path, place: IndexPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("indexer.upkeep.copy")  # the package has a function of that name
    monkeypatch.setattr(module, "_BATCH", 20)
    monkeypatch.setattr(module, "_PAGE", 3)
    n_batches = 0
    for owner in (IndexWriter, PostgresWriter):
        put_many = owner.put_many

        def failing(self: Writer, papers: Sequence[PaperRows], of: Any = put_many) -> None:
            nonlocal n_batches
            n_batches += 1
            if n_batches == 4:
                raise ZeroDivisionError
            of(self, papers)

        monkeypatch.setattr(owner, "put_many", failing)
    with pytest.raises(ZeroDivisionError):
        copy(source, place)
    with reading(place) as snapshot:
        n_there = snapshot.n_papers()
        assert 0 < n_there < 17
    assert copy(source, place).n_new == 17 - n_there
    with reading(source) as one, reading(place) as two:
        assert_alike(one, two)


def test_a_place_with_other_papers_is_left_as_it_is(source: Path, place: IndexPlace, tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# Other\n\nA text.\n", encoding="utf-8")
    build([tmp_path / "other.md"], place, WordEmbedder(), CONFIG)
    with reading(place) as snapshot:
        before = snapshot.generation, facts(snapshot)
    with pytest.raises(UsageError, match="holds other and other papers that the source has not: name a new place"):
        copy(source, place)
    with reading(place) as snapshot:
        assert (snapshot.generation, facts(snapshot)) == before


def test_a_place_that_was_made_otherwise_is_left_as_it_is(source: Path, place: IndexPlace) -> None:
    with open_writer(place, replace(MANIFEST, terms_version=-1), rebuild=True) as writer:
        writer.commit()
    with pytest.raises(IndexMismatchError, match="terms version"):
        copy(source, place)
    with reading(place) as snapshot:
        assert snapshot.n_papers() == 0


def test_what_did_not_arrive_as_it_was_sent_is_told(
    source: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_many = PostgresWriter.put_many
    for table, column, changed in (
        ("papers", "title_terms", "otherwise"),
        ("passages", "terms", "otherwise"),
        ("vectors", "vector", b"\0\0\0\0" * 32),
        ("vectors", "sentences", b""),
        ("reference_entries", "doi", "10.1/other"),
    ):

        def changing(
            self: Writer, papers: Sequence[PaperRows], at: tuple[str, str, object] = (table, column, changed)
        ) -> None:
            table, column, changed = at
            sent = [
                {**rows, table: [{**rows[table][0], column: changed}, *rows[table][1:]] if rows[table] else []}
                for rows in papers
            ]
            put_many(self, sent)  # type: ignore[arg-type]

        monkeypatch.setattr(PostgresWriter, "put_many", changing)
        with (
            server.fresh_database() as name,
            pytest.raises(IndexDamagedError, match=r"not the same in .*: copy once more"),
        ):
            copy(source, server.url(name))
