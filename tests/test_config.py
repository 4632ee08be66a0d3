"""Settings: which word counts, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from indexer.errors import ConfigError
from service.config import Settings, load_settings


def test_defaults(workdir: Path) -> None:
    assert load_settings() == Settings(
        index=Path(".loccit"),
        k=None,
        model="all-MiniLM-L6-v2",
        max_wordpieces=128,
        ray="",
        rerank="",
        host="127.0.0.1",
        port=8000,
    )


def test_flag_before_environment_before_file_before_default(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "loccit.toml").write_text('index = "from-file"\nport = 1\nhost = "file.example"\n', encoding="utf-8")
    monkeypatch.setenv("LOCCIT_INDEX", "from-environment")
    monkeypatch.setenv("LOCCIT_PORT", "2")
    settings = load_settings(index=Path("from-flag"), port=None)
    assert (settings.index, settings.port, settings.host, settings.k) == (Path("from-flag"), 2, "file.example", None)


def test_an_empty_variable_is_as_good_as_none(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCCIT_INDEX", "")
    assert load_settings().index == Path(".loccit")


def test_settings_do_not_change(workdir: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


def test_an_unknown_key_is_named_with_those_that_are(workdir: Path) -> None:
    (workdir / "loccit.toml").write_text("indx = 'typo'\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == (
        "loccit.toml sets `indx`, which is no setting: "
        "there are index, k, model, max_wordpieces, precision, ray, rerank, host, port, public_base_url, keys, "
        "allow_anonymous, rate_per_minute, max_waiting, request_timeout_s, allowed_hosts, trusted_proxies, "
        "cors_origins, log_format, log_level, llm_url, "
        "llm_model, llm_timeout_s, llm_prompt_tokens, contact, pmc_url, europepmc_url, tomesphere_url"
    )


def test_an_unknown_variable_is_named_with_those_that_are(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCCIT_INDX", "typo")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == (
        "the environment sets LOCCIT_INDX, which is no setting: there are LOCCIT_INDEX, LOCCIT_K, LOCCIT_MODEL, "
        "LOCCIT_MAX_WORDPIECES, LOCCIT_PRECISION, LOCCIT_RAY, LOCCIT_RERANK, LOCCIT_HOST, LOCCIT_PORT, "
        "LOCCIT_PUBLIC_BASE_URL, LOCCIT_KEYS, LOCCIT_ALLOW_ANONYMOUS, LOCCIT_RATE_PER_MINUTE, LOCCIT_MAX_WAITING, "
        "LOCCIT_REQUEST_TIMEOUT_S, LOCCIT_ALLOWED_HOSTS, LOCCIT_TRUSTED_PROXIES, LOCCIT_CORS_ORIGINS, "
        "LOCCIT_LOG_FORMAT, LOCCIT_LOG_LEVEL, "
        "LOCCIT_LLM_URL, LOCCIT_LLM_MODEL, LOCCIT_LLM_KEY, LOCCIT_LLM_TIMEOUT_S, LOCCIT_LLM_PROMPT_TOKENS, "
        "LOCCIT_CONTACT, LOCCIT_PMC_URL, LOCCIT_EUROPEPMC_URL, LOCCIT_TOMESPHERE_URL"
    )


def test_the_tests_own_variable_is_let_through(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCCIT_SHARED", "/elsewhere")
    assert load_settings().port == 8000


@pytest.mark.parametrize(
    ("toml", "variable", "flag", "origin"),
    [
        ("port = 'x'", None, None, "`port` in loccit.toml"),
        ("port = 1", "x", None, "LOCCIT_PORT"),
        ("port = 1", "2", 70_000, "--port"),
    ],
)
def test_a_value_that_does_not_fit_is_traced_to_where_it_stands(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, toml: str, variable: str | None, flag: int | None, origin: str
) -> None:
    (workdir / "loccit.toml").write_text(toml, encoding="utf-8")
    if variable is not None:
        monkeypatch.setenv("LOCCIT_PORT", variable)
    with pytest.raises(ConfigError) as caught:
        load_settings(port=flag)
    assert str(caught.value).startswith(f"{origin} is ")


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"port = = 1", "loccit.toml is not TOML"), (b"host = '\xff'", "loccit.toml cannot be read")],
)
def test_a_file_that_cannot_be_read(workdir: Path, raw: bytes, said: str) -> None:
    (workdir / "loccit.toml").write_bytes(raw)
    with pytest.raises(ConfigError, match=said):
        load_settings()


URL = "http://127.0.0.1:11434/v1"


def test_a_model_that_writes_answers(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCCIT_LLM_KEY", "sk-secret")
    settings = load_settings(llm_url=URL, llm_model="qwen3:4b")
    assert (settings.llm_url, settings.llm_model, settings.llm_timeout_s, settings.llm_prompt_tokens) == (
        URL,
        "qwen3:4b",
        60.0,
        3000,
    )
    assert settings.llm_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings) + str(settings.model_dump())
    assert load_settings().llm_url == ""


@pytest.mark.parametrize(
    ("url", "model", "said"),
    [
        (URL, "", "--llm-url is set and no llm_model: a model that writes answers needs both, LOCCIT_LLM_MODEL or"),
        ("", "qwen3:4b", "--llm-model is set and no llm_url: "),
        ("127.0.0.1:11434/v1", "m", "--llm-url is no URL of an endpoint such as http://127.0.0.1:11434/v1"),
        ("ftp://host/v1", "m", "--llm-url is no URL"),
        ("http:///v1", "m", "--llm-url is no URL"),
        ("http://host:99999/v1", "m", "--llm-url is no URL"),
        ("http://[::1/v1", "m", "--llm-url is no URL"),
        ("http://user:secret@host/v1", "m", "--llm-url is no URL"),
        ("http://host/v1?key=secret", "m", "--llm-url is no URL"),
        ("http://host/v1 secret", "m", "--llm-url is no URL"),
    ],
)
def test_half_a_model_is_none(workdir: Path, url: str, model: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(llm_url=url, llm_model=model)
    assert str(caught.value).startswith(said)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    ["papers.example.org", "ftp://host", "https://user:secret@host", "https://h/?a=secret", 'https://h/"><secret>'],
)
def test_a_base_that_links_could_not_begin_with(workdir: Path, given: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(public_base_url=given)
    assert str(caught.value).startswith("--public-base-url is no address such as https://papers.example.org/loccit: ")
    assert "secret" not in str(caught.value)


def test_what_links_begin_with(workdir: Path) -> None:
    assert load_settings().base_url == load_settings(port=0).base_url == "http://127.0.0.1:8000"
    assert load_settings(port=9000, host="0.0.0.0").base_url == "http://127.0.0.1:9000"
    assert load_settings(host="::1").base_url == "http://[::1]:8000"
    assert load_settings(public_base_url="https://papers.example.org/loccit/").base_url == (
        "https://papers.example.org/loccit"
    )


def test_where_half_a_model_stands(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "loccit.toml").write_text(f'llm_url = "{URL}"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"`llm_url` in loccit\.toml is set and no llm_model"):
        load_settings()
    monkeypatch.setenv("LOCCIT_LLM_MODEL", "m")
    assert load_settings().llm_model == "m"


def test_a_key_does_not_belong_in_a_file(workdir: Path) -> None:
    (workdir / "loccit.toml").write_text('llm_key = "sk-secret"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert str(caught.value) == ("loccit.toml sets `llm_key`: a key does not belong in a file, set LOCCIT_LLM_KEY")


def test_nothing_is_read_at_import(workdir: Path) -> None:
    (workdir / "loccit.toml").write_text("= broken", encoding="utf-8")
    environment = os.environ | {"LOCCIT_NONSENSE": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", "import service.config, service.cli"], env=environment, check=True)


@pytest.mark.parametrize("contact", ["me", "me@", "a b@example.org", "me@example.org\nhost: x", "<me@example.org>"])
def test_a_contact_is_an_address(workdir: Path, contact: str) -> None:
    with pytest.raises(ConfigError, match=r"^--contact is .* which is no e-mail address$"):
        load_settings(contact=contact)
    assert load_settings(contact="me@example.org").contact == "me@example.org"


@pytest.mark.parametrize(
    "url", ["http://papers.example.org", "papers.example.org", "https://me@papers.example.org", "file:///x", "https://"]
)
@pytest.mark.parametrize("name", ["pmc_url", "europepmc_url", "tomesphere_url"])
def test_a_source_is_at_an_https_address(workdir: Path, monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    monkeypatch.setenv(f"LOCCIT_{name.upper()}", url)
    with pytest.raises(ConfigError, match=rf"^LOCCIT_{name.upper()} is no address such as https://"):
        load_settings()
