"""An index from one place to another, whichever holds it, with every row."""

from __future__ import annotations

import importlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from indexer.build import build
from indexer.errors import IndexDamagedError, IndexMismatchError, IndexUnreachableError, UsageError
from indexer.store import FailedFile, IndexPlace, Snapshot, open_reader, open_writer
from indexer.store.embedded.writer import IndexWriter
from indexer.store.postgres import reader as postgres_reader
from indexer.store.postgres.writer import PostgresWriter
from indexer.store.rows import VECTORS, PaperRows
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


@pytest.fixture
def changing(source: Path, tmp_path: Path) -> Path:
    """The same index, to be changed."""
    return Path(shutil.copytree(source, tmp_path / "changing"))


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


Change = Callable[[Snapshot, Writer], None]


def _rows(table: str, **columns: object) -> Change:
    """The last row of a paper's table, with these columns otherwise."""

    def change(before: Snapshot, writer: Writer) -> None:
        rows = before.rows("PMC1000001")
        *others, last = rows[table]
        assert last.keys() >= columns.keys()
        writer.put_rows({**rows, table: [*others, {**last, **columns}]})

    return change


def _without(table: str) -> Change:
    def change(before: Snapshot, writer: Writer) -> None:
        rows = before.rows("PMC1000001")
        assert rows[table]
        writer.put_rows({**rows, table: []})

    return change


def _file(number: int, **fields: Any) -> Change:
    """One of a paper's files, with these fields otherwise."""

    def change(before: Snapshot, writer: Writer) -> None:
        writer.put_file(replace(before.files("PMC1000001")[number], **fields))

    return change


def _forget_a_version(before: Snapshot, writer: Writer) -> None:
    assert len(before.files("PMC1000001")) > 1
    writer.forget_file(before.files("PMC1000001")[1].origin)


def _put_two_alike(before: Snapshot, writer: Writer) -> None:
    """Versions that are alike are in the order in which they came to be known."""
    last = before.files("PMC1000001")[-1]
    for origin in ("/z.md", "/a.md"):
        writer.put_file(replace(last, origin=origin, is_searched=False))


def _turn_two_about(before: Snapshot, writer: Writer) -> None:
    writer.put_file(next(each for each in before.files("PMC1000001") if each.origin == "/z.md"))


def _hand_over(before: Snapshot, writer: Writer) -> None:
    """A version turns out to be another paper's."""
    writer.put_file(replace(before.files("PMC1000001")[-1], paper_id="PMC7000"))


def _fail(*failures: FailedFile) -> Change:
    return lambda before, writer: writer.keep_failures([*before.failures(), *failures])


def _put_new(before: Snapshot, writer: Writer) -> None:
    rows = before.rows("PMC4400")
    assert not rows["passages"]
    writer.put_rows({**rows, "papers": [{**rows["papers"][0], "paper_id": "PMC4401", "origin": "/new.md"}]})
    writer.put_file(replace(before.files("PMC4400")[0], paper_id="PMC4401", origin="/new.md"))


CHANGES: dict[str, tuple[Change, int]] = {
    "a file is retracted": (_file(0, notices=("retracted",), doi="10.1/other"), 1),
    "a version is retracted": (_file(1, notices=("retracted",)), 1),
    "what is kept beside a file": (_file(0, provenance="f" * 64), 1),
    "a paper is retracted": (_rows("papers", notices="retracted"), 1),
    "a title": (_rows("papers", title="Other", title_terms="other"), 1),
    "a text": (_rows("passages", text="Otherwise.", embedded_text="Otherwise.", terms="otherwise"), 1),
    "a vector": (_rows(VECTORS, vector=b"\0\0\x80?" + bytes(4 * 31)), 1),
    "a section's role": (_rows("passages", role="references"), 1),
    "a kept text": (_without("kept_texts"), 1),
    "two versions more": (_put_two_alike, 1),
    "two versions in another order": (_turn_two_about, 1),
    "a version of another paper": (_hand_over, 2),
    "a version less": (_forget_a_version, 1),
    "a failure more": (_fail(FailedFile("/more.md", "more.md", "no text in it")), 0),
    "another reason": (_fail(FailedFile("/more.md", "more.md", "not UTF-8")), 0),
    "a failure less": (lambda before, writer: writer.keep_failures(before.failures()[1:]), 0),
    "a new paper": (_put_new, 1),
}
"""What may happen to an index between two copies, one after the other, and how many papers are sent for it."""


def test_what_has_changed_since_is_sent_again(
    changing: Path, place: IndexPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("indexer.upkeep.copy"), "_N_SEARCHES", 5)
    back = tmp_path / "back"
    copy(changing, place)
    copy(place, back)
    for what, (change, n_sent) in CHANGES.items():
        with reading(changing) as before, open_writer(changing, None) as writer:
            change(before, writer)
            assert writer.commit() > before.generation, what
        assert copy(changing, place).n_new == n_sent, what
        assert copy(place, back).n_new == n_sent, what
        with reading(changing) as one, reading(place) as two, reading(back) as three:
            assert facts(one) == facts(two) == facts(three), what
    with reading(changing) as one, reading(place) as two, reading(back) as three:
        assert_alike(one, two)
        assert_alike(one, three)
        generation = two.generation
    assert copy(changing, place).generation == generation


