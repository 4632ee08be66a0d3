"""What an embedder takes and gives, whatever runs its model. Knows nothing of model files."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""(n, dim) float32, each row of unit length; or (dim,) for one text."""

Precision = Literal["int8", "fp32", "reference"]
"""What a model computes with: ONNX Runtime's bytes or floats, or sentence-transformers itself."""


@dataclass(frozen=True, slots=True)
class PassageText:
    """What the embedder reads of a passage, and of each of its sentences."""

    text: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PassageVectors:
    """A passage as the embedder sees it: whole, and sentence by sentence."""

    passage: Vectors
    """(dim,)"""
    sentences: Vectors
    """(n_sentences, dim)"""


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """What must agree between the vectors of an index and those of a query."""

    name: str
    revision: str
    weights_sha256: str
    dim: int
    pooling: str
    max_wordpieces: int
    """The longest text that the model reads, special tokens and prompt included."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """What runs the model. Vectors of one model agree whatever ran it, as closely as `cosine` says."""

    precision: Precision
    cosine: float
    """To sentence-transformers' own vectors: the mean over a sample of texts; 1.0 for sentence-transformers itself."""


class Embedder(Protocol):
    """Turns texts into vectors of unit length. Safe to use from several threads."""

    @property
    def identity(self) -> ModelIdentity:
        """Which model this is, to the byte."""
        ...

    @property
    def encoder(self) -> Encoder:
        """What runs it."""
        ...

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens that each text takes up in the model, special tokens and prompt included."""
        ...

    def encode(
        self, passages: Sequence[PassageText], on_progress: Callable[[int], None] = lambda n: None
    ) -> list[PassageVectors]:
        """Passages and their sentences, in order. `on_progress` hears how many more wordpieces have been read.

        Raises ModelError for a text longer than the model reads.
        """
        ...

    def encode_query(self, text: str) -> Vectors:
        """A query -> (dim,). A text longer than the model reads is encoded in pieces, and their mean taken."""
        ...


def unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    """The vectors, (..., dim), at unit length."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def mean_vector(vectors: Sequence[Vectors]) -> Vectors:
    """The direction between vectors: (dim,), of unit length."""
    return unit(np.mean(vectors, axis=0))


def split_to_fit(text: str, fits: Callable[[str], bool]) -> list[str]:
    """The text in pieces that each fit, cut between words where there are any; whole if it fits so."""
    if len(text) < 2 or fits(text):
        return [text]
    middle = len(text) // 2
    gap = text.find(" ", middle)
    half = gap if gap > 0 else middle  # Chinese is written without spaces
    return split_to_fit(text[:half], fits) + split_to_fit(text[half:], fits)


def available_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
