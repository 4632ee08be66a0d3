"""The model that writes answers: a chat model behind an OpenAI-compatible endpoint, its reply streamed.

Only this module imports openai, and only when a model is first asked. It knows nothing of questions and passages.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import ExitStack, aclosing
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast
from weakref import finalize

from pydantic import SecretStr

from indexer.errors import GenerationError

if TYPE_CHECKING:
    import httpx2
    from anyio.from_thread import BlockingPortal
    from openai import AsyncOpenAI, AsyncStream
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

DEFAULT_TIMEOUT_S = 60.0
DEFAULT_PROMPT_TOKENS = 3000
"""What a model is given to read, in cl100k_base tokens."""
MAX_REPLY_CHARACTERS = 40_000
"""Of a reply, its thoughts among them; a longer one is nonsense."""
_PATIENCE_S = 0.5
"""How long whoever reads may be left without a word."""
_MAX_RETRY_AFTER_S = 5.0
"""A model that is busy for longer is not asked again."""
_NO_KEY = "none"
"""The client wants a key; a server that needs none takes any."""
_SENT = frozenset({"host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent"})
"""The headers that are sent beside the key. The client would add others, some from the environment."""
_MAX_SAID_CHARACTERS = 200


class Message(TypedDict):
    """A message of the conversation that the model goes on with."""

    role: Literal["system", "user"]
    content: str


class ChatModel:
    """A chat model at an endpoint. Safe to use from several threads. Nothing is sent before the first `stream`."""

    def __init__(
        self, url: str, model: str, key: SecretStr | None = None, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        """`url` is the endpoint's base, such as `http://127.0.0.1:11434/v1`; `timeout_s` is for a whole reply."""
        self.name = model
        self.url = url
        self._key = key or SecretStr("")
        self._timeout_s = timeout_s
        self._opening = Lock()
        self._open = ExitStack()
        self._session: tuple[BlockingPortal, AsyncOpenAI] | None = None
        finalize(self, self._open.close)  # else a program that never closes it waits for its thread as it ends

    def __str__(self) -> str:
        return f"{self.name} at {self.url}"

    def stream(self, messages: Sequence[Message], max_tokens: int) -> Generator[str, None, None]:
        """The reply's text, piece by piece as it comes; an empty piece every half second that none does.

        Closing the iterator closes the connection. Raises GenerationError, also in the middle of a reply.
        """
        portal, client = self._opened()
        pieces: SimpleQueue[str | None] = SimpleQueue()
        task = portal.start_task_soon(self._receive, client, messages, max_tokens, pieces.put)
        try:
            while True:
                try:
                    piece = pieces.get(timeout=_PATIENCE_S)
                except Empty:
                    piece = ""
                if piece is None:
                    break
                yield piece
            task.result()
        finally:
            task.cancel()

    def close(self) -> None:
        """Let go of the connections; a reply that is being read ends."""
        with self._opening:
            if self._session is not None:
                portal, client = self._session
                self._session = None
                portal.call(client.close)
            self._open.close()

    def _opened(self) -> tuple[BlockingPortal, AsyncOpenAI]:
        """The client, and the event loop that it lives in: there, a deadline ends whatever is waited for."""
        with self._opening:
            if self._session is None:
                from anyio.from_thread import start_blocking_portal

                portal = self._open.enter_context(start_blocking_portal())
                self._open.callback(portal.call, portal.stop, True)
                self._session = portal, portal.call(self._connect)
            return self._session

    async def _connect(self) -> AsyncOpenAI:
        import openai

        http = openai.DefaultAsyncHttpxClient(follow_redirects=False, event_hooks={"request": [self._sign]})
        return openai.AsyncOpenAI(
            base_url=self.url, api_key=_NO_KEY, max_retries=0, timeout=self._timeout_s, http_client=http
        )

    async def _sign(self, request: httpx2.Request) -> None:
        for name in set(request.headers) - _SENT:
            del request.headers[name]
        request.headers["authorization"] = f"Bearer {self._key.get_secret_value() or _NO_KEY}"

    async def _receive(
        self, client: AsyncOpenAI, messages: Sequence[Message], max_tokens: int, put: Callable[[str | None], None]
    ) -> None:
        """Put the pieces of a reply, None after the last. Raises GenerationError."""
        import anyio
        import openai

        try:
            with anyio.fail_after(self._timeout_s):
                async with aclosing(self._pieces(client, messages, max_tokens)) as pieces:
                    async for piece in pieces:
                        put(piece)
        except (TimeoutError, openai.APITimeoutError):
            raise self._failure(
                f"did not finish within {self._timeout_s:g} s", "give it longer with LOCCIT_LLM_TIMEOUT_S"
            ) from None
        except openai.APIStatusError as error:
            raise self._failure(f"refused (HTTP {error.status_code})", _next_step(error), _said(error)) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            step = "is the endpoint up, and LOCCIT_LLM_URL right?"
            raise self._failure("cannot be reached", step, str(cause) or type(cause).__name__) from None
        except openai.APIError as error:
            raise self._failure("broke off", "look at its own log", _said(error)) from None
        except ValueError as error:  # what is no JSON
            raise self._failure("sent what is no chat completion", "is LOCCIT_LLM_URL right?", str(error)) from None
        finally:
            put(None)

    async def _pieces(
        self, client: AsyncOpenAI, messages: Sequence[Message], max_tokens: int
    ) -> AsyncGenerator[str, None]:
        n_characters, ended = 0, ""
        async with await self._asked(client, messages, max_tokens) as chunks:
            async for chunk in chunks:
                text, reason = _read(chunk)
                n_characters += len(text)
                ended = reason or ended
                if n_characters > MAX_REPLY_CHARACTERS:
                    raise self._failure(f"wrote more than {MAX_REPLY_CHARACTERS:,} characters", "try another model")
                if text:
                    yield text
            kind = chunks.response.headers.get("content-type", "no content type")
        if not ended:
            what = "broke off in the middle" if n_characters else f"sent no chat completion, but {kind}"
            raise self._failure(what, "look at its own log, and whether LOCCIT_LLM_URL is right")
        if not n_characters:
            raise self._failure(f"wrote nothing (it ended by {ended!r})", "try another model")

    async def _asked(
        self, client: AsyncOpenAI, messages: Sequence[Message], max_tokens: int
    ) -> AsyncStream[ChatCompletionChunk]:
        """The reply's stream, asked for again where that helps: once busy for a moment, once for each odd option."""
        import anyio
        import openai

        sent = cast("list[ChatCompletionMessageParam]", list(messages))
        options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": 0.0}
        patient = True
        while True:
            try:
                chunks = await client.chat.completions.create(model=self.name, messages=sent, stream=True, **options)
                return cast("AsyncStream[ChatCompletionChunk]", chunks)
            except openai.RateLimitError as error:
                after_s = _retry_after_s(error)
                if not patient or error.code == "insufficient_quota" or after_s > _MAX_RETRY_AFTER_S:
                    raise
                patient = False
                await anyio.sleep(after_s)
            except openai.BadRequestError as error:
                # Models that think take the one under another name and refuse the other.
                if options.pop(error.param or "", None) is None:
                    raise
                if error.param == "max_tokens":
                    options["max_completion_tokens"] = max_tokens

    def _failure(self, what: str, step: str, said: str = "") -> GenerationError:
        """`said` is not ours: it may be long, and repeat the key."""
        key = self._key.get_secret_value()
        quoted = " ".join((said.replace(key, "…") if key else said).split())[:_MAX_SAID_CHARACTERS]
        return GenerationError(f"the model {self} {what}{f' ({quoted})' if quoted else ''}: {step}")


