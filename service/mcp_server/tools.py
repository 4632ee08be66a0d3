"""The tools: what an assistant may call, and what it gets. Each is a call of the library, its reply made to fit.

A tool's docstring is its description, and written for the model that reads it: when to call it, and what to do next.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import mcp_types
from pydantic import Field, ValidationError, create_model

from indexer.errors import UsageError
from indexer.papers import PaperOrder
from service.library import DEFAULT_ASK_K, MAX_CONTEXT, Library
from service.mcp_server import connector
from service.mcp_server.budget import DEFAULT_TOKENS, MAX_TOKENS, MIN_TOKENS, fit, json_of, schema_of, whole
from service.mcp_server.connector import Document, Results, nearest
from service.query import DEFAULT_K, MAX_K, MAX_NAME_CHARACTERS, Query
from service.replies import Answer, Hit, PaperList, PassageReply, ReferencesReply, SearchReply, VerifyReply
from service.requests import Cited, FiltersField, FiltersRequest, K, Request, Text, inlined
from service.verify import read_claims

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_DEFAULT_LIMIT = 20

_READ_ONLY = mcp_types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


@dataclass(frozen=True, slots=True)
class Site:
    """What tools work on: the open library, and the address that its links begin with."""

    library: Library
    base_url: str


@dataclass(frozen=True, slots=True)
class Tool:
    """What may be called, with the shapes of its arguments and of its reply."""

    name: str
    title: str
    description: str
    arguments: type[Request]
    reply: type[DataclassInstance]
    call: Callable[..., DataclassInstance]

    def definition(self) -> mcp_types.Tool:
        """The tool as clients list it."""
        schema = self.arguments.model_json_schema()
        schemas = schema.pop("$defs", {})
        return mcp_types.Tool(
            name=self.name,
            title=self.title,
            description=self.description,
            input_schema=inlined(schema, schemas),  # assistants' models do not all follow references
            output_schema=schema_of(self.reply),
            annotations=_READ_ONLY,
        )

    def run(self, site: Site, given: Mapping[str, object]) -> str:
        """The reply as JSON. Raises UsageError for arguments that do not fit, and what the library raises."""
        try:
            arguments = self.arguments.model_validate(_with_integers(given))
        except ValidationError as error:
            wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise UsageError(f"{wrong}. {self.name} takes {', '.join(self.arguments.model_fields)}") from error
        return json_of(self.call(site, **dict(arguments)))


TOOLS: dict[str, Tool] = {}
"""By name, in the order that clients list them."""


@cache
def definitions() -> list[mcp_types.Tool]:
    """All tools, as clients list them."""
    return [each.definition() for each in TOOLS.values()]


def _tool(title: str) -> Callable[[Callable[..., DataclassInstance]], Callable[..., DataclassInstance]]:
    """Lists a function among the tools: its arguments after the first are the tool's, checked as their types say."""

    def listed(function: Callable[..., DataclassInstance]) -> Callable[..., DataclassInstance]:
        name, hints = function.__name__, get_type_hints(function, include_extras=True)
        _, *parameters = inspect.signature(function).parameters.values()
        fields: dict[str, Any] = {
            each.name: (hints[each.name], ... if each.default is each.empty else each.default) for each in parameters
        }
        arguments = create_model(name, __base__=Request, **fields)
        TOOLS[name] = Tool(name, title, inspect.getdoc(function) or "", arguments, hints["return"], function)
        return function

    return listed


_Budget = Annotated[
    int,
    Field(
        ge=MIN_TOKENS,
        le=MAX_TOKENS,
        description="The most tokens (cl100k_base) that the whole reply may have; what does not fit comes later.",
    ),
]
_Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]
_Id = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS, description="An id that another tool gave.")]
_Cursor = Annotated[
    str,
    Field(
        max_length=MAX_NAME_CHARACTERS,
        description="`next_cursor` of an earlier reply to the same words and filters, for what follows it.",
    ),
]
_Neighbours = Annotated[int, Field(ge=0, le=MAX_CONTEXT, description="How many passages on that side.")]


@_tool("Search the papers")
def search(site: Site, query: Text) -> Results:
    """Find passages of the indexed scientific papers that fit a question or words, as ids, titles and links.

    Use it to see what the papers have on a subject; then call `fetch` with the id of each result that looks right, and
    cite its url. Use `search_passages` to get the passages' texts and citations at once, or to filter.
    """
    return connector.search(site.library, site.base_url, query)


@_tool("Fetch a passage or paper")
def fetch(site: Site, id: _Id) -> Document:  # noqa: A002 (the name that clients know)
    """Read a passage with what stands around it, by an id that `search` gave, or a paper by its paper_id.

    `metadata.label` and `url` say how to cite it. Where `metadata.next` is not empty the paper goes on: call `fetch`
    with it to read what follows, without gaps or repeats.
    """
    return connector.fetch(site.library, site.base_url, id)


