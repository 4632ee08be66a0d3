"""Servers that the tests share, and those that a test has to itself."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.postgres.place import kept_folder, why_not
from tests.postgres.servers import HASTY, Cluster, Server, started_cluster


@pytest.fixture(scope="session")
def postgres() -> None:
    """Skips where no server can run; fails where everything is required."""
    if missing := why_not():
        if os.environ.get("LOCCIT_REQUIRE_ALL"):
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture(scope="session")
def server(postgres: None) -> Iterator[Server]:
    """A server. Leave it as it is: tests have their own databases on it."""
    with kept_folder() as folder, Server.create(folder / "server", settings=HASTY) as server:
        yield server


@pytest.fixture
def database(server: Server) -> Iterator[str]:
    """The address of a fresh database on it."""
    with server.fresh_database() as name:
        yield server.url(name)


@pytest.fixture(scope="module")
def cluster(postgres: None) -> Iterator[Cluster]:
    """Two shards and a standby of the first. Leave them as they are, or as they were."""
    with kept_folder() as folder, started_cluster(folder, settings=HASTY) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(postgres: None) -> Iterator[Cluster]:
    """The same, to kill and promote at will."""
    with kept_folder() as folder, started_cluster(folder, settings=HASTY) as cluster:
        yield cluster


@pytest.fixture
def servers_folder(postgres: None) -> Iterator[Path]:
    """A folder for servers of a test's own."""
    with kept_folder() as folder:
        yield folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows the logs of its servers."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for used in item.funcargs.values():
            for each in used.servers if isinstance(used, Cluster) else [used] if isinstance(used, Server) else ():
                report.sections.append((f"log of {each}", each.log()))
    return report
