"""Worker processes: one that ends is replaced, the later the oftener it ends young."""

from __future__ import annotations

import json
import logging
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service import api, workers
from service.access import Policy
from service.cli import serving
from service.config import Settings, load_settings
from service.workers import Workers


class Clock:
    """The time, as a test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(workers.time, "monotonic", lambda: self.now)


class Process:
    """A process that dies when it is told to, and of which nothing else is known."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exitcode: int | None = None

    def is_alive(self) -> bool:
        return self.exitcode is None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def ended() -> list[int]:
    return []


@pytest.fixture
def one(clock: Clock, ended: list[int], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Workers with one place, whose processes are not real."""
    pids = iter(range(100, 200))
    monkeypatch.setattr(Workers, "_started", lambda self: Process(next(pids)))
    made = Workers(1, time.sleep, ended.append)  # type: ignore[arg-type]
    return SimpleNamespace(workers=made, place=made._places[0])


def pause_after_death(one: Any, clock: Clock, lived_s: float) -> float:
    """Seconds from a death until another process is there; it dies `lived_s` after it began."""
    clock.now += lived_s
    died = one.place.process
    died.exitcode = -9
    began = clock.now
    while one.place.process is died:
        one.workers._look_after(one.place)
        clock.now += 0.25
        assert clock.now - began < 100
    return clock.now - 0.25 - began


def test_one_that_ends_young_waits_longer_each_time(one: Any, clock: Clock, ended: list[int]) -> None:
    assert [pause_after_death(one, clock, 5) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert ended == list(range(100, 108))
    assert [pause_after_death(one, clock, lived_s) for lived_s in (61, 5, 5, 3600)] == [1, 2, 4, 1]


def test_it_is_told_how_it_ended(one: Any, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    one.place.process.exitcode = -9
    with caplog.at_level(logging.ERROR, "service.workers"):
        one.workers._look_after(one.place)
        one.workers._look_after(one.place)
    assert [each.getMessage() for each in caplog.records] == [
        "worker process 100 ended (killed by SIGKILL): another takes its place in 1 s"
    ]


def test_a_worker_takes_no_connection_before_its_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system deals connections to whatever listens: those of a process that loads for seconds would wait."""
    done: list[str] = []
    library = SimpleNamespace(warm=lambda: done.append("warm"))
    monkeypatch.setattr(serving, "opened", lambda *_: nullcontext(library))
    monkeypatch.setattr(api, "create_app", lambda *_: None)
    monkeypatch.setattr(api, "bind", lambda *_, **__: done.append("bind") or nullcontext())
    monkeypatch.setattr(api, "serve", lambda *_, **__: done.append("serve"))
    serving._serve_shared(Settings(), Policy())
    assert done == ["warm", "bind", "serve"]


def test_processes_that_do_not_end_have_their_time_together(one: Any, clock: Clock) -> None:
    """The supervisor gives all of them a few seconds more than one has."""
    waited: list[float] = []

    class Stuck(Process):
        def join(self, timeout: float) -> None:
            waited.append(timeout)
            clock.now += timeout

        def terminate(self) -> None: ...

        def kill(self) -> None:
            self.exitcode = -9

    places = [SimpleNamespace(process=Stuck(n)) for n in range(4)]
    one.workers._places = places
    one.workers.__exit__(None, None, None)
    assert sum(waited) == workers._GRACE_S
    assert [each.process.exitcode for each in places] == [-9] * 4


def test_a_worker_that_cannot_start_says_why_in_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = load_settings(index=tmp_path / "none", log_format="json")
    with pytest.raises(SystemExit) as ended:
        serving._serve_shared(settings, Policy())
    (line,) = capfd.readouterr().err.splitlines()
    assert (ended.value.code, json.loads(line)["level"]) == (3, "error")
    assert "there is no index in" in json.loads(line)["message"]
