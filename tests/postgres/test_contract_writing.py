"""The contract of a store, of a folder, one server and two shards: what is written, and who sees it when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

import indexer.build.embed
from indexer.build import build
from indexer.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexMismatchError,
    IndexMissingError,
    NotFoundError,
    UsageError,
)
from indexer.store import IndexPlace, Manifest, is_index, on_disk, open_reader, open_writer
from indexer.store.postgres import reader as postgres_reader
from indexer.store.postgres import schema
from indexer.store.postgres.session import Session
from indexer.store.postgres.writer import PostgresWriter
from indexer.upkeep.servers import examine, mend
from tests.fakes import WordEmbedder
from tests.postgres.saying import (
    CONFIG,
    KINDS,
    MANIFEST,
    Kind,
    assert_alike,
    bm25,
    cosines,
    facts,
    fresh_place,
    reading,
    scores,
    spread,
)
from tests.postgres.servers import Server
from tests.test_store import write_papers


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read still is not waited for."""
    monkeypatch.setattr(schema, "_DROPPING_MS", 100)


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """A folder of twelve papers."""
    write_papers(tmp_path / "papers")
    return tmp_path / "papers"


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Iterator[IndexPlace]:
    """A place for an index, or where they stand already."""
    with fresh_place(request.param, server, tmp_path) as fresh:
        yield fresh


@pytest.fixture
def index(place: IndexPlace, papers: Path) -> IndexPlace:
    """An index of the twelve papers."""
    assert len(build([papers], place, WordEmbedder(), CONFIG).added) == 12
    return place


@pytest.fixture
def url(server: Server, papers: Path) -> Iterator[str]:
    """The same, on one server."""
    with server.fresh_database() as name:
        build([papers], server.url(name), WordEmbedder(), CONFIG)
        yield server.url(name)


