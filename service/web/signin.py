"""The page on which a browser trades a key for a cookie, and gives it back.

The cookie holds a token that was derived from the key, no session: it is checked at each request against the file of
keys, opens pages and nothing else, and ends with its key. Scripts cannot read it, other sites cannot send it, and it is
sent over https alone where the service is found there.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Literal, TypedDict
from urllib.parse import parse_qs, urlsplit

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from indexer.errors import UsageError
from service.access.guard import COOKIE
from service.access.keys import KeyFile, token_of
from service.web import pages
from service.web.pages import PageRoute

_OURS = re.compile(r"/(?![/\\])[^\x00-\x20\x7f\\]*")
"""A path of this service: what a browser takes for no other site's."""
_MAX_AGE_S = 30 * 24 * 3600
_MAX_FIELDS = 10

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.api_route("/signin", methods=["GET", "HEAD"])
async def show(request: Request, then: str = "/") -> Response:
    """The page."""
    return pages.sign_in(request, _ours(then))


@router.post("/signin")
async def sign_in(request: Request) -> Response:
    """A cookie for the key, and on to the page that was wanted."""
    _check_site(request)
    try:
        given = parse_qs((await request.body()).decode(errors="replace"), max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise UsageError("the form has two fields, `key` and `then`: send no others") from error
    secret, then = (given.get(name, [""])[0] for name in ("key", "then"))
    keys: KeyFile | None = request.app.state.keys
    if keys is None or await to_thread.run_sync(keys.with_secret, secret.strip()) is None:
        wrong = "That key is not known here, or not any more."
        return pages.sign_in(request, _ours(then), HTTPStatus.UNAUTHORIZED, wrong)
    response = _led(request, _ours(then))
    response.set_cookie(COOKIE, token_of(secret.strip()), max_age=_MAX_AGE_S, **_attributes(request))
    return response


@router.post("/signout")
async def sign_out(request: Request) -> Response:
    """The cookie taken back."""
    _check_site(request)
    response = _led(request, "/signin")
    response.delete_cookie(COOKIE, **_attributes(request))
    return response


def _led(request: Request, then: str) -> Response:
    prefix = urlsplit(request.app.state.base_url).path.rstrip("/")
    return RedirectResponse(f"{prefix}{then}", HTTPStatus.SEE_OTHER, {"cache-control": "no-store"})


def _ours(then: str) -> str:
    return then if _OURS.fullmatch(then) else "/"


def _check_site(request: Request) -> None:
    """A form of another site is not ours, whatever it sends. Browsers say where a form stands."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(HTTPStatus.FORBIDDEN, "the form was another site's: sign in on this page")


class _Cookie(TypedDict):
    path: str
    secure: bool
    httponly: bool
    samesite: Literal["strict"]


def _attributes(request: Request) -> _Cookie:
    address = urlsplit(request.app.state.base_url)
    return _Cookie(
        path=address.path.rstrip("/") or "/", secure=address.scheme == "https", httponly=True, samesite="strict"
    )
