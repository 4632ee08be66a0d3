"""The OpenAPI document: every operation is named, described, shown by a real example, and says how it may fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from starlette.testclient import TestClient

from indexer.embedding import Embedder
from indexer.errors import GenerationError, IndexMissingError, LoccitError, ModelError
from service.api import MAX_BODY_BYTES, create_app
from service.api.documented import EXAMPLES_FILE
from service.api.problems import OpenAIError
from service.library import Library
from tests.golden.replies import replies, without_figures

pytestmark = pytest.mark.model

JSON = "application/json"
OPERATIONS = {
    "search": ("post", "/v1/search"),
    "ask": ("post", "/v1/ask"),
    "verify": ("post", "/v1/verify"),
    "list_papers": ("get", "/v1/papers"),
    "show_paper": ("get", "/v1/papers/{paper_id}"),
    "remove_paper": ("delete", "/v1/papers/{paper_id}"),
    "show_source": ("get", "/v1/papers/{paper_id}/source"),
    "show_passage": ("get", "/v1/passages/{passage_id}"),
    "health": ("get", "/healthz"),
    "readiness": ("get", "/readyz"),
    "list_models": ("get", "/v1/models"),
    "show_model": ("get", "/v1/models/{model_id}"),
    "complete_chat": ("post", "/v1/chat/completions"),
}
"""Programs and their generated clients call them so: a name here does not change."""


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library), raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Validate against a schema of the document."""
    jsonschema = pytest.importorskip("jsonschema", reason="it comes with the mcp package")
    jsonschema.Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def operation(document: dict[str, Any], name: str) -> dict[str, Any]:
    method, path = OPERATIONS[name]
    found: dict[str, Any] = document["paths"][path][method]
    return found


def test_the_operations(document: dict[str, Any]) -> None:
    found = {
        each["operationId"]: (method, path)
        for path, methods in document["paths"].items()
        for method, each in methods.items()
    }
    assert found == OPERATIONS


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_described(document: dict[str, Any], name: str) -> None:
    found = operation(document, name)
    assert found["summary"]
    assert found["description"].endswith(".")
    assert len(found["tags"]) == 1
    assert all(each["description"] for each in found.get("parameters", ()))


@pytest.mark.parametrize("name", OPERATIONS)
def test_its_parameters_are_shown(document: dict[str, Any], name: str) -> None:
    real = json.loads(EXAMPLES_FILE.read_text(encoding="utf-8"))
    paper_id = real["show_paper"]["paper"]["paper_id"]
    ids = {
        "paper_id": paper_id,
        "cursor": paper_id,
        "passage_id": real["show_passage"]["passage"]["passage_id"],
        "model_id": real["show_model"]["id"],
    }
    for each in operation(document, name).get("parameters", ()):
        (example,) = each["schema"]["examples"]
        check(document, each["schema"], example)
        assert example == ids.get(each["name"], example)


@pytest.mark.parametrize("name", OPERATIONS)
def test_its_examples_fit_its_schemas(document: dict[str, Any], name: str) -> None:
    found = operation(document, name)
    reply = found["responses"]["200"]["content"][JSON]
    assert reply["example"]
    check(document, reply["schema"], reply["example"])
    if "requestBody" in found:
        body = found["requestBody"]["content"][JSON]["schema"]
        assert body["examples"]
        for example in body["examples"]:
            check(document, body, example)


@pytest.mark.parametrize("name", OPERATIONS)
def test_each_of_its_errors_has_a_form(document: dict[str, Any], name: str) -> None:
    errors = {status: each for status, each in operation(document, name)["responses"].items() if status != "200"}
    is_openai = OPERATIONS[name][1].startswith(("/v1/models", "/v1/chat"))
    form = JSON if is_openai else "application/problem+json"
    schema = {"$ref": f"#/components/schemas/{'OpenAIProblem' if is_openai else 'Problem'}"}
    for each in errors.values():
        assert each["content"] == {form: {"schema": schema}}
    assert bool(errors) == (name != "health")