def schemas(url: str) -> list[str]:
    """Those of indexes that the server has."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'loccit%' ORDER BY 1").fetchall()
    return [row[0] for row in rows]


def generation(place: IndexPlace) -> int:
    with reading(place) as snapshot:
        return snapshot.generation


# What is seen, and when


def test_nothing_is_seen_before_it_is_committed(index: IndexPlace) -> None:
    with closing(open_reader(index)) as reader:
        with reader.snapshot() as snapshot:
            before = facts(snapshot)
        with open_writer(index, MANIFEST) as writer:
            writer.remove("PMC7000")
            writer.move("PMC7001", "/elsewhere.md", "elsewhere.md")
            with pytest.raises(NotFoundError):
                writer.view().paper("PMC7000")
            assert writer.view().paper("PMC7001").source == "elsewhere.md"
            assert writer.view().counts() == {"papers": 11, "passages": 66, "vectors": 55}
            assert writer.files.of("PMC7000") == []
            with reader.snapshot() as snapshot:
                assert facts(snapshot) == before
        with reader.snapshot() as snapshot:  # it was closed without a commit
            assert facts(snapshot) == before
        with open_writer(index, MANIFEST) as writer:
            writer.remove("PMC7000")
            assert writer.commit() == generation(index)
        with reader.snapshot() as snapshot:
            assert snapshot.counts()["papers"] == 11
            assert not snapshot.has("PMC7000")
            assert snapshot.files("PMC7000") == []


def test_a_held_snapshot_sees_its_generation_to_the_end(index: IndexPlace, papers: Path) -> None:
    with closing(open_reader(index)) as reader, reader.snapshot() as held:
        said, found = (held.generation, facts(held)), scores(held)
        with reader.snapshot() as untouched:
            with open_writer(index, MANIFEST) as writer:
                writer.remove("PMC7000")
                writer.commit()
            with reader.snapshot() as newer:
                assert newer.generation == said[0] + 1
            for path in sorted(papers.iterdir())[3:]:
                path.unlink()
            build([papers], index, WordEmbedder(), CONFIG, rebuild=True)
            assert (held.generation, facts(held)) == said
            assert scores(held) == found
            # Of this one nothing was asked before the writers came.
            assert (untouched.generation, facts(untouched)) == said
            assert scores(untouched) == found
        with reader.snapshot() as newest:
            assert newest.counts()["papers"] == 3


def test_an_older_snapshot_beside_newer_ones_counts_by_its_own_words(index: IndexPlace) -> None:
    with closing(open_reader(index)) as reader, reader.snapshot() as held:
        with open_writer(index, MANIFEST) as writer:
            for number in range(7000, 7010):
                writer.remove(f"PMC{number}")
            writer.commit()
        with reader.snapshot() as newer:
            assert newer.n_passages() == 12
            ours = bm25(newer, ["bone", "sugar bone"])
            assert held.n_passages() == 72
            assert len(bm25(held, ["bone"])) > len(ours)
        with reader.snapshot() as newer:
            assert bm25(newer, ["bone", "sugar bone"]) == ours


def test_generations_count_commits_that_change_something(index: IndexPlace, papers: Path) -> None:
    first = generation(index)
    with open_writer(index, MANIFEST) as writer:
        assert writer.commit() == first
        assert writer.commit() == first
        writer.keep_failures([])
        assert writer.commit() == first
        writer.move("PMC7001", "/elsewhere.md", "elsewhere.md")
        assert writer.commit() == first + 1
        assert writer.commit() == first + 1
    assert generation(index) == first + 1
    with open_writer(index, MANIFEST) as writer:
        writer.move("PMC7001", str(papers / "paper01.md"), "paper01.md")
        writer.commit()
    assert build([papers], index, WordEmbedder(), CONFIG).generation == first + 2
    assert generation(index) == first + 2


def test_a_rehearsal_changes_nothing(index: IndexPlace, papers: Path) -> None:
    with reading(index) as snapshot:
        before = snapshot.generation, facts(snapshot)
    with open_writer(index, MANIFEST, rehearse=True) as writer:
        writer.remove("PMC7000")
        writer.checkpoint()
        assert writer.view().counts()["papers"] == 11
        assert writer.commit() == before[0]
        assert not writer.view().has("PMC7000")
    (papers / "paper03.md").unlink()
    for rebuild in (False, True):
        report = build([papers], index, WordEmbedder(), CONFIG, prune=True, dry_run=True, rebuild=rebuild)
        assert report.generation == before[0]
    with reading(index) as snapshot:
        assert (snapshot.generation, facts(snapshot)) == before


def test_a_rehearsal_makes_no_index(server: Server, papers: Path) -> None:
    with server.fresh_database() as name:
        report = build([papers], server.url(name), WordEmbedder(), CONFIG, dry_run=True)
        assert len(report.added) == 12
        assert not is_index(server.url(name))
        assert schemas(server.url(name)) == []


# What is changed


def test_a_paper_is_put_in_place_of_another(index: IndexPlace, papers: Path, tmp_path: Path) -> None:
    build([papers], tmp_path / "oracle", WordEmbedder(), CONFIG)
    write_papers(tmp_path / "others", seed=1)
    (papers / "paper03.md").write_bytes((tmp_path / "others" / "paper03.md").read_bytes())
    for place in (index, tmp_path / "oracle"):
        report = build([papers], place, WordEmbedder(), CONFIG)
        assert (report.added, report.updated) == ([], ["PMC7003"])
    with reading(index) as stored, reading(tmp_path / "oracle") as oracle:
        assert_alike(stored, oracle)


def test_rows_that_came_and_went_in_one_transaction_leave_nothing(index: IndexPlace, tmp_path: Path) -> None:
    with reading(index) as snapshot:
        rows = {each.paper_id: snapshot.rows(each.paper_id) for each in snapshot.papers()}
        before = scores(snapshot)
    with open_writer(index, MANIFEST) as writer:
        for _ in range(3):
            for each in rows.values():
                writer.put_rows(each)
            assert writer.view().n_passages() == 72
        writer.put_many(list(rows.values()))
        writer.put_many([])
        writer.take_down("PMC7005")
        writer.put_rows(rows["PMC7005"])
        writer.take_down("nothing of that name")
        assert writer.view().n_passages() == 72
        writer.commit()
    with reading(index) as snapshot:
        assert snapshot.counts() == {"papers": 12, "passages": 72, "vectors": 60}
        after = scores(snapshot)
        assert after.keys() == before.keys()
        for name, each in before.items():
            assert after[name] == pytest.approx(each, rel=1e-5)


def test_the_last_of_several_rows_of_one_paper_stays(index: IndexPlace) -> None:
    with reading(index) as snapshot:
        rows = snapshot.rows("PMC7005")
    newer = {**rows, "papers": [{**rows["papers"][0], "title": "Newer"}]}
    with open_writer(index, MANIFEST) as writer:
        writer.put_many([rows, newer])
        writer.commit()
    with reading(index) as snapshot:
        assert snapshot.paper("PMC7005").title == "Newer"
        assert snapshot.counts() == {"papers": 12, "passages": 72, "vectors": 60}


def test_to_take_down_and_to_remove(index: IndexPlace) -> None:
    with open_writer(index, MANIFEST) as writer:
        writer.take_down("PMC7000")
        writer.remove("PMC7001")
        with pytest.raises(NotFoundError, match="PMC7001"):
            writer.remove("PMC7001")
        with pytest.raises(NotFoundError, match="nothing"):
            writer.remove("nothing")
        writer.commit()
    with reading(index) as snapshot:
        assert snapshot.counts()["papers"] == 10
        assert [each.source for each in snapshot.files("PMC7000")] == ["paper00.md"]
        assert snapshot.files("PMC7001") == []
        assert len(cosines(snapshot, "bone", 1000)) == 50


def test_an_error_leaves_the_old_generation(index: IndexPlace, papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with reading(index) as snapshot:
        before = snapshot.generation, facts(snapshot)
    with suppress(ZeroDivisionError), open_writer(index, MANIFEST) as writer:
        writer.remove("PMC7000")
        raise ZeroDivisionError
    monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 10**9)
    (papers / "paper03.md").write_text("# Anew\n\nPMC7003 · J · 2003\n\nA new text.\n", encoding="utf-8")
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        patch.setattr("indexer.store.postings._insert", fail)  # in the middle of a transaction
        with pytest.raises(ZeroDivisionError):
            build([papers], index, WordEmbedder(), CONFIG)
    with reading(index) as snapshot:
        assert (snapshot.generation, facts(snapshot)) == before
    assert build([papers], index, WordEmbedder(), CONFIG).updated == ["PMC7003"]


# One writer at a time, of the right kind


def test_a_second_writer_is_told_at_once(index: IndexPlace) -> None:
    with open_writer(index, MANIFEST) as writer:
        writer.remove("PMC7000")
        for given in (MANIFEST, None):
            began = time.monotonic()
            with pytest.raises(IndexBusyError, match=r"another process is writing to .*: wait for it to end"):
                open_writer(index, given)
            assert time.monotonic() - began < 2
        writer.commit()
        with pytest.raises(IndexBusyError):
            open_writer(index, None)
    open_writer(index, MANIFEST).close()


def test_two_who_begin_an_index_at_once(server: Server) -> None:
    """One of them is let in, or both after one another; neither sees an error that is not the index's own."""
    for _ in range(5):
        with server.fresh_database() as name:
            outcomes: list[object] = []
            start = threading.Barrier(3)

            def begin(url: str = server.url(name), start: threading.Barrier = start) -> None:
                start.wait()
                try:
                    with open_writer(url, MANIFEST) as writer:
                        time.sleep(0.1)
                        outcomes.append(writer.commit())  # noqa: B023  of this round
                except BaseException as error:  # noqa: BLE001  to look at
                    outcomes.append(error)  # noqa: B023

            threads = [threading.Thread(target=begin) for _ in range(3)]
            for each in threads:
                each.start()
            for each in threads:
                each.join(20)
            assert 0 in outcomes
            assert all(each == 0 or isinstance(each, IndexBusyError) for each in outcomes), outcomes


