"""Chat completions: what OpenAI's own client, and what chat front ends beside it, get from the service."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
import tiktoken
import uvicorn
from markdown_it import MarkdownIt
from openai.types.chat import ChatCompletion
from starlette.testclient import TestClient

from indexer.embedding import Embedder
from indexer.errors import GenerationError, IndexMissingError, ModelError
from indexer.tokens import ENCODING, count_tokens
from service.answer import Quote
from service.api import MAX_BODY_BYTES, bind, completions, create_app
from service.api.chores import chore_reply, question_in
from service.api.documented import EXAMPLES_FILE
from service.followup import last_of
from service.formats.message import Message
from service.library import Library
from service.llm import ChatModel
from service.replies import Statement, Waiting
from tests.corpus import LIMPETS
from tests.fakes import citation
from tests.llm_server import Endpoint, drips, says, serving

BASE = "https://papers.example.org/loccit"
QUESTION = "why do limpets lose their grip in warm water?"
FIRST = 'Grip fell by half as the water warmed [{n}: "Grip fell by half when the water warmed"]. '
SECOND = 'This was because the mucus film lost its stiffness [{n}: "because the mucus film lost its stiffness"]. '


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as opened:
        yield opened


@pytest.fixture
def writing(built: Any, embedder: Embedder, endpoint: Endpoint) -> Iterator[Library]:
    """The library with a chat model."""
    opened = Library.open(built, load=lambda _: embedder, llm=ChatModel(endpoint.url, "tiny", timeout_s=20))
    yield opened
    opened.close()


@contextmanager
def client_of(library: Library) -> Iterator[openai.OpenAI]:
    """OpenAI's client, over real connections to the service."""
    listener = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(library, BASE), log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    host, port = listener.getsockname()
    transport = openai.DefaultHttpxClient(trust_env=False)
    try:
        with openai.OpenAI(
            base_url=f"http://{host}:{port}/v1", api_key="any", max_retries=0, http_client=transport
        ) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()


@pytest.fixture
def client(library: Library) -> Iterator[openai.OpenAI]:
    with client_of(library) as opened:
        yield opened


@pytest.fixture
def plain(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library, BASE), raise_server_exceptions=False) as opened:
        yield opened


def asked(*said: str) -> list[Any]:
    """A conversation in which the user said this, and the service something between."""
    messages: list[Any] = [{"role": "system", "content": "Answer like a pirate."}]
    for each in said:
        messages += [{"role": "user", "content": each}, {"role": "assistant", "content": "…"}]
    return messages[:-1]


def named(content: str, annotations: Any) -> list[tuple[str, str]]:
    """What of the content is annotated, and the addresses."""
    found = [each if isinstance(each, dict) else each.model_dump() for each in annotations]
    assert {each["type"] for each in found} <= {"url_citation"}
    cited = [each["url_citation"] for each in found]
    assert all(each["title"] for each in cited)
    return [(content[each["start_index"] : each["end_index"]], each["url"]) for each in cited]


def place(text: str) -> str:
    """The address at which the reader shows this text of the limpets' paper."""
    start = LIMPETS.index(text)
    return f"{BASE}/papers/PMC9000001?start={start}&end="


def number(library: Library) -> int:
    """Of the limpets' passage on grip, in the prompt for the question."""
    return next(hit.rank for hit in library.ask(QUESTION, generate="never").hits if "Grip fell by half" in hit.text)


# The protocol, through OpenAI's own client


@pytest.mark.model
def test_a_plain_answer(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="loccit", messages=asked(QUESTION), temperature=1.5, seed=3)
    (choice,) = reply.choices
    content = choice.message.content or ""
    assert (reply.object, reply.model, choice.finish_reason, choice.message.role) == (
        "chat.completion",
        "loccit",
        "stop",
        "assistant",
    )
    assert reply.id.startswith("chatcmpl-")
    assert reply.created > 1_700_000_000
    head, first, *_ = content.split("\n\n")
    assert head == "**The papers say:**"
    assert first.startswith("> Grip fell by half when the water warmed from twelve to twenty degrees Celsius, because")
    assert "stiffness &#91;1,2&#93;. Limpets" in first
    assert first.endswith("twenty-eight degrees. [1] *(reported of others)*")
    marked = named(content, choice.message.annotations)
    assert [text for text, _ in marked] == [f"[{n}]" for n in range(1, len(marked) + 1)]
    assert marked[0][1].startswith(place("Grip fell by half"))
    assert choice.message.annotations is not None
    assert choice.message.annotations[0].url_citation.title == "Marsh et al. 2021, §3.2 Grip and Temperature, ¶2"
    source = content[content.index("**Sources**") :].split("\n")[2]
    assert source.startswith("1. [Marsh et al. 2021, §3.2 Grip and Temperature, ¶2](")
    assert source.endswith("(https://doi.org/10.5555/limpets.2021.7)")
    assert reply.usage is not None
    given, written = sum(count_tokens(["Answer like a pirate.", QUESTION])), count_tokens([content])[0]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (
        given,
        written,
        given + written,
    )


