"""Kills what lives in a folder, and removes the folder, once it is told to or its standard input ends: so also where
the process that started it was killed itself. `python keeper.py FOLDER`; a script of its own, to start at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

_TIMEOUT_S = 30
_SHARED_MEMORY_LINE = 6
"""Of `postmaster.pid`, from 0: the key and the id of the server's System V segment."""


def living_in(folder: Path) -> dict[psutil.Process, Path]:
    """The processes whose working folder is this one or below it, with theirs. Every process of a PostgreSQL server
    works in its data folder, so that none is missed, also none that lost its parent."""
    working = {each: each.info["cwd"] for each in psutil.process_iter(["cwd"])}
    return {each: Path(where) for each, where in working.items() if where and Path(where).is_relative_to(folder)}


def kill_all_in(folder: Path) -> None:
    """Kill them all, none seeing another's end: they are stopped first. They are gone when this returns."""
    worked_in: set[Path] = set()
    ends = time.monotonic() + _TIMEOUT_S
    while found := living_in(folder):
        if time.monotonic() > ends:
            raise TimeoutError(f"still alive in {folder} after {_TIMEOUT_S} s: {[each.pid for each in found]}")
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for each in found:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(number)
        worked_in.update(found.values())
        time.sleep(0.005)
    for data in worked_in:
        _free_shared_memory(data)


def _free_shared_memory(data: Path) -> None:
    """Remove the segment of a server that was killed, as the kernel keeps it."""
    with suppress(FileNotFoundError):  # what was killed was none, or had not come so far; or there is no ipcrm
        lines = (data / "postmaster.pid").read_text().splitlines()
        for shared in lines[_SHARED_MEMORY_LINE : _SHARED_MEMORY_LINE + 1]:
            subprocess.run(["ipcrm", "-m", shared.split()[1]], check=False, capture_output=True)


if __name__ == "__main__":
    kept = Path(sys.argv[1])
    sys.stdin.buffer.read(1)
    kill_all_in(kept)
    shutil.rmtree(kept)