def test_another_manifest_is_a_mismatch_until_it_is_built_anew(index: IndexPlace, papers: Path) -> None:
    other = WordEmbedder("other", dim=48)
    with reading(index) as snapshot:
        before = facts(snapshot)
    for manifest in (
        Manifest(CONFIG, other.identity, other.encoder),
        replace(MANIFEST, chunker_version=-1),
        replace(MANIFEST, config=replace(CONFIG, max_wordpieces=16)),
    ):
        with pytest.raises(IndexMismatchError, match="--rebuild"):
            open_writer(index, manifest)
    with reading(index) as snapshot:
        assert facts(snapshot) == before
    open_writer(index, None).close()
    assert len(build([papers], index, other, CONFIG, rebuild=True).added) == 12
    with reading(index) as snapshot:
        assert snapshot.manifest.model == other.identity
        nearest = snapshot.nearest(other.encode_query("bone"), 1000, None)
        assert len(nearest) == 60


def test_there_is_no_index(server: Server, tmp_path: Path) -> None:
    with server.fresh_database() as name:
        place = server.url(name)
        assert not is_index(place)
        for ask in (open_reader, lambda where: open_writer(where, None)):
            with pytest.raises(IndexMissingError, match="loccit index"):
                ask(place)
        assert schemas(place) == []
        with closing(Session(place)) as session:
            schema.migrate(session)  # a writer that was killed before it made the tables
        for ask in (open_reader, lambda where: open_writer(where, None)):
            with pytest.raises(IndexMissingError, match="loccit index"):
                ask(place)
        open_writer(place, MANIFEST).close()
        assert generation(place) == 0
        assert is_index(place)
        n_bytes, written_at = on_disk(place)
        assert n_bytes > 10_000
        assert abs(time.time() - written_at) < 60


