"""What the index has now, for whoever watches: looked at anew each time, and never waited for beyond a few seconds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING

from indexer.errors import IndexUnreachableError

if TYPE_CHECKING:
    from service.replies import VitalSigns

PATIENCE_S = 5.0
"""A server that does not answer is given up after three seconds; Prometheus gives up after ten."""


class Pulse:
    """One look at a time, in a thread of its own. Who asks meanwhile waits for the same one."""

    def __init__(self, look: Callable[[], VitalSigns], patience_s: float = PATIENCE_S) -> None:
        self._look = look
        self._patience_s = patience_s
        self._thread = ThreadPoolExecutor(1, "pulse")
        self._turn = Lock()
        self._looking: Future[VitalSigns] | None = None

    def __call__(self) -> VitalSigns:
        """What it has. Raises what the look raises, and IndexUnreachableError where that takes too long."""
        with self._turn:
            if self._looking is None or self._looking.done():
                self._looking = self._thread.submit(self._look)
            looking = self._looking
        try:
            return looking.result(self._patience_s)
        except TimeoutError as error:
            raise IndexUnreachableError(f"the index did not say within {self._patience_s:g} s what it has") from error
