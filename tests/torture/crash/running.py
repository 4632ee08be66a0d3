"""The sweep and the kills, each run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.torture.crash.shim import compiled, compiler, environment

ROOT = Path(__file__).parents[3]


def require_compiler() -> None:
    """Skip where the shim cannot be compiled; fail where nothing may be skipped."""
    if compiler() is None or sys.platform != "linux":
        missing = "no C compiler for Linux (cc, of Debian's gcc): faults cannot be injected"
        if os.environ.get("LOCCIT_REQUIRE_ALL"):
            pytest.fail(missing)
        pytest.skip(missing)


def swept(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """What sweeps with these arguments did, one an operation."""
    require_compiler()
    return _run("sweep", folder, arguments, environment(compiled(folder)))


def killed(folder: Path, *arguments: str) -> dict[str, Any]:
    """What kills with these arguments did."""
    return _run("kills", folder, arguments, {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})[0]


def _run(module: str, folder: Path, arguments: tuple[str, ...], env: Mapping[str, str]) -> list[dict[str, Any]]:
    plain = {name: value for name, value in env.items() if not name.startswith("LOCCIT_")}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.torture.crash.{module}", "--folder", str(folder), *arguments],
        cwd=ROOT,
        env={**plain, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr[-5000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found, done.stderr[-5000:]
    return found