def test_a_snapshot_outlives_its_reader(index: IndexPlace) -> None:
    """Which is closed as the last searches end."""
    reader = open_reader(index)
    with reader.snapshot() as snapshot:
        before = facts(snapshot)
        reader.close()
        assert facts(snapshot) == before
        assert cosines(snapshot, "bone", 3)


# To build anew


def test_what_is_built_anew_is_seen_as_a_whole(
    index: IndexPlace, papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)  # each paper is a commit, were it no rebuild
    first = generation(index)
    seen: set[tuple[int, int]] = set()
    with closing(open_reader(index)) as reader:

        class Watching(WordEmbedder):
            def encode(self, *given: object, **named: object) -> object:  # type: ignore[override]
                with reader.snapshot() as snapshot:
                    seen.add((snapshot.generation, snapshot.n_papers()))
                return super().encode(*given, **named)  # type: ignore[arg-type]

        for path in sorted(papers.iterdir())[8:]:
            path.unlink()
        report = build([papers], index, Watching(), CONFIG, rebuild=True)  # type: ignore[arg-type]
        assert len(report.added) == 8
        assert seen == {(first, 12)}
        with reader.snapshot() as snapshot:
            assert snapshot.n_papers() == 8
            assert snapshot.generation == report.generation > first


def test_what_is_abandoned_of_a_rebuild_is_never_seen(
    index: IndexPlace, papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)
    with reading(index) as snapshot:
        before = snapshot.generation, facts(snapshot)

    class Failing(WordEmbedder):
        def encode(self, *given: object, **named: object) -> object:  # type: ignore[override]
            if len(self.encoded) > 30:
                raise ZeroDivisionError
            return super().encode(*given, **named)  # type: ignore[arg-type]

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            build([papers], index, Failing(), CONFIG, rebuild=True)  # type: ignore[arg-type]
        with reading(index) as snapshot:
            assert (snapshot.generation, facts(snapshot)) == before
    with open_writer(index, MANIFEST) as writer:
        writer.remove("PMC7000")
        writer.commit()
    with reading(index) as snapshot:
        assert snapshot.n_papers() == 11
    build([papers], index, WordEmbedder(), CONFIG, rebuild=True)
    build([papers], tmp_path / "oracle", WordEmbedder(), CONFIG)
    with reading(index) as stored, reading(tmp_path / "oracle") as oracle:
        assert_alike(stored, oracle)


