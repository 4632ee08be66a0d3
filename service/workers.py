"""More processes that do the same work, for as long as this one does it. Knows nothing of what the work is.

One Python process works on one request at a time, however many threads it has.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import RLock, Thread
from types import TracebackType
from typing import Self

_log = logging.getLogger(__name__)

_CONTEXT = get_context("spawn")
_PAUSE_S = 1.0
"""Before a process that ended is replaced. Twice as long each time it ends young: one that cannot start must not take
a CPU."""
_MAX_PAUSE_S = 60.0
_YOUNG_S = 60.0
"""A process that went on for longer had started well."""
_GRACE_S = 30.0
"""That processes have to end when they are told to: more than they give what they have begun."""


@dataclass(slots=True)
class _Place:
    """One of the processes, and what becomes of it."""

    process: BaseProcess
    started_at: float
    pause_s: float = _PAUSE_S / 2
    due_at: float | None = None
    """When another takes its place; None while it lives."""


class Workers:
    """Processes that each call `work` once, which goes on until SIGTERM or SIGINT. One that ends is replaced."""

    def __init__(self, n: int, work: Callable[[], None], ended: Callable[[int], None] = lambda pid: None) -> None:
        """`work` must be picklable. `ended` is told of a process that came to an end unasked."""
        self._work = work
        self._ended = ended
        self._turn = RLock()  # a signal may come to the thread that has it
        self._ending = False
        self._places = [_Place(self._started(), time.monotonic()) for _ in range(n)]
        self._watcher = Thread(target=self._watch, daemon=True)

    def _started(self) -> BaseProcess:
        process = _CONTEXT.Process(target=_run, args=(self._work,), daemon=True)
        process.start()
        return process

    def _watch(self) -> None:
        while self._places:
            dues = [place.due_at for place in self._places if place.due_at is not None]
            timeout_s = max(0.0, min(dues) - time.monotonic()) if dues else None
            ended = connection.wait([each.process.sentinel for each in self._places if each.due_at is None], timeout_s)
            with self._turn:
                if self._ending:
                    return
                for place in self._places:
                    if place.process.sentinel in ended:
                        place.process.join()  # its files are closed, and it may not be quite gone
                    self._look_after(place)

    def _look_after(self, place: _Place) -> None:
        now = time.monotonic()
        if place.due_at is None and not place.process.is_alive():
            is_young = now - place.started_at < _YOUNG_S
            place.pause_s = min(2 * place.pause_s, _MAX_PAUSE_S) if is_young else _PAUSE_S
            place.due_at = now + place.pause_s
            code = place.process.exitcode or 0
            _log.error(
                "worker process %d ended (%s): another takes its place in %.0f s",
                place.process.pid,
                f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}",
                place.pause_s,
            )
            if place.process.pid is not None:
                self._ended(place.process.pid)
        elif place.due_at is not None and now >= place.due_at:
            place.process, place.started_at, place.due_at = self._started(), now, None

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def stop(self) -> None:
        """Tell them to end, and go on; may be called from a signal's handler."""
        with self._turn:
            self._ending = True
        for place in self._places:
            place.process.terminate()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        until = time.monotonic() + _GRACE_S
        for process in [place.process for place in self._places]:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()


def _run(work: Callable[[], None]) -> None:
    Thread(target=_end_with_parent, daemon=True).start()
    with suppress(KeyboardInterrupt):  # Ctrl-C goes to every process of a terminal
        work()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
