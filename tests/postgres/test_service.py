"""Every front end over an index on PostgreSQL: what it says is what it says of the same papers in a folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from mcp import Client
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from starlette.testclient import TestClient

from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.errors import IndexUnreachableError, NotFoundError, UsageError
from indexer.store import place_of
from indexer.upkeep import add_shard, examine, mend, rebalance
from service.adapters import hits_of
from service.api import create_app
from service.config import DEFAULT_BASE_URL, load_settings
from service.library import Library
from service.mcp_server import create_server
from service.observe import Pulse
from service.query import Query
from tests.conftest import Run
from tests.corpus import LIMPETS
from tests.postgres.servers import Cluster, Server
from tests.serving import until
from tests.test_cli import in_a_process
from tests.test_mcp import stdio, with_client

pytestmark = pytest.mark.model

Loccit = Callable[..., Run]

QUESTION = "why do limpets lose their grip in warm water?"
SECRET = "Sesam%C3%B6ffne"
VARIES = {"took_ms", "generation", "folder", "next_cursor"}
"""Of a reply; a cursor holds the generation."""


def steady(reply: Any) -> Any:
    """The reply without what no two indexes have in common."""
    if isinstance(reply, dict):
        return {name: steady(value) for name, value in reply.items() if name not in VARIES}
    if isinstance(reply, list):
        return [steady(each) for each in reply]
    return round(reply, 4) if isinstance(reply, float) else reply


def printed(run: Run) -> Any:
    assert run.code == 0, run.err
    return steady(json.loads(run.out))


# One server


@pytest.fixture(scope="module")
def url(server: Server, corpus: Path, embedder: Embedder) -> Iterator[str]:
    """The invented papers' index on a server. Read only."""
    with server.fresh_database() as name:
        report = build([corpus], server.url(name), embedder, BuildConfig())
        assert not report.failed
        yield server.url(name)


