"""How alike two texts are, without both of them at hand: MinHash over their runs of five words.

Broder 1997, "On the resemblance and containment of documents"; near-duplicates are looked up by bands of the signature
(Leskovec, Rajaraman & Ullman, Mining of Massive Datasets, ch. 3). Knows nothing of papers and indexes.
"""

from __future__ import annotations

import re
from zlib import crc32

import numpy as np

SHINGLE_WORDS = 5
MIN_WORDS = 100
"""A shorter text has no signature: notices and placeholders are alike without being one."""
_N_BANDS = 40
_BAND_ROWS = 3
"""Two texts that share half of their runs share a band in all but (1 - 0.5^3)^40 = 5 of 1,000 cases; two that share a
hundredth, in 4 of 100,000."""
_SEED = 1
_WORD = re.compile(r"[^\W\d_]{2,}")
"""Letters only: numbers and citation markers differ between formats of one text."""


def words_of(text: str) -> list[str]:
    """The words that likeness is told by, in order."""
    return _WORD.findall(text.lower())


def signature(words: list[str]) -> bytes:
    """120 numbers of 32 bits; empty for a text too short to tell."""
    if len(words) < MIN_WORDS:
        return b""
    from datasketch import MinHash  # brings scipy, which takes a second to load

    runs = {" ".join(words[n : n + SHINGLE_WORDS]).encode() for n in range(len(words) - SHINGLE_WORDS + 1)}
    made = MinHash(num_perm=_N_BANDS * _BAND_ROWS, seed=_SEED, hashfunc=crc32, scheme="affine32")
    made.update_batch(runs)
    return np.asarray(made.hashvalues, dtype="<u4").tobytes()


def resemblance(one: bytes, other: bytes) -> float:
    """Share of the runs of either text that both have (Jaccard), as the signatures tell it (standard error up to
    0.046); 0 where either has none."""
    if not one or not other:
        return 0.0
    return float(np.mean(np.frombuffer(one, dtype="<u4") == np.frombuffer(other, dtype="<u4")))


def bands(of: bytes) -> list[int]:
    """What a signature is looked up by: texts that share one may be alike. 64-bit numbers; none of an empty one."""
    rows = np.frombuffer(of, dtype="<u4").reshape(-1, _BAND_ROWS) if of else np.empty((0, _BAND_ROWS), dtype="<u4")
    return [crc32(row.tobytes()) << 8 | n for n, row in enumerate(rows)]
