"""The command that tells other programs of the service."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer


class ToolFormat(StrEnum):
    """Whose API the tools are for."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


def tools(
    form: Annotated[
        ToolFormat,
        typer.Option(
            "--format", metavar="|".join(ToolFormat), help="Whose API they are for: chat completions, or messages."
        ),
    ] = ToolFormat.OPENAI,
) -> None:
    """Print the service's operations as tools that a model may call, as JSON for a request's `tools`.

    A tool's name is the operation's in /openapi.json, and its arguments are what that takes.
    """
    from service.api.tools import tools as definitions

    typer.echo(json.dumps(definitions(form.value), indent=2, ensure_ascii=False))
