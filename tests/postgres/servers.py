"""Real PostgreSQL servers, for tests: made, started, stopped, killed, replicated. Knows nothing of loccit.

They listen on 127.0.0.1 only, and trust everybody there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, Self

import psycopg
from psycopg import pq, sql

from tests.postgres import keeper
from tests.postgres.place import as_user, free_port, hand_over, programs

__all__ = ["HASTY", "Cluster", "Server", "make_synchronous", "standby_of", "started_cluster"]

Settings = Mapping[str, str | int]

HASTY: Settings = {"fsync": "off"}
"""For a server that need not outlive its machine: half the time. A kill it outlives, as the kernel keeps what it was
handed; whole pages stay in the log, as a kill may come in the middle of one."""

_SETTINGS: Settings = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "max_prepared_transactions": 64,
    "dynamic_shared_memory_type": "mmap",  # in the data folder; what lies in /dev/shm outlives a kill
    "wal_retrieve_retry_interval": "100ms",  # a standby finds its primary again at once
}
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
_TIMEOUT_S = 60
_STOPS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}

_database_numbers = count(1)


# One server


class Server:
    """A server whose data lie in a folder. `with` starts it, and kills it at the end if it still runs."""

    def __init__(self, folder: Path, port: int, settings: Settings) -> None:
        self.folder = folder
        self.port = port
        self.settings: dict[str, str | int] = dict(settings)
        self._bin = programs(folder.parent)
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def create(cls, folder: Path, *, port: int | None = None, settings: Settings | None = None) -> Self:
        """Make a server in a folder that is not there yet, in a `kept_folder`; on a free port unless told otherwise."""
        server = cls(folder, port or free_port(), {**_SETTINGS, **(settings or {})})
        server._make_folder()
        server._run("initdb", "--pgdata", str(server.data), "--username=postgres", "--auth=trust", "--no-locale",
                    "--encoding=UTF8", "--no-sync", "--no-instructions")  # fmt: skip
        with (server.data / "postgresql.conf").open("a") as file:
            file.write("include 'fixture.conf'\n")
        server._write_settings()
        return server

    @property
    def name(self) -> str:
        """That of its folder: what its standbys, its log and `ps` call it."""
        return self.folder.name

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "data"

    def __repr__(self) -> str:
        return f"Server({self.name}, port {self.port})"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it takes connections. RuntimeError, with its log, if it does not."""
        assert self._process is None or self._process.poll() is not None, f"{self} runs already"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.data],
                cwd=self.folder,
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **as_user(),
            )
        try:
            self._wait_until(self.is_up, "take connections")
        except BaseException:
            self.kill()
            raise

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop it, if it runs: when all clients are gone, with their transactions rolled back, or without a goodbye."""
        if self._process is not None:
            self._process.send_signal(_STOPS[mode])
            try:
                self._process.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise RuntimeError(f"{self} does not stop ({mode}):\n{self.log()}") from None
            self._process = None

    def kill(self) -> None:
        """Kill all of its processes at once, as on a machine that dies: it says goodbye to nobody and writes nothing
        more. Other than there, the kernel closes its connections and keeps what it was handed."""
        keeper.kill_all_in(self.folder)
        if self._process is not None:
            self._process.wait(_TIMEOUT_S)
            self._process = None

    def is_up(self) -> bool:
        """Whether it takes connections; a standby, those that read."""
        running = self._process is not None and self._process.poll() is None
        address = f"host=127.0.0.1 port={self.port} connect_timeout=2"
        return running and pq.PGconn.ping(address.encode()) == pq.Ping.OK

    def promote(self) -> None:
        """Make a primary of this standby, and wait until it is."""
        with self.connect() as connection:
            row = connection.execute("SELECT pg_promote(wait => true, wait_seconds => %s)", [_TIMEOUT_S]).fetchone()
        if row != (True,):
            raise RuntimeError(f"{self} was not promoted within {_TIMEOUT_S} s:\n{self.log()}")

    def configure(self, **settings: str | int) -> None:
        """Change settings; the server takes over what it can as it runs, and the rest when it starts again."""
        self.settings.update(settings)
        self._write_settings()
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def url(self, database: str) -> str:
        """The address of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection:
        """A connection on which every statement is committed at once."""
        return psycopg.connect(self.url(database), autocommit=True, **options)

    def log(self, n_lines: int = 40) -> str:
        """The last lines of its log."""
        path = self.folder / "log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-n_lines:]) if path.exists() else ""

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """The name of a new database, which is dropped at the end."""
        name = f"test_{next(_database_numbers)}"
        with _on_each([self], name):
            yield name

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700)
        hand_over(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments],
            cwd=self.folder,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            timeout=_TIMEOUT_S,
            check=False,
            **as_user(),
        )
        if done.returncode != 0:
            raise RuntimeError(f"{program} for {self} failed:\n{done.stdout.decode(errors='replace')}")

    def _write_settings(self) -> None:
        path = self.data / "fixture.conf"
        written = {**self.settings, "port": self.port, "cluster_name": self.name}
        quoted = {name: str(value).replace("'", "''") for name, value in written.items()}
        path.write_text("".join(f"{name} = '{value}'\n" for name, value in quoted.items()))
        hand_over(path)

    def _wait_until(self, is_so: Callable[[], bool], what: str) -> None:
        ends = time.monotonic() + _TIMEOUT_S
        while not is_so():
            if self._process is None or self._process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"{self} does not {what}:\n{self.log()}")
            time.sleep(0.01)


