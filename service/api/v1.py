"""`/v1` and the service's state: requests checked, handed to the library, its replies given back as JSON.

Handlers are plain functions, so that they run in worker threads and the event loop stays free. `ask` may wait for a
model: its steps run there, and it takes no turn of a search while it waits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from http import HTTPStatus
from typing import Annotated, Literal, ParamSpec, TypeVar, cast, get_type_hints

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Body, Depends, Request, Response
from fastapi import Path as PathParameter
from fastapi import Query as Parameter
from fastapi.sse import format_sse_event
from pydantic import TypeAdapter

from indexer.errors import LoccitError, OverloadError
from indexer.papers import PaperOrder
from service.access.guard import check_admin
from service.api import sse
from service.api.problems import problem_of, responses
from service.api.readiness import Readiness
from service.api.requests import (
    ASK_EXAMPLES,
    EXAMPLE_PAPER_ID,
    EXAMPLE_PASSAGE_ID,
    SEARCH_EXAMPLES,
    VERIFY_EXAMPLES,
    AskRequest,
    SearchRequest,
)
from service.formats import MEDIA_TYPES, Content, render, search_results
from service.library import MAX_CONTEXT, Library
from service.observe.metrics import MEDIA_TYPE
from service.query import MAX_K, Query
from service.replies import (
    Answer,
    PaperList,
    PaperReply,
    PassageReply,
    Removal,
    SearchReply,
    SourceText,
    Statement,
    VerifyReply,
    Waiting,
)
from service.requests import Cited
from service.verify import read_claims

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Health:
    """The process's state."""

    status: Literal["alive"]


@dataclass(frozen=True, slots=True)
class Ready:
    """The service's state."""

    status: Literal["ready"]
    missing_shards: tuple[str, ...] = ()
    """Servers with a part of the index that did not take part: searches go on without them."""


async def _library(request: Request) -> Library:  # a plain function would take a turn of a search
    library = request.app.state.library
    assert isinstance(library, Library)
    return library


async def _admin(request: Request) -> None:
    check_admin(request)


