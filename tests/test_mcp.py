"""The MCP front end, as clients see it: over stdio, over HTTP, and by the raw protocol of several versions."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import anyio
import httpx
import pytest
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult
from starlette.testclient import TestClient

from indexer import errors
from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from indexer.papers import PaperOrder
from indexer.store import Snapshot
from indexer.tokens import count_tokens
from service.api import bind, create_app
from service.library import Library
from service.mcp_server import connector, create_server, pages, resources
from service.mcp_server.budget import MIN_TOKENS, largest
from service.query import Filters, Query
from service.replies import PaperText, TextBlock
from tests.corpus import LIMPETS
from tests.fakes import WordEmbedder
from tests.test_api import error_classes

pytestmark = pytest.mark.model

ROOT = Path(__file__).parents[1]
FORMER_SDK = Path(sys.prefix) / "mcp-1"
"""Where `make dev` puts the first SDK."""
QUESTION = "why do limpets lose their grip in warm water?"
BASE_URL = "https://papers.example.org/loccit"
TOOLS = [
    "search",
    "fetch",
    "search_passages",
    "ask",
    "get_context",
    "resolve_reference",
    "verify_citation",
    "list_papers",
]
CLI = [sys.executable, "-c", "from service.cli import main; raise SystemExit(main())"]
NOISY = """\
import os, sys
from service.cli import main
from service.library import Library

search = Library.search
def noisy(*arguments, **options):
    print("printed")
    os.write(1, b"written\\n")
    return search(*arguments, **options)
Library.search = noisy
raise SystemExit(main())
"""
"""The command, in a process where a library prints."""


@pytest.fixture
def server(library: Library) -> Any:
    return create_server(lambda: library, BASE_URL)


@pytest.fixture(scope="module")
def url(built: Path, embedder: Embedder) -> Iterator[str]:
    """The service on a free port, with real connections."""
    library = Library.open(built, load=lambda name: embedder)
    listener = bind("127.0.0.1", 0)
    served = uvicorn.Server(uvicorn.Config(create_app(library, BASE_URL), log_level="error", access_log=False))
    thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]})
    thread.start()
    host, port = listener.getsockname()
    yield f"http://{host}:{port}/mcp"
    served.should_exit = True
    thread.join(20)
    listener.close()
    library.close()


@pytest.fixture(scope="module")
def long_paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library of one paper that no reply holds: sections, paragraphs of all lengths, a table, references."""
    words = "grip tide foot rock weed pool shell mucus granite water heat wave sand salt ebb flow".split()
    sentences = [
        f"The {words[n % 16]} of the {words[n * 7 % 16]} was {n} when {words[n * 5 % 16]} came." for n in range(600)
    ]
    sections = [
        f"## {n}. Part {n}\n\n"
        + "\n\n".join(" ".join(sentences[n * 60 + m : n * 60 + m + 1 + m % 9]) for m in range(0, 60, 3))
        for n in range(9)
    ]
    table = "| a | b |\n|---|---|\n" + "\n".join(f"| row {n} | {n * n} |" for n in range(300))
    text = "# A long paper\n\n" + "\n\n".join([*sections, "## 10. Data\n\n" + " ".join(sentences[540:]), table]) + "\n"
    folder = tmp_path_factory.mktemp("long")
    (folder / "long paper.md").write_text(text, encoding="utf-8")
    embedder = WordEmbedder()
    build([folder / "long paper.md"], folder / "index", embedder, BuildConfig(model="words"))
    library = Library.open(folder / "index", load=lambda name: embedder)
    yield library
    library.close()


def with_client(server: Any, use: Callable[[Client], Awaitable[Any]]) -> Any:
    """What `use` makes of a session: in this process, with a command, or at a URL."""

    async def run() -> Any:
        async with Client(server) as client:
            return await use(client)

    return anyio.run(run)


def call(server: Any, name: str, **arguments: Any) -> dict[str, Any]:
    """A tool's reply, checked for what all replies are to be."""
    result = with_client(server, lambda client: client.call_tool(name, arguments))
    return reply_of(result)


def reply_of(result: CallToolResult) -> dict[str, Any]:
    assert not result.is_error, result.content
    (content,) = result.content
    reply: dict[str, Any] = result.structured_content
    assert json.loads(content.text) == reply
    assert "took_ms" not in reply
    return reply


def refusal(server: Any, name: str, **arguments: Any) -> str:
    """What a tool says that fails."""
    result = with_client(server, lambda client: client.call_tool(name, arguments))
    assert (result.is_error, result.structured_content, len(result.content)) == (True, None, 1)
    return str(result.content[0].text)


def stdio(*arguments: str | Path) -> StdioServerParameters:
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    given = [*CLI[1:], "mcp", *map(str, arguments)]
    return StdioServerParameters(command=CLI[0], args=given, env=environment | cache())


