"""What the OpenAPI document says beside FastAPI's part: problems, keys, where replies lead, and an example of each.

`make golden` writes the examples anew.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from service.api.problems import PROBLEM_CONTENT, components

_PASSAGE = "$response.body#/hits/0/passage_id"
_PAPER = "$response.body#/hits/0/citation/paper_id"
_LINKS: dict[str, dict[str, dict[str, object]]] = {
    "search": {
        "passage": {"operationId": "show_passage", "parameters": {"passage_id": _PASSAGE}},
        "paper": {"operationId": "show_paper", "parameters": {"paper_id": _PAPER}},
        "more": {
            "operationId": "search",
            "requestBody": {"query": "$request.body#/query", "cursor": "$response.body#/next_cursor"},
        },
        "verification": {"operationId": "verify", "requestBody": "$response.body"},
    },
    "ask": {
        "passage": {"operationId": "show_passage", "parameters": {"passage_id": _PASSAGE}},
        "source": {"operationId": "show_source", "parameters": {"paper_id": _PAPER}},
        "verification": {"operationId": "verify", "requestBody": "$response.body"},
    },
    "list_papers": {
        "paper": {"operationId": "show_paper", "parameters": {"paper_id": "$response.body#/papers/0/paper_id"}},
        "source": {"operationId": "show_source", "parameters": {"paper_id": "$response.body#/papers/0/paper_id"}},
        "more": {"operationId": "list_papers", "parameters": {"cursor": "$response.body#/next_cursor"}},
    },
    "show_paper": {
        "passage": {"operationId": "show_passage", "parameters": {"passage_id": "$response.body#/passage_ids/0"}},
    },
    "list_models": {"model": {"operationId": "show_model", "parameters": {"model_id": "$response.body#/data/0/id"}}},
}
"""Where a reply leads: what of it another operation takes."""

SECURITY_SCHEMES: dict[str, dict[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key of `loccit keys add NAME`."},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same."},
}
ADMIN_OPERATIONS = frozenset({"remove_paper"})
"""They ask for a key of the scope admin, wherever the service listens."""
_REFUSALS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.MISDIRECTED_REQUEST,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
EXAMPLES_FILE = Path(__file__).with_name("examples.json")


class DocumentedApp(FastAPI):
    """An app whose document has the examples, and the schemas of problems."""

    def openapi(self) -> dict[str, Any]:
        """The document. The examples are put in at the end: FastAPI leaves out what is null."""
        document = super().openapi()
        examples = json.loads(EXAMPLES_FILE.read_text(encoding="utf-8"))
        for methods in document["paths"].values():
            for operation in methods.values():
                done = operation["responses"]["200"]
                if links := _LINKS.get(operation["operationId"]):
                    done["links"] = links
                done["content"]["application/json"]["example"] = examples.get(operation["operationId"])
                _describe_access(operation)
        document["components"]["schemas"] |= components()
        document["components"]["securitySchemes"] = SECURITY_SCHEMES
        return document


def _describe_access(operation: dict[str, Any]) -> None:
    """Which keys it asks for, and how it is refused before it is begun."""
    if "state" in operation["tags"]:
        operation["security"] = []
        return
    is_admin = operation["operationId"] in ADMIN_OPERATIONS
    operation["security"] = [{name: []} for name in SECURITY_SCHEMES] + ([] if is_admin else [{}])
    refusals = [*_REFUSALS, *([HTTPStatus.FORBIDDEN] if is_admin else [])]
    refusals += [HTTPStatus.REQUEST_TIMEOUT] if "requestBody" in operation else []
    described = operation["responses"]
    is_openai = "default" in described
    for status in refusals:
        content = described["default"]["content"] if is_openai else PROBLEM_CONTENT
        described.setdefault(str(int(status)), {"description": status.phrase, "content": content})
    operation["responses"] = dict(sorted(described.items()))
