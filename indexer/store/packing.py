"""Vectors <-> the bytes that a row holds. Knows nothing of tables."""

from __future__ import annotations

import numpy as np

from indexer.embedding import PassageVectors, Vectors

_SCALE = np.dtype("<f4")
_LEVELS = 127
"""A sentence vector is kept in 8-bit levels of its own largest component: a quarter of the bytes, and a cosine that is
off by less than 0.01."""


def pack(vectors: PassageVectors) -> tuple[bytes, bytes]:
    """The passage's vector in float32; its sentences' scales in float32 and levels in int8."""
    scales = np.max(np.abs(vectors.sentences), axis=1, keepdims=True) / _LEVELS
    levels = np.rint(vectors.sentences / np.maximum(scales, np.finfo(np.float32).tiny)).astype(np.int8)
    return vectors.passage.astype(_SCALE).tobytes(), scales.astype(_SCALE).tobytes() + levels.tobytes()


def unpack_passage(blob: bytes) -> Vectors:
    """(dim,) float32."""
    return np.frombuffer(blob, dtype=_SCALE)


def unpack_sentences(blob: bytes, dim: int) -> Vectors:
    """(n_sentences, dim) float32."""
    n = len(blob) // (_SCALE.itemsize + dim)
    scales = np.frombuffer(blob, dtype=_SCALE, count=n)
    levels = np.frombuffer(blob, dtype=np.int8, offset=n * _SCALE.itemsize).reshape(n, dim)
    return np.asarray(levels * scales[:, np.newaxis], dtype=np.float32)