def cache() -> dict[str, str]:
    return {"XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"]}


@contextmanager
def raw(index: Path, cwd: Path, *, script: str = CLI[2]) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, to be spoken to line by line."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCCIT_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", script, "mcp", "--index", str(index)]
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=-1, stdout=-1, stderr=-1, text=True, encoding="utf-8"
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def send(process: subprocess.Popen[str], method: str, *, id_: int | None = None, **params: Any) -> None:
    assert process.stdin is not None
    request = {"jsonrpc": "2.0", "method": method, "params": params} | ({"id": id_} if id_ is not None else {})
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()


def ask_raw(process: subprocess.Popen[str], method: str, *, id_: int, **params: Any) -> dict[str, Any]:
    """The result of a request by that id."""
    send(process, method, id_=id_, **params)
    assert process.stdout is not None
    reply: dict[str, Any] = json.loads(process.stdout.readline())
    assert (reply["jsonrpc"], reply["id"]) == ("2.0", id_)
    result: dict[str, Any] = reply["result"]
    return result


def start_raw(process: subprocess.Popen[str], protocol: str) -> dict[str, Any]:
    result = ask_raw(process, "initialize", id_=0, **hello(protocol))
    send(process, "notifications/initialized")
    return result


def hello(protocol: str) -> dict[str, Any]:
    return {"protocolVersion": protocol, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


# Sessions


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_a_session(transport: str, built: Path, url: str, corpus: Path) -> None:
    """List, call each tool, read each kind of resource, get the prompt, and be refused."""

    async def use(client: Client) -> None:
        assert client.session.protocol_version == "2026-07-28"
        tools = (await client.list_tools()).tools
        assert [each.name for each in tools] == TOOLS
        for tool in tools:
            assert tool.title
            assert tool.description
            assert tool.output_schema["type"] == "object"
            assert "took_ms" not in tool.output_schema["properties"]
            assert tool.input_schema["additionalProperties"] is False
            assert "$" not in json.dumps(tool.input_schema)
            assert tool.annotations is not None
            hints = tool.annotations
            assert (hints.read_only_hint, hints.idempotent_hint, hints.open_world_hint) == (True, True, False)

        async def called(name: str, **arguments: Any) -> dict[str, Any]:
            return reply_of(await client.call_tool(name, arguments))  # which the client holds against the schema

        found = await called("search", query=QUESTION)
        assert found.keys() == {"results", "missing_shards"}
        first = found["results"][0]
        assert first.keys() == {"id", "title", "url"}
        label = "Marsh et al. 2021, §3.2 Grip and Temperature, ¶2"
        assert first["title"] == f"{label} — Why limpets hold on: grip and temperature in a tidal pool"
        hit = (await called("search_passages", query=QUESTION, k=3))["hits"][0]
        place = hit["citation"]
        assert hit["passage_id"] == first["id"]
        base = BASE_URL if transport == "http" else "http://127.0.0.1:8000"
        span = f"start={place['start']}&end={place['end']}&of={place['source_sha256'][:12]}"
        assert first["url"] == f"{base}/papers/PMC9000001?{span}#cited"
        document = await called("fetch", id=first["id"])
        assert document.keys() == {"id", "title", "text", "url", "metadata"}
        assert (document["id"], document["url"]) == (first["id"], first["url"])
        # The passage has two paragraphs: a hit's label says where its best sentence stands, its own where it begins.
        assert document["title"] == first["title"].replace("¶2", "¶1")
        assert LIMPETS[place["start"] : place["end"]] == hit["text"]
        assert hit["text"] in document["text"]
        assert document["metadata"] == {
            "label": label.replace("¶2", "¶1"),
            "paper_id": "PMC9000001",
            "doi": "10.5555/limpets.2021.7",
            "section": "3. Results > 3.2. Grip and Temperature",
            "source": "limpets.md",
            "start": str(place["start"]),
            "end": str(place["end"]),
            "source_sha256": place["source_sha256"],
            "next": "",
        }
        answer = await called("ask", question=QUESTION)
        assert (answer["status"], answer["kind"]) == ("answered", "extractive")
        assert answer["quotes"][0]["text"].startswith("Grip fell by half")
        context = await called("get_context", passage_id=first["id"], before=1, after=0)
        assert (len(context["before"]), context["after"]) == (1, [])
        assert context["before"][0]["text"].startswith("Longer shells held harder.")
        works = await called("resolve_reference", paper_id="PMC9000001", marker="[1,2]")
        assert [each["doi"] for each in works["references"]] == ["10.5555/quill.1999", "10.5555/brack.2007"]
        verdict = await called("verify_citation", citation=answer["quotes"])
        assert verdict["status"] == "ok"
        listed = await called("list_papers", sort="title", limit=2)
        assert [each["paper_id"] for each in listed["papers"]] == ["PMC9000004", "10.5555_lichen.2019.3"]
        refused = await client.call_tool("search_passages", {"query": ""})
        assert (refused.is_error, refused.content[0].text) == (
            True,
            "the query is empty: ask a question or name what to look for",
        )
        with pytest.raises(MCPError, match="there is no tool 'serach': there are search, fetch, ") as unknown:
            await client.call_tool("serach", {})
        assert unknown.value.code == -32602

        offered = (await client.list_resources()).resources
        assert [each.uri for each in offered] == [
            "paper://10.5555_lichen.2019.3",
            "paper://PMC9000001",
            "paper://PMC9000004",
            "paper://kettle_notes",
        ]
        for each in offered:
            (content,) = (await client.read_resource(each.uri)).contents
            assert (content.uri, content.mime_type) == (each.uri, "text/markdown")
            assert content.text.startswith(f"# {each.title}\n\n- ")
        templates = (await client.list_resource_templates()).resource_templates
        assert [each.uri_template for each in templates] == ["paper://{paper_id}", "passage://{passage_id}"]
        for uri in (f"passage://{first['id']}", f"passage://{first['id'].replace(':', '%3A')}"):
            (content,) = (await client.read_resource(uri)).contents
            assert content.text.endswith(hit["text"])
            assert "- Cite as: Marsh et al. 2021, §3.2 Grip and Temperature, ¶1\n" in content.text
        for uri, said in (("paper://PMC1", "no paper 'PMC1' in this index"), ("file:///etc/passwd", "no resource")):
            with pytest.raises(MCPError, match=said) as missing:
                await client.read_resource(uri)
            assert missing.value.code == -32602

        (prompt,) = (await client.list_prompts()).prompts
        (argument,) = prompt.arguments
        assert (prompt.name, argument.name, argument.required) == ("answer_with_citations", "question", True)
        (message,) = (await client.get_prompt(prompt.name, {"question": QUESTION})).messages
        assert message.content.text.endswith(f"\n\nQuestion: {QUESTION}")
        for name, arguments in ((prompt.name, {}), (prompt.name, {"question": "x", "style": "y"}), ("answer", {})):
            with pytest.raises(MCPError, match=prompt.name) as wrong:
                await client.get_prompt(name, arguments)
            assert wrong.value.code == -32602

    with_client(stdio("--index", built) if transport == "stdio" else url, use)


def test_the_first_sdk(built: Path, url: str, tmp_path: Path) -> None:
    if not FORMER_SDK.is_dir():
        message = f"the first SDK's client is not in {FORMER_SDK}: run `make dev`"
        pytest.fail(message) if os.environ.get("LOCCIT_REQUIRE_ALL") else pytest.skip(message)
    paths = os.environ.get("PYTHONPATH", "")
    command = [CLI[0], f"PYTHONPATH={os.pathsep.join([str(ROOT), paths])}", *CLI[1:], "mcp", "--index", str(built)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "mcp_1_client.py"), QUESTION, url, *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(FORMER_SDK), paths])},
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    for seen, base in zip(json.loads(done.stdout), (BASE_URL, "http://127.0.0.1:8000"), strict=True):
        assert (seen["protocol"], seen["server"], seen["tools"]) == ("2025-11-25", "loccit", TOOLS)
        assert seen["first"]["url"].startswith(f"{base}/papers/PMC9000001?")
        assert seen["fetched"]["id"] == seen["first"]["id"]
        assert "Grip fell by half" in seen["fetched"]["text"]
        assert seen["refused"] == [True, "the query is empty: ask a question or name what to look for"]
        assert [text.split("\n")[0] for text in seen["papers"]][1] == (
            "# Why limpets hold on: grip and temperature in a tidal pool"
        )
        assert len(seen["uris"]) == len(seen["papers"]) == 4
        assert seen["prompt"].endswith(QUESTION)
        assert seen["missing"] == -32602


