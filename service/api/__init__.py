"""The HTTP front end: `/v1`, and whatever else is served beside it. No logic of its own: it calls the library.

`v1` and, for chat front ends, `completions` have the routes, `requests` what they take, `problems` how errors leave,
`sse` events; `tools` tells models of them; `app` puts them together.
"""

from service.api.app import MAX_BODY_BYTES, TURNS_A_CPU, create_app
from service.api.listening import bind, ended_in_order, serve, url

__all__ = ["MAX_BODY_BYTES", "TURNS_A_CPU", "bind", "create_app", "ended_in_order", "serve", "url"]
