"""Settings: what a user may set once for all commands, and which word counts when several do.

Flag > environment (`LOCCIT_INDEX`) > `loccit.toml` in the working folder > default. Nothing is read at import.
"""

from __future__ import annotations

import os
import re
import tomllib
from importlib import metadata
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from platformdirs import user_config_path
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from indexer.config import DEFAULT_MODEL, BuildConfig
from indexer.errors import ConfigError, UsageError
from indexer.fetch.places import EUROPEPMC_URL, PMC_URL, TOMESPHERE_URL
from indexer.places import IndexPlace, place_of
from service.llm import DEFAULT_PROMPT_TOKENS, DEFAULT_TIMEOUT_S

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]
DEFAULT_PORT = 8000
DEFAULT_BASE_URL = f"http://127.0.0.1:{DEFAULT_PORT}"
FILE = "loccit.toml"
ENV_PREFIX = "LOCCIT_"
_KEY = "llm_key"
_UNSAFE = re.compile(r"""[\x00-\x20\x7f"'<>\\^`{|}]""")
"""What no address has as it is (RFC 3986), and `'`."""
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_CONTACT = re.compile(r"[^\s@()<>,;:]+@[^\s@()<>,;:]+", re.ASCII)
DEFAULT_WAITING = 32
"""Requests: less than a second's worth, so that those who are let in are still there when they are answered."""
DEFAULT_REQUEST_S = 30.0


