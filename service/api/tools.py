"""The service's operations as tools for models to call, in the forms of OpenAI's and Anthropic's APIs.

A tool has the name of an operation (`operationId` in `/openapi.json`, which says where it is), and what the operation's
body or parameters hold are its arguments. Those for OpenAI fit its strict mode: every argument is given, and what it is
where nothing is asked for stands in its description.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from fastapi import FastAPI

from service.api import v1
from service.requests import inlined

ToolFormat = Literal["openai", "anthropic"]

TOOLS = ("search", "ask", "list_papers", "show_paper", "show_passage")
"""Not `verify`: what it takes, a citation as the service gave it, is too much for a model to repeat to the letter."""
_KEPT = ("type", "enum")
_BOUNDS = ("minimum", "maximum")
"""What strict mode knows of JSON Schema, beside objects, arrays and descriptions."""


def tools(form: ToolFormat) -> list[dict[str, Any]]:
    """The tools, for `tools` of a request to chat completions or messages."""
    return [_tool(form, *each) for each in _operations()]


def _operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Each tool's name, description, and arguments as a JSON Schema."""
    app = FastAPI(generate_unique_id_function=lambda route: route.name)
    app.include_router(v1.papers)
    document = app.openapi()
    schemas = document["components"]["schemas"]
    found = {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    for name in TOOLS:
        method, path, operation = found[name]
        if "requestBody" in operation:
            body = operation["requestBody"]["content"]["application/json"]["schema"]
            arguments = inlined(body, schemas)
        else:
            given = operation["parameters"]
            arguments = {
                "type": "object",
                "properties": {each["name"]: {**each["schema"], **_described(each)} for each in given},
                "required": [each["name"] for each in given if each["required"]],
            }
        yield name, f"{' '.join(operation['description'].split())} ({method} {path})", arguments


def _described(schema: Mapping[str, Any]) -> dict[str, str]:
    return {"description": schema["description"]} if "description" in schema else {}


def _tool(form: ToolFormat, name: str, description: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if form == "anthropic":
        return {"name": name, "description": description, "input_schema": _plain(arguments, strict=False)}
    function = {
        "name": name,
        "description": description,
        "parameters": _plain(arguments, strict=True),
        "strict": True,
    }
    return {"type": "function", "function": function}


def _plain(schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    """The schema without what models have no use for."""
    plain = {key: schema[key] for key in _KEPT if key in schema} | _described(schema)
    plain |= {key: int(schema[key]) for key in _BOUNDS if key in schema}  # FastAPI makes them floats
    if "const" in schema:
        plain["enum"] = [schema["const"]]
    if "items" in schema:
        plain["items"] = _plain(schema["items"], strict=strict)
    if "properties" in schema:
        properties = schema["properties"]
        plain["properties"] = {name: _plain(each, strict=strict) for name, each in properties.items()}
        plain["required"] = list(properties) if strict else schema.get("required", [])
        plain["additionalProperties"] = False
    elif "default" in schema:
        if strict:
            plain["description"] = f"{plain.get('description', '')} Default: {json.dumps(schema['default'])}.".lstrip()
        else:
            plain["default"] = schema["default"]
    return plain
