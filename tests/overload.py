"""A real `loccit serve` under three times the load that it can take: what it costs, and how soon it is over."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from service.access.turns import MAX_WAIT_S
from tests.serving import ask, until

ROOT = Path(__file__).parents[1]
LOAD = ROOT / "tests" / "torture" / "load.py"
QUESTIONS = [
    "why do limpets lose their grip in warm water?",
    "how fast do lichens grow on stone?",
    "do glaciers keep volcanic ash?",
    "what makes a kettle hum?",
    "shell length and grip",
    "frost on slate",
    "growth rates",
    "body size",
]
_NORMAL = 10
"""Replies in a row whose median shows how long one takes."""


@contextmanager
def running(index: Path, folder: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`loccit serve` over the index, and its port."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOCCIT_")}
    command = [sys.executable, "-c", "from service.cli import main; raise SystemExit(main())"]
    log = folder / "serve.log"
    with log.open("w", encoding="utf-8") as stderr:  # a pipe that no one reads would fill up, and stop it
        process = subprocess.Popen(
            [*command, "serve", "--index", str(index), "--port", "0", *flags],
            cwd=folder,
            env=inherited | {"PYTHONPATH": str(ROOT)},
            stderr=stderr,
        )
    try:
        until(lambda: "Ctrl-C stops" in log.read_text(encoding="utf-8"), timeout_s=60)
        found = re.search(r"at http://127\.0\.0\.1:(\d+) ", log.read_text(encoding="utf-8"))
        assert found is not None
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait(timeout=60)


def load(port: int, *, clients: int, seconds: float, rate: float = 0) -> Any:
    """What so many clients saw, from a process of their own."""
    command = [sys.executable, str(LOAD), "127.0.0.1", str(port), "--questions", json.dumps(QUESTIONS)]
    command += ["--clients", str(clients), "--seconds", str(seconds), "--rate", str(rate)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def one_took_ms(port: int) -> float:
    """The median of a few replies to one client."""
    times = []
    for n in range(_NORMAL):
        began = time.perf_counter()
        status, *_ = ask(("127.0.0.1", port), "POST", "/v1/search", {"query": QUESTIONS[n % len(QUESTIONS)]})
        assert status in (200, 503), status
        times.append(time.perf_counter() - began if status == 200 else 60.0)
    return 1e3 * statistics.median(times)


@dataclass
class Memory:
    """Resident memory of a process while it is watched, in MB, once a second."""

    pid: int
    seen: list[float] = field(default_factory=list)
    _done: Event = field(default_factory=Event)

    def now(self) -> float:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8"))
        assert found is not None
        return int(found[1]) / 1024

    def files(self) -> int:
        return len([*Path(f"/proc/{self.pid}/fd").iterdir()])

    def __enter__(self) -> Memory:
        self._thread = Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(1):
            self.seen.append(self.now())

    def growth(self, warm_up: float) -> tuple[float, float]:
        """The mean of the fifth of the time after the warm-up, a share of all, and of the last fifth."""
        rest = self.seen[int(len(self.seen) * warm_up) :]
        fifth = max(len(rest) // 5, 1)
        return statistics.mean(rest[:fifth]), statistics.mean(rest[-fifth:])


def overload(index: Path, folder: Path, *, clients: int, seconds: float) -> dict[str, Any]:
    """The figures: capacity, what was seen at three times that, memory, and how long it took to be over."""
    with running(index, folder) as (process, port):
        load(port, clients=4, seconds=min(seconds / 10, 5))  # warm
        alone = one_took_ms(port)
        capacity = load(port, clients=8, seconds=max(2.0, min(seconds / 6, 20)))
        memory = Memory(process.pid)
        with memory:
            seen = load(port, clients=clients, seconds=seconds, rate=3 * capacity["accepted_per_s"])
        ended = time.monotonic()
        while one_took_ms(port) > 1.5 * alone + 2 and time.monotonic() < ended + 30:
            pass
        recovered = time.monotonic() - ended
        time.sleep(0.5)
        first, last = memory.growth(0.25)
        return {
            "alone_ms": round(alone, 1),
            "capacity_per_s": capacity["accepted_per_s"],
            "load": seen,
            "rss_after_warm_up_mb": round(first, 1),
            "rss_at_end_mb": round(last, 1),
            "files_after": memory.files(),
            "normal_after_s": round(recovered, 2),
        }


def check(figures: dict[str, Any]) -> None:
    """What must hold."""
    seen = figures["load"]
    assert set(seen["statuses"]) <= {"200", "503", "429"}, seen
    assert not seen["failures"], seen
    assert seen["statuses"]["503"] > 0, seen
    # It goes on doing what it can, though refusing costs something too, on the same processors.
    assert seen["accepted_per_s"] > figures["capacity_per_s"] / 3, figures
    assert seen["accepted"]["p99_ms"] < 1e3 * (MAX_WAIT_S + 1), figures
    assert figures["rss_at_end_mb"] - figures["rss_after_warm_up_mb"] < 10, figures
    assert figures["normal_after_s"] < 5, figures