@pytest.mark.model
def test_the_same_streamed(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="loccit", messages=asked(QUESTION))
    with client.chat.completions.create(
        model="loccit", messages=asked(QUESTION), stream=True, stream_options={"include_usage": True}
    ) as stream:
        *chunks, last, usage = list(stream)
    assert len({(each.id, each.created, each.model, each.object) for each in (*chunks, last, usage)}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [each.choices[0].finish_reason for each in (*chunks, last)] == [*[None] * len(chunks), "stop"]
    message = whole.choices[0].message
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == message.content
    annotations = (last.choices[0].delta.model_extra or {})["annotations"]
    assert annotations == [each.model_dump() for each in message.annotations or ()]
    assert annotations
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert {each.usage for each in (*chunks, last)} == {None}


@pytest.mark.model
def test_a_model_writes_while_it_is_read(writing: Library, endpoint: Endpoint) -> None:
    endpoint.does(says((FIRST + SECOND).replace("{n}", str(number(writing)))))
    with client_of(writing) as client:
        whole = client.chat.completions.create(model="loccit", messages=asked(QUESTION))
        with client.chat.completions.create(model="loccit", messages=asked(QUESTION), stream=True) as stream:
            chunks = [each.choices[0].delta for each in stream]
    pieces = [each.content for each in chunks if each.content]
    assert pieces[:2] == [
        "Grip fell by half as the water warmed. [1]",
        " This was because the mucus film lost its stiffness. [1]",
    ]
    content = whole.choices[0].message.content or ""
    assert "".join(pieces) == content
    assert "**Written by tiny. Each quote was found in its source; the wording is the model's.**" in content
    assert "\n   > Grip fell by half when the water warmed from twelve" in content
    marked = named(content, whole.choices[0].message.annotations)
    assert [text for text, _ in marked] == ["[1]", "[1]"]
    assert {url.startswith(place("Grip fell by half")) for _, url in marked} == {True}


@pytest.mark.model
def test_a_client_that_goes_away_stops_the_model(writing: Library, endpoint: Endpoint) -> None:
    endpoint.does(drips(FIRST.replace("{n}", str(number(writing))) + "Limpets"))
    with client_of(writing) as client:
        with client.chat.completions.create(model="loccit", messages=asked(QUESTION), stream=True) as stream:
            said = next(each for each in stream if each.choices[0].delta.content)
            assert said.choices[0].delta.content == "Grip fell by half as the water warmed. [1]"
            assert not endpoint.left.is_set()
        assert endpoint.left.wait(5)


@pytest.mark.model
def test_the_models(client: openai.OpenAI, writing: Library, endpoint: Endpoint) -> None:
    assert [each.id for each in client.models.list()] == ["loccit"]
    assert client.models.retrieve("loccit").owned_by == "loccit"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("loccit-quotes")
    assert caught.value.code == "model_not_found"
    with client_of(writing) as other:
        assert [each.id for each in other.models.list()] == ["loccit", "loccit-quotes"]
        reply = other.chat.completions.create(model="loccit-quotes", messages=asked(QUESTION))
    assert (reply.choices[0].message.content or "").startswith("**The papers say:**")
    assert endpoint.requests == []


@pytest.mark.model
def test_the_papers_do_not_say(client: openai.OpenAI) -> None:
    reply = client.chat.completions.create(model="loccit", messages=asked("who composed the Goldberg Variations?"))
    message = reply.choices[0].message
    content = message.content or ""
    assert content.startswith("**These papers do not seem to say. The nearest passages:**\n\n1. [")
    assert "**Sources**" not in content
    marked = named(content, message.annotations)
    assert len(marked) == 3
    for text, url in marked:
        assert text.endswith(f"]({url.replace('&', '&amp;')})")


@pytest.mark.model
def test_tokens_are_counted_where_they_are_told_and_off_the_event_loop(
    plain: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []

    def count(texts: list[str]) -> list[int]:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        counted.append(texts)
        return [1 for _ in texts]

    monkeypatch.setattr(completions, "count_tokens", count)
    body = {"model": "loccit", "messages": asked(QUESTION)}
    assert "usage" not in plain.post("/v1/chat/completions", json=body | {"stream": True}).text
    assert counted == []
    assert plain.post("/v1/chat/completions", json=body).json()["usage"]["total_tokens"] == 3
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    assert '"total_tokens": 3}' in plain.post("/v1/chat/completions", json=body | usage).text
    assert [texts[:2] for texts in counted] == [["Answer like a pirate.", QUESTION]] * 2


@pytest.mark.parametrize("text", [" " * 1_000_000 + "x", "\n" * 1_000_000, "x" * 1_000_000, "😀" * 250_000])
def test_tokens_of_long_runs(text: str) -> None:
    began = time.thread_time()
    (n,) = count_tokens([text])
    assert 1_000 < n < len(text) * 3
    assert time.thread_time() - began < 1


def test_tokens_of_long_texts_are_nearly_exact() -> None:
    text = f"{LIMPETS}\n" * 40
    exact = len(tiktoken.get_encoding(ENCODING).encode_ordinary(text))
    n_pieces = len(text) // 10_000 + 1
    assert n_pieces > 3
    found, nothing, short = count_tokens([text, "", "water"])
    assert 0 <= found - exact < n_pieces
    assert (nothing, short) == (0, 1)


# Conversations


@pytest.mark.model
@pytest.mark.parametrize(
    ("said", "begins"),
    [
        ((QUESTION, "and in cold water?"), f"*Read with your last question: “{QUESTION} and in cold water?” (! before"),
        ((QUESTION, "!how do lichens grow?"), "**The papers say:**"),
        ((QUESTION, "how fast do lichens grow on slate?"), "**The papers say:**"),
        (("year:20 limpets", "how fast do lichens grow on slate?"), "**The papers say:**"),
    ],
)
def test_a_question_is_read_with_those_before_it(client: openai.OpenAI, said: tuple[str, ...], begins: str) -> None:
    reply = client.chat.completions.create(model="loccit", messages=asked(*said))
    assert (reply.choices[0].message.content or "").startswith(begins)


def test_what_cannot_be_asked_does_not_count() -> None:
    assert last_of(["why limpets?", "year:20 x", "x" * 5000, "and in men?"]).text == "why limpets? and in men?"
    assert last_of(["why limpets?", "!and in men?"]).how == ""
    assert last_of(["and in men?"]).note == ""


@pytest.mark.model
def test_parts_of_a_message(plain: TestClient) -> None:
    parts = [{"type": "text", "text": "how fast do lichens"}, {"type": "image_url"}, {"type": "text", "text": "grow?"}]
    body = {"model": "loccit", "messages": [{"role": "user", "content": parts}], "tools": [{"type": "function"}]}
    content = plain.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
    assert "widened by half a millimetre" in content


TITLE = """### Task:
Generate a concise title summarizing the chat history.
### Output:
JSON format: { "title": "your concise title here" }
### Chat History:
<chat_history>
USER: how fast do
lichens grow?
ASSISTANT: They grow slowly.
</chat_history>"""
TAGS = TITLE.replace('{ "title": "your concise title here" }', '{ "tags": ["tag1", "tag2"] }')
QUERIES = '### Task:\nAnalyze.\n### Output:\nStrictly return in JSON format:\n{\n  "queries": ["query1"]\n}\n### Chat'
LIBRECHAT = (
    "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. Only return the title "
    f"itself.\n\nConversation:\nUser: {QUESTION * 3}\nAI: Because."
)
ATTACHED = f"### Task:\nRespond to the user query.\n<context>\n<source id='1'>x</source>\n</context>\n\n{QUESTION}"


@pytest.mark.parametrize(
    ("prompt", "reply"),
    [
        (TITLE, {"title": "how fast do lichens grow?"}),
        (TAGS, {"tags": []}),
        (QUERIES, {"queries": []}),
        ('### Task:\nContinue. If unsure, return: `{ "text": "" }`.\n<chat_history>\n</chat_history>', {"text": ""}),
        (TITLE.replace("USER: ", ""), {"title": ""}),
    ],
)
def test_chores_of_open_webui(prompt: str, reply: dict[str, Any]) -> None:
    assert json.loads(chore_reply(prompt) or "") == reply


LONG = 1_000_000
ENDLESS = {
    "line breaks": "\n",
    "blanks": " ",
    "dashes": "-",
    "objects": "{ ",
    "keys": '{"title" ',
    "users": "user:\n",
    "users who say": "USER: a\n\n",
    "assistants": "AI: a\n",
    "tags": "<user_query>",
    "ends of histories": "</chat_history>",
    "contexts": "</context>",
}


@pytest.mark.parametrize("run", ENDLESS.values(), ids=ENDLESS)
@pytest.mark.parametrize(
    "opening",
    [
        "",
        "### Task:",
        '### Task: { "title": } <chat_history>',
        '### Task: { "title": } <chat_history>user: a',
        "### Task: </context>",
        "### Task: </context><user_query>",
        LIBRECHAT.partition("User:")[0],
    ],
)
def test_chores_without_end_are_soon_told(opening: str, run: str) -> None:
    message = opening + run * (LONG // len(run)) + "b"
    began = time.thread_time()
    chore_reply(message)
    question_in(message)
    assert time.thread_time() - began < 0.2


def test_titles_are_of_what_was_asked_first() -> None:
    task = '### Task: { "title": } <chat_history>\n'
    for history, title in (
        ("ASSISTANT: hello\nUSER: why?\nUSER: and why not?\n</chat_history>", "why?"),
        ("USER:\n\n  why so?  \n</chat_history>\nUSER: no", "why so?"),
        ("**user:** why?", "** why?"),
        ("USER: \nASSISTANT: x", ""),
        ("USER: " + "limpets " * 10_000, "limpets limpets limpets limpets limpets limpets limpets…"),
    ):
        assert json.loads(chore_reply(task + history) or "") == {"title": title}


def test_chores_of_librechat() -> None:
    assert chore_reply(LIBRECHAT) == "why do limpets lose their grip in warm water?why do limpets…"


@pytest.mark.parametrize("text", [QUESTION, "### Task: find limpets", 'what is {"title": 1}?', ATTACHED])
def test_a_question_is_no_chore(text: str) -> None:
    assert chore_reply(text) is None


@pytest.mark.parametrize(
    ("message", "question"),
    [
        (ATTACHED, QUESTION),
        (ATTACHED.replace(QUESTION, f"<user_query>\n{QUESTION}\n</user_query>"), QUESTION),
        (f"{QUESTION}</context>", f"{QUESTION}</context>"),
    ],
)
def test_the_question_below_attachments(message: str, question: str) -> None:
    assert question_in(message) == question


@pytest.mark.model
def test_chores_and_attachments_in_a_chat(client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = client.chat.completions.create(model="loccit", messages=asked(QUESTION, ATTACHED))
    said = (reply.choices[0].message.content or "").split("\n\n")
    assert said[:2] == [
        "*What is attached to this chat is not read: only the indexed papers are.*",
        "**The papers say:**",
    ]
    monkeypatch.delattr(Library, "ask_stream")
    title = client.chat.completions.create(model="loccit", messages=asked(TITLE))
    assert title.choices[0].message.content == '{"title": "how fast do lichens grow?"}'
    assert title.choices[0].message.annotations == []
    with client.chat.completions.create(model="loccit", messages=asked(TAGS), stream=True) as stream:
        chunks = list(stream)
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == '{"tags": []}'
    assert chunks[-1].choices[0].finish_reason == "stop"


# Errors


def problem(reply: Any, status: int) -> dict[str, Any]:
    """The error in a reply, its form checked."""
    assert reply.status_code == status
    assert reply.headers["content-type"] == "application/json"
    body = reply.json()
    assert body.keys() == {"error"}
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    return error


@pytest.mark.model
@pytest.mark.parametrize(
    ("body", "status", "param", "code", "said"),
    [
        ({"model": "gpt-9"}, 404, "model", "model_not_found", "there is no model 'gpt-9' here, but loccit"),
        ({"n": 2}, 400, "n", "invalid_request", "Input should be 1"),
        ({"messages": None}, 400, "messages", "invalid_request", "valid list"),
        ({"messages": []}, 400, "messages", "no_question", "no text of a user"),
        ({"messages": [{"role": "system", "content": "x"}]}, 400, "messages", "no_question", "no text of a user"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "messages",
            "no_question",
            "no text",
        ),
        ({"messages": asked(QUESTION, " ")}, 400, "messages", "no_question", "no text"),
        ({"messages": [{"content": "x"}]}, 400, "messages.0.role", "invalid_request", "required"),
        ({"messages": asked("x" * 4001)}, 400, None, "invalid_request", "4,000"),
        ({"messages": asked("x year:20")}, 400, None, "invalid_request", "names no year"),
        ({"messages": asked("x paper:PMC1")}, 404, None, "not_found", "no paper 'PMC1'"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_the_form_of_openai(
    plain: TestClient, body: dict[str, Any], status: int, param: str | None, code: str, said: str, stream: bool
) -> None:
    sent = {"model": "loccit", "messages": asked(QUESTION), "stream": stream} | body
    error = problem(plain.post("/v1/chat/completions", json=sent), status)
    assert (error["param"], error["code"]) == (param, code)
    assert said in error["message"]


@pytest.mark.model
@pytest.mark.parametrize(
    ("said", "status"), [("\ud800 limpets", 400), (LIBRECHAT.replace("why", "\ud800 why", 1), 200), (QUESTION, 200)]
)
@pytest.mark.parametrize("stream", [False, True])
def test_half_of_a_surrogate_pair_breaks_nothing(plain: TestClient, said: str, status: int, stream: bool) -> None:
    messages = [{"role": "system", "content": "\ud800"}, *asked(said)[1:]]
    raw = json.dumps({"model": "loccit", "messages": messages, "stream": stream}).encode()
    reply = plain.post("/v1/chat/completions", content=raw, headers={"content-type": "application/json"})
    assert reply.status_code == status


@pytest.mark.model
def test_errors_before_and_beside_the_library(plain: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    path, body = "/v1/chat/completions", {"model": "loccit", "messages": asked(QUESTION)}
    json_type = {"content-type": "application/json"}
    problem(plain.post(path, content=b" " * (MAX_BODY_BYTES + 1), headers=json_type), 413)
    assert "not JSON" in problem(plain.post(path, content=b"{", headers=json_type), 400)["message"]
    refused = plain.get(path)
    problem(refused, 405)
    assert refused.headers["allow"] == "POST"
    for raised, status, code in (
        (IndexMissingError("no index: run `loccit index`"), 503, "index_missing"),
        (ModelError("no model"), 500, "model_unavailable"),
        (RuntimeError("/home/someone/secret"), 500, None),
    ):

        def fail(*_: object, raised: Exception = raised, **__: object) -> None:
            raise raised

        monkeypatch.setattr(Library, "ask_stream", fail)
        error = problem(plain.post(path, json=body), status)
        assert error["code"] == code
        assert "secret" not in error["message"]


@pytest.mark.model
def test_an_error_in_the_middle_of_a_stream(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Iterator[Waiting]:
        yield Waiting()
        raise GenerationError("the model broke off")

    monkeypatch.setattr(Library, "ask_stream", fail)
    with client_of(library) as client:
        stream = client.chat.completions.create(model="loccit", messages=asked(QUESTION), stream=True)
        assert next(stream).choices[0].delta.role == "assistant"
        with pytest.raises(openai.APIError, match="the model broke off") as caught:
            list(stream)
    assert caught.value.code == "generation_failed"


# Markdown


@pytest.mark.parametrize(
    "text",
    [
        r"a \[x\] b \(y\) c $z$ d",
        "see [45] and [44](http://evil.example) and [1]: http://evil.example",
        "a **b** _c_ <script>alert(1)</script> &amp; `d` ~~e~~",
        "# no heading",
        "ends in \\",
    ],
)
def test_what_papers_say_is_no_markup_of_the_message(text: str) -> None:
    title = f"On {text}"
    place = citation(label=f"Marsh 2021, §{text}", title=title)
    message = Message(BASE)
    message.state(Statement(f"{text} [1]", (Quote(1, text, (), "own", place),)))
    content = message.content
    (mark,) = message.marks
    assert (content[mark.start : mark.end], content[-3:]) == ("[1]", "[1]")
    assert r"\[" not in content.replace(r"\\", "")
    (block,) = (each for each in MarkdownIt("commonmark").parse(content) if each.type == "inline")
    assert {each.type for each in block.children or ()} <= {"text", "text_special"}
    assert "".join(each.content for each in block.children or ()) == f"{text} [1]"


def test_chat_completions_fit_their_type() -> None:
    """OpenAI's client does not check what it is sent; its types do."""
    example = json.loads(EXAMPLES_FILE.read_text(encoding="utf-8"))["complete_chat"]
    assert ChatCompletion.model_validate(example, strict=True).model_dump(exclude_unset=True) == example
