"""What the operator's documents name is there: commands, options, settings, figures, alarms, problems."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from indexer import errors
from service.cli import app
from service.config import Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "docs" / "deploy"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
UNIT = (DEPLOY / "loccit.service").read_text(encoding="utf-8")
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
ALERTS = (DEPLOY / "alerts.yml").read_text(encoding="utf-8")
SECURITY = (ROOT / "SECURITY.md").read_text(encoding="utf-8")

COMMAND: Any = typer.main.get_command(app)


def options_of(command: Any) -> set[str]:
    return {option for each in command.params for option in (*each.opts, *each.secondary_opts)}


def check(words: list[str]) -> None:
    """That a command line names a command and options that there are."""
    command, rest = COMMAND, words
    while hasattr(command, "commands") and rest:
        assert rest[0] in command.commands, words
        command, rest = command.commands[rest[0]], rest[1:]
    known = options_of(command)
    for word in rest:
        if word.startswith("-") and word != "-":
            assert word.partition("=")[0] in known, words


def in_code(text: str) -> Iterator[str]:
    """What stands in backticks and in blocks of code."""
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", text)


LINES = [line for text in (OPERATIONS, SECURITY) for line in in_code(text)]


@pytest.mark.parametrize("line", sorted({line for line in LINES if re.match(r"(?:\S*/)?loccit [a-z]", line)}))
def test_every_command_that_is_named_exists(line: str) -> None:
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "…"]
    check([word for word in words if not word.startswith("$")])


@pytest.mark.parametrize(
    "text", [OPERATIONS, UNIT, CONTAINERFILE, SECURITY], ids=["operations", "unit", "container", "security"]
)
def test_every_setting_that_is_named_exists(text: str) -> None:
    named = set(re.findall(r"\bLOCCIT_[A-Z_]+[A-Z]", text))
    assert {name.removeprefix("LOCCIT_").lower() for name in named} <= Settings.model_fields.keys()


def test_the_unit_runs_what_there_is() -> None:
    (start,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    program, *words = shlex.split(start)
    assert program.endswith("/bin/loccit")
    check(words)
    assert "Type=notify" in UNIT
    for wall in (
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "MemoryMax=",
        "CapabilityBoundingSet=\n",
    ):
        assert wall in UNIT


def test_the_container_runs_what_there_is() -> None:
    ((program,), words) = (
        re.findall(r'"([^"]+)"', each) for each in re.findall(r"^(?:ENTRYPOINT|CMD) (.*)$", CONTAINERFILE, re.MULTILINE)
    )
    assert program.endswith("/bin/loccit")
    check(words)
    last = CONTAINERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER 10001", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert "pip" not in last
    for copied in re.findall(r"^COPY (?!--from)(.*) \S+$", CONTAINERFILE, re.MULTILINE):
        for name in copied.split():
            assert (ROOT / name).exists(), name
    assert not re.search(r"^FROM \S+:latest|^FROM [^:\s]+$", CONTAINERFILE, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "loccit.service"
    unit.write_text(UNIT.replace("/opt/loccit/.venv/bin/loccit", "/bin/true"), encoding="utf-8")
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    ran = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS)["groups"] for rule in group["rules"]]


def test_every_alarm_is_explained_and_every_one_explained_exists() -> None:
    explained = set(re.findall(r"^\| (Loccit\w+) \|", OPERATIONS, re.MULTILINE))
    assert {rule["alert"] for rule in rules()} == explained
    for rule in rules():
        paged = f"| {rule['alert']} | page |" in OPERATIONS
        assert (rule["labels"]["severity"] == "page") == paged


@pytest.mark.model
def test_every_figure_that_is_named_is_given(library: Any) -> None:
    from starlette.testclient import TestClient

    from service.api import create_app

    with TestClient(create_app(library)) as client:
        client.post("/v1/search", json={"query": "limpets"})
        client.post("/v1/search", json={})
        text = client.get("/metrics").text
    given = set(re.findall(r"^(\w+)(?:\{| )", text, re.MULTILINE)) | set(
        re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)
    )
    alarmed = {name for rule in rules() for name in re.findall(r"\b(?:loccit|process)_\w+", rule["expr"])}
    documented = set(re.findall(r"`((?:loccit|process)_\w+)", OPERATIONS)) - {"loccit_cache"}
    assert alarmed <= given
    assert documented <= given
    ours = {re.sub(r"_(?:bucket|count|sum)$", "", name) for name in given if name.startswith("loccit_")}
    index = {name for name in ours if name.startswith("loccit_index_")}
    shortened = {f"loccit_index{part}" for part in re.findall(r"`(_\w+)`", OPERATIONS)}
    assert ours - documented - shortened - {"loccit_http_requests", "loccit_problems", "loccit_build"} == set()
    assert index <= documented | shortened


def test_every_problem_that_is_named_exists() -> None:
    slugs = {
        each.slug for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.LoccitError)
    }
    named = set(re.findall(r"`(index-\w+|model-\w+|overloaded|generation-\w+)`", OPERATIONS))
    assert named
    assert named <= slugs
    assert set(re.findall(r'problem="([\w-]+)"', ALERTS)) <= slugs


def test_links_lead_somewhere() -> None:
    for page in (ROOT / "docs" / "operations.md", ROOT / "SECURITY.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), target


def test_the_unit_names_commands_that_there_are() -> None:
    """An empty file of keys, made by hand, would be none."""
    lines = re.findall(r"^# +\S*/loccit (.+)$", UNIT, re.MULTILINE)
    assert any(line.startswith("keys add ") for line in lines)
    for line in lines:
        check(shlex.split(line))
    assert "touch" not in UNIT
