"""What the HTTP service takes: the shapes of requests, checked, with their examples."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.library import DEFAULT_ASK_K
from service.query import DEFAULT_K, MAX_REPLY_TOKENS
from service.requests import FiltersField, FiltersRequest, K, Request, Text


class SearchRequest(Request):
    """What to look for."""

    query: Text
    k: K = DEFAULT_K
    filters: FiltersField = FiltersRequest()
    max_tokens: Annotated[
        int,
        Field(
            ge=0,
            le=MAX_REPLY_TOKENS,
            description="Budget of the passages' texts in cl100k_base tokens; 0 for none. The first one always comes.",
        ),
    ] = 0
    cursor: Annotated[
        str, Field(description="`next_cursor` of an earlier reply to the same query, for the hits after it.")
    ] = ""


class AskRequest(Request):
    """What to ask."""

    question: Text
    k: K = DEFAULT_ASK_K
    filters: FiltersField = FiltersRequest()
    generate: Annotated[
        Literal["auto", "never", "always"],
        Field(
            description="Whether a model writes the answer: where one is configured, and the papers' own sentences "
            "where it fails; not at all; or an error where it fails."
        ),
    ] = "auto"


SEARCH_EXAMPLES = [
    {"query": "how do AGEs affect bone quality?", "k": 5},
    {"query": "randomisation", "k": 10, "filters": {"section": "methods", "year_from": 2020}, "max_tokens": 2000},
    {"query": 'how does "bone mass" change with age? -mice year:2018..', "k": 10},
]
ASK_EXAMPLES = [{"question": "how do AGEs affect bone quality?", "k": 8, "filters": {}, "generate": "auto"}]

VERIFY_EXAMPLES = [
    {
        "paper_id": "PMC12898183",
        "start": 18223,
        "end": 18277,
        "exact": "AGEs accumulate in bone collagen as patients grow old.",
    },
    {"quotes": [{"text": "…", "citation": {"paper_id": "PMC12898183", "start": 18223, "end": 18224, "exact": "…"}}]},
]
