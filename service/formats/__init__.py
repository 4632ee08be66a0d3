"""Replies as text for other programs: Markdown, the cited papers as BibTeX, RIS and CSL-JSON, and what chats carry.

Pure functions: what they are given to what they return. One entry a paper, in the order of first citation; its key
comes from its own record. Nothing that a paper says can end the field, line or block that it stands in. Control
characters are replaced; exact text is in the JSON of a reply alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from service.cite import Citation
from service.formats.anthropic import Content, search_results
from service.formats.bibtex import bibtex
from service.formats.csl import csl_json
from service.formats.entries import Entry, read_entries
from service.formats.markdown import answer_page, bibliography, quotation, search_page
from service.formats.ris import ris
from service.replies import Answer, SearchReply

__all__ = ["MEDIA_TYPES", "Content", "Style", "export", "quotation", "render", "search_results"]

Style = Literal["markdown", "bibtex", "ris", "csl-json"]

MEDIA_TYPES: Mapping[str, Style] = MappingProxyType(
    {
        "text/markdown": "markdown",
        "application/x-bibtex": "bibtex",
        "application/x-research-info-systems": "ris",
        "application/vnd.citationstyles.csl+json": "csl-json",
    }
)
"""Those of DOI content negotiation (https://citation.doi.org), and Markdown's own (RFC 7763)."""

_WRITERS: Mapping[Style, Callable[[Sequence[Entry]], str]] = MappingProxyType(
    {"markdown": bibliography, "bibtex": bibtex, "ris": ris, "csl-json": csl_json}
)


def export(citations: Sequence[Citation], style: Style) -> str:
    """The cited papers, each once. Empty for none, `[]` in CSL-JSON."""
    return _WRITERS[style](read_entries(citations))


def render(reply: Answer | SearchReply, style: Style) -> str:
    """A whole reply as Markdown, else the papers that it cites: those of an answer's quotes, of a search's hits."""
    if style == "markdown":
        return answer_page(reply) if isinstance(reply, Answer) else search_page(reply)
    cited = reply.quotes if isinstance(reply, Answer) else reply.hits
    return export([each.citation for each in cited], style)
