"""A service that is asked without pause while its index changes: what it holds, and how fast it is, from start to end.

The commands themselves run, as anyone would run them; what they answer is held against the texts that were written.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.corpus import PAPERS

QUESTIONS = (
    "why do limpets lose their grip in warm water?",
    "how does limescale change the time a kettle takes to boil?",
    "limpets",
    "which treatment removed limescale?",
    '"limescale"',
)
_COMMAND = (sys.executable, "-c", "import sys; from service.cli import main; sys.exit(main())")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the service's process held at one time, and how it answered just before."""

    at_s: float
    rss_mb: float
    n_files: int
    p50_ms: float
    p99_ms: float
    n_requests: int


@dataclass(slots=True)
class Soak:
    """What came of it."""

    readings: list[Reading] = field(default_factory=list)
    n_updates: int = 0
    n_requests: int = 0
    generations: set[int] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Start, end and what lies between, to be read."""
        return [
            f"{each.at_s:6.0f} s: {each.rss_mb:6.1f} MB, {each.n_files} files, p50 {each.p50_ms:.1f} ms, "
            f"p99 {each.p99_ms:.1f} ms, {each.n_requests} requests"
            for each in self.readings
        ] + [f"{self.n_updates} updates, {self.n_requests} requests, {len(self.errors)} errors"]


def soak(
    folder: Path, *, seconds: float, every_s: float, reading_s: float, n_updates: int = 0, n_clients: int = 8
) -> Soak:
    """Serve an index of some papers, change one every so often, and have so many clients ask all the time.

    For so many seconds, or longer until there were so many updates.
    """
    papers, index = folder / "papers", folder / "index"
    for name, text in PAPERS.items():
        (papers / name).parent.mkdir(parents=True, exist_ok=True)
        (papers / name).write_text(text, encoding="utf-8")
    texts = {hashlib.sha256(text.encode()).hexdigest(): text for text in PAPERS.values()}
    _run("index", str(papers), "--index", str(index))
    found = Soak()
    with _served(index) as (process, address):
        asking = _Asking(address, texts, found)
        threads = [threading.Thread(target=asking.run, args=(n,)) for n in range(n_clients)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        updates = threading.Thread(target=_update, args=(papers, index, texts, every_s, asking.stop, found))
        updates.start()
        while (time.monotonic() - began < seconds or found.n_updates < n_updates) and process.poll() is None:
            time.sleep(reading_s)
            found.readings.append(_reading(process.pid, time.monotonic() - began, asking.taken()))
        asking.stop.set()
        for thread in (*threads, updates):
            thread.join(60)
        if process.poll() is not None:
            found.errors.append(f"the service ended with {process.returncode}")
    return found


class _Asking:
    """Clients that ask over connections that stay open, and look at every reply."""

    def __init__(self, address: str, texts: dict[str, str], found: Soak) -> None:
        self.stop = threading.Event()
        self._address = address
        self._texts = texts
        self._found = found
        self._lock = threading.Lock()
        self._times: list[float] = []

    def run(self, first: int) -> None:
        """Ask, until it is to stop."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        for question in itertools.islice(itertools.cycle(QUESTIONS), first, None):
            if self.stop.is_set():
                break
            began = time.perf_counter()
            try:
                body = json.dumps({"query": question, "k": 5})
                connection.request("POST", "/v1/search", body, {"content-type": "application/json"})
                response = connection.getresponse()
                said = response.read()
                problem = self._judged(response.status, said)
            except (OSError, http.client.HTTPException) as error:
                problem = repr(error)
                connection.close()
            with self._lock:
                self._times.append(time.perf_counter() - began)
                self._found.n_requests += 1
                if problem:
                    self._found.errors.append(problem)
        connection.close()

    def taken(self) -> list[float]:
        """Seconds that requests took since this was asked last."""
        with self._lock:
            times, self._times = self._times, []
        return times

    def _judged(self, status: int, said: bytes) -> str:
        if status != http.client.OK:
            return f"{status}: {said.decode()}"
        reply: dict[str, Any] = json.loads(said)
        with self._lock:
            self._found.generations.add(reply["generation"])
        for hit in reply["hits"]:
            cited = hit["citation"]
            text = self._texts.get(cited["source_sha256"])
            if text is None or text[cited["start"] : cited["end"]] != hit["text"]:
                return f"generation {reply['generation']} cites what was not written: {cited['label']}"
        return "" if reply["hits"] else "nothing found"


def _update(
    papers: Path, index: Path, texts: dict[str, str], every_s: float, stop: threading.Event, found: Soak
) -> None:
    """Change a paper and index the folder, every so often; of three papers one is taken out and put back."""
    path = papers / "added.md"
    for number in itertools.count(1):
        if stop.wait(every_s):
            return
        text = f"# Limpets, again {number}\n\nPMC99001 · J · 2020\n\n## Results\n\nLimpets of day {number} held on.\n"
        texts[hashlib.sha256(text.encode()).hexdigest()] = text
        if number % 3:
            path.write_text(text, encoding="utf-8")
        else:
            path.unlink()
        try:
            _run("index", str(papers), "--index", str(index), "--prune")
        except subprocess.CalledProcessError as error:
            found.errors.append(f"index: {error.stderr}")
        found.n_updates += 1


@contextmanager
def _served(index: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = (*_COMMAND, "serve", "--index", str(index), "--port", "0", "--log-level", "warning")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = next((each for each in process.stderr if " at http://" in each), "")
            assert line, "the service did not start"
            drain = threading.Thread(target=process.stderr.read, daemon=True)
            drain.start()
            yield process, line.partition("http://")[2].split()[0]
        finally:
            process.terminate()
            process.wait(30)


def _run(*arguments: str) -> None:
    subprocess.run((*_COMMAND, *arguments), check=True, capture_output=True, text=True)


def _reading(pid: int, at_s: float, taken: list[float]) -> Reading:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    rss_kib = next(int(line.split()[1]) for line in status.split("\n") if line.startswith("VmRSS"))
    n_files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    times = sorted(taken) or [0.0]
    p99 = times[min(int(0.99 * len(times)), len(times) - 1)]
    return Reading(at_s, rss_kib * 1024 / 1e6, n_files, statistics.median(times) * 1e3, p99 * 1e3, len(taken))
