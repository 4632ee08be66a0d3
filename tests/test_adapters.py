"""Adapters for other frameworks: what they find is what HTTP gives, alone and in a pipeline of the framework's own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest
from starlette.testclient import TestClient

import service.library
from indexer.embedding import Embedder
from indexer.errors import UsageError
from service.api import create_app
from service.library import Library
from service.query import Filters, Query
from service.replies import SearchReply
from service.verify import read_claims
from tests.corpus import LIMPETS

pytestmark = pytest.mark.model

QUESTION = "why do limpets lose their grip in warm water?"
LABEL = "Marsh et al. 2021, §3.2 Grip and Temperature, ¶2"
FIRST = "The foot let go more easily as the pool warmed"
TEMPLATE = "{% for each in documents %}{{ each.meta.label }}: {{ each.content }}\n{% endfor %}{{ question }}"

Found = tuple[str, str, float, dict[str, Any]]
"""Id, text, score and metadata."""


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No telemetry, no tracing, and no connection for whatever else."""

    def refuse(*where: object) -> None:
        raise AssertionError(f"a connection to {where[1:]}")

    monkeypatch.setenv("HAYSTACK_TELEMETRY_ENABLED", "False")
    monkeypatch.setenv("LANGSMITH_TRACING", "false")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def require(module: str) -> None:
    """Skips where a framework is absent; fails where everything is required."""
    if find_spec(module) is None:
        missing = f"{module} is not installed: run `make dev`"
        if os.environ.get("LOCCIT_REQUIRE_ALL"):
            pytest.fail(missing)
        pytest.skip(missing)


@pytest.fixture
def langchain() -> Any:
    require("langchain_core")
    from service.adapters import langchain

    return langchain


@pytest.fixture
def llama_index() -> Any:
    require("llama_index")
    from service.adapters import llama_index

    return llama_index


@pytest.fixture
def haystack() -> Any:
    require("haystack")
    from service.adapters import haystack

    return haystack


def by_langchain(module: Any, library: Library, query: str, k: int, filters: Filters) -> list[Found]:
    documents = module.LoccitRetriever(library=library, k=k, filters=filters).invoke(query)
    return [(each.id, each.page_content, each.metadata["score"], each.metadata) for each in documents]


def by_llama_index(module: Any, library: Library, query: str, k: int, filters: Filters) -> list[Found]:
    nodes = module.LoccitRetriever(library, k, filters).retrieve(query)
    return [(each.node_id, each.text, each.score, each.metadata) for each in nodes]


def by_haystack(module: Any, library: Library, query: str, k: int, filters: Filters) -> list[Found]:
    documents = module.LoccitRetriever(library, k, filters).run(query)["documents"]
    return [(each.id, each.content, each.score, each.meta) for each in documents]


SEARCHES = {"langchain": by_langchain, "llama_index": by_llama_index, "haystack": by_haystack}
Search = Callable[[Library, str, int, Filters], list[Found]]


@pytest.fixture(params=SEARCHES)
def search(request: pytest.FixtureRequest) -> Search:
    """A search by one of the adapters."""
    module = request.getfixturevalue(request.param)
    return lambda *asked: SEARCHES[request.param](module, *asked)


@pytest.mark.parametrize(
    ("query", "k", "filters"),
    [
        (QUESTION, 5, {}),
        ("slow growth", 2, {"year_to": 2019, "exclude": ["gravestone"]}),
        ('"mucus film" section:results', 10, {"paper_ids": ["PMC9000001"]}),
        ("ladder", 3, {"section": "acknowledgements", "include": ["back_matter"]}),
    ],
)
def test_an_adapter_finds_what_http_does(
    search: Search, library: Library, query: str, k: int, filters: dict[str, Any]
) -> None:
    with TestClient(create_app(library)) as client:
        hits = client.post("/v1/search", json={"query": query, "k": k, "filters": filters}).json()["hits"]
    given = Filters(**{key: tuple(value) if isinstance(value, list) else value for key, value in filters.items()})
    found = search(library, query, k, given)
    assert hits
    assert json.loads(json.dumps(found)) == [
        [
            hit["passage_id"],
            hit["text"],
            hit["score"],
            {"label": hit["citation"]["label"]} | {key: value for key, value in hit.items() if key != "text"},
        ]
        for hit in hits
    ]


def test_metadata_cites_to_the_character(search: Search, library: Library) -> None:
    (_, text, _, metadata), *_ = search(library, QUESTION, 1, Filters())
    place = metadata["citation"]
    assert LIMPETS[place["start"] : place["end"]] == text
    assert text.startswith(FIRST)
    assert metadata["label"] == LABEL
    assert library.verify(read_claims(place)).status == "ok"


def test_a_mistake_is_an_error_and_not_an_empty_list(search: Search, library: Library) -> None:
    with pytest.raises(UsageError, match="the query is empty"):
        search(library, " ", 3, Filters())
    with pytest.raises(UsageError, match="k is 0"):
        search(library, QUESTION, 0, Filters())