@contextmanager
def _on_each(servers: list[Server], name: str) -> Iterator[None]:
    """A database of this name on each of these servers; dropped where the server is up at the end."""
    try:
        for server in servers:
            with server.connect() as connection:
                connection.execute(
                    f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
                )
        yield
    finally:
        for server in servers:
            if server.is_up():
                _drop(server, name)


def _drop(server: Server, name: str) -> None:
    """Drop a database, with what is connected or prepared there; without waiting for a standby, which may be gone."""
    local = "-c synchronous_commit=local"
    with server.connect(options=local) as connection:
        prepared = connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s", [name]).fetchall()
        if prepared:
            with server.connect(name, options=local) as inside:
                for (gid,) in prepared:
                    inside.execute(sql.SQL("ROLLBACK PREPARED {}").format(gid))
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


# Several servers


def standby_of(primary: Server, folder: Path, *, port: int | None = None, settings: Settings | None = None) -> Server:
    """A standby of a server that runs, with its settings and a replication slot of the standby's name. Not started."""
    inherited = {name: value for name, value in primary.settings.items() if name != "synchronous_standby_names"}
    standby = Server(folder, port or free_port(), {**inherited, **(settings or {})})
    standby._make_folder()
    standby._run("pg_basebackup", "--dbname", primary.url("postgres"), "--pgdata", str(standby.data), "--no-sync",
                 "--checkpoint=fast", "--write-recovery-conf", "--create-slot", "--slot", standby.name)  # fmt: skip
    standby._write_settings()
    return standby


def make_synchronous(primary: Server, standby: Server) -> None:
    """Have a commit of the primary wait until its standby has it on disk. Both run."""
    primary.configure(synchronous_standby_names=f'FIRST 1 ("{standby.name}")', synchronous_commit="on")
    with primary.connect() as connection:

        def is_synchronous() -> bool:
            asked = "SELECT sync_state FROM pg_stat_replication WHERE application_name = %s"
            return connection.execute(asked, [standby.name]).fetchall() == [("sync",)]

        primary._wait_until(is_synchronous, f"replicate to {standby} synchronously")
        # It is the checkpointer that tells sessions to wait: once it answers, it has read the settings.
        connection.execute("CHECKPOINT")


@dataclass(frozen=True, slots=True)
class Cluster:
    """Two shards, `one` and `two`; what `one` commits, its `standby` has."""

    one: Server
    standby: Server
    two: Server

    @property
    def servers(self) -> tuple[Server, Server, Server]:
        """All three."""
        return self.one, self.standby, self.two

    def url(self, shard: Literal["one", "two"], database: str) -> str:
        """The address of a database on a shard, without its standby."""
        return {"one": self.one, "two": self.two}[shard].url(database)

    def failover_url(self, database: str) -> str:
        """The address of a database on shard `one`, wherever it may be written."""
        hosts = f"127.0.0.1:{self.one.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://postgres@{hosts}/{database}?target_session_attrs=read-write"

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        """The name of a new database on each shard, which is dropped at the end where the shard is up."""
        name = f"test_{next(_database_numbers)}"
        with _on_each([self.one, self.two], name):
            yield name


@contextmanager
def started_cluster(folder: Path, *, settings: Settings | None = None) -> Iterator[Cluster]:
    """A cluster in a `kept_folder`. Killed at the end."""
    with ExitStack() as running:
        one, two = (running.enter_context(Server.create(folder / name, settings=settings)) for name in ("one", "two"))
        standby = running.enter_context(standby_of(one, folder / "standby"))
        make_synchronous(one, standby)
        yield Cluster(one, standby, two)