COMMANDS: list[tuple[str, ...]] = [
    ("search", QUESTION, "-k", "4"),
    ("search", 'how does a "mucus film" hold? -slate section:results year:2018..'),
    ("search", "growth", "--paper", "10.5555_lichen.2019.3"),
    ("ask", QUESTION),
    ("ask", "how fast do lichens grow on slate?", "-k", "2"),
    ("papers",),
    ("show", "PMC9000001"),
    ("show", "PMC9000001", "--source"),
    ("info",),
    ("doctor",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_prints_the_same_json(loccit: Loccit, built: Path, url: str, command: tuple[str, ...]) -> None:
    folder, server = (printed(loccit(*command, "--json", "--index", place)) for place in (built, url))
    if command == ("doctor",):
        for each in (folder, server):
            assert {each.pop("index"), *each.pop("checked")} >= {"papers", "word lists", "sources", "model"}
    assert server == folder


def test_a_passage_and_what_is_verified(loccit: Loccit, built: Path, url: str, workdir: Path) -> None:
    passage_id = printed(loccit("show", "PMC9000001", "--json", "--index", url))["passage_ids"][1]
    shown = [loccit("show", passage_id, "--context", "1", "--json", "--index", place) for place in (built, url)]
    assert printed(shown[0]) == printed(shown[1])
    (workdir / "answer.json").write_text(loccit("ask", QUESTION, "--json", "--index", built).out, encoding="utf-8")
    assert loccit("verify", "answer.json", "--index", url).code == 0


def test_an_evaluation_gives_the_same_figures(loccit: Loccit, built: Path, url: str, workdir: Path) -> None:
    start = LIMPETS.index("Grip fell by half")
    row = {"question": QUESTION, "paper_id": "PMC9000001", "start": start, "end": start + 40}
    (workdir / "set").mkdir()
    (workdir / "set" / "questions.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    folder, server = (printed(loccit("eval", "set", "--json", "--index", place)) for place in (built, url))
    assert folder == server
    assert server["evaluations"][0]["metrics"]


def test_an_assistant_starts_it_over_stdio(url: str) -> None:
    async def use(client: Client) -> None:
        result = await client.call_tool("list_papers", {})
        assert result.structured_content is not None
        assert result.structured_content["total"] == 4

    with_client(stdio("--index", url), use)


REQUESTS: list[tuple[str, str, Any]] = [
    ("POST", "/v1/search", {"query": QUESTION, "k": 4}),
    ("POST", "/v1/ask", {"question": QUESTION, "filters": {"year_from": 2020}}),
    ("GET", "/v1/papers?sort=title&limit=2", None),
    ("GET", "/v1/papers/PMC9000001", None),
    ("GET", "/v1/papers/PMC9000001/source", None),
    ("GET", "/readyz", None),
    ("GET", "/healthz", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS, ids=[path for _, path, _ in REQUESTS])
def test_http_gives_the_same_json(
    library: Library, url: str, embedder: Embedder, method: str, path: str, body: Any
) -> None:
    with contextlib.closing(Library.open(url, load=lambda _: embedder)) as other:
        replies = []
        for each in (library, other):
            with TestClient(create_app(each)) as client:
                reply = client.request(method, path, json=body)
                assert reply.status_code == 200
                replies.append(steady(reply.json()))
    assert replies[0] == replies[1]


TOOLS = [
    ("search_passages", {"query": QUESTION, "k": 3}),
    ("ask", {"question": QUESTION}),
    ("list_papers", {}),
    ("search", {"query": QUESTION}),
    ("fetch", {"id": "PMC9000001"}),
]


@pytest.mark.parametrize(("tool", "arguments"), TOOLS, ids=[name for name, _ in TOOLS])
def test_mcp_gives_the_same_json(
    library: Library, url: str, embedder: Embedder, tool: str, arguments: dict[str, Any]
) -> None:
    async def said(opened: Library) -> Any:
        async with Client(create_server(lambda: opened, DEFAULT_BASE_URL)) as client:
            result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        return steady(result.structured_content)

    with contextlib.closing(Library.open(url, load=lambda _: embedder)) as other:
        assert asyncio.run(said(other)) == asyncio.run(said(library))


def test_the_environment_and_the_file_name_a_url_too(
    loccit: Loccit, url: str, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workdir / "loccit.toml").write_text(f'index = "{url}"\n', encoding="utf-8")
    by_file = loccit("papers")
    assert (by_file.code, by_file.out.count("\n")) == (0, 4)
    (workdir / "loccit.toml").write_text('index = "mysql://u:hidden@h/d"\n', encoding="utf-8")
    refused = loccit("papers")
    assert refused.code == 2
    assert refused.err.startswith("loccit: `index` in loccit.toml: a mysql:// URL names no index: give a folder, or ")
    assert "hidden" not in refused.err
    monkeypatch.setenv("LOCCIT_INDEX", url)
    assert loccit("papers").out == by_file.out


def test_an_index_is_made_changed_and_looked_over(loccit: Loccit, database: str, corpus: Path) -> None:
    at = ("--index", database)
    shown = f"postgresql://127.0.0.1:{urlsplit(database).port}{urlsplit(database).path}"
    dry = loccit("index", corpus, "--dry-run", *at)
    assert (dry.code, f"nothing was changed in {shown}" in dry.out) == (0, True)
    assert loccit("papers", *at).code == 3
    made = loccit("index", corpus, *at)
    assert (made.code, f"{shown}, generation 1" in made.out) == (0, True), made.err
    assert loccit("remove", "PMC9000001", *at).out == "removed PMC9000001 (generation 2)\n"
    gone = loccit("show", "PMC9000001", *at)
    assert (gone.code, gone.err) == (
        4,
        "loccit: no paper 'PMC9000001' in this index: `loccit papers` lists those that are\n",
    )
    again = loccit("index", corpus, "--rebuild", "--json", *at)
    assert json.loads(again.out)["generation"] > 2
    assert loccit("papers", *at).out.count("\n") == 4
    sound = loccit("doctor", *at)
    assert (sound.code, sound.out.startswith(f"{shown} is sound: 4 papers, ")) == (0, True), sound.out
    for command in (("backup", "somewhere"), ("restore", "somewhere")):
        refused = loccit(*command, *at)
        assert refused.code == 2
        assert "pg_dump" in refused.err
        assert "loccit copy" in refused.err
    assert not Path("somewhere").exists()


def test_the_index_keeps_in_step_with_its_files(database: str, corpus: Path, tmp_path: Path) -> None:
    papers = tmp_path / "papers"
    papers.mkdir()
    text = (corpus / "limpets.md").read_text(encoding="utf-8")
    (papers / "limpets.md").write_text(text, encoding="utf-8")
    with in_a_process("index", papers, "--watch", "--json", "--index", database, cwd=tmp_path) as process:
        assert process.stdout is not None
        try:
            assert json.loads(process.stdout.readline())["generation"] == 1
            (papers / "limpets.md").write_text(text.replace("granite", "basalt"), encoding="utf-8")
            assert json.loads(process.stdout.readline())["updated"] == ["PMC9000001"]
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_workers_serve_it_and_no_password_shows(
    database: str, corpus: Path, embedder: Embedder, tmp_path: Path
) -> None:
    """The password is in the environment alone; the server trusts everybody, and takes any."""
    build([corpus], database, embedder, BuildConfig())
    secret = database.replace("postgres@", f"postgres:{SECRET}@")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    process = in_a_process("serve", "--workers", "2", "--port", str(port), cwd=tmp_path, LOCCIT_INDEX=secret)
    try:
        with contextlib.ExitStack() as stack:
            import httpx

            client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30))
            ends = time.monotonic() + 60
            while True:
                try:
                    ready = client.get("/readyz")
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < ends, process.communicate()
                    assert process.poll() is None, process.communicate()
                    time.sleep(0.1)
            assert ready.json() == {"status": "ready", "missing_shards": []}
            told = [ready.text, client.get("/metrics").text, client.get("/v1/papers/none").text]
            told.append(client.post("/v1/search", json={"query": QUESTION}).text)
            titles = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    finally:
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert "serving postgresql://127.0.0.1" in err
    for each in (*told, titles, out, err):
        assert SECRET not in each
        assert "Sesam" not in each


# What goes wrong


def unreachable() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def failed(loccit: Loccit, place: str, monkeypatch: pytest.MonkeyPatch, *command: str | Path) -> str:
    """What a command says of a place that cannot be used: within five seconds, on one line, without the password."""
    monkeypatch.setenv("LOCCIT_INDEX", place)
    began = time.monotonic()
    run = loccit(*(command or ("search", QUESTION)))
    assert time.monotonic() - began < 5
    assert (run.code, run.out, run.err.count("\n")) == (3, "", 1), run.err
    assert "Sesam" not in run.err
    assert "Traceback" not in run.err
    return run.err


def test_a_closed_port(loccit: Loccit, monkeypatch: pytest.MonkeyPatch, corpus: Path) -> None:
    port = unreachable()
    for command in (("search", "x"), ("index", corpus), ("remove", "x"), ("doctor",), ("info",)):
        said = failed(loccit, f"postgresql://postgres:{SECRET}@{port}/papers", monkeypatch, *command)
        assert said.startswith(f"loccit: postgresql://{port}/papers: connection failed: ")
        assert said.endswith("check that the server is up, and the index's URL\n")


def test_no_such_database(loccit: Loccit, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    said = failed(loccit, server.url("nowhere"), monkeypatch)
    assert 'database "nowhere" does not exist' in said
    assert f"postgresql://127.0.0.1:{server.port}/nowhere" in said


def test_no_index_in_the_database(loccit: Loccit, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "run `loccit index PATH... --index URL`" in failed(loccit, database, monkeypatch)


def test_a_wrong_password(loccit: Loccit, servers_folder: Path, monkeypatch: pytest.MonkeyPatch, corpus: Path) -> None:
    with Server.create(servers_folder / "strict") as strict:
        with strict.connect() as connection:
            connection.execute(sql.SQL("CREATE ROLE reader LOGIN PASSWORD {}").format(sql.Literal("right")))
        (strict.data / "pg_hba.conf").write_text(
            "host all reader 127.0.0.1/32 scram-sha-256\nhost all postgres 127.0.0.1/32 trust\n"
        )
        strict.configure()
        place = f"postgresql://reader:{SECRET}@127.0.0.1:{strict.port}/postgres"
        for command in (("search", "x"), ("index", corpus)):
            said = failed(loccit, place, monkeypatch, *command)
            assert 'password authentication failed for user "reader"' in said
            assert f"postgresql://127.0.0.1:{strict.port}/postgres" in said


def test_a_newer_schema(loccit: Loccit, database: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loccit("index", Path(__file__).parents[2] / "data", "--index", database).code == 0
    with server.connect(urlsplit(database).path[1:]) as connection:
        connection.execute("UPDATE loccit.meta SET version = 1000")
    said = failed(loccit, database, monkeypatch)
    assert "has schema version 1000" in said
    assert "install the loccit that made it" in said
    looked = loccit("doctor", "--json")
    assert looked.code == 1
    (finding,) = json.loads(looked.out)["findings"]
    assert (finding["check"], finding["level"]) == ("schema", "error")


def test_a_server_without_pgvector(loccit: Loccit, database: str, corpus: Path) -> None:
    bare = f"{database}?options=-c%20extension_control_path%3D/nowhere"
    run = loccit("index", corpus, "--index", bare)
    assert run.code != 0
    assert run.err.count("\n") == 1
    assert "install pgvector 0.8 or later on the server" in run.err


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("mysql://u:Sesam@h/d", "a mysql:// URL names no index"),
        ("file:///srv/index", "a file:// URL names no index"),
        ("postgresql:/u:Sesam@h/d", "the index's URL cannot be read"),
        ("postgresql://u:Sesam%zz@h/d", "the index's URL cannot be read"),
        ("postgresql://u:Ses@am@h/d", "the index's URL cannot be read"),
        ("postgresql://u:Sesam@h:99999/d", "the index's URL cannot be read"),
        ("postgresql://u:Sesam@h/d?password", "the index's URL cannot be read"),
        ("postgresql://u:Sesam@[::1/d", "the index's URL cannot be read"),
        ("postgresql://u:Sesam@h/d?sesam=1", "the index's URL cannot be read"),
    ],
)
def test_a_url_that_names_none(
    loccit: Loccit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, said: str
) -> None:
    monkeypatch.setenv("LOCCIT_INDEX", place)
    run = loccit("search", "x")
    assert (run.code, run.out) == (2, "")
    assert said in run.err
    assert "Ses" not in run.err
    assert "postgresql://USER@HOST:PORT/DATABASE" in run.err
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("place", ["postgresql://u:Sesam@h/d", "postgres://h/d?sslmode=require&password=Sesam"])
def test_a_password_is_not_taken_from_the_command_line(loccit: Loccit, place: str) -> None:
    for command in (("search", "x", "--index", place), ("copy", place, "there"), ("shards", "--add", place)):
        run = loccit(*command)
        assert (run.code, run.out) == (2, "")
        assert "shows in the list of processes" in run.err
        assert "Sesam" not in run.err


def test_settings_of_an_index_on_a_server(workdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    settings = load_settings(index="postgresql://u@h:1/d")
    assert settings.index == "postgresql://u@h:1/d"
    assert settings.keys_file == tmp_path / "settings" / "loccit" / "keys"
    assert load_settings(index="postgresql://h/d", keys=Path("own")).keys_file == Path("own")
    assert load_settings(index="some/folder").index == Path("some/folder")
    monkeypatch.setenv("LOCCIT_INDEX", f"postgresql://u:{SECRET}@h/d")
    assert load_settings().shown_index == "postgresql://h/d"


def test_keys_of_an_index_on_a_server(loccit: Loccit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    at = ("--index", "postgresql://h/d")
    assert loccit("keys", "add", "desk", *at).code == 0
    assert (tmp_path / "settings" / "loccit" / "keys").stat().st_mode & 0o777 == 0o600
    assert loccit("keys", "list", *at).out.startswith("desk  read")
    refused = loccit("serve", "--host", "0.0.0.0", "--index", "postgresql://h/d", "--keys", tmp_path / "none")
    assert refused.code == 2
    assert str(tmp_path / "none") in refused.err


def test_a_place_is_told_without_its_secrets(url: str, embedder: Embedder) -> None:
    secret = url.replace("postgres@", f"postgres:{SECRET}@")
    with contextlib.closing(Library.open(f"{secret}?sslmode=prefer&password={SECRET}", load=lambda _: embedder)) as one:
        assert one.place == f"{url}?sslmode=prefer"
        assert "Sesam" not in repr(one.info())
        with contextlib.closing(Library.open(one.place, load=lambda _: embedder)) as again:
            assert again.info() == one.info()
    with pytest.raises(UsageError, match="names no index"):
        Library.open("mysql://h/d")
    assert place_of("C:/papers") == Path("C:/papers")


# Some servers missing


@pytest.fixture(scope="module")
def shards(postgres: None, corpus: Path, embedder: Embedder, cluster: Cluster) -> Iterator[tuple[str, Cluster]]:
    """The invented papers' index on two servers. Whoever stops one starts it again."""
    with cluster.fresh_database() as name:
        first = cluster.url("one", name)
        report = build([corpus], first, embedder, BuildConfig())
        assert not report.failed
        add_shard(first, cluster.url("two", name))
        assert rebalance(first) > 0
        yield first, cluster


@pytest.fixture
def one_down(shards: tuple[str, Cluster], embedder: Embedder) -> Iterator[tuple[Library, str, str, str]]:
    """That index, opened, its second server down: with the server's place, a paper there and one that is left."""
    first, cluster = shards
    place = f"postgresql://127.0.0.1:{cluster.two.port}{urlsplit(first).path}"
    with contextlib.closing(Library.open(first, load=lambda _: embedder)) as library:
        before = library.papers()
        assert (before.missing_shards, before.total) == ((), 4)
        cluster.two.kill()
        try:
            left = {each.paper_id for each in library.papers().papers}
            (gone, *_) = sorted({each.paper_id for each in before.papers} - left)
            yield library, place, gone, min(left)
        finally:
            cluster.two.start()
        ends = time.monotonic() + 20
        while library.papers().missing_shards:
            assert time.monotonic() < ends
            time.sleep(0.2)
        assert library.papers().total == 4


def test_replies_name_the_servers_that_are_missing(
    one_down: tuple[Library, str, str, str], caplog: pytest.LogCaptureFixture
) -> None:
    library, place, gone, left = one_down
    found = library.search(Query("grip growth kettle", 20))
    answer = library.ask(QUESTION)
    assert found.hits
    assert {hit.citation.paper_id for hit in found.hits}.isdisjoint({gone})
    for reply in (found, answer, library.papers(), library.info(), library.vital_signs(), library.verify(found.hits)):
        assert reply.missing_shards == (place,)
    for look in (library.paper, library.text, library.source):
        with pytest.raises(
            NotFoundError, match=f"no paper '{gone}'.*; {place} did not take part, and the papers there"
        ):
            look(gone)
    cited = replace(found.hits[0].citation, paper_id=gone, source_sha256="0" * 64)
    (verdict,) = library.verify([cited]).verdicts
    assert (verdict.status, place in verdict.reason) == ("source_missing", True)
    assert library.paper(left).paper.paper_id == left
    with caplog.at_level(logging.WARNING):
        assert hits_of(library, Query("grip growth kettle", 20)) == found.hits
    assert f"not all of the index: {place} did not take part" in caplog.text


def test_every_front_end_says_so(
    one_down: tuple[Library, str, str, str], shards: tuple[str, Cluster], loccit: Loccit
) -> None:
    library, place, gone, _ = one_down
    words = f"{place} did not take part, and the papers there were not looked at"
    with TestClient(create_app(library), raise_server_exceptions=False) as client:
        assert client.get("/readyz").json() == {"status": "ready", "missing_shards": [place]}
        assert client.get("/healthz").json() == {"status": "alive"}
        for path, body in (("/v1/search", {"query": QUESTION}), ("/v1/ask", {"question": QUESTION})):
            assert client.post(path, json=body).json()["missing_shards"] == [place]
            assert words in client.post(path, json=body, headers={"accept": "text/markdown"}).text.replace("\\", "")
            assert any(words in str(each) for each in client.post(f"{path}?format=anthropic", json=body).json())
        streamed = client.post("/v1/ask", json={"question": QUESTION}, headers={"accept": "text/event-stream"}).text
        assert f'"missing_shards":["{place}"]' in streamed
        chat = {"model": "loccit", "messages": [{"role": "user", "content": QUESTION}]}
        said = client.post("/v1/chat/completions", json=chat).json()["choices"][0]["message"]["content"]
        assert words in said.replace("\\", "")
        for page in ("/", "/papers", f"/?q={QUESTION}"):
            assert words in client.get(page, headers={"accept": "text/html"}).text
        missing = client.get(f"/v1/papers/{gone}")
        assert (missing.status_code, words in missing.json()["detail"]) == (404, True)
        figures = figures_of(client)
        assert (figures["loccit_index_readable"], figures["loccit_index_shards_missing"]) == (1, 1)
        assert "loccit_index_bytes" not in figures

    async def said_to_an_assistant() -> list[Any]:
        async with Client(create_server(lambda: library, DEFAULT_BASE_URL)) as assistant:
            return [
                (await assistant.call_tool(name, arguments))
                for name, arguments in (
                    ("search", {"query": QUESTION}),
                    ("ask", {"question": QUESTION}),
                    ("fetch", {"id": gone}),
                )
            ]

    results, answer, unknown = asyncio.run(said_to_an_assistant())
    assert results.structured_content["missing_shards"] == answer.structured_content["missing_shards"] == [place]
    assert (unknown.is_error, words in unknown.content[0].text) == (True, True)
    for command in (("search", QUESTION), ("ask", QUESTION), ("papers",), ("info",)):
        run = loccit(*command, "--json", "--index", shards[0])
        assert (run.code, json.loads(run.out)["missing_shards"]) == (0, [place])
        assert run.err == f"note: not all of the index: {words}\n"
    run = loccit("show", gone, "--index", shards[0])
    assert (run.code, words in run.err) == (4, True)
    looked = loccit("doctor", "--json", "--index", shards[0])
    assert looked.code == 1
    (finding,) = [each for each in json.loads(looked.out)["findings"] if each["level"] == "error"]
    assert (finding["check"], place in finding["what"]) == ("servers", True)


def figures_of(client: TestClient) -> dict[str, float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {each.name: each.value for family in families for each in family.samples if not each.labels}


def test_no_server_answers(servers_folder: Path, corpus: Path, embedder: Embedder) -> None:
    with Server.create(servers_folder / "only") as server:
        build([corpus], server.url("postgres"), embedder, BuildConfig())
        with (
            contextlib.closing(Library.open(server.url("postgres"), load=lambda _: embedder)) as library,
            TestClient(create_app(library), raise_server_exceptions=False) as client,
        ):
            before = figures_of(client)
            assert (before["loccit_index_readable"], before["loccit_index_papers"]) == (1, 4)
            assert before["loccit_index_bytes"] > 10_000
            assert abs(before["loccit_index_written_timestamp_seconds"] - time.time()) < 600
            assert before["loccit_index_shards_missing"] == 0
            server.kill()
            began = time.monotonic()
            for method, path in (("GET", "/v1/papers"), ("GET", "/readyz"), ("POST", "/v1/search")):
                reply = client.request(method, path, json={"query": "x"} if method == "POST" else None)
                assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
                assert reply.json()["type"] == "urn:loccit:problem:index-unreachable"
            page = client.get("/papers", headers={"accept": "text/html"})
            assert (page.status_code, page.headers["retry-after"]) == (503, "5")
            assert client.get("/healthz").status_code == 200
            assert figures_of(client)["loccit_index_readable"] == 0
            assert time.monotonic() - began < 10
            server.start()
            until(lambda: client.get("/readyz").json() == {"status": "ready", "missing_shards": []}, 5)


def test_a_scrape_does_not_wait_for_a_server_that_hangs() -> None:
    release, looks = threading.Event(), []

    def look() -> Any:
        looks.append(1)
        release.wait(10)
        return len(looks)

    pulse = Pulse(look, patience_s=0.2)
    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(IndexUnreachableError, match=r"did not say within 0\.2 s"):
            pulse()
    assert 0.4 <= time.monotonic() - began < 2
    assert looks == [1]  # who asks meanwhile waits for the same look
    release.set()
    time.sleep(0.1)
    assert pulse() == 2


# Looking after it


def test_what_a_killed_writer_left_prepared_is_told_and_ended(loccit: Loccit, shards: tuple[str, Cluster]) -> None:
    first, cluster = shards
    name = urlsplit(first).path[1:]
    with cluster.two.connect(name) as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE public.half_done ()")
        connection.execute("PREPARE TRANSACTION 'loccit:0123456789abcdef:1'")
    looked = loccit("doctor", "--index", first)
    assert looked.code == 0
    assert "warning  prepared: postgresql://127.0.0.1:" in looked.out
    assert "loccit:0123456789abcdef:1" in looked.out
    mended = loccit("doctor", "--repair", "--json", "--index", first)
    assert mended.code == 0
    assert json.loads(mended.out)["findings"] == []
    assert json.loads(mended.out)["done"]
    with cluster.two.connect(name) as connection:
        assert connection.execute("SELECT count(*) FROM pg_prepared_xacts").fetchone() == (0,)
        assert connection.execute("SELECT to_regclass('public.half_done')").fetchone() == (None,)


SPOILT = [
    ("prefix", "commits", "INSERT INTO {schema}.commits VALUES (1000, 'another')"),
    ("word lists", "word lists", "DELETE FROM {schema}.segments"),
    ("vectors", "papers", "DELETE FROM {schema}.vectors WHERE id = (SELECT min(id) FROM {schema}.vectors)"),
    ("passages", "word lists", "DELETE FROM {schema}.passages WHERE ordinal = 0"),
    (
        "pgvector",
        "schema",
        "SET allow_system_table_mods = on; UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'",
    ),
]


@pytest.mark.parametrize(("check", "statement"), [each[1:] for each in SPOILT], ids=[each[0] for each in SPOILT])
def test_what_is_wrong_with_a_server_is_found(
    cluster: Cluster, corpus: Path, embedder: Embedder, check: str, statement: str
) -> None:
    with cluster.fresh_database() as name:
        first = cluster.url("one", name)
        build([corpus], first, embedder, BuildConfig())
        add_shard(first, cluster.url("two", name))
        rebalance(first)
        sound = examine(first, lambda _: embedder)
        assert (sound.findings, sound.papers) == ([], 4)
        with cluster.two.connect(name) as connection:
            row = connection.execute("SELECT name FROM loccit.present").fetchone()
            assert row is not None
            connection.execute(statement.format(schema=row[0]))  # type: ignore[arg-type]
        found = examine(first)
        assert not found.is_sound
        assert check in [each.check for each in found.findings if each.level == "error"]
        assert all(each.remedy for each in found.findings)


def test_a_paper_on_two_servers_is_found(cluster: Cluster, corpus: Path, embedder: Embedder) -> None:
    with cluster.fresh_database() as name:
        first = cluster.url("one", name)
        build([corpus], first, embedder, BuildConfig())
        add_shard(first, cluster.url("two", name))
        rebalance(first)
        with cluster.two.connect(name) as two, cluster.one.connect(name) as one:
            (schema,) = one.execute("SELECT name FROM loccit.present").fetchone() or ("",)
            (paper_id,) = one.execute(f"SELECT min(paper_id) FROM {schema}.papers").fetchone() or ("",)  # type: ignore[arg-type]
            two.execute(
                f"UPDATE {schema}.papers SET paper_id = '{paper_id}' WHERE id = (SELECT min(id) FROM {schema}.papers)"
            )  # type: ignore[arg-type]
        (finding, *_) = [each for each in examine(first).findings if "on several servers" in each.what]
        assert (finding.check, finding.level, paper_id in finding.what) == ("papers", "error", True)


def test_a_graph_is_told_of(
    loccit: Loccit, database: str, corpus: Path, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    build([corpus], database, embedder, BuildConfig())
    assert "vectors       all compared" in loccit("info", "--index", database).out
    for module in ("indexer.store.postgres.writer", "indexer.upkeep.servers"):
        monkeypatch.setattr(f"{module}.EXACT_ROWS", 1)
    found = examine(database)
    assert [(each.check, each.level) for each in found.findings] == [("vectors", "warning")]
    mend(database, found)
    assert examine(database).findings == []
    info = loccit("info", "--index", database)
    assert "vectors       searched along a graph (HNSW)" in info.out
    assert json.loads(loccit("info", "--json", "--index", database).out)["dense_graph"] is True