def _read(chunk: object) -> tuple[str, str]:
    """The text of a chunk, and why the reply ended if it did. The client does not check what servers send."""
    choices = getattr(chunk, "choices", None)
    if not isinstance(choices, list) or not choices:
        return "", ""
    text = getattr(getattr(choices[0], "delta", None), "content", None)
    reason = getattr(choices[0], "finish_reason", None)
    return text if isinstance(text, str) else "", reason if isinstance(reason, str) else ""


def _said(error: Any) -> str:  # noqa: ANN401  openai is imported only where it is needed
    """What the endpoint says of its error."""
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return said if isinstance(said, str) else ""


def _next_step(error: Any) -> str:  # noqa: ANN401
    steps = {
        401: "set LOCCIT_LLM_KEY to a key that it takes",
        403: "set LOCCIT_LLM_KEY to a key that it takes",
        404: "are LOCCIT_LLM_URL and LOCCIT_LLM_MODEL right? The URL mostly ends in /v1",
        429: "its quota or rate is used up; ask later",
    }
    return steps.get(error.status_code, "look at its own log")


def _retry_after_s(error: Any) -> float:  # noqa: ANN401
    """Seconds until the endpoint wants to be asked again; infinite where it does not say."""
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (KeyError, ValueError):
        return float("inf")
