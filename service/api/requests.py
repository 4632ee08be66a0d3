"""What the HTTP service takes: the shapes of requests, checked, with their examples."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.library import DEFAULT_ASK_K
from service.query import DEFAULT_K, MAX_REPLY_TOKENS
from service.requests import WHOLE, FiltersField, FiltersRequest, K, Request, Text


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
        WHOLE,
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


class _Taken(BaseModel):
    """What other fields there are is taken, and has no effect: clients of OpenAI's API send many."""

    model_config = ConfigDict(extra="ignore")


class ContentPart(_Taken):
    """A part of a message."""

    type: Annotated[str, Field(description="Only `text` is read.")]
    text: str = ""


class ChatMessage(_Taken):
    """A message of the conversation."""

    role: Annotated[str, Field(description="Only what a `user` says is read.")]
    content: str | list[ContentPart] | None = None

    @property
    def text(self) -> str:
        """What it says."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if part.type == "text")


class StreamOptions(_Taken):
    """How a stream is."""

    include_usage: Annotated[bool | None, Field(description="Whether a last chunk counts the tokens.")] = None


class ChatRequest(_Taken):
    """A conversation, as OpenAI's clients send it."""

    model: Annotated[str, Field(description="One of `/v1/models`.")]
    messages: Annotated[list[ChatMessage], Field(description="The last one of a user is the question.")]
    stream: Annotated[bool | None, Field(description="Whether the reply comes as events.")] = None
    stream_options: StreamOptions | None = None
    n: Annotated[Literal[1] | None, Field(description="There is one reply.")] = None

    @property
    def questions(self) -> list[str]:
        """What users said, from the first on; empty unless the last of them said something."""
        said = [each.text for each in self.messages if each.role == "user"]
        return [each for each in said if each.strip()] if said and said[-1].strip() else []

    @property
    def wants_usage(self) -> bool:
        """Whether the tokens of a stream are counted."""
        return bool(self.stream_options and self.stream_options.include_usage)


EXAMPLE_PAPER_ID = "PMC12898183"
EXAMPLE_PASSAGE_ID = f"{EXAMPLE_PAPER_ID}:13c809751b8e0a8d"
SEARCH_EXAMPLES = [
    {"query": "how do AGEs affect bone quality?", "k": 5},
    {"query": "randomisation", "k": 10, "filters": {"section": "methods", "year_from": 2020}, "max_tokens": 2000},
    {"query": 'how does "bone mass" change with age? -mice year:2018..', "k": 10},
]
ASK_EXAMPLES = [{"question": "how do AGEs affect bone quality?", "k": 8, "filters": {}, "generate": "auto"}]
CHAT_EXAMPLES = [
    {"model": "loccit", "messages": [{"role": "user", "content": "how do AGEs affect bone quality?"}]},
    {
        "model": "loccit",
        "messages": [
            {"role": "user", "content": "how do AGEs affect bone quality?"},
            {"role": "assistant", "content": "…"},
            {"role": "user", "content": [{"type": "text", "text": "and in men?"}]},
        ],
        "stream": True,
        "stream_options": {"include_usage": True},
    },
]

VERIFY_EXAMPLES = [
    {
        "paper_id": EXAMPLE_PAPER_ID,
        "start": 18223,
        "end": 18277,
        "exact": "AGEs accumulate in bone collagen as patients grow old.",
    },
    {"quotes": [{"text": "…", "citation": {"paper_id": EXAMPLE_PAPER_ID, "start": 18223, "end": 18224, "exact": "…"}}]},
]
