"""The MCP front end: what a chat assistant may ask of the library, over stdio and at `/mcp`. No logic of its own.

`tools`, `resources` and `prompts` are what there is, `pages` how papers read there, `budget` what keeps a reply short;
`server` puts them together, `stdio` and `http` carry it. Nothing else imports `mcp`.
"""

from service.mcp_server.http import PATH, Endpoint, refusal
from service.mcp_server.server import create_server
from service.mcp_server.stdio import serve_stdio

__all__ = ["PATH", "Endpoint", "create_server", "refusal", "serve_stdio"]