@pytest.mark.parametrize("protocol", ["2025-06-18", "2025-11-25"])
def test_older_protocols_over_http(url: str, protocol: str) -> None:
    accept = {"accept": "application/json, text/event-stream"}
    with httpx.Client(headers=accept) as client:

        def ask(method: str, **params: Any) -> dict[str, Any]:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            reply = client.post(url, json=body)
            assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
            assert "mcp-session-id" not in reply.headers
            answer: dict[str, Any] = reply.json()
            return answer

        assert ask("initialize", **hello(protocol))["result"]["protocolVersion"] == protocol
        client.headers["mcp-protocol-version"] = protocol
        assert [each["name"] for each in ask("tools/list")["result"]["tools"]] == TOOLS
        result = ask("tools/call", name="search", arguments={"query": QUESTION})["result"]
        assert result["structuredContent"]["results"][0]["id"].startswith("PMC9000001:")
        assert ask("resources/read", uri="paper://PMC1")["error"]["code"] == -32002


@pytest.mark.parametrize("protocol", ["2025-06-18", "2025-11-25"])
def test_stdout_holds_nothing_but_the_protocol(built: Path, tmp_path: Path, protocol: str) -> None:
    with raw(built, tmp_path, script=NOISY) as process:
        assert start_raw(process, protocol)["protocolVersion"] == protocol
        for n in range(1, 3):
            result = ask_raw(process, "tools/call", id_=n, name="search", arguments={"query": QUESTION})
            assert result["structuredContent"]["results"][0]["id"].startswith("PMC9000001:")
        assert process.stdin is not None
        process.stdin.write("this is not JSON\n")
        rest, logged = process.communicate(timeout=20)
    for line in rest.splitlines():
        assert json.loads(line)["jsonrpc"] == "2.0"
    assert process.returncode == 0
    assert (logged.count("printed\n"), logged.count("written\n")) == (2, 2)


