"""API keys: a small file of their hashes, which commands write and running servers read. Knows nothing of HTTP.

Secrets are 256 random bits, and only their SHA-256 is kept. A slow hash (argon2, scrypt) would add nothing: those make
*guessable* passwords dear to try, and of 2^256 equally likely secrets none can be guessed at any speed, while each
request would pay for it, which is a lever for whoever wants to keep the service busy.

What a browser is given is not the key but a token derived from it, whose hash is kept beside: the token opens pages and
nothing else, the key cannot be had from it, and neither can be had from the file. It ends with its key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError

from indexer.durable import write_whole
from indexer.errors import ConfigError, NotFoundError, UsageError

Scope = Literal["read", "admin"]

PREFIX = "loccit_"
"""What every secret begins with, so that people, and scanners for leaked secrets, know one."""
_N_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TOKEN_OF = b"loccit: a browser's token, version 1"
_MAX_FILE_BYTES = 1_000_000
_LOCK_S = 10.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """A key as it is kept. No one is let in by what stands here."""

    name: str
    scope: Scope
    created: str
    """The day, in UTC."""
    secret_sha256: str
    token_sha256: str
    """Of what a browser has of it."""


@dataclass(frozen=True, slots=True)
class _Written:
    """The file."""

    version: Literal[1]
    keys: tuple[Key, ...]


_FILE = TypeAdapter(_Written)


def token_of(secret: str) -> str:
    """What a browser is given in place of the secret."""
    return hmac.new(secret.encode(), _TOKEN_OF, hashlib.sha256).hexdigest()


class KeyFile:
    """The keys in a file. A change of the file counts from the next look on; may be used from several threads."""

    def __init__(self, path: Path) -> None:
        """A file that is not there has no keys."""
        self.path = path
        self._reading = Lock()
        self._seen: tuple[int, ...] | None = None
        self._keys: tuple[Key, ...] = ()

    def __reduce__(self) -> tuple[type[KeyFile], tuple[Path]]:
        """For another process: where the file is, and nothing of what stands in it."""
        return KeyFile, (self.path,)

    def all(self) -> tuple[Key, ...]:
        """All of them, in the order in which they were added. Raises ConfigError for a file that is none of ours."""
        with self._reading:
            try:
                found = self.path.stat()
            except FileNotFoundError:
                if self._seen is not None:
                    _log.warning("%s, the file of keys, is gone: no key is known until it is back", self.path)
                self._seen, self._keys = None, ()
                return ()
            except OSError as error:
                raise ConfigError(f"the keys in {self.path} cannot be read: {error.strerror}") from error
            now = (found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode, found.st_uid)
            if now != self._seen:
                self._keys = _read(self.path, found)
                self._seen = now
            return self._keys

    def with_secret(self, secret: str) -> Key | None:
        """The key whose secret that is. Every key is compared, each in constant time."""
        return self._found(_sha256(secret), "secret_sha256")

    def with_token(self, token: str) -> Key | None:
        """The key that a browser has the token of, in the same way."""
        return self._found(_sha256(token), "token_sha256")

    def add(self, name: str, scope: Scope) -> str:
        """Add a key; gives its secret, which no one can find out again. Raises UsageError for a name that is taken."""
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{name!r} is no name of a key: letters, digits, `.`, `_`, `@` and `-`, at most 64 of them, and the "
                "first a letter or digit"
            )
        secret = PREFIX + secrets.token_urlsafe(_N_BYTES)
        with self._changing():
            keys = self.all()
            if any(each.name == name for each in keys):
                raise UsageError(
                    f"there is a key called {name} already: choose another name, or run `loccit keys remove {name}`"
                )
            today = datetime.now(UTC).date().isoformat()
            self._write((*keys, Key(name, scope, today, _sha256(secret), _sha256(token_of(secret)))))
        return secret

    def remove(self, name: str) -> None:
        """Take a key out. Raises NotFoundError."""
        with self._changing():
            keys = self.all()
            left = tuple(each for each in keys if each.name != name)
            if left == keys:
                raise NotFoundError(f"there is no key called {name!r} in {self.path}: `loccit keys list` names those")
            self._write(left)

    def _found(self, digest: str, field: Literal["secret_sha256", "token_sha256"]) -> Key | None:
        found = None
        for each in self.all():
            if hmac.compare_digest(getattr(each, field), digest):
                found = each
        return found

    @contextmanager
    def _changing(self) -> Iterator[None]:
        lock = FileLock(f"{self.path}.lock", timeout=_LOCK_S, mode=0o600)
        try:
            lock.acquire()
        except Timeout as error:
            raise ConfigError(f"another process is changing {self.path}: try again") from error
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            yield
        finally:
            lock.release()

    def _write(self, keys: tuple[Key, ...]) -> None:
        text = json.dumps(asdict(_Written(1, keys)), indent=1) + "\n"
        try:
            write_whole(self.path, text.encode(), mode=0o600)
        except OSError as error:
            raise _unwritable(self.path, error) from error


def _read(path: Path, found: os.stat_result) -> tuple[Key, ...]:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path} is no file of keys: name one with LOCCIT_KEYS or --keys")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(f"others may write to {path}, and so make keys for themselves: run `chmod 600 {path}`")
    if found.st_size > _MAX_FILE_BYTES:
        raise ConfigError(f"{path} has {found.st_size:,} bytes, which no file of keys has")
    try:
        return _FILE.validate_json(path.read_bytes(), strict=False).keys
    except OSError as error:
        raise ConfigError(f"the keys in {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        # What stands there is not repeated.
        raise ConfigError(
            f"{path} is no file of keys, or is damaged: move it away, and make keys with `loccit keys add NAME`"
        ) from error


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"{path} cannot be written: {error.strerror}; name another place with LOCCIT_KEYS or --keys")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
