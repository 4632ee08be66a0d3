"""What an index was made with, and its commits: the two tables that every engine has."""

from __future__ import annotations

import json
import operator
import secrets
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

from indexer.chunking import CHUNKER_VERSION
from indexer.config import BuildConfig
from indexer.embedding import Encoder, ModelIdentity
from indexer.errors import ConfigError, IndexDamagedError, IndexMismatchError
from indexer.store.sql import REBUILD, Connection
from indexer.terms import TERMS_VERSION

TOKEN_BYTES = 8
_MAX_DIM = 1 << 16
"""Of a vector: sixteen times what the largest embedders give."""


class Commit(NamedTuple):
    """What an index was at one moment. Two indexes, or two ways on from one backup, share no commit made apart."""

    generation: int
    token: str
    """Random: a generation's number alone says nothing of whose it is."""

    @classmethod
    def after(cls, generation: int) -> Commit:
        """The commit that follows."""
        return cls(generation + 1, secrets.token_hex(TOKEN_BYTES))


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an index was made with."""

    config: BuildConfig
    model: ModelIdentity
    encoder: Encoder = field(compare=False)
    """What ran the model when the index was begun. Another may go on: their vectors agree."""
    chunker_version: int = CHUNKER_VERSION
    terms_version: int = TERMS_VERSION

    def to_json(self) -> str:
        """Canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """The manifest that `to_json` wrote. Raises IndexDamagedError."""
        try:
            raw = json.loads(text)
            found = cls(
                BuildConfig(**raw.pop("config")),
                ModelIdentity(**raw.pop("model")),
                Encoder(**raw.pop("encoder")),
                **raw,
            )
            if not 0 < operator.index(found.model.dim) <= _MAX_DIM:
                raise ValueError(f"vectors of {found.model.dim} dimensions")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ConfigError) as error:
            raise IndexDamagedError(f"the index's manifest cannot be read ({error}): {REBUILD}") from error
        return found

    def check(self, wanted: Manifest) -> None:
        """Raise IndexMismatchError, naming the first difference, unless `wanted` is the same."""
        if self == wanted:
            return
        pairs = [
            ("model", self.model.name, wanted.model.name),
            ("model weights", self.model.weights_sha256[:12], wanted.model.weights_sha256[:12]),
            ("model identity", self.model, wanted.model),
            ("chunker version", self.chunker_version, wanted.chunker_version),
            ("terms version", self.terms_version, wanted.terms_version),
            ("configuration", self.config, wanted.config),
        ]
        what, made, asked = next(pair for pair in pairs if pair[1] != pair[2])
        raise IndexMismatchError(f"{what}: the index was made with {made}, now it is {asked}. {REBUILD}")


def read_commit(connection: Connection) -> Commit:
    """The newest commit. Raises IndexDamagedError."""
    row = connection.execute("SELECT generation, token FROM commits ORDER BY generation DESC LIMIT 1").fetchone()
    if row is None:
        raise IndexDamagedError(f"the index's manifest is incomplete. {REBUILD}")
    return Commit(*row)


def read_meta(connection: Connection) -> tuple[Commit, Manifest]:
    """The newest commit, and the manifest. Raises IndexDamagedError."""
    commit = read_commit(connection)
    manifest = connection.execute("SELECT value FROM meta WHERE key = 'manifest'").fetchone()
    if manifest is None:
        raise IndexDamagedError(f"the index's manifest is incomplete. {REBUILD}")
    return commit, Manifest.from_json(manifest[0])


def is_known(connection: Connection, commit: Commit) -> bool:
    """Whether that commit led to what the connection sees, or is it."""
    found = connection.execute("SELECT 1 FROM commits WHERE generation = ? AND token = ?", commit)
    return found.fetchone() is not None


def read_commits(connection: Connection) -> frozenset[Commit]:
    """Every commit that led to what the connection sees, its own among them."""
    return frozenset(Commit(*row) for row in connection.execute("SELECT generation, token FROM commits"))
