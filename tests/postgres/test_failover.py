"""Servers that die, stand still or come back, and writers that are killed, at every moment of a commit.

`TORTURE_POSTGRES_KILLS` is how many primaries are killed at random moments of an index run.
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

import indexer.build.embed
from indexer.build import build
from indexer.errors import IndexBusyError, IndexUnreachableError
from indexer.store import is_index, open_reader, open_writer
from indexer.store.postgres import reader as postgres_reader
from indexer.store.postgres import writer as postgres_writer
from indexer.store.postgres.writer import _Link
from tests.fakes import WordEmbedder
from tests.postgres.failing import (
    MOMENTS,
    Moment,
    Promises,
    Searching,
    Slow,
    at_moment,
    build_until_killed,
    papers_on,
    prepared_on,
    sharded,
    silent,
    stopped,
)
from tests.postgres.saying import CONFIG, MANIFEST, assert_alike, facts, reading
from tests.postgres.servers import Cluster, Server
from tests.serving import until
from tests.test_store import write_papers

N_KILLS = int(os.environ.get("TORTURE_POSTGRES_KILLS", "1"))
BACK_WITHIN_S = 10
"""Reads are whole again so long after a primary is killed and its standby promoted."""


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each paper is a commit of its own."""
    monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)


@pytest.fixture(autouse=True)
def links() -> Iterator[None]:
    """What `at_moment` changed is undone."""
    run, commit_prepared = _Link.run, _Link.commit_prepared
    yield
    _Link.run, _Link.commit_prepared = run, commit_prepared  # type: ignore[method-assign]


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """Eight papers of which the indexes have an older state: six, one of them otherwise."""
    write_papers(tmp_path / "papers", n=8)
    shutil.copytree(tmp_path / "papers", tmp_path / "before")
    write_papers(tmp_path / "others", n=8, seed=1)
    for name in ("paper06.md", "paper07.md"):
        (tmp_path / "before" / name).unlink()
    shutil.copy(tmp_path / "others" / "paper02.md", tmp_path / "before")
    for path in sorted((tmp_path / "before").iterdir()):
        if path.name == "paper03.md":
            (tmp_path / "papers" / path.name).unlink()
    return tmp_path / "papers"


@pytest.fixture
def before(papers: Path, tmp_path: Path) -> Path:
    """That older state, in the same place."""
    shutil.move(papers, tmp_path / "after")
    shutil.move(tmp_path / "before", papers)
    return papers


def advance(papers: Path) -> None:
    """Have the newer state in the folder."""
    shutil.rmtree(papers)
    shutil.copytree(papers.with_name("after"), papers)


def assert_as_built_at_once(url: str, papers: Path, folder: Path) -> None:
    """The index says what one says that was made of the papers without any trouble."""
    build([papers], folder, WordEmbedder(), CONFIG, prune=True)
    with reading(url) as snapshot, reading(folder) as oracle:
        assert snapshot.missing == ()
        assert_alike(snapshot, oracle)


# The primary dies, and its standby takes over