def _split(given: object) -> object:
    return tuple(each for each in re.split(r"[\s,]+", given) if each) if isinstance(given, str) else given


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Several in one variable, with commas or blanks between; a list in the file."""

_NOT_SETTINGS = frozenset({"LOCCIT_SHARED", "LOCCIT_REQUIRE_ALL"})
"""Environment variables with our prefix that are not ours: where the tests find the papers to measure on, and whether
they fail for want of what is optional."""


class Settings(BaseSettings):
    """The settings of one run."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_ignore_empty=True, toml_file=FILE
    )

    index: IndexPlace = Path(".loccit")
    """The index's folder, or its database on a PostgreSQL server, by URL."""
    k: int | None = None
    """How many passages to show; None leaves it to the command."""
    model: str = DEFAULT_MODEL
    """What `index` embeds with: the bundled model, a local folder, or a hub name."""
    max_wordpieces: int = BuildConfig().max_wordpieces
    """The size that `index` aims for in a passage, in the embedder's tokens."""
    precision: Literal["auto", "int8", "fp32", "reference"] = "auto"
    """What the embedding model computes with: int8 where that is faster and close enough, else fp32; or one of them; or
    sentence-transformers itself."""
    ray: str = ""
    """The Ray cluster that `index` spreads its work over, `HOST:PORT` of its head or `auto`; empty for none."""
    rerank: str = ""
    """The cross-encoder that ranks the best passages again, a local folder or a hub name; empty for none."""
    host: str = "127.0.0.1"
    """Where `serve` listens."""
    port: int = Field(DEFAULT_PORT, ge=0, le=65535)
    """On which port; 0 for a free one."""
    public_base_url: str = ""
    """Where others find the service, `https://papers.example.org/loccit`: what absolute links begin with. Empty for the
    address that it listens on."""
    keys: Path | None = None
    """The file of API keys; None for one beside the index, `.loccit.keys`, or in the user's configuration folder where
    the index is on a server."""
    allow_anonymous: bool = False
    """Whether `serve` lets everyone read, also where other machines reach it."""
    rate_per_minute: int | None = Field(None, ge=0, le=1_000_000)
    """Requests that one key may send in a minute, or one address without a key, to each process; 0 for any number. None
    for any number on loopback, and 600 beyond."""
    max_waiting: int = Field(DEFAULT_WAITING, ge=0, le=10_000)
    """Requests that may wait for their turn in each process; what comes beyond is refused."""
    request_timeout_s: float = Field(DEFAULT_REQUEST_S, gt=0, le=3600)
    """After which a request that is worked on is answered with an error; what a model writes has a limit of its own."""
    allowed_hosts: Names = ()
    """Names that the service answers to, beside `localhost` and that of `public_base_url`."""
    trusted_proxies: Names = ()
    """Addresses and networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` count."""
    cors_origins: Names = ()
    """Sites whose pages may read replies in a browser, `https://notes.example.org`; `*` for any."""
    log_format: LogFormat = "text"
    """How `serve` writes its log: a line for people, or a JSON object a line."""
    log_level: LogLevel = "info"
    """What is in it at the least: `info` has a line for every request, `warning` only what goes wrong."""
    llm_url: str = ""
    """The OpenAI-compatible endpoint whose model writes answers, `http://127.0.0.1:11434/v1`; empty for none."""
    llm_model: str = ""
    """The model's name there."""
    llm_key: SecretStr = SecretStr("")
    """The endpoint's key. From the environment alone: a flag shows in the list of processes, a file is shared."""
    llm_timeout_s: float = Field(DEFAULT_TIMEOUT_S, gt=0, le=3600)
    """How long the model may take for a whole reply."""
    llm_prompt_tokens: int = Field(DEFAULT_PROMPT_TOKENS, ge=200, le=100_000)
    """Budget of the passages that the model is given, in cl100k_base tokens."""

    contact: str = ""
    """An e-mail address: `fetch` tells it to the services that it asks, so that they can say what is wrong."""
    pmc_url: str = PMC_URL
    """Where PMC's article datasets are; what is not the usual address may be on a private network."""
    europepmc_url: str = EUROPEPMC_URL
    """Where Europe PMC's REST service is."""
    tomesphere_url: str = TOMESPHERE_URL
    """Where tomesphere is."""

    @property
    def keys_file(self) -> Path:
        """Where the API keys are. The indexes on servers have one file together: a database has no place for it."""
        if self.keys is not None:
            return self.keys
        if isinstance(self.index, str):
            return user_config_path("loccit") / "keys"
        index = self.index.absolute()
        return index.with_name(f"{index.name}.keys")

    @property
    def shown_index(self) -> str:
        """Where the index is, as it may be told."""
        from indexer.store import shown_place

        return shown_place(self.index)

    @property
    def base_url(self) -> str:
        """What absolute links begin with, without a slash at the end."""
        return self.public_base_url.rstrip("/") or local_url(self.host, self.port or DEFAULT_PORT)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment and file, in this order; no dotenv, no secrets."""
        file_settings = TomlConfigSettingsSource(settings_cls)
        if _KEY in file_settings.toml_data:
            raise ConfigError(f"{FILE} sets `{_KEY}`: a key does not belong in a file, set {ENV_PREFIX}{_KEY.upper()}")
        return init_settings, env_settings, file_settings


_MAX_FILE_BYTES = 16_000
"""Of settings there are some dozen lines; a name of 100,000 dots takes tomllib a minute and a half."""


def load_settings(**flags: object) -> Settings:
    """The settings of this run; a flag that is None was not given. Raises ConfigError, naming what does not fit."""
    given = {name: value for name, value in flags.items() if value is not None}
    _check_environment()
    try:
        if (size := Path(FILE).stat().st_size if Path(FILE).exists() else 0) > _MAX_FILE_BYTES:
            raise ConfigError(f"{FILE} has {size:,} bytes, and {_MAX_FILE_BYTES:,} are the most: shorten it")
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{FILE} sets `{name}`, which is no setting: {_known()}") from error
        raise ConfigError(f"{_origin(name, given)} is {first['input']!r}: {first['msg']}") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{FILE} is not TOML: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE} cannot be read: {error}") from error
    settings = settings.model_copy(update={"index": _place(settings.index, given)})
    _check_llm(settings, given)
    _check_fetch(settings, given)
    _check_access(settings, given)
    if settings.public_base_url and not _is_base(settings.public_base_url):
        raise ConfigError(
            f"{_origin('public_base_url', given)} is no address such as https://papers.example.org/loccit: http or "
            "https, a host, and a path if the service has one; no user, no `?`"
        )
    return settings


def local_url(host: str, port: int) -> str:
    """Where clients on this machine find what listens there; on all addresses, by the loopback one."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def version() -> str:
    """loccit's version, as it was installed."""
    try:
        return metadata.version("loccit")
    except metadata.PackageNotFoundError:
        return "0+uninstalled"


