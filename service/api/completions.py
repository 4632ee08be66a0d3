"""OpenAI's chat completions over the library, so that chat front ends use it as a model. A key is the service's own,
where it asks for one; else whatever such clients have to send.

The last user's message is the question, read with those before it as in a terminal's conversation. Messages of other
roles and all settings of sampling, tools and formats are taken and have no effect: what papers say does not vary with
them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Literal
from uuid import uuid4

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Body, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse
from fastapi.sse import format_sse_event

from indexer.tokens import count_tokens
from service.api import sse
from service.api.chores import chore_reply, question_in
from service.api.problems import openai_problem, openai_responses, problem_of
from service.api.requests import CHAT_EXAMPLES, ChatRequest
from service.cite import reader_url
from service.followup import last_of
from service.formats.message import Message
from service.library import Library
from service.replies import Answer, Statement, Waiting

if TYPE_CHECKING:
    from service.writing import Generate

MODEL = "loccit"
QUOTES_MODEL = "loccit-quotes"
_DONE = format_sse_event(data_str="[DONE]")
_ATTACHED = "What is attached to this chat is not read: only the indexed papers are."
_NO_DATE = 0
"""When a model was made, in seconds since 1970: these have no such date."""


@dataclass(frozen=True, slots=True)
class UrlCitation:
    """A source that the content names."""

    start_index: int
    """`content[start_index:end_index]` is the number or link that names it, in Unicode code points."""
    end_index: int
    url: str
    title: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """A note on a part of the content."""

    url_citation: UrlCitation
    type: Literal["url_citation"] = "url_citation"


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """The reply, in Markdown."""

    content: str
    annotations: tuple[Annotation, ...]
    refusal: None = None
    role: Literal["assistant"] = "assistant"


@dataclass(frozen=True, slots=True)
class Choice:
    """The one reply that there is."""

    message: AssistantMessage
    index: int = 0
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens in cl100k_base: of the messages' texts, and of the content."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class ChatCompletion:
    """A whole reply."""

    id: str
    created: int
    """In seconds since 1970."""
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    object: Literal["chat.completion"] = "chat.completion"


@dataclass(frozen=True, slots=True)
class Model:
    """What chat front ends list and name in their requests."""

    id: str
    created: int = _NO_DATE
    owned_by: str = "loccit"
    object: Literal["model"] = "model"


@dataclass(frozen=True, slots=True)
class ModelList:
    """The models."""

    data: tuple[Model, ...]
    object: Literal["list"] = "list"


_ALWAYS = (HTTPStatus.INTERNAL_SERVER_ERROR,)
router = APIRouter(prefix="/v1", tags=["chat"])


@router.get("/models", responses=openai_responses(*_ALWAYS))
def list_models(http: Request) -> ModelList:
    """The models: `loccit`, and where a chat model writes its answers `loccit-quotes`, which only quotes.

    Front ends let their users choose a model and nothing else, so that this choice is made by its name.
    """
    return ModelList(tuple(map(Model, _models(http))))


@router.get(
    "/models/{model_id}",
    response_model=Model,
    responses=openai_responses(HTTPStatus.NOT_FOUND, *_ALWAYS),
)
def show_model(
    model_id: Annotated[str, PathParameter(description="Its name.", examples=[MODEL])], http: Request
) -> Model | Response:
    """One model."""
    return Model(model_id) if model_id in _models(http) else _unknown(model_id, http)


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses={
        int(HTTPStatus.OK): {
            "content": {
                sse.MEDIA_TYPE: {
                    "schema": {
                        "type": "string",
                        "description": "With `stream`: chunks of the message as OpenAI's API sends them, the role "
                        "first; the last choice has `finish_reason` and, in its delta, all `annotations`. A failure is "
                        "an object `error` in place of a chunk. `[DONE]` ends it.",
                    }
                }
            }
        },
        **openai_responses(
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.NOT_FOUND,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            *_ALWAYS,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ),
    },
)
async def complete_chat(request: Annotated[ChatRequest, Body(examples=CHAT_EXAMPLES)], http: Request) -> Response:
    """An answer to the last user's message, as a chat message in Markdown with numbered sources."""
    models = _models(http)
    if request.model not in models:
        return _unknown(request.model, http)
    if not request.questions:
        return openai_problem(
            HTTPStatus.BAD_REQUEST, "there is no text of a user in the messages", param="messages", code="no_question"
        )
    reply = _Reply(request, models[request.model], http.app.state.base_url)
    writers: CapacityLimiter = http.app.state.writers
    if request.stream:
        frames = reply.frames(http.app.state.library)
        first = await sse.step(frames)  # the search; what is wrong with the request shows here
        assert first is not None
        await sse.admit(frames, http, writers)
        return sse.EventStream(
            first,
            frames,
            lambda frame: frame,
            lambda error: format_sse_event(data_str=bytes(problem_of(error, http).body).decode()) + _DONE,
            writers,
        )
    pieces = reply.pieces(http.app.state.library)
    await sse.step(pieces)
    if not reply.message.is_whole:
        await sse.last(pieces, http, writers)
    return await to_thread.run_sync(lambda: JSONResponse(asdict(reply.completion())))