@_tool("Search for passages, with their citations")
def search_passages(
    site: Site,
    query: Text,
    k: K = DEFAULT_K,
    filters: FiltersField = FiltersRequest(),  # noqa: B008 (frozen in effect: it is only read)
    max_tokens: _Budget = DEFAULT_TOKENS,
    cursor: _Cursor = "",
) -> SearchReply:
    """Find the passages that fit a question or words best: verbatim texts, each with the exact place it stands.

    Use it to gather evidence, and to search within some papers, years or sections. Where `next_cursor` is not null
    there are more: call again with it and the same query and filters. Quote from `text` word for word, cite with
    `citation.label`, and call `get_context` with a `passage_id` to read what stands around it.
    """
    asked = Query(query, k, filters.checked(), cursor=cursor)
    reply = site.library.search(asked)

    def of(n: int) -> SearchReply:
        return replace(reply, hits=reply.hits[:n], next_cursor=_cursor(site, asked, reply, n))

    return fit(of, len(reply.hits), max_tokens)


@_tool("Ask the papers a question")
def ask(
    site: Site,
    question: Text,
    k: K = DEFAULT_ASK_K,
    filters: FiltersField = FiltersRequest(),  # noqa: B008
    max_tokens: _Budget = DEFAULT_TOKENS,
) -> Answer:
    """Get the papers' own sentences that answer a question, quoted and cited, and the passages that they stand in.

    Use it first for any question that the papers may answer. `status` says whether they do: on `not_found` tell the
    user that the papers do not say, and do not answer from elsewhere as if they did. Write the answer from `quotes` and
    `hits` only, and cite each statement with `citation.label`. For more passages call `search_passages` with the same
    words and filters and `next_cursor` as its cursor.
    """
    asked = Query(question, k, filters.checked())
    reply = site.library.ask(question, k=k, filters=asked.filters, generate="never")

    def of(n: int) -> Answer:
        return replace(reply, hits=reply.hits[:n], next_cursor=_cursor(site, asked, reply, n))

    return fit(of, len(reply.hits), max_tokens, least=0 if reply.quotes else 1)


@_tool("Read around a passage")
def get_context(
    site: Site,
    passage_id: _Id,
    before: _Neighbours = 2,
    after: _Neighbours = 2,
    max_tokens: _Budget = DEFAULT_TOKENS,
) -> PassageReply:
    """Read a passage with its neighbours in the paper, each with its citation.

    Use it when a passage that was found leans on what stands around it. Fewer neighbours come where the paper begins or
    ends, or where they do not fit, but one at least of those that there are. To read on, call again with the
    `passage_id` of the last one in `after` and before=0: where `after` comes back empty, the paper has ended.
    """
    reply = site.library.passage(passage_id, before=before, after=after)
    return fit(lambda n: nearest(reply, n), len(reply.before) + len(reply.after), max_tokens)


@_tool("Look up a reference")
def resolve_reference(
    site: Site,
    paper_id: _Id,
    marker: Annotated[_Name, Field(description="As it stands in the text: `[45]`, `[44-46]`, or just `45`.")],
    passage_id: Annotated[_Name, Field(description="Where it stands, if that is known.")] = "",
) -> ReferencesReply:
    """Find which works a citation marker in a paper's text names: their entries in its reference list, with DOIs.

    Use it to say who is reported where a passage cites others. What a passage cites stands in its
    `citation.references` already.
    """
    reply = site.library.references(paper_id, marker, passage_id=passage_id)
    return whole(reply, "name fewer references at a time, such as '45'")


@_tool("Verify citations")
def verify_citation(site: Site, citation: Cited) -> VerifyReply:
    """Check whether the papers' files still read as citations say, word for word.

    Use it before handing over an answer with quotes, or on citations from an earlier conversation. Give a citation,
    quote or hit as another tool gave it, or a list of them; or just its paper_id, start, end and exact, with your quote
    as `exact`. Anything but `ok` comes with a reason and, where the text moved, its place now: mend or drop that quote.
    """
    return whole(site.library.verify(read_claims(citation)), "verify fewer citations at a time")


@_tool("List the papers")
def list_papers(
    site: Site,
    sort: Annotated[PaperOrder, Field(description="What the list is in the order of.")] = "paper_id",
    limit: Annotated[int, Field(ge=1, le=MAX_K, description="The most papers to give.")] = _DEFAULT_LIMIT,
    cursor: Annotated[_Name, Field(description="`next_cursor` of an earlier reply, for the papers after it.")] = "",
    max_tokens: _Budget = DEFAULT_TOKENS,
) -> PaperList:
    """List the papers in the index: titles, authors, years, DOIs, and the ids to filter by or to `fetch`.

    Use it to see what there is, not to find what papers say. Where `next_cursor` is not null there are more: call again
    with it and the same order.
    """
    reply = site.library.papers(sort=sort, limit=limit, cursor=cursor)

    def of(n: int) -> PaperList:
        more = reply.papers[n - 1].paper_id if n < len(reply.papers) else reply.next_cursor
        return replace(reply, papers=reply.papers[:n], next_cursor=more)

    return fit(of, len(reply.papers), max_tokens)


def _with_integers(given: Any) -> Any:  # noqa: ANN401  any JSON
    """The same, a whole number as such: JSON Schema takes 2.0 for an integer, and some clients have no others."""
    if isinstance(given, Mapping):
        return {key: _with_integers(value) for key, value in given.items()}
    if isinstance(given, list):
        return [_with_integers(value) for value in given]
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _cursor(site: Site, asked: Query, reply: SearchReply | Answer, n: int) -> str | None:
    """Where a search goes on after the reply's first `n` hits."""
    if n == len(reply.hits):
        return reply.next_cursor
    left: Hit = reply.hits[n]
    return asked.next_cursor(left.rank - 1, reply.generation, site.library.reranker)