def test_stdio_starts_without_an_index_and_ends_when_told_to(built: Path, tmp_path: Path) -> None:
    with raw(Path("later"), tmp_path) as process:
        assert start_raw(process, "2025-06-18")["serverInfo"]["name"] == "loccit"
        asked = {"name": "search", "arguments": {"query": QUESTION}}
        result = ask_raw(process, "tools/call", id_=1, **asked)
        folder = tmp_path / "later"
        assert result["isError"]
        assert result["content"][0]["text"] == (
            f"there is no index in {folder}: run `loccit index PATH... --index {folder}`"
        )
        shutil.copytree(built, folder)
        assert not ask_raw(process, "tools/call", id_=2, **asked)["isError"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        assert process.stderr.read().startswith("loccit: there is no index in ")
    assert not list(folder.glob("*-wal"))


# Replies


def test_the_same_bytes_twice(url: str) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
    headers = {"accept": "application/json, text/event-stream"}
    for name, arguments in (
        ("ask", {"question": QUESTION}),
        ("search_passages", {"query": QUESTION}),
        ("search", {"query": QUESTION}),
        ("fetch", {"id": "PMC9000001"}),
    ):
        sent = body | {"params": {"name": name, "arguments": arguments}}
        first, second = (httpx.post(url, json=sent, headers=headers).content for _ in range(2))
        assert first == second
        assert b'"isError":false' in first


def test_a_whole_number_may_come_as_a_float(server: Any) -> None:
    filters = {"year_from": 2020.0}
    as_floats = call(server, "search_passages", query=QUESTION, k=2.0, filters=filters)
    assert as_floats == call(server, "search_passages", query=QUESTION, k=2, filters={"year_from": 2020})
    assert len(as_floats["hits"]) == 2


def n_tokens(result: CallToolResult) -> int:
    """The larger of both forms of a reply."""
    structured = json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":"))
    return max(count_tokens([result.content[0].text, structured]))


@pytest.mark.parametrize(("tool", "budget"), [("search_passages", 1000), ("ask", 1000), ("search_passages", 1700)])
def test_a_reply_fits_its_budget_and_goes_on(long_paper: Library, tool: str, budget: int) -> None:
    broad = "what is the tide of the rock?"
    server = create_server(lambda: long_paper, BASE_URL)
    filters = {"section": "3. Part 3"}
    whole = [hit.passage_id for hit in long_paper.search(Query(broad, 200, Filters(**filters))).hits]
    assert 10 < len(whole) < 200

    async def pages_of(client: Client) -> list[CallToolResult]:
        asked = {"question" if tool == "ask" else "query": broad, "filters": filters, "max_tokens": budget}
        given = [await client.call_tool(tool, asked)]
        while cursor := given[-1].structured_content["next_cursor"]:
            more = {"query": broad, "filters": filters, "max_tokens": budget, "cursor": cursor}
            given.append(await client.call_tool("search_passages", more))
        return given

    given = with_client(server, pages_of)
    assert all(n_tokens(each) <= budget for each in given)
    hits = [hit for each in given for hit in reply_of(each)["hits"]]
    assert [hit["passage_id"] for hit in hits] == whole
    assert [hit["rank"] for hit in hits] == [*range(1, len(whole) + 1)]
    assert len(given) < len(whole)


def test_a_list_of_papers_fits_its_budget_and_goes_on(server: Any, library: Library) -> None:
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = with_client(
            server, lambda client, at=cursor: client.call_tool("list_papers", {"cursor": at, "max_tokens": MIN_TOKENS})
        )
        assert n_tokens(page) <= MIN_TOKENS
        found += [each["paper_id"] for each in reply_of(page)["papers"]]
        cursor = page.structured_content["next_cursor"]
    assert found == [each.paper_id for each in library.papers().papers]


