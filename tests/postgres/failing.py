"""Servers and writers that go at a chosen moment, and threads that search all the while."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from indexer.build import build
from indexer.embedding import PassageText, PassageVectors
from indexer.errors import IndexUnreachableError
from indexer.store import Reader
from indexer.store.postgres import writer as postgres_writer
from indexer.store.postgres.writer import PostgresWriter, _Link
from tests.fakes import WordEmbedder
from tests.postgres.keeper import living_in
from tests.postgres.saying import CONFIG, bm25, cosines
from tests.postgres.servers import Cluster, Server


class Slow(WordEmbedder):
    """Takes its time for each batch."""

    def __init__(self, pause_s: float) -> None:
        super().__init__()
        self.pause_s = pause_s

    def encode(
        self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
    ) -> list[PassageVectors]:
        time.sleep(self.pause_s)
        return super().encode(passages, on_progress)


# Moments

Moment = tuple[str, int, str]
"""Before or after a statement that ends a transaction, on which server: `("PREPARE TRANSACTION", 1, "after")`."""

MOMENTS: dict[str, Moment] = {
    "first prepared": ("PREPARE TRANSACTION", 0, "after"),
    "all prepared": ("PREPARE TRANSACTION", 1, "after"),
    "decision sent": ("COMMIT PREPARED", 0, "unheard"),
    "decided": ("COMMIT PREPARED", 0, "after"),
    "second sent": ("COMMIT PREPARED", 1, "unheard"),
    "all done": ("COMMIT PREPARED", 1, "after"),
}


def at_moment(moment: Moment, do: Callable[[], None], *, times_before: int = 0) -> None:
    """Have something done once at that moment of a commit, after so many others; undone by `monkeypatch`.

    `unheard` is after the server did it and before the writer knows: its session is lost then.
    """
    verb, wanted, when = moment
    run, commit_prepared, left = _Link.run, _Link.commit_prepared, times_before

    def count(link: _Link, done: str) -> None:
        nonlocal left
        if done == verb and link.number == wanted:
            left -= 1
            if left == -1:
                do()
                if when == "unheard":
                    link.session.close()
                    raise IndexUnreachableError(f"{link.session.place}: the answer was lost")

    def running(self: _Link, script: str) -> None:
        run(self, script)
        count(self, " ".join(script.split()[:2]))

    def committing(self: _Link, name: str) -> bool:
        found = commit_prepared(self, name)
        count(self, "COMMIT PREPARED")
        return found

    _Link.run = running  # type: ignore[method-assign]
    _Link.commit_prepared = committing  # type: ignore[method-assign]


# What was promised


@dataclass
class Promises:
    """Papers whose commit was reported, as the writer is told."""

    kept: set[str] = field(default_factory=set)

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """Note the papers of every commit that comes back."""
        put, commit_all = PostgresWriter.put_rows, PostgresWriter._commit_all
        pending: set[str] = set()

        def noting(writer: PostgresWriter, rows: Mapping[str, Sequence[Mapping[str, str]]]) -> None:
            put(writer, rows)  # type: ignore[arg-type]
            pending.add(rows["papers"][0]["paper_id"])

        def committing(writer: PostgresWriter, *, is_end: bool) -> None:
            sent = set(pending)
            commit_all(writer, is_end=is_end)
            self.kept |= sent
            pending.difference_update(sent)

        patch.setattr(PostgresWriter, "put_rows", noting)
        patch.setattr(PostgresWriter, "_commit_all", committing)


def papers_on(server: Server, database: str, schema: str = "loccit_1") -> set[str]:
    """What a server says by itself."""
    with server.connect(database) as connection:
        return {row[0] for row in connection.execute(f"SELECT paper_id FROM {schema}.papers")}


def prepared_on(server: Server, database: str) -> list[str]:
    """Transactions that nobody has ended."""
    with server.connect() as connection:
        rows = connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [database]).fetchall()
    return [row[0] for row in rows]


# Searching


@dataclass
class Searching:
    """Threads that search again and again, and what they met."""

    reader: Reader
    check: Callable[[dict[str, float], dict[str, float]], None] = lambda found, words: None
    """Of each whole answer: the nearest, and the scores of words."""
    n_threads: int = 3
    rounds: list[tuple[float, float, str]] = field(default_factory=list)
    """When each began and ended, and its outcome: `whole`, `missing ...`, or the error."""
    errors: list[BaseException] = field(default_factory=list)
    """Such as no search may give."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def _search(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                with self.reader.snapshot() as snapshot:
                    found = cosines(snapshot, "bone sugar", 10_000)
                    words = bm25(snapshot, ["bone", "sugar bone"])
                    outcome = f"missing {', '.join(snapshot.missing)}" if snapshot.missing else "whole"
                    if not snapshot.missing:
                        self.check(found, words)
            except IndexUnreachableError as error:
                outcome = f"error {error}"
            except BaseException as error:  # noqa: BLE001  to be raised in the test
                self.errors.append(error)
                return
            self.rounds.append((began, time.monotonic(), outcome))
            time.sleep(0.01)

    @contextmanager
    def going_on(self, deadline_s: float = 30) -> Iterator[None]:
        """Search until the block ends; every thread must come back within the deadline, without an error."""
        threads = [threading.Thread(target=self._search, daemon=True) for _ in range(self.n_threads)]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self._stop.set()
            for each in threads:
                each.join(deadline_s)
        assert not any(each.is_alive() for each in threads), "a search hangs"
        if self.errors:
            raise self.errors[0]

    def since(self, moment: float) -> list[tuple[float, float, str]]:
        """The rounds that began after it, in order."""
        return sorted(each for each in self.rounds if each[0] >= moment)

    def back_after(self, moment: float) -> float:
        """Seconds from that moment to the end of the first whole answer that began after it; infinite without one."""
        ends = [end for began, end, outcome in self.rounds if began >= moment and outcome == "whole"]
        return min(ends, default=float("inf")) - moment

    def slowest_since(self, moment: float) -> float:
        """Seconds of the longest round that ended after it."""
        return max((end - max(began, 0) for began, end, _ in self.rounds if end >= moment), default=0.0)


# Servers


@contextmanager
def silent() -> Iterator[int]:
    """A port that takes connections, and never says a word."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield listening.getsockname()[1]


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """A server that stands still, with all its connections open."""
    found = list(living_in(server.folder))
    for each in found:
        each.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in found:
            each.send_signal(signal.SIGCONT)


@contextmanager
def sharded(cluster: Cluster, papers: Path | None = None) -> Iterator[tuple[str, str]]:
    """An index on both shards, and the name of its databases; of these papers."""
    with cluster.fresh_database() as name:
        url = cluster.failover_url(name)
        postgres_writer._make_first(url, _manifest())
        with PostgresWriter(url, None) as writer:
            writer.add_shard(cluster.url("two", name))
        if papers is not None:
            assert not build([papers], url, WordEmbedder(), CONFIG).failed
        yield url, name


def _manifest() -> postgres_writer.Manifest:
    embedder = WordEmbedder()
    return postgres_writer.Manifest(CONFIG, embedder.identity, embedder.encoder)


# Writers in a process of their own


def build_until_killed(papers: Path, url: str, moment: Moment) -> None:
    """Build in another process, which is killed at that moment of its first commit."""
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=_build, args=(papers, url, moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    process.close()


def _build(papers: Path, url: str, moment: Moment) -> None:
    at_moment(moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
    build([papers], url, WordEmbedder(), CONFIG, prune=True)
