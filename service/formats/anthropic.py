"""Replies as content of Anthropic's Messages API: search results, of which its models cite text blocks.

Source: https://platform.claude.com/docs/en/build-with-claude/search-results. A list of them is the content of a
`tool_result`, or of a user's message.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from indexer.sentences import split_sentences
from service.cite import Citation
from service.formats.markdown import said
from service.formats.message import reader_url
from service.replies import Answer, SearchReply


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
    """A passage or quote, sentence by sentence."""

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

    Where nothing is quoted, the answer's hits, after a text that says that they do not answer.
    """
    if isinstance(reply, Answer) and reply.quotes:
        return tuple(_result(each.text, each.citation, base_url) for each in reply.quotes)
    results = tuple(_result(each.text, each.citation, base_url) for each in reply.hits)
    if isinstance(reply, Answer):
        return Text(said(reply)), *results
    return results or (Text("No passage fits."),)


def _result(text: str, citation: Citation, base_url: str) -> SearchResult:
    sentences = tuple(Text(text[span.start : span.end]) for span in split_sentences(text))
    return SearchResult(reader_url(base_url, citation), citation.label, sentences)
