"""The replies that stand as examples in the OpenAPI document: what the service says of the paper in `data/`."""

from __future__ import annotations

import json
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from indexer.build import build
from indexer.config import BuildConfig
from indexer.embedding import Embedder
from service.access import KeyFile, Policy
from service.api import create_app
from service.library import Library

DATA = Path(__file__).parents[2] / "data"
QUESTION = "how do AGEs affect bone quality?"
_VARYING: dict[str, Any] = {"took_ms": 6.1, "created": 1767225600, "id": "chatcmpl-0b1d5c0e7f5e4c7c9d3c3a52c2a9e1f4"}
"""What no two replies have in common."""
_SOURCE_CHARACTERS = 500


def replies(embedder: Embedder) -> dict[str, Any]:
    """By operation. What varies is replaced."""
    with tempfile.TemporaryDirectory() as folder:
        build([DATA], Path(folder), embedder, BuildConfig())
        keys = KeyFile(Path(folder) / "keys")
        admin = {"authorization": f"Bearer {keys.add('example', 'admin')}"}
        with (
            closing(Library.open(Path(folder), load=lambda _: embedder)) as library,
            TestClient(create_app(library, policy=Policy(keys=keys))) as client,
        ):
            question = {"question": QUESTION, "k": 1}
            answer = client.post("/v1/ask", json=question).json()
            passage_id = answer["hits"][0]["passage_id"]
            paper_id = answer["hits"][0]["citation"]["paper_id"]
            messages = [{"role": "user", "content": QUESTION}]
            given = {
                "search": client.post("/v1/search", json={"query": QUESTION, "k": 1}),
                "ask": client.post("/v1/ask", json=question),
                "verify": client.post("/v1/verify", json=answer["hits"][0]["citation"]),
                "list_papers": client.get("/v1/papers?limit=1"),
                "show_paper": client.get(f"/v1/papers/{paper_id}"),
                "show_source": client.get(f"/v1/papers/{paper_id}/source"),
                "show_passage": client.get(f"/v1/passages/{passage_id}"),
                "health": client.get("/healthz"),
                "readiness": client.get("/readyz"),
                "list_models": client.get("/v1/models"),
                "show_model": client.get("/v1/models/loccit"),
                "complete_chat": client.post("/v1/chat/completions", json={"model": "loccit", "messages": messages}),
                "remove_paper": client.delete(f"/v1/papers/{paper_id}", headers=admin),
            }
            assert {reply.status_code for reply in given.values()} == {200}
            return {name: _steady(reply.json()) for name, reply in given.items()}


def _steady(reply: Any) -> Any:
    if "format" in reply and "text" in reply:
        reply["text"] = reply["text"][:_SOURCE_CHARACTERS]  # a page of documentation has no room for all of it
    for name, value in _VARYING.items():
        if name in reply and reply.get("object") != "model":
            reply[name] = value
    return reply


def without_figures(reply: Any) -> Any:
    """The same, but for what a processor computes a little differently."""
    return json.loads(json.dumps(reply), parse_float=lambda _: None)
