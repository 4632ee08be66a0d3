"""Errors as RFC 9457 problem details, whatever raised them; as OpenAI's below the paths that speak its protocol."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import Field, TypeAdapter
from starlette.exceptions import HTTPException

from indexer.errors import KeyNeededError, LoccitError, OverloadError, UsageError, bug_message
from service import mcp_server
from service.observe import PROBLEM, state_of
from service.web import pages

MEDIA_TYPE = "application/problem+json"
_URN = "urn:loccit:problem:"
_COMPONENTS = "#/components/schemas/"
PROBLEM_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": f"{_COMPONENTS}Problem"}}}
"""What OpenAPI says of a reply that is a problem."""
_OPENAI_PATHS = ("/v1/models", "/v1/chat/")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of a request."""

    field: Annotated[str, Field(description="Where it stands, dotted.", examples=["body.filters.year_from"])]
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """RFC 9457 problem details."""

    type: Annotated[str, Field(examples=[f"{_URN}{UsageError.slug}"])]
    title: Annotated[str, Field(examples=["Invalid request"])]
    status: Annotated[int, Field(examples=[UsageError.http_status])]
    detail: Annotated[str, Field(examples=["k is 0: ask for 1 to 200 passages"])]
    instance: Annotated[str, Field(examples=["/v1/search"])]
    errors: Annotated[
        tuple[FieldError, ...], Field(description="Where a field of the request is wrong: which, and why.")
    ] = ()


_PROBLEM = TypeAdapter(Problem)


@dataclass(frozen=True, slots=True)
class OpenAIError:
    """What went wrong."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    """The parameter that is wrong, dotted: `messages.0.role`."""
    code: str | None


@dataclass(frozen=True, slots=True)
class OpenAIProblem:
    """An error, as OpenAI's clients read it."""

    error: OpenAIError


def install(app: FastAPI) -> None:
    """Let every error of the app leave as a problem."""
    app.add_exception_handler(LoccitError, _on_loccit_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)


def problem_of(error: LoccitError, request: Request, status: int | None = None) -> Response:
    """The problem that a known failure is to a client."""
    status = status or error.http_status
    # What is refused under load is counted, and not told one by one.
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, OverloadError):
        _log.warning("%s %s: %s", request.method, request.url.path, error)
    return _problem(request, status, str(error), slug=error.slug, headers=headers_of(error))


def headers_of(error: LoccitError) -> dict[str, str]:
    """What a reply with this error says in its headers: when to ask again, or what to bring."""
    if error.retry_after_s is not None:
        return {"retry-after": str(error.retry_after_s)}
    return {"www-authenticate": 'Bearer realm="loccit"'} if isinstance(error, KeyNeededError) else {}


def refusal(request: Request, error: LoccitError | HTTPException) -> Response:
    """The reply to a request that no route has seen, in the form that its sender reads.

    That is a page, JSON-RPC at `/mcp`, else a problem.
    """
    if request.url.path == mcp_server.PATH:
        status = error.http_status if isinstance(error, LoccitError) else error.status_code
        said = str(error) if isinstance(error, LoccitError) else error.detail
        headers = headers_of(error) if isinstance(error, LoccitError) else error.headers
        return JSONResponse(mcp_server.refusal(status, said), status, headers)
    if isinstance(error, HTTPException):
        return _on_http_error(request, error)
    if pages.is_wanted(request):
        return pages.refusal_of(request, error, headers_of(error))
    return problem_of(error, request)


def openai_problem(
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An error as OpenAI's API gives it, which has 400 for what is 422 elsewhere."""
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    kind: Literal["invalid_request_error", "server_error"] = (
        "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    )
    return JSONResponse(asdict(OpenAIProblem(OpenAIError(message, kind, param, code))), status, headers)


def openai_responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the errors that an operation of OpenAI's protocol may give, and of any other."""
    described: dict[int | str, str] = {int(status): status.phrase for status in statuses}
    described["default"] = "Any other error"
    return {status: {"description": said, "model": OpenAIProblem} for status, said in described.items()}


def responses(*statuses: HTTPStatus) -> dict[int | str, dict[str, object]]:
    """OpenAPI's description of the problems that an operation may give, which refers to `components`."""
    return {int(status): {"description": status.phrase, "content": PROBLEM_CONTENT} for status in statuses}


def components() -> dict[str, Any]:
    """The schemas of problems by name: FastAPI makes none for a media type that is not the operation's own."""
    schema = _PROBLEM.json_schema(ref_template=f"{_COMPONENTS}{{model}}")
    return {**schema.pop("$defs"), "Problem": schema}


def _problem(
    request: Request,
    status: int,
    detail: str,
    *,
    slug: str = "",
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem of our own with its slug, or one that says no more than its HTTP status."""
    if slug:
        state_of(request.scope)[PROBLEM] = slug
    if request.url.path.startswith(_OPENAI_PATHS):
        param = errors[0].field.removeprefix("body.") if errors else None
        return openai_problem(status, detail, param=param, code=slug.replace("-", "_") or None, headers=headers)
    problem = Problem(
        type=f"{_URN}{slug}" if slug else "about:blank",
        title=slug.replace("-", " ").capitalize() or HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path,
        errors=tuple(errors),
    )
    content = _PROBLEM.dump_python(problem, exclude_defaults=True)
    return JSONResponse(content, status, headers=headers, media_type=MEDIA_TYPE)


def _on_loccit_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, LoccitError)
    return problem_of(error, request)


def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # What was sent is left out of the reply: it may be anything, also what JSON cannot say (NaN).
    errors = [_field_error(each) for each in error.errors()]
    detail = "; ".join(f"{each.field}: {each.message}" for each in errors)
    return _problem(request, UsageError.http_status, detail, slug=UsageError.slug, errors=errors)


def _field_error(found: Mapping[str, Any]) -> FieldError:
    """What pydantic or the JSON parser found, in words for the client."""
    if found["type"] == "json_invalid":
        place, at = found["loc"]
        return FieldError(field=place, message=f"this is not JSON: {found['ctx']['error']} at character {at}")
    message = found["msg"]
    if found["loc"] == ("body",):
        message += "; is it JSON, sent with `content-type: application/json`?"
    return FieldError(field=".".join(map(str, found["loc"])), message=message)


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if pages.is_wanted(request):
        return pages.refusal(request, error)
    details = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path}: /openapi.json lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not take {request.method}",
    }
    detail = details.get(HTTPStatus(error.status_code), str(error.detail))
    return _problem(request, error.status_code, detail, headers=error.headers)


def _on_bug(request: Request, error: Exception) -> Response:
    # Starlette raises the error again once the reply is out, and the server logs it with its traceback.
    return _problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, bug_message(error))
