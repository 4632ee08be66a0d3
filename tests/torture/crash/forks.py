"""Work done in forks of this process, which may be killed at any moment."""

from __future__ import annotations

import json
import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from indexer.errors import LoccitError

MAX_S = 20
"""A fork that takes longer hangs: what is done in one takes a tenth of a second."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a fork ended."""

    signal: int
    told: list[str]
    """What it had told before."""
    result: object
    """What its function gave; None where it did not come to that."""
    failed: str
    """What it raised instead."""


class Fork:
    """A fork of this process that runs a function; what that tells arrives even if it is killed then."""

    def __init__(self, function: Callable[[Tell], object], max_s: int = MAX_S) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            signal.alarm(max_s)
            _send(writing, "=" + json.dumps(_outcome(function, lambda line: _send(writing, line))))
            os._exit(0)
        os.close(writing)
        self._reading = reading

    def kill(self) -> None:
        """End it as a power switch would."""
        os.kill(self.pid, signal.SIGKILL)

    def ended(self) -> Ended:
        """How it ended, once it has."""
        with os.fdopen(self._reading, encoding="utf-8") as pipe:
            lines = pipe.read().splitlines()
        _, status = os.waitpid(self.pid, 0)
        last = lines.pop()[1:] if lines and lines[-1].startswith("=") else "[null, null]"
        result, failed = json.loads(last)
        return Ended(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, lines, result, failed)


def forked(function: Callable[[Tell], object]) -> Ended:
    """Run it in a fork, and wait for that."""
    return Fork(function).ended()


def _outcome(function: Callable[[Tell], object], tell: Tell) -> tuple[object, str]:
    try:
        return function(tell), ""
    except LoccitError as error:
        return None, f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        return None, traceback.format_exc()


def _send(descriptor: int, line: str) -> None:
    data = memoryview(f"{line}\n".encode())
    while data:
        data = data[os.write(descriptor, data) :]