def test_a_langchain_chain(langchain: Any, library: Library) -> None:
    from langchain_core.documents import Document
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.output_parsers import StrOutputParser
    from langchain_core.prompts import ChatPromptTemplate, PromptTemplate, format_document
    from langchain_core.runnables import RunnableLambda, RunnablePassthrough

    passage = PromptTemplate.from_template("{label}: {page_content}")
    prompts: list[str] = []

    def joined(documents: list[Document]) -> str:
        return "\n".join(format_document(each, passage) for each in documents)

    def kept(prompt: Any) -> Any:
        prompts.append(prompt.to_string())
        return prompt

    retriever = langchain.LoccitRetriever(library=library, k=2)
    chain = (
        {"passages": retriever | joined, "question": RunnablePassthrough()}
        | ChatPromptTemplate.from_template("{passages}\n{question}")
        | RunnableLambda(kept)
        | FakeListChatModel(responses=["The mucus softens."])
        | StrOutputParser()
    )
    assert chain.invoke(QUESTION) == asyncio.run(chain.ainvoke(QUESTION)) == "The mucus softens."
    assert prompts[0] == prompts[1]
    assert prompts[0].startswith(f"Human: {LABEL}: {FIRST}")
    assert prompts[0].endswith(f"\n{QUESTION}")


def test_langchain_filters_are_filters(langchain: Any, library: Library) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="instance of Filters"):
        langchain.LoccitRetriever(library=library, filters={"sektion": "methods"})


def test_a_llama_index_query_engine(llama_index: Any, library: Library) -> None:
    from llama_index.core.llms import MockLLM
    from llama_index.core.query_engine import RetrieverQueryEngine

    engine = RetrieverQueryEngine.from_args(llama_index.LoccitRetriever(library, 2), llm=MockLLM())
    response = engine.query(QUESTION)
    prompt = str(response)  # the model says what it was asked
    hits = library.search(Query(QUESTION, 2)).hits
    assert [each.node_id for each in response.source_nodes] == [hit.passage_id for hit in hits]
    assert f"label: {LABEL}\n\n{FIRST}" in prompt
    assert QUESTION in prompt
    assert "source_sha256" not in prompt


def test_llama_index_searches_beside_the_event_loop(
    llama_index: Any, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads, search = [], library.search

    def noted(query: Query) -> SearchReply:
        threads.append(threading.get_ident())
        return search(query)

    retriever = llama_index.LoccitRetriever(library, 2)
    expected = retriever.retrieve(QUESTION)
    monkeypatch.setattr(library, "search", noted)
    assert asyncio.run(retriever.aretrieve(QUESTION)) == expected
    assert threads
    assert threading.get_ident() not in threads


def haystack_pipeline(retriever: Any) -> Any:
    """Retrieves, writes a prompt, and has it said again."""
    from haystack import Pipeline
    from haystack.components.builders import ChatPromptBuilder
    from haystack.components.generators.chat.mock import MockChatGenerator
    from haystack.dataclasses import ChatMessage

    pipeline = Pipeline()
    pipeline.add_component("retriever", retriever)
    pipeline.add_component("prompt", ChatPromptBuilder([ChatMessage.from_user(TEMPLATE)], ["documents", "question"]))
    pipeline.add_component("model", MockChatGenerator())
    pipeline.connect("retriever.documents", "prompt.documents")
    pipeline.connect("prompt", "model")
    return pipeline


def said(pipeline: Any, **of_run: object) -> list[str]:
    """The lines of the model's reply."""
    inputs = {"retriever": {"query": QUESTION, **of_run}, "prompt": {"question": QUESTION}}
    lines: list[str] = pipeline.run(inputs)["model"]["replies"][0].text.split("\n")
    return lines


def test_a_haystack_pipeline(haystack: Any, library: Library) -> None:
    pipeline = haystack_pipeline(haystack.LoccitRetriever(library, top_k=2))
    lines = said(pipeline)
    assert lines[0].startswith(f"{LABEL}: {FIRST}")
    assert lines[-1] == QUESTION
    lichens = said(pipeline, top_k=1, filters=Filters(paper_ids=("10.5555_lichen.2019.3",)))
    assert [line.split(",")[0] for line in lichens if "§" in line] == ["Fournier & Ibsen 2019"]


def test_a_haystack_pipeline_is_saved_and_loaded(
    haystack: Any, library: Library, embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from haystack import Pipeline

    retriever = haystack.LoccitRetriever(library, 3, Filters(section="results", exclude=("shaded",)))
    pipeline = haystack_pipeline(retriever)
    monkeypatch.setattr(service.library, "load_embedder", lambda name, **options: embedder)
    loaded = Pipeline.loads(pipeline.dumps(), allowed_modules=["service.adapters"])
    opened = loaded.get_component("retriever")
    assert opened.library is not library
    assert (opened.top_k, opened.filters) == (3, retriever.filters)
    assert opened.to_dict() == retriever.to_dict()
    lines = said(loaded)
    assert lines == said(pipeline)
    assert lines[0].startswith("Marsh et al. 2021, §3.")
    loaded.close()


def test_a_saved_haystack_filter_that_is_not_known_is_an_error(haystack: Any, library: Library) -> None:
    saved = haystack.LoccitRetriever(library).to_dict()
    saved["init_parameters"]["filters"]["sektion"] = "methods"
    with pytest.raises(TypeError, match="sektion"):
        haystack.LoccitRetriever.from_dict(saved)