def test_nothing_is_left_of_what_was_there_before(server: Server, url: str, papers: Path) -> None:
    with server.fresh_database() as other:
        spread(url, server.url(other))
        assert schemas(url) == ["loccit", "loccit_1"]
        build([papers], url, WordEmbedder(), CONFIG, rebuild=True)
        for each in (url, server.url(other)):
            assert schemas(each) == ["loccit", "loccit_2"]
        with suppress(ZeroDivisionError), open_writer(url, MANIFEST, rebuild=True) as writer:
            writer.keep_failures([])
            writer.checkpoint()
            raise ZeroDivisionError
        open_writer(url, None).close()
        for each in (url, server.url(other)):
            assert schemas(each) == ["loccit", "loccit_2"]
        with closing(open_reader(url)) as reader, reader.snapshot() as held:
            began = time.monotonic()
            build([papers], url, WordEmbedder(), CONFIG, rebuild=True)
            assert time.monotonic() - began < 20
            assert held.counts()["papers"] == 12
            assert schemas(url) == ["loccit", "loccit_2", "loccit_3"]
        open_writer(url, None).close()
        assert schemas(url) == ["loccit", "loccit_3"]


def test_a_schema_that_goes_as_a_reader_comes(url: str, papers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its look at which schema is read, and its first look into that."""
    enter, is_first = postgres_reader.enter, True
    with closing(open_reader(url)) as reader:

        def late(session: Session, name: str) -> None:
            nonlocal is_first
            if is_first:
                is_first = False
                build([papers], url, WordEmbedder(), CONFIG, rebuild=True)
                assert schemas(url) == ["loccit", "loccit_2"]
            enter(session, name)

        monkeypatch.setattr(postgres_reader, "enter", late)
        with reader.snapshot() as snapshot:
            assert snapshot.counts()["papers"] == 12
        assert not is_first


@pytest.mark.parametrize("kind", KINDS[1:])
def test_searching_while_another_writes(kind: Kind, server: Server, tmp_path: Path, papers: Path) -> None:
    """No error and no torn result: every answer is of one generation, and reads as its papers say."""
    stop, errors = threading.Event(), []
    seen: dict[int, dict[str, str]] = {}
    with fresh_place(kind, server, tmp_path) as place:
        build([papers], place, WordEmbedder(), CONFIG)
        with closing(open_reader(place)) as reader:

            def search() -> None:
                try:
                    while not stop.is_set():
                        with reader.snapshot() as snapshot:
                            found = cosines(snapshot, "bone", 1000)
                            counts = snapshot.counts()
                            assert len(found) == counts["vectors"]
                            assert bm25(snapshot, ["bone", "bone sugar"]).keys() <= found.keys()
                            said = {each.paper_id: each.sha256 for each in snapshot.papers()}
                            assert len(said) == counts["papers"]
                            assert seen.setdefault(snapshot.generation, said) == said
                except BaseException as error:  # noqa: BLE001  to be raised in the test
                    errors.append(error)

            threads = [threading.Thread(target=search) for _ in range(2)]
            for each in threads:
                each.start()
            try:
                for n in range(6):
                    for path in papers.iterdir():
                        path.unlink()
                    write_papers(papers, n=12 - n % 3, seed=n)
                    build([papers], place, WordEmbedder(), CONFIG, prune=True, rebuild=n % 3 == 2)
            finally:
                stop.set()
                for each in threads:
                    each.join(30)
    assert not errors, errors[0]
    assert len(seen) >= 4


# Shards


def test_a_database_that_has_an_index_is_no_new_shard(server: Server, url: str) -> None:
    before = generation(url)
    with server.fresh_database() as name:
        open_writer(server.url(name), MANIFEST).close()
        with PostgresWriter(url, None) as writer:
            for each in (server.url(name), url):
                with pytest.raises(UsageError, match="has an index already: name a database that has none"):
                    writer.add_shard(each)
        assert generation(url) == before


def test_a_shard_that_was_half_added_is_added_once_more(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server.fresh_database() as name:
        other = server.url(name)

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patch:
            patch.setattr(schema, "add_shard", fail)  # the tables are made there, and nothing says so here
            with pytest.raises(ZeroDivisionError), PostgresWriter(url, None) as writer:
                writer.add_shard(other)
        with reading(url) as snapshot:
            assert snapshot.counts()["papers"] == 12
        with PostgresWriter(url, None) as writer:
            assert writer.add_shard(other) == 1
            assert writer.rebalance() > 0
            assert writer.rebalance() == 0
            with pytest.raises(UsageError, match="has an index already"):
                writer.add_shard(other)
        with reading(url) as snapshot:
            assert snapshot.counts() == {"papers": 12, "passages": 72, "vectors": 60}


@pytest.mark.parametrize("ahead", ["first", "other"])
def test_servers_that_were_restored_to_different_moments_come_to_agree(
    ahead: str, server: Server, url: str, papers: Path, tmp_path: Path
) -> None:
    with server.fresh_database() as name:
        spread(url, server.url(name))
        with psycopg.connect({"first": url, "other": server.url(name)}[ahead]) as connection:
            connection.execute("INSERT INTO loccit_1.commits VALUES (77, 'of another life')")
        with reading(url) as snapshot:  # the one that is behind is as if away
            assert len(snapshot.missing) == 1
            assert 0 < snapshot.n_papers() < 12
        for open_it in (lambda: open_writer(url, None), lambda: open_writer(url, MANIFEST)):
            with pytest.raises(IndexDamagedError, match="lacks commits that the others have"):
                open_it()
        looked = examine(url)
        assert [each.check for each in looked.findings] == ["commits"]
        assert len(mend(url, looked).done) == 2
        assert examine(url).is_sound
        (papers / "paper00.md").write_text("# Anew\n\nPMC7000 · J · 2000\n\nA new text.\n", encoding="utf-8")
        assert build([papers], url, WordEmbedder(), CONFIG).generation == 79
        build([papers], tmp_path / "oracle", WordEmbedder(), CONFIG)
        began = time.monotonic()
        with reading(url) as snapshot, reading(tmp_path / "oracle") as oracle:
            assert time.monotonic() - began < 0.8
            assert snapshot.generation == 79
            assert_alike(snapshot, oracle)


def test_a_shard_is_not_an_index_of_its_own(server: Server, url: str) -> None:
    with server.fresh_database() as name:
        spread(url, server.url(name))
        asks: list[Callable[[], object]] = [
            lambda: open_reader(server.url(name)),
            lambda: open_writer(server.url(name), None),
            lambda: open_writer(server.url(name), MANIFEST),
        ]
        for ask in asks:
            with pytest.raises(UsageError, match="a part of the index"):
                ask()


def test_no_paper_is_missed_or_found_twice_while_papers_move(server: Server, papers: Path) -> None:
    """Threads search all the while as a shard is added, papers move to it, and another one is added."""
    write_papers(papers, n=24)
    stop, errors, n_searches = threading.Event(), [], [0] * 3
    with server.fresh_database() as one, server.fresh_database() as two, server.fresh_database() as three:
        url = server.url(one)
        build([papers], url, WordEmbedder(), CONFIG)
        with closing(open_reader(url)) as reader:
            with reader.snapshot() as snapshot:
                before = scores(snapshot)
                said = facts(snapshot)

            def search(number: int) -> None:
                try:
                    while not stop.is_set():
                        with reader.snapshot() as snapshot:
                            assert snapshot.missing == ()
                            found = cosines(snapshot, "bone sugar femur bone", 10_000)
                            assert len(found) == 120
                            assert found == pytest.approx(before["vector bone sugar femur bone"], abs=1e-5)
                            words = bm25(snapshot, ["bone", "sugar", "femur", "bone"])
                            assert words == pytest.approx(before["words bone | sugar | femur | bone"], rel=1e-5)
                            assert snapshot.papers() == said["papers"]
                        n_searches[number] += 1
                except BaseException as error:  # noqa: BLE001  to be raised in the test
                    errors.append(error)

            threads = [threading.Thread(target=search, args=(number,)) for number in range(3)]
            for each in threads:
                each.start()
            try:
                for other in (two, three):
                    assert spread(url, server.url(other)) > 5
                    n_then = list(n_searches)
                    with suppress(AssertionError):
                        _until_more(n_searches, n_then, errors)
            finally:
                stop.set()
                for each in threads:
                    each.join(30)
            assert not errors, errors[0]
            assert min(n_searches) >= 2
            assert [each.papers for each in reader.shards()] != [24]  # type: ignore[attr-defined]
            with reader.snapshot() as snapshot:
                assert facts(snapshot) == said


def _until_more(counts: list[int], before: list[int], errors: list[BaseException]) -> None:
    ends = time.monotonic() + 20
    while not errors and any(now <= then for now, then in zip(counts, before, strict=True)):
        assert time.monotonic() < ends
        time.sleep(0.02)
