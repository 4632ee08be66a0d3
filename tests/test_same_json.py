"""The same question gets the same JSON on the command line, over HTTP and over MCP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client
from starlette.testclient import TestClient

from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from service.api import create_app
from service.config import DEFAULT_BASE_URL
from service.library import Library
from service.mcp_server import create_server
from service.query import Filters, Query
from tests.conftest import Run

pytestmark = pytest.mark.model

BARNACLES = """\
# Sea surface temperature and the feeding of barnacles <b>in winter</b>

**Authors:** Zoë Ångström, D. O'Neil

PMC9000005 · DOI: 10.5555/barnacles.2022 · Shore “Notes” · 2022

## Methods

Sea surface temperature (SST) was read twice a day. Mean SST was 9 °C, and NF-κB was not measured.

## Results

Barnacles fed less often as SST fell [1]. \\alpha = 0.05 and "quoted" words, a tab\tand 𝛼-actin stand here.

## References

1. Tern B. Feeding in the cold. Slow Shores. 2001;1:1-9. doi:10.5555/tern.2001
"""
"""Short forms, and characters that JSON, a terminal or a browser might trip over."""

FLAGS = {
    "paper_ids": "--paper",
    "section": "--section",
    "year_from": "--year-from",
    "year_to": "--year-to",
    "include": "--include",
    "phrases": "--phrase",
    "exclude": "--exclude",
}
MCP_TOKENS = 25_000
"""Room for every reply here as it is; left to itself, an assistant is given less of a long one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and how it is asked."""

    text: str
    by: Literal["search", "ask"] = "search"
    k: int = 4
    filters: Mapping[str, Any] = field(default_factory=dict)
    second_page: bool = False
    found: bool = True
    """Whether a search has hits, an answer quotes."""
    expanded: str = ""
    """The term that is read both ways."""


GRIP = "why do limpets lose their grip in warm water?"
QUESTIONS = [
    Asked(GRIP),
    Asked(GRIP, k=1),
    Asked(GRIP, k=2, second_page=True),
    Asked(GRIP, filters={"section": "results", "year_from": 2020, "year_to": 2021}),
    Asked("slow growth", filters={"paper_ids": ["PMC9000001", "10.5555_lichen.2019.3"], "exclude": ["gravestone"]}),
    Asked("mucus", filters={"phrases": ["mucus film"]}),
    Asked('how does a "mucus film" hold? -slate section:results year:2018..'),
    Asked("-limpets growth paper:10.5555_lichen.2019.3"),
    Asked("who paid for the ladders?", filters={"include": ["back_matter", "references"]}),
    Asked("adhesion measured at last", filters={"include": ["references"], "paper_ids": ["PMC9000001"]}),
    Asked("SST", expanded="SST"),
    Asked("sea surface temperature and α-actin, NF-κB “quoted”", expanded="sea surface temperature"),
    Asked("grip", filters={"phrases": ["no such words"]}, found=False),
    Asked(GRIP, by="ask"),
    Asked(GRIP, by="ask", k=1, filters={"paper_ids": ["PMC9000001"]}),
    Asked("how fast do lichens grow on slate?", by="ask", filters={"section": "growth"}),
    Asked("does SST change how often barnacles feed?", by="ask", expanded="SST"),
    Asked("what dates the ice in a glacier?", by="ask", k=8),
    Asked("which enzymes phosphorylate tau in neurons?", by="ask", found=False),
    Asked("limescale year:1999", by="ask", found=False),
]


@pytest.fixture(scope="module")
def index(corpus: Path, tmp_path_factory: pytest.TempPathFactory, embedder: Embedder) -> Path:
    """The invented papers' index, and one more paper's."""
    folder = tmp_path_factory.mktemp("same")
    (folder / "barnacles.md").write_text(BARNACLES, encoding="utf-8")
    report = build([corpus, folder / "barnacles.md"], folder / "index", embedder, BuildConfig())
    assert not report.failed
    return folder / "index"


@pytest.fixture
def opened(index: Path, embedder: Embedder) -> Iterator[Library]:
    library = Library.open(index, load=lambda name: embedder)
    yield library
    library.close()


def by_command(loccit: Callable[..., Run], index: Path, asked: Asked, cursor: str) -> dict[str, Any]:
    flags = ["--json", "--index", index, "-k", asked.k]
    for name, value in asked.filters.items():
        for each in value if isinstance(value, list) else [value]:
            flags += [FLAGS[name], each]
    run = loccit(asked.by, *flags, *(["--cursor", cursor] if cursor else []), "--", asked.text)
    assert run.code == (0 if asked.found else 4), run.err
    reply: dict[str, Any] = json.loads(run.out)
    return reply


def body_of(asked: Asked, cursor: str) -> dict[str, Any]:
    text = {"query" if asked.by == "search" else "question": asked.text}
    return {**text, "k": asked.k, "filters": asked.filters, **({"cursor": cursor} if cursor else {})}


def over_http(library: Library, asked: Asked, cursor: str) -> dict[str, Any]:
    with TestClient(create_app(library)) as client:
        reply: dict[str, Any] = client.post(f"/v1/{asked.by}", json=body_of(asked, cursor)).json()
    return reply


async def over_mcp(library: Library, asked: Asked, cursor: str) -> dict[str, Any]:
    tool = "search_passages" if asked.by == "search" else "ask"
    async with Client(create_server(lambda: library, DEFAULT_BASE_URL)) as client:
        result = await client.call_tool(tool, {**body_of(asked, cursor), "max_tokens": MCP_TOKENS})
    assert not result.is_error, result.content
    (content,) = result.content
    assert json.loads(content.text) == result.structured_content
    reply: dict[str, Any] = result.structured_content
    return reply


@pytest.mark.parametrize("asked", QUESTIONS, ids=lambda asked: f"{asked.by}: {asked.text}")
def test_the_front_ends_give_the_same_json(
    loccit: Callable[..., Run], index: Path, opened: Library, asked: Asked
) -> None:
    cursor = ""
    if asked.second_page:
        assert not asked.filters
        cursor = opened.search(Query(asked.text, asked.k, Filters())).next_cursor or ""
        assert cursor
    command, http = by_command(loccit, index, asked, cursor), over_http(opened, asked, cursor)
    assert command.pop("took_ms") > 0
    assert http.pop("took_ms") > 0
    assert command == http == asyncio.run(over_mcp(opened, asked, cursor))
    assert bool(http["hits" if asked.by == "search" else "quotes"]) is asked.found
    assert [each["term"] for each in http["expansions"]] == ([asked.expanded] if asked.expanded else [])