def test_the_form_of_a_problem(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    problem, field_error = components["Problem"], components["FieldError"]
    types = {name: each["type"] for name, each in problem["properties"].items()}
    texts = dict.fromkeys(("type", "title", "detail", "instance"), "string")
    assert types == {**texts, "status": "integer", "errors": "array"}
    assert problem["required"] == ["type", "title", "status", "detail", "instance"]
    assert problem["properties"]["errors"]["items"] == {"$ref": "#/components/schemas/FieldError"}
    assert {name: each["type"] for name, each in field_error["properties"].items()} == {
        "field": "string",
        "message": "string",
    }
    assert field_error["required"] == ["field", "message"]
    wrong = OpenAIError("x", "server_error", None, None)
    assert components["OpenAIProblem"]["properties"] == {"error": {"$ref": "#/components/schemas/OpenAIError"}}
    assert components["OpenAIError"]["required"] == list(asdict(wrong))


def test_the_examples_were_real_replies(embedder: Embedder) -> None:
    """`make golden` writes them anew."""
    frozen = json.loads(EXAMPLES_FILE.read_text(encoding="utf-8"))
    assert frozen.keys() == OPERATIONS.keys()
    assert without_figures(replies(embedder)) == without_figures(frozen)


def test_the_examples_of_requests_work(client: TestClient, document: dict[str, Any]) -> None:
    for name, (method, path) in OPERATIONS.items():
        if method == "post":
            for example in operation(document, name)["requestBody"]["content"][JSON]["schema"]["examples"]:
                assert client.post(path, json=example).status_code == 200


CHAT = {"model": "loccit", "messages": [{"role": "user", "content": "limpets?"}]}
FAILURES: list[tuple[str, str, Any, int]] = [
    ("search", "/v1/search", {"query": ""}, 422),
    ("search", "/v1/search", {"query": "x", "filters": {"paper_ids": ["PMC1"]}}, 404),
    ("search", "/v1/search?format=openai", {"query": "x"}, 422),
    ("search", "/v1/search", b"[" * 100_000, 400),
    ("search", "/v1/search", b" " * (MAX_BODY_BYTES + 1), 413),
    ("ask", "/v1/ask", {"question": " "}, 422),
    ("ask", "/v1/ask", {"question": "x paper:PMC1"}, 404),
    ("ask", "/v1/ask", b"[" * 100_000, 400),
    ("ask", "/v1/ask", b" " * (MAX_BODY_BYTES + 1), 413),
    ("verify", "/v1/verify", {}, 422),
    ("verify", "/v1/verify", b"[" * 100_000, 400),
    ("verify", "/v1/verify", b" " * (MAX_BODY_BYTES + 1), 413),
    ("list_papers", "/v1/papers?limit=0", None, 422),
    ("list_papers", "/v1/papers?sort=title&cursor=PMC1", None, 422),
    ("show_paper", "/v1/papers/PMC1", None, 404),
    ("show_passage", "/v1/passages/PMC1:0", None, 404),
    ("show_passage", "/v1/passages/PMC1:0?context=21", None, 422),
    ("show_model", "/v1/models/gpt-9", None, 404),
    ("complete_chat", "/v1/chat/completions", {**CHAT, "model": "gpt-9"}, 404),
    ("complete_chat", "/v1/chat/completions", {**CHAT, "n": 2}, 400),
    ("complete_chat", "/v1/chat/completions", b"[" * 100_000, 400),
    ("complete_chat", "/v1/chat/completions", b" " * (MAX_BODY_BYTES + 1), 413),
]


def given(client: TestClient, name: str, path: str, body: Any) -> Any:
    if isinstance(body, bytes):
        return client.post(path, content=body, headers={"content-type": JSON})
    return client.request(OPERATIONS[name][0], path, json=body)


def documented(document: dict[str, Any], name: str, reply: Any, status: int) -> None:
    """The reply has this status, which the operation names, and the form that stands there."""
    assert reply.status_code == status
    form = operation(document, name)["responses"][str(status)]["content"]
    check(document, form[reply.headers["content-type"]]["schema"], reply.json())


@pytest.mark.parametrize(("name", "path", "body", "status"), FAILURES)
def test_what_clients_get_wrong_is_documented(
    client: TestClient, document: dict[str, Any], name: str, path: str, body: Any, status: int
) -> None:
    documented(document, name, given(client, name, path, body), status)


@pytest.mark.parametrize(
    "raised", [IndexMissingError("no index"), ModelError("no model"), RuntimeError("a bug")], ids=["503", "500", "bug"]
)
def test_what_goes_wrong_here_is_documented(
    client: TestClient, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch, raised: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise raised

    for each in ("search", "ask_stream", "verify", "papers", "paper", "passage"):
        monkeypatch.setattr(Library, each, fail)
    monkeypatch.setattr(Library, "warm", fail)
    status = raised.http_status if isinstance(raised, LoccitError) else 500
    cited = {"paper_id": "PMC1", "start": 0, "end": 1, "exact": "x"}
    for name, path, body in (
        ("search", "/v1/search", {"query": "x"}),
        ("ask", "/v1/ask", {"question": "x"}),
        ("verify", "/v1/verify", cited),
        ("list_papers", "/v1/papers", None),
        ("show_paper", "/v1/papers/PMC1", None),
        ("show_passage", "/v1/passages/PMC1:0", None),
        ("complete_chat", "/v1/chat/completions", CHAT),
    ):
        documented(document, name, given(client, name, path, body), status)
    documented(document, "readiness", client.get("/readyz"), 503 if isinstance(raised, LoccitError) else 500)


def test_a_model_that_must_write_and_fails_is_documented(
    client: TestClient, document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise GenerationError("it wrote none")

    monkeypatch.setattr(Library, "ask_stream", fail)
    documented(document, "ask", given(client, "ask", "/v1/ask", {"question": "x", "generate": "always"}), 502)
