"""Pages from templates, the static files beside them, and the headers that keep both safe. Knows nothing of routes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from fastapi import Request
from fastapi.responses import HTMLResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from service.cite import doi_url
from service.formats.entries import plain
from service.printable import harmless, sentences_named
from service.web.markup import inline_html, text_html

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
    }
)
"""Of every page and static file: nothing is loaded from elsewhere, and no script runs but our own."""
_KEPT = {"cache-control": "private, no-cache"}
_FOLDER = Path(__file__).parent
_MEDIA_TYPES = {"style.css": "text/css", "script.js": "text/javascript", "favicon.svg": "image/svg+xml"}
_CODE = re.compile(r"`([^`]+)`")
_NUMBERED = re.compile(r"\[(\d{1,4})\]")


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that pages load."""

    content: bytes
    media_type: str
    version: str
    """Of its content: it is in the file's address, so that a browser may keep what it has."""


@cache
def static_file(name: str) -> StaticFile | None:
    """The file of that name; None where there is none."""
    if name not in _MEDIA_TYPES:
        return None
    content = (_FOLDER / "static" / name).read_bytes()
    return StaticFile(content, _MEDIA_TYPES[name], sha256(content).hexdigest()[:12])


def page(request: Request, template: str, status: int = HTTPStatus.OK, **context: object) -> HTMLResponse:
    """A template as a page. Its links begin with the path below which the service is found."""
    base_url: str = request.app.state.base_url
    prefix = urlsplit(base_url).path.rstrip("/")
    text = _environment().get_template(template).render(context, prefix=prefix, base_url=base_url)
    return HTMLResponse(text, status, _KEPT)


def headers_alone() -> StreamingResponse:
    """What HEAD gets of a page that is there: all but its length, which is known once the page is made."""
    return StreamingResponse((), headers=_KEPT, media_type=HTMLResponse.media_type)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals["static"] = _static_url
    environment.filters |= {
        "inline": lambda text: Markup(inline_html(text)),
        "marked": lambda text, highlights=(): Markup(text_html(text, highlights)),
        "plain": plain,
        "sentences": sentences_named,
        "with_code": lambda text: _replaced(_CODE, r"<code>\1</code>", text),
        "with_numbers": lambda text: _replaced(_NUMBERED, r'<a href="#quote-\1">[\1]</a>', text),
        "doi_url": doi_url,
        "web_url": _web_url,
        "path_part": lambda text: quote(text, safe=""),
    }
    return environment


def _shown(value: object) -> object:
    """What a template puts on a page; of text, nothing that would have it read in another order than it stands in."""
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _static_url(name: str) -> str:
    file = static_file(name)
    assert file is not None
    return f"/static/{name}?v={file.version}"


def _replaced(pattern: re.Pattern[str], replacement: str, text: str) -> Markup:
    """The text escaped, and what the pattern finds in it replaced by mark-up."""
    return Markup(pattern.sub(replacement, str(escape(text))))


def _web_url(url: str) -> str:
    """The address, if it is one of the web; else nothing: a link to it might run what a paper says."""
    return url if url.startswith(("https://", "http://")) else ""
