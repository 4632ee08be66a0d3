"""Row ids and scores of passages, as arrays."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]
"""(n,) int64: ids of rows."""
Scores = npt.NDArray[np.float64]
"""(n,) float64."""


def are_in(ids: npt.NDArray[np.integer], ascending: Ids) -> npt.NDArray[np.bool_]:
    """Which of the ids are among the others, (len(ids),)."""
    if not len(ascending):
        return np.zeros(len(ids), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ascending, ids), len(ascending) - 1)
    return np.asarray(ascending[places] == ids)