def test_a_paper_that_the_source_has_no_more_is_told(changing: Path, place: IndexPlace) -> None:
    copy(changing, place)
    with open_writer(changing, None) as writer:
        writer.remove("PMC7003")
        writer.commit()
    with pytest.raises(UsageError, match="holds PMC7003, which the source has not, and maybe others: name a new place"):
        copy(changing, place)


def test_what_a_killed_build_left(changing: Path, place: IndexPlace) -> None:
    """Files whose paper was not stored: the source's are not sent, and the target's do not stay with their paper."""
    with reading(changing) as snapshot:
        record = snapshot.files("PMC7000")[0]
    left = replace(record, origin="/left.md", sha256="f" * 64)
    with open_writer(changing, None) as writer:
        writer.put_file(replace(left, paper_id="PMC9999", own_id="PMC9999"))
        writer.commit()
    with open_writer(place, MANIFEST) as writer:
        writer.put_file(left)
        writer.commit()
    assert copy(changing, place).n_new == 17
    with reading(place) as snapshot:
        assert snapshot.files("PMC7000") == [record]
        assert snapshot.versions_holding("f" * 64, "PMC9999") == []
        assert not snapshot.has("PMC9999")


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
    with pytest.raises(UsageError, match="holds other, which the source has not, and maybe others: name a new place"):
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


def test_files_and_failures_that_did_not_arrive_are_told(
    source: Path, place: IndexPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = IndexWriter if isinstance(place, Path) else PostgresWriter
    put_file = owner.put_file
    with monkeypatch.context() as patched:
        patched.setattr(owner, "put_file", lambda self, record: put_file(self, replace(record, doi="10.1/other")))
        with pytest.raises(IndexDamagedError, match=r"is not the same in .*: copy once more"):
            copy(source, place)
    with open_writer(place, None) as writer:
        writer.keep_failures([])
        writer.commit()
    with monkeypatch.context() as patched:
        patched.setattr(owner, "keep_failures", lambda self, failures: None)
        with pytest.raises(IndexDamagedError, match=r"that gave no paper are not the same .*: copy once more"):
            copy(source, place)
    assert copy(source, place).n_new == 0
    with reading(source) as one, reading(place) as two:
        assert_alike(one, two)


def test_a_copy_waits(source: Path, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than a search would, and with servers that end what takes long, or transactions that do nothing."""
    monkeypatch.setattr(postgres_reader, "_PATIENCE_S", 0.2)
    with server.fresh_database() as name:
        url = server.url(name)
        copy(source, url)
        with server.connect() as connection:
            connection.execute(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '200ms'")
            connection.execute(f"ALTER DATABASE {name} SET statement_timeout = '400ms'")
            version = connection.info.server_version
            if version >= 170_000:
                connection.execute(f"ALTER DATABASE {name} SET transaction_timeout = '600ms'")
        begun = threading.Event()

        def hold() -> None:
            with server.connect(name) as connection, connection.transaction():
                connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
                if version >= 170_000:
                    connection.execute("SET LOCAL transaction_timeout = 0")
                connection.execute("LOCK TABLE loccit_1.papers IN ACCESS EXCLUSIVE MODE")
                begun.set()
                time.sleep(1)

        def locked() -> threading.Thread:
            begun.clear()
            holding = threading.Thread(target=hold)
            holding.start()
            assert begun.wait(10)
            return holding

        holding = locked()
        try:
            with (
                closing(open_reader(url)) as reader,
                reader.snapshot() as snapshot,
                pytest.raises(IndexUnreachableError, match="did not answer in time"),
            ):
                snapshot.n_papers()
        finally:
            holding.join()
        holding = locked()
        try:
            assert copy(url, tmp_path / "waited", lambda done, n: time.sleep(0.7)).n_new == 17
        finally:
            holding.join()


def test_what_is_gone_goes_with_prune(place: IndexPlace, tmp_path: Path) -> None:
    write_papers(tmp_path / "papers", n=5)
    build([tmp_path / "papers"], tmp_path / "origin", WordEmbedder(), CONFIG)
    copy(tmp_path / "origin", place)
    with open_writer(tmp_path / "origin", None) as writer:
        writer.remove("PMC7001")
        writer.commit()
    with pytest.raises(UsageError, match="holds PMC7001, which the source has not"):
        copy(tmp_path / "origin", place)
    assert copy(tmp_path / "origin", place, prune=True).n_new == 0
    with reading(tmp_path / "origin") as one, reading(place) as other:
        assert_alike(other, one)


def test_a_place_is_not_copied_onto_itself(source: Path) -> None:
    with pytest.raises(UsageError, match="is both what is copied and where to"):
        copy(source, source.parent / "." / source.name)
