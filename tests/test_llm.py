"""The chat model's client, against a server that speaks the real protocol."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from indexer.errors import GenerationError
from service.llm import MAX_REPLY_CHARACTERS, ChatModel, Message
from tests.llm_server import (
    Behaviour,
    Endpoint,
    breaks_off,
    drips,
    drips_headers,
    fails_within,
    hangs_up,
    refuses,
    says,
    sends,
    serving,
)

KEY = "sk-very-secret-0123456789"
ASKED = [Message(role="system", content="rules"), Message(role="user", content="why?")]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as opened:
        yield opened


@pytest.fixture
def model(endpoint: Endpoint) -> Iterator[ChatModel]:
    opened = ChatModel(endpoint.url, "tiny", SecretStr(KEY), timeout_s=5.0)
    yield opened
    opened.close()


def reply(model: ChatModel) -> str:
    return "".join(model.stream(ASKED, 100))


def test_a_reply_comes_in_pieces(endpoint: Endpoint, model: ChatModel) -> None:
    endpoint.does(says("Grip fell by half — é𝛼.", size=4))
    pieces = [piece for piece in model.stream(ASKED, 100) if piece]
    assert "".join(pieces) == "Grip fell by half — é𝛼."
    assert len(pieces) == 6
    (received,) = endpoint.requests
    assert received.path == "/v1/chat/completions"
    assert received.body == {
        "model": "tiny",
        "messages": [{"role": "system", "content": "rules"}, {"role": "user", "content": "why?"}],
        "stream": True,
        "max_tokens": 100,
        "temperature": 0.0,
    }
    assert {name.lower(): value for name, value in received.headers.items()}["authorization"] == f"Bearer {KEY}"


def test_reasoning_is_no_answer_text(endpoint: Endpoint, model: ChatModel) -> None:
    endpoint.does(says("So it is.", thoughts="I think, therefore"))
    assert reply(model) == "So it is."


def test_nothing_of_the_environment_is_sent(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "from-environment")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "from-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-custom: from-environment\nauthorization: Bearer from-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://from-environment.invalid")
    endpoint.does(says("Yes."))
    model = ChatModel(endpoint.url, "tiny")
    assert reply(model) == "Yes."
    model.close()
    headers = {name.lower(): value for name, value in endpoint.requests[0].headers.items()}
    assert headers["authorization"] == "Bearer none"
    assert "from-environment" not in str(headers)
    assert not [name for name in headers if name.startswith(("x-", "openai-"))]


FAILURES: dict[str, tuple[Behaviour, str]] = {
    "unknown model": (refuses(404, "model 'tiny' not found", "model_not_found"), "refused (HTTP 404) (model 'tiny'"),
    "wrong key": (refuses(401, f"Incorrect API key provided: {KEY}."), "(Incorrect API key provided: ….)"),
    "key in a long message": (refuses(400, "x" * 190 + KEY), "refused (HTTP 400)"),
    "quota": (refuses(429, "You exceeded your quota", "insufficient_quota", retry_after="1"), "refused (HTTP 429)"),
    "busy for long": (refuses(429, "Slow down", retry_after="600"), "refused (HTTP 429) (Slow down)"),
    "busy again": (refuses(429, "Slow down", retry_after="0"), "refused (HTTP 429) (Slow down)"),
    "broken": (refuses(500, "out of memory"), "refused (HTTP 500) (out of memory)"),
    "redirect": (refuses(307, "", location="http://127.0.0.1:9/v1/chat/completions"), "refused (HTTP 307)"),
    "error in the stream": (fails_within("So", f"cuda died {KEY}"), "broke off (cuda died …)"),
    "half a reply": (breaks_off("Grip fell"), "broke off in the middle"),
    "an empty stream": (sends("data: [DONE]\n\n", "text/event-stream"), "sent no chat completion, but text/event-"),
    "no stream": (sends("<html>Sign in</html>", "text/html"), "sent no chat completion, but text/html"),
    "no JSON": (sends("data: {nonsense\n\n", "text/event-stream"), "sent what is no chat completion"),
    "odd JSON": (sends('data: [1]\n\ndata: null\n\ndata: {"choices": 5}\n\n', "text/event-stream"), "sent no chat"),
    "silence": (says("", finish="length", thoughts="hm " * 100), "wrote nothing (it ended by 'length')"),
    "hung up": (hangs_up, "cannot be reached"),
    "a megabyte": (says("word " * 200_000, size=50_000), f"wrote more than {MAX_REPLY_CHARACTERS:,} characters"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_say_what_where_and_the_next_step(endpoint: Endpoint, model: ChatModel, name: str) -> None:
    behaviour, said = FAILURES[name]
    endpoint.does(behaviour)
    with pytest.raises(GenerationError) as caught:
        reply(model)
    message = str(caught.value)
    assert message.startswith(f"the model tiny at {endpoint.url} ")
    assert said in message
    assert ": " in message.split(said)[1]
    assert len(message) < 500
    everything = "".join(traceback.format_exception(caught.value)) + repr(model) + str(vars(model))
    assert not [KEY[:n] for n in range(8, len(KEY) + 1) if KEY[:n] in everything]


def test_a_server_that_is_not_there() -> None:
    model = ChatModel("http://127.0.0.1:9/v1", "tiny")
    with pytest.raises(GenerationError, match=r"the model tiny at http://127\.0\.0\.1:9/v1 cannot be reached"):
        reply(model)
    model.close()


@pytest.mark.parametrize("behaviour", [drips(), drips("Grip fell"), drips_headers])
def test_the_deadline_is_for_the_whole_reply(endpoint: Endpoint, behaviour: Behaviour) -> None:
    endpoint.does(behaviour)
    model = ChatModel(endpoint.url, "tiny", timeout_s=0.3)
    began = time.monotonic()
    with pytest.raises(
        GenerationError, match=r"did not finish within 0\.3 s: give it longer with LOCCIT_LLM_TIMEOUT_S"
    ):
        reply(model)
    assert 0.25 < time.monotonic() - began < 2
    assert endpoint.left.wait(2)
    model.close()


def test_whoever_reads_is_never_left_waiting(endpoint: Endpoint, model: ChatModel) -> None:
    """And the connection closes when the reader has enough."""
    endpoint.does(drips("Grip"))
    pieces = model.stream(ASKED, 100)
    assert next(pieces) == "Grip"
    began = time.monotonic()
    assert next(pieces) == ""
    assert time.monotonic() - began < 2
    pieces.close()
    assert endpoint.left.wait(2)


def test_busy_for_a_moment_is_asked_once_more(endpoint: Endpoint, model: ChatModel) -> None:
    endpoint.does(refuses(429, "Slow down", retry_after="0.05"), says("Here."))
    assert reply(model) == "Here."
    assert len(endpoint.requests) == 2


def test_options_that_a_model_refuses_are_left_out(endpoint: Endpoint, model: ChatModel) -> None:
    endpoint.does(
        refuses(400, "Use 'max_completion_tokens' instead.", "unsupported_parameter", "max_tokens"),
        refuses(400, "Only the default (1) is supported.", "unsupported_value", "temperature"),
        says("Here."),
    )
    assert reply(model) == "Here."
    last = endpoint.requests[-1].body
    assert (last["max_completion_tokens"], "max_tokens" in last, "temperature" in last) == (100, False, False)


def test_several_threads_ask_at_once(endpoint: Endpoint, model: ChatModel) -> None:
    endpoint.does(says("Grip fell by half."))
    replies: list[str] = []
    threads = [threading.Thread(target=lambda: replies.append(reply(model))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert replies == ["Grip fell by half."] * 8


def test_a_closed_model_opens_again(endpoint: Endpoint, model: ChatModel) -> None:
    endpoint.does(says("Yes."))
    assert reply(model) == "Yes."
    model.close()
    model.close()
    assert reply(model) == "Yes."


def test_a_program_that_does_not_close_it_ends(endpoint: Endpoint) -> None:
    endpoint.does(says("Grip fell by half."))
    program = (
        "from service.llm import ChatModel\n"
        f"model = ChatModel({endpoint.url!r}, 'tiny')\n"
        f"print(''.join(model.stream({ASKED!r}, 100)))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (ran.stdout, ran.stderr) == ("Grip fell by half.\n", "")


def test_openai_is_imported_when_it_is_asked() -> None:
    script = "import sys, json, service.llm, service.library; print(json.dumps('openai' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert json.loads(done.stdout) is False
