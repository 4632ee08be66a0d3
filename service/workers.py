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
from multiprocessing import connection, get_context, parent_process
from multiprocessing.process import BaseProcess
from threading import Thread
from types import TracebackType
from typing import Self

_log = logging.getLogger(__name__)

_CONTEXT = get_context("spawn")
_PAUSE = 1.0
"""Seconds before a process that ended is replaced: one that cannot start must not take a CPU."""
_GRACE = 30.0
"""Seconds that a process has to end when it is told to: more than it gives what it has begun."""


class Workers:
    """Processes that each call `work` once, which goes on until SIGTERM or SIGINT. One that ends is replaced."""

    def __init__(self, n: int, work: Callable[[], None]) -> None:
        """`work` must be picklable."""
        self._work = work
        self._ending = False
        self._processes = [self._started() for _ in range(n)]
        self._watcher = Thread(target=self._watch, daemon=True)

    def _started(self) -> BaseProcess:
        process = _CONTEXT.Process(target=_run, args=(self._work,), daemon=True)
        process.start()
        return process

    def _watch(self) -> None:
        while self._processes:
            connection.wait([process.sentinel for process in self._processes])
            time.sleep(_PAUSE)
            if self._ending:
                return
            for n, process in enumerate(self._processes):
                if not process.is_alive():
                    _log.warning("a worker process ended (exit code %s): another takes its place", process.exitcode)
                    self._processes[n] = self._started()

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def stop(self) -> None:
        """Tell them to end, and go on; may be called from a signal's handler."""
        self._ending = True
        for process in self._processes:
            process.terminate()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for process in self._processes:
            process.join(_GRACE)
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
