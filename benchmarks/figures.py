"""Times -> the figures that stand in a report. Knows nothing of what was timed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

Row = dict[str, float]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(seconds: Sequence[float]) -> Row:
    """n, and p50, p95 and p99 in milliseconds."""
    shares = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
    return {"n": len(seconds), **{name: 1000 * percentile(seconds, share) for name, share in shares.items()}}


def middle(seconds: Sequence[float]) -> Row:
    """n, median, least and most, in seconds."""
    return {"n": len(seconds), "median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}


def exponent(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The b of `cost = a * size**b` through two points (size, cost): 1 where twice the size costs twice as much."""
    return math.log(other[1] / one[1]) / math.log(other[0] / one[0])