def test_what_does_not_fit_says_what_it_takes(server: Any, library: Library) -> None:
    hit = library.search(Query(QUESTION, 1)).hits[0]
    said = refusal(server, "search_passages", query=QUESTION, max_tokens=MIN_TOKENS)
    needed = re.fullmatch(
        rf"the reply takes [\d,]+ tokens at the least, and {MIN_TOKENS} are the most: "
        r"call again with max_tokens (\d+) or more",
        said,
    )
    assert needed
    enough = with_client(
        server, lambda client: client.call_tool("search_passages", {"query": QUESTION, "max_tokens": int(needed[1])})
    )
    assert n_tokens(enough) == int(needed[1])
    assert [each["passage_id"] for each in enough.structured_content["hits"]] == [hit.passage_id]
    hits = [call(server, "search_passages", query=QUESTION, k=1)["hits"][0]] * 30
    assert refusal(server, "verify_citation", citation=hits).endswith("verify fewer citations at a time")


def test_no_more_is_measured_than_twice_what_fits() -> None:
    for most in range(40):
        for fits in range(most + 1):
            asked = [0]
            assert largest(lambda n, asked=asked: asked.append(n) or n, most, fits) == fits
            assert max(asked) <= max(2 * fits, 1)


def test_neighbours_farthest_away_go_first(long_paper: Library) -> None:
    server = create_server(lambda: long_paper, BASE_URL)
    ids = long_paper.paper("long_paper").passage_ids
    for max_tokens in (1_000, 2_000, 4_000):
        reply = call(server, "get_context", passage_id=ids[10], before=4, after=7, max_tokens=max_tokens)
        before = [each["passage_id"] for each in reply["before"]]
        after = [each["passage_id"] for each in reply["after"]]
        assert before == list(ids[10 - len(before) : 10])
        assert after == list(ids[11 : 11 + len(after)])
        assert len(after) - len(before) in (0, 1) or len(before) == 4
        assert len(before) + len(after) >= max_tokens // 700
    assert (len(before), len(after)) == (4, 7)
    said = refusal(server, "get_context", passage_id=ids[10], after=1, max_tokens=MIN_TOKENS)
    assert re.fullmatch(r"the reply takes .*: call again with max_tokens \d+ or more", said)
    edge = call(server, "get_context", passage_id=ids[0], before=20, after=1)
    assert (edge["before"], len(edge["after"])) == ([], 1)


def test_neighbours_lead_to_the_end_of_the_paper(long_paper: Library) -> None:
    async def read(client: Client) -> list[str]:
        read = [ids[-40]]
        while True:
            asked = {"passage_id": read[-1], "before": 0, "after": 9, "max_tokens": 2_000}
            after = reply_of(await client.call_tool("get_context", asked))["after"]
            if not after:
                return read
            assert len(after) < 9  # what does not fit is left out
            read += [each["passage_id"] for each in after]

    ids = long_paper.paper("long_paper").passage_ids
    assert with_client(create_server(lambda: long_paper, BASE_URL), read) == list(ids[-40:])


def test_neighbours_on_each_side(library: Library) -> None:
    ids = library.paper("PMC9000001").passage_ids
    reply = library.passage(ids[3], before=1, after=2)
    assert [each.passage_id for each in (*reply.before, reply.passage, *reply.after)] == list(ids[2:6])
    assert library.passage(ids[3], context=2, after=0).before == library.passage(ids[3], context=2).before
    with pytest.raises(errors.UsageError, match="before is 21: ask for 0 to 20 passages"):
        library.passage(ids[3], before=21)


# Papers as pages


def only_text(markdown: str) -> str:
    """What stands in a page, without headings and blanks."""
    return "".join(re.sub(r"^#+ .*$", "", markdown, flags=re.MULTILINE).split())