def _models(http: Request) -> dict[str, Generate]:
    """The models by name, and whether a chat model writes their answers."""
    library: Library = http.app.state.library
    return {MODEL: "auto", QUOTES_MODEL: "never"} if library.model else {MODEL: "auto"}


def _unknown(model: str, http: Request) -> Response:
    return openai_problem(
        HTTPStatus.NOT_FOUND,
        f"there is no model {model!r} here, but {' and '.join(_models(http))}",
        param="model",
        code="model_not_found",
    )


class _Reply:
    """A reply on its way."""

    def __init__(self, request: ChatRequest, generate: Generate, base_url: str) -> None:
        self.message = Message(base_url)
        self._request = request
        self._generate = generate
        self._base_url = base_url
        self._id = f"chatcmpl-{uuid4().hex}"
        self._created = int(time.time())

    def pieces(self, library: Library) -> Generator[str, None, None]:
        """The message as it comes about; empty pieces while a model is waited for. Raises as `Library.ask_stream`."""
        said = self._request.questions
        if (chore := chore_reply(said[-1])) is not None:
            yield self.message.reply(chore)
            return
        questions = [question_in(each) for each in said]
        asked = last_of(questions)
        opening = ""
        with closing(library.ask_stream(asked.text, generate=self._generate)) as events:
            if questions[-1] != said[-1]:
                opening += self.message.remark(_ATTACHED)
            if asked.note:
                opening += self.message.remark(f"{asked.note[0].upper()}{asked.note[1:]}")
            for event in events:
                yield opening + self._written(event)
                opening = ""

    def frames(self, library: Library) -> Generator[bytes, None, None]:
        """The same as server-sent events; empty ones while a model is waited for."""
        role: dict[str, object] = {"role": "assistant", "content": ""}
        with closing(self.pieces(library)) as pieces:
            for n, piece in enumerate(pieces):
                frame = b"" if n else self._chunk(role)
                frame += self._chunk({"content": piece}) if piece else b""
                yield frame + (self._end() if self.message.is_whole else b"")

    def completion(self) -> ChatCompletion:
        """The whole reply."""
        message = AssistantMessage(self.message.content, self._annotations())
        return ChatCompletion(self._id, self._created, self._request.model, (Choice(message),), self._usage())

    def _written(self, event: Statement | Waiting | Answer) -> str:
        if isinstance(event, Waiting):
            return ""
        return self.message.state(event) if isinstance(event, Statement) else self.message.finish(event)

    def _usage(self) -> Usage:
        *given, written = count_tokens([*(each.text for each in self._request.messages), self.message.content])
        return Usage(sum(given), written, sum(given) + written)

    def _annotations(self) -> tuple[Annotation, ...]:
        return tuple(
            Annotation(
                UrlCitation(mark.start, mark.end, reader_url(self._base_url, mark.citation), mark.citation.label)
            )
            for mark in self.message.marks
        )

    def _end(self) -> bytes:
        annotations = [asdict(each) for each in self._annotations()]
        end = self._chunk({"annotations": annotations} if annotations else {}, "stop")
        return end + (self._frame([], asdict(self._usage())) if self._request.wants_usage else b"") + _DONE

    def _chunk(self, delta: dict[str, object], finish: Literal["stop"] | None = None) -> bytes:
        return self._frame([{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}])

    def _frame(self, choices: list[dict[str, object]], usage: dict[str, int] | None = None) -> bytes:
        body = {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._request.model,
            "choices": choices,
            **({"usage": usage} if self._request.wants_usage else {}),
        }
        return format_sse_event(data_str=json.dumps(body))
