"""Vectors as bits, for the graph: which side of random planes they lie on. How many sides two share says how near they
are (Charikar 2002); planes at right angles to one another, a batch of as many as dimensions, say it better than others
(super-bit hashing, Ji et al. 2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_BATCHES = 3
"""Bits a dimension. docs/decisions/0013-postgresql.md."""
_SEED = 0


def n_bits(dim: int) -> int:
    """Of a code of vectors of `dim` dimensions."""
    return _BATCHES * dim


def codes(packed: Sequence[bytes], dim: int) -> list[bytes]:
    """The code of each of these vectors, as float32 bytes: `n_bits` bits, the first one the highest of its byte."""
    vectors = np.frombuffer(b"".join(packed), dtype="<f4").reshape(len(packed), dim)
    return [row.tobytes() for row in np.packbits(vectors @ _planes(dim) > 0, axis=1)]


@lru_cache(maxsize=4)
def _planes(dim: int) -> npt.NDArray[np.float32]:
    """The planes' normals, (dim, n_bits): the same wherever and whenever they are made."""
    numbers = np.random.RandomState(_SEED)
    batches = [_at_right_angles(numbers.standard_normal((dim, dim))) for _ in range(_BATCHES)]
    return np.concatenate(batches, axis=1).astype(np.float32)


def _at_right_angles(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The orthogonal matrix of the QR decomposition whose R has a positive diagonal, of which there is but one."""
    normals, others = np.linalg.qr(numbers)
    return np.asarray(normals * np.sign(np.diag(others)))
