"""The fault shim: compiled, loaded into a process of its own, and told what to do."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SOURCE = Path(__file__).with_name("shim.c")
PLACE = "FAULT_SHIM"
"""The variable that names the compiled shim to the process that has it loaded."""

Fault = Literal["off", "log", "kill", "torn", "eio", "eio-once", "enospc", "enospc-once", "lose", "lose-some"]
FAULTS: tuple[Fault, ...] = ("kill", "torn", "eio", "eio-once", "enospc", "enospc-once", "lose", "lose-some")
"""Killed before the call, or in the middle of it; the call and all after it fail, or it alone; a power cut, after which
nothing stands that no fsync made durable, or a part of it."""

_MODES = {"off": 0, "log": 1, "kill": 2, "torn": 3, "eio": 4, "eio-once": 5, "enospc": 4, "enospc-once": 5}
_MODES |= {"lose": 6, "lose-some": 7}


def compiler() -> str | None:
    """A C compiler, if there is one."""
    return shutil.which("cc")


def compiled(folder: Path) -> Path:
    """The shim, compiled into the folder."""
    made = folder / "shim.so"
    command = [compiler() or "cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, "-o", str(made), str(SOURCE), "-lpthread"], check=True)
    return made


def environment(shim: Path) -> Mapping[str, str]:
    """The environment of a process that has it loaded; on one thread, as it will be forked."""
    return {
        **os.environ,
        "LD_PRELOAD": str(shim),
        PLACE: str(shim),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


@dataclass(frozen=True, slots=True)
class Shim:
    """The shim that this process has loaded."""

    library: ctypes.CDLL

    @classmethod
    def loaded(cls) -> Shim:
        """That of this process."""
        return cls(ctypes.CDLL(os.environ[PLACE]))

    def arm(self, fault: Fault, at: int, *, below: Path, grave: Path, seed: int = 0, log: int = -1) -> None:
        """Count calls below the folder anew, and do so at the `at`-th, from 1. `grave` keeps what a power cut brings
        back; `log` is a descriptor that every counted call is written to."""
        error = errno.ENOSPC if fault.startswith("enospc") else errno.EIO
        arguments = (ctypes.c_int(_MODES[fault]), ctypes.c_long(at), ctypes.c_long(seed), ctypes.c_int(error))
        self.library.fault_arm(os.fsencode(below), os.fsencode(grave), *arguments, ctypes.c_int(log))

    def set_clock(self, seconds: int) -> None:
        """Have the clock go so many seconds before or after the real one."""
        self.library.fault_clock(ctypes.c_long(seconds))
