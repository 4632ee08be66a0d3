"""A session of the first SDK's last client, run beside the tests where that SDK is: prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import McpError


async def use(session: ClientSession, question: str) -> dict[str, Any]:
    """What the session has to say to a question."""
    started = await session.initialize()
    tools = await session.list_tools()
    found = await session.call_tool("search", {"query": question})
    first = found.structuredContent["results"][0]
    fetched = await session.call_tool("fetch", {"id": first["id"]})
    refused = await session.call_tool("search", {"query": ""})
    resources = await session.list_resources()
    papers = [(await session.read_resource(each.uri)).contents[0].text for each in resources.resources]
    prompt = await session.get_prompt("answer_with_citations", {"question": question})
    try:
        await session.get_prompt("answer_with_citations", {})
        missing = 0
    except McpError as error:
        missing = error.error.code
    return {
        "protocol": started.protocolVersion,
        "server": started.serverInfo.name,
        "tools": [each.name for each in tools.tools],
        "first": first,
        "fetched": fetched.structuredContent,
        "refused": [refused.isError, refused.content[0].text],
        "uris": [str(each.uri) for each in resources.resources],
        "papers": papers,
        "prompt": prompt.messages[0].content.text,
        "missing": missing,
    }


async def main(question: str, url: str, command: list[str]) -> None:
    """Over HTTP, then over stdio."""
    seen = []
    async with streamable_http_client(url) as (read, write, _), ClientSession(read, write) as session:
        seen.append(await use(session, question))
    parameters = StdioServerParameters(command=command[0], args=command[2:], env=dict([command[1].split("=", 1)]))
    async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
        seen.append(await use(session, question))
    sys.stdout.write(json.dumps(seen))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
