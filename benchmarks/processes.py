"""Processes from outside: how long one runs, how much memory it holds, and the machine that it runs on.

Kept to the standard library: a process's peak memory begins with that of the process that started it.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_KIB_MB = 1024 / 1e6
_PACKAGES = (
    "loccit",
    "apsw",
    "faiss-cpu",
    "onnxruntime",
    "sentence-transformers",
    "torch",
    "numpy",
    "fastapi",
    "uvicorn",
)


@dataclass(frozen=True, slots=True)
class Finished:
    """A process that has ended."""

    seconds: float
    """From before it was started until it had ended."""
    peak_mb: float
    """The most memory that it held at once (resident; 10^6 bytes)."""


def timed(command: list[str], accept: tuple[int, ...] = (0,)) -> Finished:
    """Run a command to its end. An exit code that is not among those to `accept` ends the benchmark."""
    with tempfile.TemporaryFile() as log:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in accept:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {log.read().decode()}")
    return Finished(seconds, usage.ru_maxrss * (1e-6 if sys.platform == "darwin" else _KIB_MB))


def script(name: str, *arguments: str | Path) -> Any:  # noqa: ANN401 - whatever JSON the script prints
    """What a script of this folder prints, as JSON. It has the terminal for its progress."""
    command = [sys.executable, str(_HERE / name), *map(str, arguments)]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return json.loads(done.stdout)


def memory(pid: int) -> dict[str, float]:
    """What a process holds now, in MB: all that is resident, and what of it is its own; empty outside Linux."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return {}
    lines = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines())
    names = {"rss_mb": "VmRSS", "anonymous_mb": "RssAnon"}
    return {name: int(lines[field].split()[0]) * _KIB_MB for name, field in names.items()}


def folder_mb(folder: Path) -> float:
    """The size of a folder's files."""
    return sum(path.stat().st_size for path in folder.iterdir()) / 1e6


def machine() -> dict[str, Any]:
    """The machine and what is installed on it."""
    processor, memory_gb = platform.processor() or platform.machine(), 0.0
    if Path("/proc/cpuinfo").exists():
        names = [
            line for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines() if line.startswith("model name")
        ]
        processor = names[0].split(":", 1)[1].strip() if names else processor
        memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gb": round(memory_gb, 1),
        "system": platform.platform(terse=True),
        "versions": {
            "Python": platform.python_version(),
            **{name: found for name in _PACKAGES if (found := _version(name))},
            "commit": _commit(),
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=_HERE, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
