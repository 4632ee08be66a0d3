"""Vectors and words <-> the bytes that a row holds. Knows nothing of tables."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from indexer.embedding import PassageVectors, Vectors
from indexer.errors import IndexDamagedError
from indexer.store.sql import REBUILD

SENTENCE_BREAK = "\n"
"""Between the terms of two sentences of a passage."""
LINE_END = 0
"""What stands among the codes of words where a line ends."""

MAX_TEXT_BYTES = 500_000_000
"""Of a text that is kept: ten times what a file may have, whose Markdown is seldom longer than itself. A few KB can
unpack to a thousand times as many."""

_CODE = np.dtype("<u4")
_SCALE = np.dtype("<f4")
_LEVELS = 127
"""A sentence vector is kept in 8-bit levels of its own largest component: a quarter of the bytes, and a cosine that is
off by less than 0.01."""


def pack(vectors: PassageVectors) -> tuple[bytes, bytes]:
    """The passage's vector in float32; its sentences' scales in float32 and levels in int8."""
    scales = np.max(np.abs(vectors.sentences), axis=1, keepdims=True) / _LEVELS
    levels = np.rint(vectors.sentences / np.maximum(scales, np.finfo(np.float32).tiny)).astype(np.int8)
    return vectors.passage.astype(_SCALE).tobytes(), scales.astype(_SCALE).tobytes() + levels.tobytes()


def unpack_passage(blob: bytes, dim: int) -> Vectors:
    """(dim,) float32. Raises IndexDamagedError."""
    if len(blob) != dim * _SCALE.itemsize:
        raise _damaged()
    return np.frombuffer(blob, dtype=_SCALE)


def unpack_sentences(blob: bytes, dim: int) -> Vectors:
    """(n_sentences, dim) float32. Raises IndexDamagedError."""
    n = _n_sentences(blob, dim)
    scales = np.frombuffer(blob, dtype=_SCALE, count=n)
    levels = np.frombuffer(blob, dtype=np.int8, offset=n * _SCALE.itemsize).reshape(n, dim)
    return np.asarray(levels * scales[:, np.newaxis], dtype=np.float32)


def cosines(
    vector: Vectors, passages: Sequence[bytes], sentences: Sequence[bytes]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Similarity of packed passages (n,) and of all their sentences (m,) to a vector, and how many each has (n,).

    Raises IndexDamagedError.
    """
    if any(len(blob) != len(vector) * _SCALE.itemsize for blob in passages):
        raise _damaged()
    whole = np.frombuffer(b"".join(passages), dtype=_SCALE).reshape(len(passages), len(vector)) @ vector
    counts = np.array([_n_sentences(blob, len(vector)) for blob in sentences], dtype=np.int64)
    split = [(blob, int(n) * _SCALE.itemsize) for blob, n in zip(sentences, counts, strict=True)]
    scales = np.frombuffer(b"".join(blob[:at] for blob, at in split), dtype=_SCALE)
    levels = np.frombuffer(b"".join(blob[at:] for blob, at in split), dtype=np.int8).reshape(-1, len(vector))
    return whole, levels.astype(np.float32) @ vector * scales, counts


def pack_text(text: str) -> bytes:
    """The text, smaller."""
    return zlib.compress(text.encode())


def unpack_text(blob: bytes) -> str:
    """The text that `pack_text` packed. Raises IndexDamagedError, also for one that says more than any paper does."""
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(blob, MAX_TEXT_BYTES)
        if not unpacker.eof or unpacker.unused_data:
            raise _damaged()
        return raw.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise _damaged() from error


def pack_words(terms: str) -> bytes:
    """The codes of terms, with a space between and a sentence a line, as uint32; `LINE_END` after each line."""
    codes = [code for line in terms.split(SENTENCE_BREAK) for code in (*map(word_code, line.split()), LINE_END)]
    return np.array(codes, dtype=_CODE).tobytes()


def unpack_words(blobs: Sequence[bytes]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """The codes of several rows one after the other, (n_codes,), and how many each has, (n_rows,).

    Raises IndexDamagedError.
    """
    if any(len(blob) % _CODE.itemsize for blob in blobs):
        raise _damaged()
    counts = np.array([len(blob) // _CODE.itemsize for blob in blobs], dtype=np.int64)
    return np.frombuffer(b"".join(blobs), dtype=_CODE), counts


@lru_cache(maxsize=1 << 16)
def word_code(term: str) -> int:
    """A number for a term: CRC-32, never 0. Two terms share one in four billion times."""
    return zlib.crc32(term.encode()) or 1


def _n_sentences(blob: bytes, dim: int) -> int:
    n, rest = divmod(len(blob), _SCALE.itemsize + dim)
    if rest:
        raise _damaged()
    return n


def _damaged() -> IndexDamagedError:
    return IndexDamagedError(f"a row of the index cannot be read. {REBUILD}")
