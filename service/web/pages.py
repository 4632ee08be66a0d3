"""The routes of the pages: requests handed to the library, its replies shown, and every failure as a page too."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from starlette.exceptions import HTTPException

from indexer.errors import KeyNeededError, LoccitError, NotFoundError, UsageError, bug_message
from indexer.papers import PaperOrder
from service.api import sse
from service.cite import Citation
from service.formats import export, quotation
from service.formats.markdown import said
from service.library import Library
from service.query import Filters, Query
from service.replies import Answer, PaperSummary
from service.web.outline import shown
from service.web.rendering import HEADERS, headers_alone, page, static_file

_METHODS = ["GET", "HEAD"]
_PAPERS_A_PAGE = 50
_NEWEST = 3
_MAX_SORTED = 5000
"""The most papers that a visit to the first page may sort."""
_MIN_DIGEST = 8
"""Characters of a SHA-256 that tell two files apart."""
_FOR_EVER = "public, max-age=31536000, immutable"
_FOR_PROGRAMS = re.compile(r"/(?:v1|mcp|metrics|healthz|readyz|openapi\.json)(?:/|$)")
_QUALITY = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")
_SEPARATORS = re.compile(r"[,;]*\s+")
"""An id may have a comma in it, and no blank."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the search form holds; empty fields do not filter."""

    q: str = ""
    paper: str = ""
    """Ids, with blanks or commas between."""
    section: str = ""
    year_from: int | str = ""
    year_to: int | str = ""

    @property
    def has_filters(self) -> bool:
        """Whether anything filters."""
        return any((self.paper, self.section, self.year_from, self.year_to))

    def filters(self) -> Filters:
        """The same, as the library takes it."""
        ids = tuple(each for each in _SEPARATORS.split(self.paper.strip(" ,;")) if each)
        return Filters(ids, self.section, int(self.year_from or 0), int(self.year_to or 0))

    def fields(self) -> dict[str, str]:
        """The form's fields that are not empty."""
        named = {
            "q": self.q,
            "paper": self.paper,
            "section": self.section,
            "year_from": self.year_from,
            "year_to": self.year_to,
        }
        return {name: str(value) for name, value in named.items() if value}

    def query(self, **more: str) -> str:
        """An address's query that asks the same."""
        return urlencode({**self.fields(), **more})


class PageRoute(APIRoute):
    """A route whose failures are pages, and whose replies all carry the headers that keep them safe."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, and what it raises shown."""
        handle = super().get_route_handler()

        async def respond(request: Request) -> Response:
            try:
                response = await handle(request)
            except LoccitError as error:
                if error.http_status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    _logger.warning("%s %s: %s", request.method, request.url.path, error)
                response = _known(request, error)
                if error.retry_after_s is not None:
                    response.headers["retry-after"] = str(error.retry_after_s)
            except RequestValidationError as error:
                said = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
                response = _error(request, UsageError.http_status, said, UsageError.slug)
            except HTTPException as error:
                response = _error(request, error.status_code, error.detail)
            except Exception as error:
                _logger.exception("%s %s", request.method, request.url.path)
                response = _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, bug_message(error))
            response.headers.update(HEADERS)
            return response

        return respond


def is_wanted(request: Request) -> bool:
    """Whether what is wrong with an address or method is better said in a page: to browsers, not below `/v1`."""
    if _FOR_PROGRAMS.match(request.url.path):
        return False
    qualities: dict[str, float] = {}
    for each in ",".join(request.headers.getlist("accept")).split(","):
        media_range, *parameters = (part.strip().lower() for part in each.split(";"))
        given = next((part[2:] for part in parameters if part.startswith("q=")), "1")
        qualities[media_range] = float(given) if _QUALITY.fullmatch(given) else 0.0

    def quality(*ranges: str) -> float:
        return next((qualities[each] for each in ranges if each in qualities), 0.0)

    json = quality("application/problem+json", "application/json", "application/*", "*/*")
    return quality("text/html", "text/*", "*/*") > json


def refusal(request: Request, error: HTTPException) -> Response:
    """The page for an address that leads nowhere, or a method that it does not take."""
    path, method = request.url.path, request.method
    details = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {path}: ask below, or look in the library",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} does not take {method}: pages are only read",
    }
    detail = details.get(HTTPStatus(error.status_code), error.detail)
    response = _error(request, error.status_code, detail)
    response.headers.update({**(error.headers or {}), **HEADERS})
    return response


def refusal_of(request: Request, error: LoccitError, headers: Mapping[str, str]) -> Response:
    """The page for a request that no route has seen: where a key is needed, one to give it."""
    response = _known(request, error)
    response.headers.update({**headers, **HEADERS})
    return response


def sign_in(request: Request, then: str, status: int = HTTPStatus.OK, message: str = "") -> Response:
    """The page to give a key on; `then` is where it leads, a path of ours."""
    return page(request, "signin.html", status, then=then, message=message)


router = APIRouter(route_class=PageRoute, include_in_schema=False)
_Year = Annotated[int, BeforeValidator(lambda given: given or 0)]
"""A form sends an empty field as an empty text."""