def _place(given: IndexPlace, flags: dict[str, object]) -> IndexPlace:
    try:
        return place_of(given)
    except UsageError as error:
        raise ConfigError(f"{_origin('index', flags)}: {error}") from error


def _check_llm(settings: Settings, flags: dict[str, object]) -> None:
    named = {"llm_url": settings.llm_url, "llm_model": settings.llm_model}
    if any(named.values()) and not all(named.values()):
        given, missing = sorted(named, key=named.__getitem__, reverse=True)
        raise ConfigError(
            f"{_origin(given, flags)} is set and no {missing}: a model that writes answers needs both, "
            f"{ENV_PREFIX}{missing.upper()} or --{missing.replace('_', '-')}"
        )
    if settings.llm_url and not _is_base(settings.llm_url):
        # The value is not repeated: it may hold a password.
        raise ConfigError(
            f"{_origin('llm_url', flags)} is no URL of an endpoint such as http://127.0.0.1:11434/v1: http or https, a "
            f"host, a path; no user, no `?`. A key goes into {ENV_PREFIX}{_KEY.upper()}"
        )


def _check_fetch(settings: Settings, flags: dict[str, object]) -> None:
    if settings.contact and not _CONTACT.fullmatch(settings.contact):
        raise ConfigError(f"{_origin('contact', flags)} is {settings.contact!r}, which is no e-mail address")
    for name in ("pmc_url", "europepmc_url", "tomesphere_url"):
        url: str = getattr(settings, name)
        if not _is_base(url) or not url.startswith("https:"):
            raise ConfigError(
                f"{_origin(name, flags)} is no address such as https://papers.example.org/rest: https, a host, and a "
                "path if the service has one; no user, no `?`"
            )


def _check_access(settings: Settings, flags: dict[str, object]) -> None:
    for name, is_right, what in (
        ("allowed_hosts", _is_name, "names such as papers.example.org, without https:// and port"),
        ("trusted_proxies", _is_network, "addresses or networks such as 10.0.0.1 or 10.0.0.0/8"),
        ("cors_origins", _is_origin, "sites such as https://notes.example.org, or `*`"),
    ):
        for each in getattr(settings, name):
            if not is_right(each):
                raise ConfigError(f"{_origin(name, flags)} holds {each!r}: it takes {what}")


def _is_name(given: str) -> bool:
    return bool(_NAME.fullmatch(given))


def _is_network(given: str) -> bool:
    try:
        ip_network(given, strict=False)
    except ValueError:
        return False
    return True


def _is_origin(given: str) -> bool:
    return given == "*" or (_is_base(given) and urlsplit(given).path == "")


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and not _UNSAFE.search(url) and not parts.query + parts.fragment
    return (
        plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and "@" not in parts.netloc
    )


def _check_environment() -> None:
    for name in sorted(os.environ):
        setting = name.removeprefix(ENV_PREFIX).lower()
        if name.startswith(ENV_PREFIX) and name not in _NOT_SETTINGS and setting not in Settings.model_fields:
            raise ConfigError(f"the environment sets {name}, which is no setting: {_known(ENV_PREFIX)}")


def _known(prefix: str = "") -> str:
    names = [prefix + name.upper() if prefix else name for name in Settings.model_fields if prefix or name != _KEY]
    return f"there are {', '.join(names)}"


def _origin(name: str, flags: dict[str, object]) -> str:
    """Where the value of a setting came from, in the user's words."""
    if name in flags:
        return f"--{name.replace('_', '-')}"
    variable = ENV_PREFIX + name.upper()
    return variable if os.environ.get(variable) else f"`{name}` in {FILE}"
