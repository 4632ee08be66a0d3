"""What FAISS's own bytes claim, checked before FAISS reads them.

FAISS trusts the numbers in a file: it allocates what they say, and may read past what is there. A checksum tells of
damage, not of whoever made the file. So only the two kinds of index that are written here are let through, and only
where every length in them is what follows from the others, to the last byte. Knows nothing of FAISS's code.
"""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_HEADER = struct.Struct("<4siqqqBi")
"""FAISS's `write_index_header`: kind, dimension, number of vectors, two of no use, whether trained, metric."""
_LIST_HEADS = struct.Struct("<QQ")
_QUANTIZER = struct.Struct("<iifQQ")
"""Kind, how its range is found, with what, dimension, bytes a vector."""
_SIZE = struct.Struct("<Q")
_INNER_PRODUCT, _8_BITS, _NO_MAP = 0, 0, 0
_FLOAT, _ID = 4, 8
_MAX_VECTORS = 1 << 40

Ids = npt.NDArray[np.int64]


class PayloadError(ValueError):
    """What the bytes hold is not an index as it is written here."""


def check_payload(payload: npt.NDArray[np.uint8], dim: int) -> tuple[Ids, int]:
    """The ids in a serialised index, ascending, and how many lists it has: 0 where every vector is compared.

    Raises PayloadError for anything but an inner-product `IDMap2,Flat` or `IVF,SQ8` of that dimension, whole.
    """
    reading = _Reading(payload)
    kind, n = reading.header(dim, (b"IxM2", b"IwSq"))
    ids, n_lists = _mapped(reading, n, dim) if kind == b"IxM2" else _listed(reading, n, dim)
    reading.end()
    ids.sort()
    if n and (ids[0] < 0 or (ids[1:] == ids[:-1]).any()):
        raise PayloadError("ids that are negative, or given twice")
    return ids, n_lists


class _Reading:
    """A place in the payload that goes on, never past its end."""

    def __init__(self, payload: npt.NDArray[np.uint8]) -> None:
        self._payload = payload
        self._at = 0

    def take(self, n_bytes: int) -> npt.NDArray[np.uint8]:
        """The next bytes."""
        if not 0 <= n_bytes <= len(self._payload) - self._at:
            raise PayloadError(f"{n_bytes:,} bytes where {len(self._payload) - self._at:,} are left")
        self._at += n_bytes
        return self._payload[self._at - n_bytes : self._at]

    def numbers(self, form: struct.Struct) -> tuple[int, ...]:
        """The numbers that stand there in that form."""
        return form.unpack(self.take(form.size).tobytes())

    def header(self, dim: int, kinds: tuple[bytes, ...]) -> tuple[bytes, int]:
        """The kind of the index that begins there, and its number of vectors."""
        kind, own_dim, n, _, _, is_trained, metric = _HEADER.unpack(self.take(_HEADER.size).tobytes())
        if kind not in kinds or own_dim != dim or is_trained != 1 or metric != _INNER_PRODUCT:
            raise PayloadError(f"an index {kind!r} of {own_dim} dimensions")
        if not 0 <= n < _MAX_VECTORS:
            raise PayloadError(f"{n} vectors")
        return kind, n

    def vector(self, n: int, n_bytes: int) -> npt.NDArray[np.uint8]:
        """The bytes of a list of `n` numbers of that size, which says its own length."""
        self.expect(_SIZE, n)
        return self.take(n * n_bytes)

    def expect(self, form: struct.Struct, *wanted: int) -> None:
        """Go past these numbers. Raises PayloadError where others stand there."""
        found = self.numbers(form)
        if found != wanted:
            raise PayloadError(f"{found} where {wanted} must stand")

    def end(self) -> None:
        """Raises PayloadError where bytes are left."""
        if self._at != len(self._payload):
            raise PayloadError(f"{len(self._payload) - self._at:,} bytes too many")


def _mapped(reading: _Reading, n: int, dim: int) -> tuple[Ids, int]:
    """The rest of an `IDMap2,Flat`."""
    _flat(reading, n, dim)
    return _ids(reading.vector(n, _ID)), 0


def _flat(reading: _Reading, n: int, dim: int) -> None:
    _, own_n = reading.header(dim, (b"IxFI",))
    if own_n != n:
        raise PayloadError(f"{own_n} vectors for {n} ids or lists")
    reading.vector(n * dim, _FLOAT)


def _listed(reading: _Reading, n: int, dim: int) -> tuple[Ids, int]:
    """The rest of an `IVF,SQ8`: the lists' centroids, the levels of each dimension, and the lists."""
    n_lists, _ = reading.numbers(_LIST_HEADS)
    _flat(reading, n_lists, dim)
    if reading.take(1)[0] != _NO_MAP:
        raise PayloadError("a direct map")
    reading.vector(0, _ID)
    kind, _, _, own_dim, code_size = reading.numbers(_QUANTIZER)
    if (kind, own_dim, code_size) != (_8_BITS, dim, dim):
        raise PayloadError(f"codes of kind {kind} with {code_size} bytes for {own_dim} dimensions")
    reading.vector(2 * dim, _FLOAT)
    reading.expect(_SIZE, dim)
    if reading.take(1)[0] > 1:  # whether codes are of what is left of a vector without its centroid
        raise PayloadError("a truth value that is none")
    sizes = _list_sizes(reading, n_lists, dim)
    if sum(sizes) != n:
        raise PayloadError(f"{sum(sizes)} vectors in lists of {n}")
    parts = []
    for size in sizes:
        reading.take(size * dim)
        parts.append(_ids(reading.take(size * _ID)))
    return np.concatenate([np.empty(0, dtype=np.int64), *parts]), n_lists


def _list_sizes(reading: _Reading, n_lists: int, dim: int) -> list[int]:
    """How many vectors stand in each list that has any: of all lists, or of those named."""
    if reading.take(4).tobytes() != b"ilar":
        raise PayloadError("lists of another kind")
    reading.expect(_LIST_HEADS, n_lists, dim)
    form = reading.take(4).tobytes()
    if form == b"full":
        return _unsigned(reading.vector(n_lists, _SIZE.size))
    (n,) = reading.numbers(_SIZE)
    named = _unsigned(reading.take(n * _SIZE.size))
    numbers, sizes = named[::2], named[1::2]
    ascend = all(one < other for one, other in pairwise(numbers))
    if form != b"sprs" or n % 2 or not ascend or max(numbers, default=-1) >= n_lists:
        raise PayloadError("lists that are named twice, or that there are not")
    return sizes


def _unsigned(found: npt.NDArray[np.uint8]) -> list[int]:
    return [int(each) for each in np.frombuffer(found.tobytes(), dtype="<u8")]


def _ids(found: npt.NDArray[np.uint8]) -> Ids:
    return np.frombuffer(found.tobytes(), dtype="<i8").astype(np.int64)