@router.api_route("/", methods=_METHODS)
async def home(
    request: Request,
    q: str = "",
    paper: str = "",
    section: str = "",
    year_from: _Year = 0,
    year_to: _Year = 0,
    cursor: str = "",
    generate: Literal["auto", "never"] = "never",
) -> Response:
    """The search box, and what the papers say to what was asked.

    Quotes come at once; a model writes only where a reader of these pages asks for that, not for a link or an image of
    another site, and takes no turn of a search while it does.
    """
    if request.method == "HEAD":
        return headers_alone()
    asked = Asked(q.strip(), paper.strip(), section.strip(), year_from, year_to)
    if not asked.q:
        return await to_thread.run_sync(_welcome, request, asked)
    if cursor:
        return await to_thread.run_sync(_more, request, asked, cursor)
    if request.headers.get("sec-fetch-site") == "cross-site":
        generate = "never"
    answer = await _answer(request, asked, generate)
    if answer is None:
        return Response()  # to nobody
    return await to_thread.run_sync(_answered, request, asked, answer, generate)


def _welcome(request: Request, asked: Asked) -> Response:
    library = _library(request)
    first = library.papers(limit=1)
    total = first.total
    newest = library.papers(sort="year", limit=_NEWEST).papers if total <= _MAX_SORTED else ()
    return page(request, "welcome.html", asked=asked, papers=newest, total=total, missing_shards=first.missing_shards)


def _more(request: Request, asked: Asked, cursor: str) -> Response:
    reply = _library(request).search(Query(asked.q, filters=asked.filters(), cursor=cursor))
    return page(request, "passages.html", asked=asked, reply=reply)


async def _answer(request: Request, asked: Asked, generate: Literal["auto", "never"]) -> Answer | None:
    """What the papers say, or a model; None where the reader left before that."""
    writers: CapacityLimiter = request.app.state.writers
    events = _library(request).ask_stream(asked.q, filters=asked.filters(), generate=generate)
    event = await sse.step(events)  # the search
    if not isinstance(event, Answer):
        event = await sse.last(events, request, writers)
    return event if isinstance(event, Answer) else None


def _answered(request: Request, asked: Asked, answer: Answer, generate: Literal["auto", "never"]) -> Response:
    may_write = _library(request).model if generate == "never" and answer.status != "not_found" else ""
    return page(request, "answer.html", asked=asked, answer=answer, said=said(answer), may_write=may_write)


@router.api_route("/papers", methods=_METHODS)
def list_papers(request: Request, sort: PaperOrder = "paper_id", cursor: str = "") -> Response:
    """The library, a page at a time."""
    if request.method == "HEAD":
        return headers_alone()
    papers = _library(request).papers(sort=sort, cursor=cursor, limit=_PAPERS_A_PAGE)
    return page(request, "papers.html", papers=papers, sort=sort, is_first=not cursor)


@router.api_route("/papers/{paper_id:path}", methods=_METHODS)
def read_paper(
    request: Request,
    paper_id: str,
    start: int | None = None,
    end: int | None = None,
    of: str = "",
) -> Response:
    """A paper to be read, and the place marked that `source[start:end]` is.

    `of` is how the SHA-256 of that source begins: offsets into another one mark nothing.
    """
    library = _library(request)
    if request.method == "HEAD":
        library.paper(paper_id)
        return headers_alone()
    text = library.text(paper_id)
    citation, unknown = _cited(library, text.paper, start, end, of)
    marked = (citation.start, citation.end) if citation else None
    return page(
        request,
        "paper.html",
        paper=text.paper,
        text=shown(text, marked),
        citation=citation,
        unknown=unknown,
        exports=_exports(citation) if citation else (),
    )


@router.api_route("/static/{name}", methods=_METHODS)
async def static(name: str, v: str = "") -> Response:
    """A file that pages load, in memory since the first time; one that is named with its version never changes."""
    file = static_file(name)
    if file is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no file {name}: `/` is where the pages begin")
    kept = _FOR_EVER if v == file.version else "no-cache"
    return Response(file.content, headers={"cache-control": kept}, media_type=file.media_type)


def _cited(
    library: Library, paper: PaperSummary, start: int | None, end: int | None, of: str
) -> tuple[Citation | None, str]:
    """The citation of the span; or none, and why."""
    if start is None and end is None:
        return None, ""
    if start is None or end is None:
        return None, "a place in a paper has a start and an end, and one of them is missing: search again"
    if of and (len(of) < _MIN_DIGEST or not paper.source_sha256.startswith(of.lower())):
        return None, (
            f"the link is to a place in another version of {paper.source} than the one that is shown: the paper has "
            "changed since that place was cited, or was not indexed anew yet. Its offsets do not fit here, and nothing "
            "is marked: search again, or run `loccit verify` on the citation"
        )
    try:
        return library.cite(paper.paper_id, start, end), ""
    except NotFoundError as error:
        return None, str(error)


def _exports(citation: Citation) -> tuple[tuple[str, str], ...]:
    """The citation for other programs, by the names of their formats."""
    return (
        ("BibTeX", export([citation], "bibtex")),
        ("RIS", export([citation], "ris")),
        ("Markdown quote", quotation(citation)),
    )


def _known(request: Request, error: LoccitError) -> Response:
    if isinstance(error, KeyNeededError):
        query = f"?{request.url.query}" if request.url.query else ""
        then = f"{request.url.path}{query}" if request.method in _METHODS else "/"
        return sign_in(request, then, error.http_status)
    return _error(request, error.http_status, str(error), error.slug)


def _error(request: Request, status: int, message: str, slug: str = "") -> Response:
    """What failed and the next step, with the form as it was filled in."""
    title = slug.replace("-", " ").capitalize() or HTTPStatus(status).phrase
    given = {name: request.query_params.get(name, "") for name in ("q", "paper", "section", "year_from", "year_to")}
    return page(request, "error.html", status, asked=Asked(**given), title=title, message=message)


def _library(request: Request) -> Library:
    library = request.app.state.library
    assert isinstance(library, Library)
    return library
