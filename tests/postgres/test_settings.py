"""Servers as they are elsewhere: with timeouts, without prepared transactions, with users who may only read."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import indexer.build.embed
from indexer.build import build
from indexer.errors import IndexBusyError, IndexNotWritableError
from indexer.store import open_reader, open_writer
from indexer.store.postgres import writer as postgres_writer
from indexer.store.postgres.writer import PostgresWriter, _Link
from tests.fakes import WordEmbedder
from tests.postgres.failing import MOMENTS, Searching, Slow, build_until_killed, prepared_on
from tests.postgres.saying import CONFIG, MANIFEST, facts, reading, spread
from tests.postgres.servers import HASTY, Server
from tests.test_store import write_papers


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """A folder of six papers."""
    write_papers(tmp_path / "papers", n=6)
    return tmp_path / "papers"


@pytest.fixture
def name(server: Server, papers: Path) -> Iterator[str]:
    """The database of their index."""
    with server.fresh_database() as name:
        build([papers], server.url(name), WordEmbedder(), CONFIG)
        yield name


def test_a_shard_that_prepares_no_transactions(
    server: Server, name: str, papers: Path, servers_folder: Path, tmp_path: Path
) -> None:
    """As a server is that nobody configured: it is told, and nothing has happened."""
    with Server.create(servers_folder / "plain", settings={**HASTY, "max_prepared_transactions": 0}) as plain:
        url = server.url(name)
        with reading(url) as snapshot:
            before = facts(snapshot)
        with (
            PostgresWriter(url, None) as writer,
            pytest.raises(IndexNotWritableError, match="set max_prepared_transactions to 10 or more"),
        ):
            writer.add_shard(plain.url("postgres"))
        assert prepared_on(server, name) == []
        (papers / "paper00.md").write_text("# Anew\n\nPMC7000 · J · 2000\n\nA new text.\n", encoding="utf-8")
        assert build([papers], url, WordEmbedder(), CONFIG).updated == ["PMC7000"]
        plain.stop()
        plain.configure(max_prepared_transactions=10)
        plain.start()
        assert spread(url, plain.url("postgres")) > 0
        with reading(url) as snapshot:
            assert snapshot.counts()["papers"] == len(before["papers"])


def test_a_server_with_timeouts(
    server: Server, papers: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as are meant for sessions that somebody forgot: a writer waits long for its model, in a transaction."""
    monkeypatch.setattr(indexer.build.embed, "_BATCH_WORDPIECES", 1)
    with server.fresh_database() as name:
        with server.connect() as connection:
            connection.execute(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '200ms'")
            connection.execute(f"ALTER DATABASE {name} SET statement_timeout = '400ms'")
        assert len(build([papers], server.url(name), Slow(0.3), CONFIG).added) == 6
        with open_writer(server.url(name), None) as writer:
            link = writer._links[0]  # type: ignore[attr-defined]
            assert isinstance(link, _Link)
            link.execute("SELECT pg_sleep(0.6)")
    assert "waiting for it" not in caplog.text


def test_what_another_session_holds_is_waited_for_so_long(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "_LOCKED_MS", 300)
    with server.connect(name) as holding, open_writer(server.url(name), None) as writer:
        holding.execute("BEGIN")
        holding.execute("SELECT 1 FROM loccit_1.papers WHERE paper_id = 'PMC7000' FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(IndexBusyError, match="lock timeout; wait for the other program to end"):
            writer.take_down("PMC7000")
        assert time.monotonic() - began < 5
    with reading(server.url(name)) as snapshot:
        assert snapshot.has("PMC7000")


def test_an_id_that_is_too_long_is_told_at_once(
    server: Server, name: str, papers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's indexes take no value of more than 2.7 KB: that is no server that is away."""
    monkeypatch.setattr("indexer.build.run._MAX_ID", 10_000)
    with reading(server.url(name)) as snapshot:
        before = facts(snapshot)
    long = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=6000))
    (papers / "long.md").write_text(f"---\npaper_id: {long}\n---\n\n# Long\n\nA text.\n", encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(IndexNotWritableError, match="is too long for the server's indexes"):
        build([papers], server.url(name), WordEmbedder(), CONFIG)
    assert time.monotonic() - began < 5
    with reading(server.url(name)) as snapshot:
        assert facts(snapshot) == before


def test_a_statement_that_is_cancelled_is_no_server_that_is_away(server: Server, name: str) -> None:
    with open_writer(server.url(name), None) as writer:
        link = writer._links[0]  # type: ignore[attr-defined]
        link.run("SET statement_timeout = 50")
        began = time.monotonic()
        with pytest.raises(IndexBusyError, match="statement timeout"):
            link.execute("SELECT pg_sleep(2)")
        assert time.monotonic() - began < 1.5


def test_who_may_only_read_searches(server: Server, name: str, papers: Path) -> None:
    """Also where a writer was killed in the middle of a commit: such a reader cannot end it, and waits once."""
    url = server.url(name)
    with server.fresh_database() as other:
        spread(url, server.url(other))
        with reading(url) as snapshot:
            before = facts(snapshot)
        with server.connect() as connection:
            connection.execute("CREATE ROLE looker LOGIN")
        try:
            for each in (name, other):
                with server.connect(each) as connection:
                    for schema in ("loccit", "loccit_1"):
                        connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO looker")
                        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO looker")
            looking = url.replace("postgres@", "looker@")
            with server.connect(name) as connection:
                connection.execute("UPDATE loccit.shards SET url = replace(url, 'postgres@', 'looker@')")
            with closing(open_reader(looking)) as reader:
                with reader.snapshot() as snapshot:
                    assert facts(snapshot) == before
                with server.connect(name) as connection:
                    connection.execute("UPDATE loccit.shards SET url = replace(url, 'looker@', 'postgres@')")
                with open_writer(looking, None) as writer, pytest.raises(IndexNotWritableError, match="rights"):
                    writer.take_down("PMC7000")
                for path in sorted(papers.iterdir()):
                    path.write_text(path.read_text().replace("The ", "A new "), encoding="utf-8")
                build_until_killed(papers, url, MOMENTS["decided"])
                searching = Searching(reader, n_threads=2)
                began = time.monotonic()
                with searching.going_on():
                    while len(searching.rounds) < 10 and time.monotonic() - began < 10:
                        time.sleep(0.01)
                assert len(searching.rounds) >= 10
                assert len(prepared_on(server, other)) == 1
                assert [end - begin for begin, end, _ in searching.since(began)[-3:]] == pytest.approx([0] * 3, abs=0.5)
            open_writer(url, MANIFEST).close()
            assert prepared_on(server, other) == []
        finally:
            for each in (name, other):
                with server.connect(each) as connection:
                    connection.execute("DROP OWNED BY looker")
            with server.connect() as connection:
                connection.execute("DROP ROLE looker")
