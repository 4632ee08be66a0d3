"""The app itself: watched, and with what its OpenAPI document says beside FastAPI's part: problems, and an example of
each operation's reply, a real one.

`make golden` writes the examples anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from service.api.problems import components
from service.observe import Watched

EXAMPLES_FILE = Path(__file__).with_name("examples.json")


class DocumentedApp(FastAPI):
    """An app whose document has the examples, and the schemas of problems. Its requests are watched."""

    def build_middleware_stack(self) -> ASGIApp:
        """All of the app, and around it who watches: also what answers to bugs stands within."""
        return Watched(super().build_middleware_stack(), self.routes, self.state.metrics, self.state.tracing)

    def openapi(self) -> dict[str, Any]:
        """The document. The examples are put in at the end: FastAPI leaves out what is null."""
        document = super().openapi()
        examples = json.loads(EXAMPLES_FILE.read_text(encoding="utf-8"))
        for methods in document["paths"].values():
            for operation in methods.values():
                content = operation["responses"]["200"]["content"]
                content["application/json"]["example"] = examples.get(operation["operationId"])
        document["components"]["schemas"] |= components()
        return document