@pytest.mark.parametrize("seed", range(N_KILLS))
@pytest.mark.usefixtures("small_batches")
def test_a_primary_is_killed_in_the_middle_of_an_index_run(
    seed: int, own_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that was reported is lost, the run goes on to its end, and searches are back soon."""
    chance = random.Random(seed)
    write_papers(tmp_path / "papers", n=4)
    promises = Promises()
    with sharded(own_cluster, tmp_path / "papers") as (url, name):
        write_papers(tmp_path / "papers", n=40)
        promises.watch(monkeypatch)
        reports: list[object] = []

        def run() -> None:
            try:
                reports.append(build([tmp_path / "papers"], url, Slow(0.03), CONFIG))
            except BaseException as error:  # noqa: BLE001  to look at
                reports.append(error)

        with closing(open_reader(url)) as reader:
            searching = Searching(reader)
            with searching.going_on():
                writing = threading.Thread(target=run)
                writing.start()
                until(lambda: len(promises.kept) >= 5, 30)
                time.sleep(chance.random())
                assert not reports
                own_cluster.one.kill()
                killed = time.monotonic()
                promised = set(promises.kept)
                time.sleep(0.5)
                own_cluster.standby.promote()
                promoted = time.monotonic()
                there = papers_on(own_cluster.standby, name) | papers_on(own_cluster.two, name)
                assert promised <= there
                until(lambda: searching.back_after(killed) < float("inf"), BACK_WITHIN_S + 5)
                writing.join(60)
                until(lambda: searching.back_after(time.monotonic() - 1) < float("inf"), 5)
        with capsys.disabled():
            print(  # noqa: T201  the figures that were asked for
                f"\n{len(promised)} papers were promised; promoted {promoted - killed:.1f} s after the kill, "
                f"reads were back after {searching.back_after(killed):.1f} s, the slowest took "
                f"{searching.slowest_since(killed):.1f} s"
            )
        assert len(reports) == 1
        assert not isinstance(reports[0], BaseException), reports
        assert searching.back_after(killed) < BACK_WITHIN_S
        assert searching.slowest_since(killed) < BACK_WITHIN_S
        assert_as_built_at_once(url, tmp_path / "papers", tmp_path / "oracle")
        assert prepared_on(own_cluster.standby, name) == prepared_on(own_cluster.two, name) == []


@pytest.mark.parametrize("moment", ["all prepared", "decision sent"])
def test_a_standby_takes_over_in_the_middle_of_a_commit(
    moment: str, own_cluster: Cluster, before: Path, tmp_path: Path
) -> None:
    def fail_over() -> None:
        own_cluster.one.kill()
        threading.Timer(0.5, own_cluster.standby.promote).start()

    with sharded(own_cluster, before) as (url, name):
        advance(before)
        at_moment(MOMENTS[moment], fail_over)
        report = build([before], url, WordEmbedder(), CONFIG, prune=True)
        assert not report.failed
        assert_as_built_at_once(url, before, tmp_path / "oracle")
        assert prepared_on(own_cluster.standby, name) == prepared_on(own_cluster.two, name) == []
        assert not papers_on(own_cluster.standby, name) & papers_on(own_cluster.two, name)


# A server dies, and comes back


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("shard", ["one", "two"])
@pytest.mark.usefixtures("small_batches")
def test_a_server_dies_at_a_moment_of_a_commit_and_comes_back(
    shard: str, moment: str, cluster: Cluster, before: Path, tmp_path: Path
) -> None:
    server = cluster.one if shard == "one" else cluster.two
    n_killed = 0

    def kill() -> None:
        nonlocal n_killed
        n_killed += 1
        server.kill()
        threading.Timer(0.2, server.start).start()

    with sharded(cluster, before) as (url, name):
        advance(before)
        at_moment(MOMENTS[moment], kill, times_before=1)
        with closing(open_reader(url)) as reader:
            with reader.snapshot() as snapshot:
                first = snapshot.generation
            report = build([before], url, WordEmbedder(), CONFIG, prune=True)
            assert n_killed == 1
            until(server.is_up)
            assert (sorted(report.added), report.updated) == (["PMC7006", "PMC7007"], ["PMC7002"])
            assert_as_built_at_once(url, before, tmp_path / "oracle")
            assert report.generation > first
            until(lambda: _is_whole(reader, report.generation))
        assert prepared_on(cluster.one, name) == prepared_on(cluster.two, name) == []
        assert not papers_on(cluster.one, name) & papers_on(cluster.two, name)


def _is_whole(reader: postgres_reader.PostgresReader, generation: int) -> bool:
    try:
        with reader.snapshot() as snapshot:
            return snapshot.missing == () and snapshot.generation == generation
    except IndexUnreachableError:
        return False


@pytest.mark.parametrize("moment", [("BEGIN", 0, "after"), ("COMMIT", 0, "unheard"), ("COMMIT", 0, "after")])
@pytest.mark.usefixtures("small_batches")
def test_the_only_server_dies_around_a_commit_and_comes_back(
    moment: Moment, cluster: Cluster, before: Path, tmp_path: Path
) -> None:
    server = cluster.two

    def kill() -> None:
        server.kill()
        threading.Timer(0.2, server.start).start()

    with cluster.fresh_database() as name:
        url = server.url(name)
        build([before], url, WordEmbedder(), CONFIG)
        with reading(url) as snapshot:
            first = snapshot.generation
        advance(before)
        at_moment(moment, kill, times_before=1)
        report = build([before], url, WordEmbedder(), CONFIG, prune=True)
        until(server.is_up)
        assert_as_built_at_once(url, before, tmp_path / "oracle")
        with server.connect(name) as connection:
            rows = connection.execute("SELECT generation FROM loccit_1.commits ORDER BY 1").fetchall()
        assert [row[0] for row in rows] == list(range(report.generation + 1))
        assert report.generation == first + 3  # each paper once


@pytest.mark.usefixtures("small_batches")
def test_a_rebuild_goes_on_after_its_server_died(cluster: Cluster, before: Path, tmp_path: Path) -> None:
    for moment in (("PREPARE TRANSACTION", 0, "after"), ("COMMIT PREPARED", 0, "unheard")):
        with sharded(cluster, before) as (url, name):

            def kill() -> None:
                cluster.one.kill()
                threading.Timer(0.2, cluster.one.start).start()

            at_moment(moment, kill, times_before=3)
            report = build([before], url, WordEmbedder(), CONFIG, rebuild=True)
            assert len(report.added) == 6
            until(cluster.one.is_up)
            assert_as_built_at_once(url, before, tmp_path / f"oracle of {name}")
            with cluster.one.connect(name) as one, cluster.two.connect(name) as two:
                for each in (one, two):
                    assert each.execute(
                        "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'loccit%' ORDER BY 1"
                    ).fetchall() == [("loccit",), ("loccit_2",)]


def test_a_server_goes_between_changes(cluster: Cluster, before: Path, tmp_path: Path) -> None:
    """What was done since the last commit is done again, also what was only read in between."""
    build([before], tmp_path / "oracle", WordEmbedder(), CONFIG)
    with sharded(cluster, before) as (url, _):
        for server in (cluster.one, cluster.two):
            with open_writer(url, None) as writer, open_writer(tmp_path / "oracle", None) as other:
                for n, paper_id in enumerate(["PMC7000", "PMC7001", "PMC7004", "PMC7005"]):
                    for each in (writer, other):
                        rows = each.view().rows(paper_id)
                        if n % 2 == 0:
                            each.take_down(paper_id)
                        each.put_rows({**rows, "papers": [{**rows["papers"][0], "title": f"{server.name} {n}"}]})
                        each.move(paper_id, f"/{n}.md", f"{n}.md")
                    if n == 1:
                        server.kill()
                        server.start()
                        assert facts(writer.view()) == facts(other.view())
                    if n == 2:
                        server.kill()
                        server.start()
                assert facts(writer.view()) == facts(other.view())
                writer.commit()
                other.commit()
            with reading(url) as snapshot, reading(tmp_path / "oracle") as oracle:
                assert_alike(snapshot, oracle)


# A shard is away


def test_searches_say_what_is_missing_and_are_whole_again_when_it_is_back(
    cluster: Cluster, before: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sharded(cluster, before) as (url, name), closing(open_reader(url)) as reader:
        with reader.snapshot() as snapshot:
            said = facts(snapshot)
        here = papers_on(cluster.one, name)
        assert 0 < len(here) < 6
        searching = Searching(reader)
        with searching.going_on():
            until(lambda: len(searching.rounds) >= 6)
            cluster.two.kill()
            killed = time.monotonic()
            until(lambda: len(searching.since(killed)) >= 20)
            with reader.snapshot() as snapshot:
                assert snapshot.missing == (f"postgresql://127.0.0.1:{cluster.two.port}/{name}",)
                assert {each.paper_id for each in snapshot.papers()} == here
                assert {each.paper.paper_id for each in snapshot.passages(_all_rows(snapshot))} == here
            cluster.two.start()
            back = time.monotonic()
            until(lambda: searching.back_after(back) < float("inf"))
        assert {each[2].split()[0] for each in searching.since(killed)} <= {"missing", "whole"}
        assert searching.slowest_since(killed) < 5
        assert searching.back_after(back) < 5
        with capsys.disabled():
            print(  # noqa: T201  the figures that were asked for
                f"\nwithout a shard the slowest search took {searching.slowest_since(killed):.1f} s; whole again after "
                f"{searching.back_after(back):.1f} s"
            )
        with reader.snapshot() as snapshot:
            assert facts(snapshot) == said


def _all_rows(snapshot: postgres_reader.ShardedSnapshot) -> list[int]:
    return [int(n) for n in snapshot.nearest(WordEmbedder().encode_query("bone"), 10_000, None)]


def test_the_first_server_is_away(cluster: Cluster, before: Path) -> None:
    with sharded(cluster, before) as (url, name), closing(open_reader(url)) as reader:
        there = papers_on(cluster.two, name)
        cluster.one.kill()
        with reader.snapshot() as snapshot:
            assert len(snapshot.missing) == 1
            assert {each.paper_id for each in snapshot.papers()} == there
        began = time.monotonic()
        with pytest.raises(IndexUnreachableError, match="check that the server is up"):
            open_reader(url)
        with pytest.raises(IndexUnreachableError, match="check that the server is up"):
            open_writer(url, None)
        assert time.monotonic() - began < 5
        cluster.two.kill()
        with pytest.raises(IndexUnreachableError), reader.snapshot():
            pass
        cluster.one.start()
        cluster.two.start()
        until(lambda: _is_whole(reader, snapshot.generation), 5)


def test_writes_wait_for_a_shard_and_then_fail_clearly(
    cluster: Cluster, before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sharded(cluster, before) as (url, name):
        advance(before)
        with reading(url) as snapshot:
            generation = snapshot.generation
        monkeypatch.setattr(postgres_writer, "FAILOVER_S", 1.5)
        at_moment(("PREPARE TRANSACTION", 0, "after"), cluster.two.kill)
        began = time.monotonic()
        with pytest.raises(
            IndexUnreachableError, match=r"waited for 1.5 s\): what was committed is safe, run the command again"
        ):
            build([before], url, WordEmbedder(), CONFIG, prune=True)
        assert 1.5 <= time.monotonic() - began < 8
        assert name in papers_on_name(cluster, name)
        with pytest.raises(IndexUnreachableError):
            build([before], url, WordEmbedder(), CONFIG, prune=True)
        cluster.two.start()
        with reading(url) as snapshot:
            assert (snapshot.generation, snapshot.n_papers()) == (generation, 6)
        build([before], url, WordEmbedder(), CONFIG, prune=True)
        assert_as_built_at_once(url, before, tmp_path / "oracle")


def papers_on_name(cluster: Cluster, name: str) -> str:
    """The databases of the first server."""
    with cluster.one.connect() as connection:
        return " ".join(row[0] for row in connection.execute("SELECT datname FROM pg_database"))


def test_writes_go_on_when_a_shard_comes_back_in_time(cluster: Cluster, before: Path, tmp_path: Path) -> None:
    with sharded(cluster, before) as (url, _):
        advance(before)

        def kill() -> None:
            cluster.two.kill()
            threading.Timer(1.5, cluster.two.start).start()

        at_moment(("PREPARE TRANSACTION", 0, "after"), kill)
        build([before], url, WordEmbedder(), CONFIG, prune=True)
        assert_as_built_at_once(url, before, tmp_path / "oracle")


# A writer is killed, or loses its place


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_writer_is_killed_in_the_middle_of_a_commit(
    moment: str, cluster: Cluster, before: Path, tmp_path: Path
) -> None:
    """Readers go on, and what it began is ended as it was decided, or not at all: by a reader, or the next writer."""
    build([before], tmp_path / "old", WordEmbedder(), CONFIG)
    with sharded(cluster, before) as (url, name), closing(open_reader(url)) as reader:
        advance(before)
        searching = Searching(reader)
        with searching.going_on():
            build_until_killed(before, url, (*MOMENTS[moment][:2], "after"))
            killed = time.monotonic()
            until(lambda: len(searching.since(killed)) >= 10)
        assert {each[2] for each in searching.rounds} == {"whole"}
        assert searching.slowest_since(killed) < 5
        is_decided = MOMENTS[moment][0] == "COMMIT PREPARED"
        if is_decided:  # all that there was to do was one commit
            build([before], tmp_path / "old", WordEmbedder(), CONFIG, prune=True)
        with reader.snapshot() as snapshot, reading(tmp_path / "old") as oracle:
            assert_alike(snapshot, oracle)
        with open_writer(url, None):
            assert prepared_on(cluster.one, name) == prepared_on(cluster.two, name) == []
        build([before], url, WordEmbedder(), CONFIG, prune=True)
        assert_as_built_at_once(url, before, tmp_path / "oracle")


def test_a_writer_whose_place_was_taken_does_not_write_over_the_other(
    cluster: Cluster, before: Path, tmp_path: Path
) -> None:
    """It loses its sessions, and another writer comes and goes before it is back."""
    with sharded(cluster, before) as (url, _):
        for rebuild in (False, True):
            with open_writer(url, MANIFEST, rebuild=rebuild) as writer:
                writer.take_down("PMC7000")
                if rebuild:
                    writer.checkpoint()
                for link in writer._links:  # type: ignore[attr-defined]
                    link.session.close()
                with open_writer(url, None) as other:
                    paper = other.view().papers()[-1]
                    other.remove(paper.paper_id)
                    generation = other.commit()
                with pytest.raises(IndexBusyError, match=r"another process has written to .* run the command again"):
                    writer.take_down("PMC7001")
            with reading(url) as snapshot:
                assert snapshot.generation == generation
                assert not snapshot.has(paper.paper_id)
                assert snapshot.has("PMC7000")
                assert snapshot.has("PMC7001")


# A server that says nothing


def test_a_server_that_never_answers(tmp_path: Path) -> None:
    with silent() as port:
        url = f"postgresql://someone:secret@127.0.0.1:{port}/index"
        hasty = f"{url}?connect_timeout=2"
        for ask in (
            lambda: open_reader(url),
            lambda: is_index(hasty),
            lambda: open_writer(hasty, None),
            lambda: open_writer(hasty, MANIFEST),
        ):
            began = time.monotonic()
            with pytest.raises(
                IndexUnreachableError, match=f"127.0.0.1:{port}/index: .*check that the server"
            ) as caught:
                ask()
            assert time.monotonic() - began < 8
            assert "secret" not in str(caught.value)


def test_a_shard_that_stands_still(
    cluster: Cluster, before: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its connections stay open, and nothing comes of them: eight searches had some."""
    monkeypatch.setattr(postgres_reader, "_PATIENCE_S", 1.5)
    with sharded(cluster, before) as (url, _), closing(open_reader(url)) as reader:
        searching = Searching(reader, n_threads=8)
        with searching.going_on():
            until(lambda: len(searching.rounds) >= 50)
            with stopped(cluster.two):
                stood = time.monotonic()
                until(lambda: sum(each[2].startswith("missing") for each in searching.since(stood)) >= 50, 20)
            back = time.monotonic()
            until(lambda: searching.back_after(back) < float("inf"))
        with capsys.disabled():
            print(f"\nthe slowest search took {searching.slowest_since(stood):.1f} s")  # noqa: T201
        assert searching.slowest_since(stood) < 8
        assert searching.back_after(back) < 5


def test_a_server_that_stands_still_costs_one_wait_only(
    cluster: Cluster, before: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many idle sessions there are with it."""
    monkeypatch.setattr(postgres_reader, "_PATIENCE_S", 1.5)
    with sharded(cluster, before) as (url, _), closing(open_reader(url)) as reader:
        with ExitStack() as stack:
            for _ in range(6):
                stack.enter_context(reader.snapshot())
        with stopped(cluster.two):
            for limit_s in (8, 1):
                began = time.monotonic()
                with reader.snapshot() as snapshot:
                    assert len(snapshot.missing) == 1
                assert time.monotonic() - began < limit_s


def test_every_idle_session_is_stale(server: Server, before: Path) -> None:
    """A server that was started again: the next search is whole, and no session is left of the old ones."""
    with server.fresh_database() as name:
        build([before], server.url(name), WordEmbedder(), CONFIG)
        with closing(open_reader(server.url(name))) as reader:
            with reader.snapshot() as one, reader.snapshot() as two, reader.snapshot() as three:
                assert one.n_papers() == two.n_papers() == three.n_papers() == 6
            with server.connect() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
                )
            with reader.snapshot() as snapshot:
                assert snapshot.n_papers() == 6
            with server.connect() as connection:
                row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [name]).fetchone()
            assert row == (1,)