def test_a_whole_paper_is_read_without_gaps_or_repeats(long_paper: Library) -> None:
    async def read(client: Client, at: str) -> list[dict[str, Any]]:
        read = []
        while at:
            result = await client.call_tool("fetch", {"id": at})
            assert n_tokens(result) <= connector.FETCH_TOKENS
            read.append(reply_of(result))
            at = read[-1]["metadata"]["next"]
        return read

    server = create_server(lambda: long_paper, BASE_URL)
    blocks = long_paper.text("long_paper").blocks
    documents = with_client(server, lambda client: read(client, "long_paper"))
    assert len(documents) > 3
    head, _, first = documents[0]["text"].partition("\n\n## 0. Part 0\n\n")
    assert all(each["metadata"]["paper_id"] == "long_paper" for each in documents)
    assert head.startswith("# A long paper\n\n- Paper id: long_paper\n- Source: long paper.md, SHA-256 ")
    texts = [first, *(each["text"] for each in documents[1:])]
    assert only_text("\n\n".join(texts)) == only_text("".join(block.text for block in blocks))
    headings = re.findall(r"^## (.+)$", "\n".join(texts), flags=re.MULTILINE)
    assert headings == [f"{n}. Part {n}" for n in range(1, 9)] + ["10. Data"]
    assert {each["url"] for each in documents} == {f"{BASE_URL}/papers/long_paper"}
    assert {each["title"] for each in documents} == {"A long paper"}
    spans = [(int(each["metadata"]["start"]), int(each["metadata"]["end"])) for each in documents]
    assert spans[0][0] == blocks[0].start
    assert spans[-1][1] == blocks[-1].end

    # From a passage on, what follows it comes once as well.
    passage = long_paper.passage(long_paper.paper("long_paper").passage_ids[4]).passage
    documents = with_client(server, lambda client: read(client, passage.passage_id))
    assert passage.text in documents[0]["text"]
    rest = "".join(block.text for block in blocks if block.start >= passage.citation.end)
    assert only_text("\n\n".join(each["text"] for each in documents)).endswith(only_text(rest))


