"""Replies as content of Anthropic's Messages API: search results, of which its models cite text blocks.

Source: https://platform.claude.com/docs/en/build-with-claude/search-results. A list of them is the content of a
`tool_result`, or of a user's message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from indexer.sentences import split_sentences
from service.answer import Basis
from service.cite import Citation, reader_url
from service.formats.markdown import not_all, said
from service.replies import Answer, SearchReply

_TABLE = re.compile(r"^[ \t]*\||<t[dhr]\b", re.MULTILINE | re.IGNORECASE)
_LINE = re.compile(r"[^\r\n]+")


@dataclass(frozen=True, slots=True)
class Text:
    """A text; what a model cites is one of these, or several in a row."""

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class Citations:
    """Whether the model cites: all of a request's results must say the same."""

    enabled: bool = True


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A passage or quote, sentence by sentence; a table row by row."""

    source: str
    """Its absolute address in the service's reader."""
    title: str
    """Where it stands, for people: the citation's label."""
    content: tuple[Text, ...]
    citations: Citations = field(default_factory=Citations)
    type: Literal["search_result"] = "search_result"


Content = tuple[SearchResult | Text, ...]


def search_results(reply: Answer | SearchReply, base_url: str) -> Content:
    """A result for each quote of an answer, for each hit of a search.

    Where an answer quotes nothing, its hits. A text says so first, and where the papers but touch on the question, or
    not all of the index was searched.
    """
    missing = (Text(not_all(reply)),) if reply.missing_shards else ()
    if isinstance(reply, SearchReply):
        hits = tuple(_result(each.text, each.citation, base_url) for each in reply.hits)
        return (*missing, *(hits or (Text("No passage fits."),)))
    quotes = tuple(_result(each.text, each.citation, base_url, each.basis) for each in reply.quotes)
    results = quotes or tuple(_result(each.text, each.citation, base_url) for each in reply.hits)
    stated = () if quotes and reply.status == "answered" else (Text(said(reply)),)
    return (*stated, *missing, *results)


def _result(text: str, citation: Citation, base_url: str, basis: Basis = "own") -> SearchResult:
    parts = _LINE.findall(text) if _TABLE.search(text) else [text[at.start : at.end] for at in split_sentences(text)]
    title = f"{citation.label} (reported of others)" if basis == "reported" else citation.label
    return SearchResult(reader_url(base_url, citation), title, tuple(map(Text, parts)))
