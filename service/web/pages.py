"""The routes of the pages: requests handed to the library, its replies shown, and every failure as a page too."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BeforeValidator
from starlette.exceptions import HTTPException

from indexer.errors import LoccitError, NotFoundError, UsageError
from indexer.papers import PaperOrder
from service.cite import Citation
from service.formats import export, quotation
from service.library import Library
from service.query import Filters, Query
from service.web.outline import shown
from service.web.rendering import HEADERS, page, static_file

_METHODS = ["GET", "HEAD"]
_PAPERS_A_PAGE = 50
_NEWEST = 3
_FOR_EVER = "public, max-age=31536000, immutable"
_SEPARATORS = re.compile(r"[\s,;]+")

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
        ids = tuple(_id(each) for each in _SEPARATORS.split(self.paper) if each)
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


class _PageRoute(APIRoute):
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
                response = _error(request, error.http_status, str(error), error.slug)
            except RequestValidationError as error:
                said = "; ".join(f"{each['loc'][-1]}: {each['msg']}" for each in error.errors())
                response = _error(request, UsageError.http_status, said, UsageError.slug)
            except HTTPException as error:
                response = _error(request, error.status_code, error.detail)
            except Exception as error:
                _logger.exception("%s %s", request.method, request.url.path)
                said = f"{type(error).__name__}: please report this as a bug in loccit, with what the server logged"
                response = _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, said)
            response.headers.update(HEADERS)
            return response

        return respond


router = APIRouter(route_class=_PageRoute, include_in_schema=False)
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
    asked = Asked(q.strip(), paper.strip(), section.strip(), year_from, year_to)
    if request.method == "HEAD" or request.headers.get("sec-fetch-site") == "cross-site":
        generate = "never"
    writers: CapacityLimiter | None = request.app.state.writers if generate == "auto" else None
    return await to_thread.run_sync(partial(_home, request, asked, cursor, generate), limiter=writers)


def _home(request: Request, asked: Asked, cursor: str, generate: Literal["auto", "never"]) -> Response:
    library = _library(request)
    if not asked.q:
        newest = library.papers(sort="year", limit=_NEWEST)
        return page(request, "welcome.html", asked=asked, papers=newest.papers, total=newest.total)
    if cursor:
        reply = library.search(Query(asked.q, filters=asked.filters(), cursor=cursor))
        return page(request, "passages.html", asked=asked, reply=reply)
    answer = library.ask(asked.q, filters=asked.filters(), generate=generate)
    may_write = library.model if generate == "never" and answer.status != "not_found" else ""
    return page(request, "answer.html", asked=asked, answer=answer, may_write=may_write)


@router.api_route("/papers", methods=_METHODS)
def list_papers(request: Request, sort: PaperOrder = "paper_id", cursor: str = "") -> Response:
    """The library, a page at a time."""
    papers = _library(request).papers(sort=sort, cursor=cursor, limit=_PAPERS_A_PAGE)
    return page(request, "papers.html", papers=papers, sort=sort, is_first=not cursor)


@router.api_route("/papers/{paper_id:path}", methods=_METHODS)
def read_paper(
    request: Request,
    paper_id: str,
    start: int | None = None,
    end: int | None = None,
) -> Response:
    """A paper to be read, and the place marked that `source[start:end]` is."""
    library = _library(request)
    text = library.text(_id(paper_id))
    citation, unknown = _cited(library, text.paper.paper_id, start, end)
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
def static(name: str, v: str = "") -> Response:
    """A file that pages load; one that is named with its version never changes."""
    file = static_file(name)
    if file is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no file {name}: `/` is where the pages begin")
    kept = _FOR_EVER if v == file.version else "no-cache"
    return Response(file.content, headers={"cache-control": kept}, media_type=file.media_type)


def _cited(library: Library, paper_id: str, start: int | None, end: int | None) -> tuple[Citation | None, str]:
    """The citation of the span; or none, and why."""
    if start is None and end is None:
        return None, ""
    if start is None or end is None:
        return None, "a place in a paper has a start and an end, and one of them is missing: search again"
    try:
        return library.cite(paper_id, start, end), ""
    except NotFoundError as error:
        return None, str(error)


def _exports(citation: Citation) -> tuple[tuple[str, str], ...]:
    """The citation for other programs, by the names of their formats."""
    return (
        ("BibTeX", export([citation], "bibtex")),
        ("RIS", export([citation], "ris")),
        ("Markdown quote", quotation(citation)),
    )


def _error(request: Request, status: int, message: str, slug: str = "") -> Response:
    """What failed and the next step, with the form as it was filled in."""
    title = slug.replace("-", " ").capitalize() or HTTPStatus(status).phrase
    given = {name: request.query_params.get(name, "") for name in ("q", "paper", "section", "year_from", "year_to")}
    return page(request, "error.html", status, asked=Asked(**given), title=title, message=message)


def _library(request: Request) -> Library:
    library = request.app.state.library
    assert isinstance(library, Library)
    return library


def _id(given: str) -> str:
    """The id in the index: a DOI keeps its slash in an address, an id has `_` there."""
    return given.replace("/", "_")