_Library = Annotated[Library, Depends(_library)]
_UNUSABLE = (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
_UNREADABLE = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
"""Of bodies."""


_JSON = "application/json"
_QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What form a reply is to have."""

    media_type: str = _JSON
    blocks_at: str | None = None
    """Where clients find the service, if they want what Anthropic's API takes."""


async def _wanted(
    request: Request,
    form: Annotated[
        Literal["anthropic"] | None,
        Parameter(
            alias="format",
            description="`anthropic` for the content of a message to Anthropic's API, in search-result blocks that its "
            "models cite, whatever else is accepted.",
            examples=["anthropic"],
        ),
    ] = None,
) -> _Wanted:
    """As the client says: of the media types that it accepts, the first with the highest `q` (RFC 9110), else JSON."""
    if form is not None:
        return _Wanted(blocks_at=request.app.state.base_url)
    wanted, highest = _JSON, 0.0
    for each in ",".join(request.headers.getlist("accept")).split(","):
        media_range, *parameters = (part.strip().lower() for part in each.split(";"))
        media_type = _JSON if media_range in ("*/*", "application/*") else media_range
        given = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        quality = float(given) if _QUALITY.fullmatch(given) else 0.0
        if media_type in (_JSON, sse.MEDIA_TYPE, *MEDIA_TYPES) and quality > highest:
            wanted, highest = media_type, quality
    return _Wanted(wanted)


_AsWanted = Annotated[_Wanted, Depends(_wanted)]
_FORMATS = {name: {"schema": {"type": "string"}} for name in MEDIA_TYPES}
"""What else than JSON a reply may be."""


def _serialised(handler: Callable[_P, _R]) -> Callable[_P, _R]:
    """The same, its reply written as JSON as it stands: FastAPI would first take it apart and check it again.

    A handler that takes what form is `wanted` replies in that.
    """
    adapter: TypeAdapter[_R] = TypeAdapter(get_type_hints(handler)["return"])

    @wraps(handler)
    def respond(*args: _P.args, **kwargs: _P.kwargs) -> Response:
        wanted = kwargs.get("wanted")
        return _response(handler(*args, **kwargs), adapter, wanted if isinstance(wanted, _Wanted) else _Wanted())

    return cast("Callable[_P, _R]", respond)


def _response(reply: _R, adapter: TypeAdapter[_R], wanted: _Wanted) -> Response:
    if isinstance(reply, Answer | SearchReply):
        if wanted.blocks_at is not None:
            return Response(_BLOCKS.dump_json(search_results(reply, wanted.blocks_at)), media_type=_JSON)
        if wanted.media_type in MEDIA_TYPES:
            return Response(render(reply, MEDIA_TYPES[wanted.media_type]), media_type=wanted.media_type)
    return Response(adapter.dump_json(reply), media_type=_JSON)


_BLOCKS: TypeAdapter[Content] = TypeAdapter(Content)
_EVENT: TypeAdapter[Statement | Waiting | Answer | None] = TypeAdapter(Statement | Waiting | Answer | None)

papers = APIRouter(prefix="/v1", responses=responses(*_UNUSABLE))
state = APIRouter(tags=["state"])
_MISSING = responses(HTTPStatus.NOT_FOUND)


@papers.post(
    "/search",
    tags=["search"],
    response_model=SearchReply | Content,
    responses={int(HTTPStatus.OK): {"content": _FORMATS}, **responses(HTTPStatus.NOT_FOUND, *_UNREADABLE)},
)
@_serialised
def search(
    library: _Library, wanted: _AsWanted, request: Annotated[SearchRequest, Body(examples=SEARCH_EXAMPLES)]
) -> SearchReply:
    """The passages that fit a query best, each with the place where it stands."""
    return library.search(
        Query(request.query, request.k, request.filters.checked(), request.max_tokens, request.cursor)
    )


@papers.post(
    "/ask",
    tags=["search"],
    response_model=Answer | Content,
    responses={
        int(HTTPStatus.OK): {
            "content": {
                **_FORMATS,
                sse.MEDIA_TYPE: {
                    "schema": {
                        "type": "string",
                        "description": "Events: `statement`, a Statement, for each sentence that a model writes, once "
                        "its quotes were found; `answer`, the whole Answer, last; `error`, a problem, in its place "
                        "where that failed. Lines that begin with a colon keep the connection open.",
                    }
                },
            }
        },
        **responses(HTTPStatus.NOT_FOUND, *_UNREADABLE, HTTPStatus.BAD_GATEWAY),
    },
)
async def ask(
    library: _Library,
    wanted: _AsWanted,
    request: Annotated[AskRequest, Body(examples=ASK_EXAMPLES)],
    http: Request,
) -> Response:
    """The sentences that answer a question best, quoted and cited, and the passages that they stand in.

    Where a model is configured it writes the answer, and every sentence of it rests on quotes. With
    `accept: text/event-stream` its sentences come as they are written.
    """
    events = library.ask_stream(
        request.question, k=request.k, filters=request.filters.checked(), generate=request.generate
    )
    event = await sse.step(events)  # the search; what is wrong with the request shows here
    writers: CapacityLimiter = http.app.state.writers
    if event is not None and wanted.media_type == sse.MEDIA_TYPE:
        await sse.admit(events, http, writers)
        return sse.EventStream(
            event,
            events,
            _frame,
            lambda error: format_sse_event(event="error", data_str=bytes(problem_of(error, http).body).decode()),
            writers,
        )
    if not isinstance(event, Answer):
        event = await sse.last(events, http, writers)
    return await to_thread.run_sync(_response, event, _EVENT, wanted)


def _frame(event: Statement | Waiting | Answer) -> bytes:
    if isinstance(event, Waiting):
        return b""
    return format_sse_event(event=type(event).__name__.lower(), data_str=_EVENT.dump_json(event).decode())


@papers.post("/verify", tags=["papers"], responses=responses(*_UNREADABLE))
@_serialised
def verify(library: _Library, cited: Annotated[Cited, Body(examples=VERIFY_EXAMPLES)]) -> VerifyReply:
    """Whether the papers' files still read as citations say, and if not, where the texts stand now.

    Takes a citation, a quote or hit, an answer, a search reply, or a list of such, as this service gave them.
    """
    return library.verify(read_claims(cited))


@papers.get("/papers", tags=["papers"])
@_serialised
def list_papers(
    library: _Library,
    sort: Annotated[
        PaperOrder, Parameter(description="What the list is in the order of.", examples=["title"])
    ] = "paper_id",
    limit: Annotated[int, Parameter(ge=1, le=MAX_K, description="The most papers to give.", examples=[50])] = MAX_K,
    cursor: Annotated[
        str,
        Parameter(
            description="`next_cursor` of an earlier reply, for the papers after it.", examples=[EXAMPLE_PAPER_ID]
        ),
    ] = "",
) -> PaperList:
    """The papers in the index."""
    return library.papers(sort=sort, cursor=cursor, limit=limit)


@papers.get("/papers/{paper_id:path}/source", tags=["papers"], responses=responses(HTTPStatus.NOT_FOUND, *_UNREADABLE))
@_serialised
def show_source(
    library: _Library,
    paper_id: Annotated[str, PathParameter(description="As replies give it, or a DOI.", examples=[EXAMPLE_PAPER_ID])],
) -> SourceText:
    """The text that the offsets of a paper's citations count in: its Markdown file's own, or the Markdown made of it.

    A Markdown file that has changed since it was indexed is an error.
    """
    return library.source(paper_id)


@papers.get("/papers/{paper_id:path}", tags=["papers"], responses=_MISSING)
@_serialised
def show_paper(
    library: _Library,
    paper_id: Annotated[str, PathParameter(description="As replies give it, or a DOI.", examples=[EXAMPLE_PAPER_ID])],
) -> PaperReply:
    """One paper: its record, section tree, the ids of its passages, and its references."""
    return library.paper(paper_id)


@papers.get("/passages/{passage_id:path}", tags=["papers"], responses=_MISSING)
@_serialised
def show_passage(
    library: _Library,
    passage_id: Annotated[str, PathParameter(description="As a search's hits give it.", examples=[EXAMPLE_PASSAGE_ID])],
    context: Annotated[
        int, Parameter(ge=0, le=MAX_CONTEXT, description="Neighbours to give on either side.", examples=[1])
    ] = 0,
) -> PassageReply:
    """One passage, and its neighbours in the paper."""
    return library.passage(passage_id, context=context)


@papers.delete(
    "/papers/{paper_id:path}",
    tags=["papers"],
    dependencies=[Depends(_admin)],
    responses=_MISSING,
)
@_serialised
def remove_paper(
    library: _Library,
    paper_id: Annotated[str, PathParameter(description="As replies give it, or a DOI.", examples=[EXAMPLE_PAPER_ID])],
) -> Removal:
    """Take a paper out of the index; its file stays. Asks for a key of the scope admin.

    `loccit index` would put it in again while its file is there.
    """
    return library.remove([paper_id])


@state.head("/healthz", include_in_schema=False)  # what some balancers ask
@state.get("/healthz")
async def health() -> Health:
    """Whether the process answers."""
    return Health("alive")


@state.head("/readyz", response_model=Ready, include_in_schema=False)
@state.get(
    "/readyz",
    response_model=Ready,
    responses=responses(HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE),
)
async def readiness(request: Request) -> Ready | Response:
    """Whether a search is answered: one is made, so that the index opens, its model is loaded, and both are read.

    With an index on several servers it is ready as long as one of them answers, and names the others. It says no, too,
    once the service has been told to stop.
    """
    try:
        if request.app.state.is_stopping():
            raise OverloadError("the service is stopping: ask another one")
        check: Readiness = request.app.state.readiness
        return Ready("ready", await check.check())
    except LoccitError as error:
        return problem_of(error, request, HTTPStatus.SERVICE_UNAVAILABLE)


@state.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """The figures of the service, for Prometheus."""
    state = request.app.state
    text = await to_thread.run_sync(state.metrics.text, state.pulse, limiter=state.scrapers)
    return Response(text, media_type=MEDIA_TYPE)