@pytest.mark.parametrize(("first", "max_tokens"), [(0, connector.FETCH_TOKENS), (-30, 25_000)])
def test_every_passage_leads_on(
    long_paper: Library, first: int, max_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where all neighbours fit, and nothing or little follows them."""
    monkeypatch.setattr(connector, "FETCH_TOKENS", max_tokens)
    text = long_paper.text("long_paper")
    monkeypatch.setattr(Library, "text", lambda *_: text)
    whole = only_text("\n\n".join(block.text for block in text.blocks))
    for passage_id in long_paper.paper("long_paper").passage_ids[first:]:
        document = connector.fetch(long_paper, BASE_URL, passage_id)
        read = only_text(document.text)
        if following := document.metadata["next"]:
            page = connector.fetch(long_paper, BASE_URL, following)
            assert page.text
            read += only_text(page.text)
            following = page.metadata["next"]
        assert read in whole
        assert following or whole.endswith(read)


def test_a_fetch_reads_its_paper_once(long_paper: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    passages_of = Snapshot.passages_of
    monkeypatch.setattr(Snapshot, "passages_of", lambda of, paper: (read.append(paper), passages_of(of, paper))[1])
    following = connector.fetch(long_paper, BASE_URL, "long_paper").metadata["next"]
    connector.fetch(long_paper, BASE_URL, following)
    assert read == ["long_paper"] * 2


@pytest.mark.parametrize("paper_id", ["PMC9000001", "long_paper"])
def test_a_page_needs_no_more_than_what_follows(library: Library, long_paper: Library, paper_id: str) -> None:
    text = (long_paper if paper_id == "long_paper" else library).text(paper_id)
    for block in text.blocks[::5]:
        for start in (block.start, block.start + len(block.text) // 2, block.end):
            following = replace(text, blocks=tuple(each for each in text.blocks if each.end > start))
            assert list(pages._parts(following, start)) == list(pages._parts(text, start))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("PMC1", "no passage or paper 'PMC1' in this index: call search for passages, list_papers for papers"),
        ("PMC9000001:0000000000000000", "no passage or paper 'PMC9000001:0000000000000000'"),
        ("PMC9000001#char=999999", "nothing of PMC9000001 follows there: fetch 'PMC9000001' to read it anew"),
        ("x" * 501, "id: String should have at most 500 characters"),
    ],
)
def test_what_cannot_be_fetched(server: Any, given: str, said: str) -> None:
    assert refusal(server, "fetch", id=given).startswith(said)


def test_a_paper_without_its_body_says_so(server: Any) -> None:
    text = call(server, "fetch", id="PMC9000004")["text"]
    assert "is not in this file, it is at: https://papers.example.org/PMC9000004/full.md" in text


def test_a_paper_without_any_passage(server: Any, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    text = library.text("kettle_notes")
    monkeypatch.setattr(Library, "text", lambda *_: replace(text, blocks=()))
    document = call(server, "fetch", id="kettle_notes")
    assert document["text"].startswith("# Notes on descaling a kettle\n\n- Paper id: kettle_notes\n")
    assert document["metadata"] == {"paper_id": "kettle_notes", "next": ""}


def test_a_resource_that_is_too_large_says_how_to_go_on(long_paper: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "MAX_TOKENS", 3_000)
    server = create_server(lambda: long_paper, BASE_URL)

    async def read(client: Client) -> list[str]:
        uri, texts = "paper://long_paper", []
        while uri:
            (content,) = (await client.read_resource(uri)).contents
            texts.append(content.text)
            assert count_tokens([content.text])[0] <= 3_000
            uri = (
                re.search(r"\n\n---\n\nThe paper goes on: read (\S+), or call fetch with ", content.text) or [""] * 2
            )[1]
        return texts

    texts = with_client(server, read)
    assert len(texts) > 2
    read_again = "\n\n".join(text.split("\n\n---\n\nThe paper goes on")[0] for text in texts)
    blocks = "".join(block.text for block in long_paper.text("long_paper").blocks)
    assert only_text(read_again).endswith(only_text(blocks))


@pytest.mark.parametrize("text", ["word " * 2_000, "x" * 9_000, "A sentence. " * 500, "line\n" * 3_000, "short"])
@pytest.mark.parametrize("since", [0, 1, 4_321])
def test_a_block_is_cut_without_loss(library: Library, text: str, since: int) -> None:
    paper = library.text("kettle_notes")
    block = TextBlock("paragraph", -1, 1, 100, 100 + len(text), text, ())
    parts = list(pages._parts(PaperText(paper.paper, (), (block,), ()), 100 + since))
    assert "".join(part.text for part in parts).lstrip("\n") == text[since:].lstrip()
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert all(0 < part.end - part.start <= pages._PART_CHARACTERS for part in parts)


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("paper://PMC1", "no paper 'PMC1' in this index: call list_papers, which lists those that are"),
        (
            "paper://PMC9000001%23char%3D999999",
            "nothing of PMC9000001 follows there: read paper://PMC9000001 to read it anew",
        ),
    ],
)
def test_what_cannot_be_read(server: Any, uri: str, said: str) -> None:
    async def read(client: Client) -> None:
        with pytest.raises(MCPError) as failed:
            await client.read_resource(uri)
        assert (failed.value.message, failed.value.code) == (said, -32602)

    with_client(server, read)


# Errors


PROTOCOL_ERRORS = {  # what a class is where a resource is read: by the newest protocol, by an older one
    "LoccitError": (-32603, -32603),
    "UsageError": (-32602, -32602),
    "ConfigError": (-32603, -32603),
    "NotFoundError": (-32602, -32002),
    "SourceError": (-32602, -32602),
    "ModelError": (-32603, -32603),
    "ClusterError": (-32603, -32603),
    "GenerationError": (-32603, -32603),
    "AccessError": (-32602, -32602),
    "KeyNeededError": (-32602, -32602),
    "MisdirectedError": (-32602, -32602),
    "OverloadError": (-32603, -32603),
    "RateError": (-32602, -32602),
    "IndexStateError": (-32603, -32603),
    "IndexMissingError": (-32603, -32603),
    "IndexMismatchError": (-32603, -32603),
    "IndexDamagedError": (-32603, -32603),
    "IndexBusyError": (-32603, -32603),
    "IndexNotWritableError": (-32603, -32603),
    "IndexUnreachableError": (-32603, -32603),
}


def test_the_table_of_errors_is_whole() -> None:
    assert {each.__name__ for each in error_classes()} == PROTOCOL_ERRORS.keys()


def test_each_error_has_its_form(
    server: Any, monkeypatch: pytest.MonkeyPatch, library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    """For a tool a result that says so, which the model reads; for a resource an error of the protocol."""
    said = "what failed, and the next step"

    def failing(name: str) -> Any:
        def fail(*_: object, **__: object) -> None:
            raise getattr(errors, name)(said)

        return fail

    async def codes(mode: str) -> list[int]:
        found = []
        async with Client(server, mode=mode) as client:
            for name in PROTOCOL_ERRORS:
                monkeypatch.setattr(Library, "ask", failing(name))
                monkeypatch.setattr(Library, "text", failing(name))
                caplog.clear()
                result = await client.call_tool("ask", {"question": "x"})
                assert (result.is_error, result.content[0].text) == (True, said)
                is_ours = getattr(errors, name).http_status >= 500
                assert [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING] == [
                    said
                ] * is_ours
                with pytest.raises(MCPError) as failed:
                    await client.read_resource("paper://PMC9000001")
                assert failed.value.message == said
                found.append(failed.value.code)
        return found

    newest, older = anyio.run(codes, "auto"), anyio.run(codes, "legacy")
    assert dict(zip(PROTOCOL_ERRORS, zip(newest, older, strict=True), strict=True)) == PROTOCOL_ERRORS


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_bug_leaks_nothing(
    server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("/home/someone/secret")

    async def ask() -> None:
        async with Client(server, mode=mode) as client:
            for failing in (client.call_tool("ask", {"question": "x"}), client.read_resource("paper://PMC9000001")):
                with pytest.raises(MCPError) as failed:
                    await failing
                assert failed.value.code == -32603
                assert failed.value.message.startswith("RuntimeError: please report this as a bug")

    monkeypatch.setattr(Library, "ask", fail)
    monkeypatch.setattr(Library, "text", fail)
    anyio.run(ask)
    assert caplog.text.count("RuntimeError: /home/someone/secret") == 2


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("search", {"query": "x", "k": 5}, "k: Extra inputs are not permitted. search takes query"),
        ("search", {}, "query: Field required. search takes query"),
        ("ask", {"question": 5}, "question: Input should be a valid string."),
        ("ask", {"question": "x", "k": "5"}, "k: Input should be a valid integer."),
        ("ask", {"question": "x", "k": True}, "k: Input should be a valid integer."),
        ("ask", {"question": "x", "max_tokens": 499}, "max_tokens: Input should be greater than or equal to 500."),
        ("ask", {"question": "x", "filters": {"paper": "y"}}, "filters.paper: Extra inputs are not permitted."),
        ("search_passages", {"query": "x", "cursor": "????"}, "the cursor cannot be read"),
        (
            "search_passages",
            {"query": "x", "filters": {"paper_ids": ["PMC1"]}},
            "no paper 'PMC1' in this index: call list_papers, which lists those that are",
        ),
        ("get_context", {"passage_id": "x", "before": 21}, "before: Input should be less than or equal to 20."),
        ("get_context", {"passage_id": "PMC1:0"}, "no passage 'PMC1:0' in this index"),
        ("list_papers", {"sort": "size"}, "sort: Input should be 'paper_id', "),
        ("resolve_reference", {"paper_id": "PMC9000001", "marker": "[77]"}, "no reference '77' in this paper"),
        ("verify_citation", {"citation": {"paper_id": "x"}}, "start is missing"),
    ],
)
def test_arguments_that_do_not_fit(server: Any, tool: str, arguments: dict[str, Any], said: str) -> None:
    assert refusal(server, tool, **arguments).startswith(said)


NO_SUCH_CURSOR = "the cursor names no paper of this index, or no longer: begin the list anew, without it"


@pytest.mark.parametrize("sort", get_args(PaperOrder))
def test_a_cursor_that_names_no_paper(server: Any, sort: str) -> None:
    assert refusal(server, "list_papers", cursor="PMC1", sort=sort) == NO_SUCH_CURSOR


def test_a_cursor_of_resources_that_names_no_paper(server: Any) -> None:
    async def list_them(client: Client) -> None:
        with pytest.raises(MCPError) as failed:
            await client.list_resources(cursor="PMC1")
        assert (failed.value.message, failed.value.code) == (NO_SUCH_CURSOR, -32602)

    with_client(server, list_them)


# The endpoint


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:9"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "papers.example.org"}, 200),
        ({"host": "papers.example.org:443", "origin": "https://papers.example.org"}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"host": "evil.example.com"}, 421),
        ({"host": "papers.example.org.evil.com"}, 421),
        ({"host": "localhost.evil.com:8000"}, 421),
        ({"origin": "https://evil.example.com"}, 403),
        ({"origin": "null"}, 403),
        ({"content-type": "text/plain"}, 400),
    ],
)
def test_hosts_and_origins(url: str, headers: dict[str, str], status: int) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for protocol in ("2025-11-25", "2026-07-28"):
        given = {
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "mcp-protocol-version": protocol,
        }
        reply = httpx.post(url, content=json.dumps(body), headers=given | headers)
        # The newest protocol wants more in its requests than this one has.
        assert reply.status_code == (400 if (status, protocol) == (200, "2026-07-28") else status)


def test_there_is_nothing_to_get(url: str) -> None:
    for method in ("GET", "DELETE"):
        reply = httpx.request(method, url, headers={"accept": "text/event-stream"})
        assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
        assert reply.headers["content-type"] == "application/problem+json"


def test_the_app_may_start_again(library: Library) -> None:
    app = create_app(library)
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello("2025-06-18")}
    for _ in range(2):
        with TestClient(app, base_url="http://localhost") as client:
            reply = client.post("/mcp", json=body, headers={"accept": "application/json, text/event-stream"})
            assert reply.json()["result"]["instructions"].startswith("A library of scientific papers")
            assert "/mcp" not in client.get("/openapi.json").json()["paths"]


def test_a_slow_call_holds_up_nobody(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    began, finish = threading.Event(), threading.Event()

    def wait(*_: object, **__: object) -> None:
        began.set()
        finish.wait(10)
        raise errors.LoccitError("done waiting")

    monkeypatch.setattr(Library, "ask", wait)

    async def use() -> None:
        async with Client(streamable_http_client(url)) as client, anyio.create_task_group() as tasks:

            async def slow() -> None:
                assert (await client.call_tool("ask", {"question": "x"})).content[0].text == "done waiting"

            tasks.start_soon(slow)
            assert await anyio.to_thread.run_sync(began.wait, 10)
            assert (await client.list_tools()).tools
            assert not finish.is_set()
            finish.set()

    anyio.run(use)
