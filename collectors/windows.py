"""What happened between two readings: quantiles and means of histograms, shares of counters.

The normaliser keeps one window per histogram and per group of counters. The first reading gives
nothing, and so does a reading after a restart (a counter fell) or with other buckets: then it only
becomes the base of the next window.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class HistogramState:
    """A cumulative histogram as it was read."""

    bounds: NDArray[np.float64]
    """Shape (b,), rising upper bounds; the last is usually infinite."""
    cumulative: NDArray[np.float64]
    """Shape (b,), observations up to each bound."""
    total: float
    """Observations in all; NaN when the source does not say."""
    sum: float
    """Sum of all observations in the source's unit; NaN when the source does not say."""


@dataclass(frozen=True, slots=True)
class HistogramWindow:
    """The observations of one window, in the source's unit; NaN for what cannot be said."""

    p50: float = math.nan
    p95: float = math.nan
    mean: float = math.nan


NOTHING = HistogramWindow()


def window(before: HistogramState | None, now: HistogramState) -> HistogramWindow:
    """What was observed between two readings of one histogram."""
    if before is None or not np.array_equal(before.bounds, now.bounds):
        return NOTHING
    grown = now.cumulative - before.cumulative
    if not np.all(grown >= 0):  # a restart, or NaN
        return NOTHING
    mean = math.nan
    count, total = now.total - before.total, now.sum - before.sum
    if count > 0 and total >= 0:
        mean = total / count
    if len(grown) == 0 or grown[-1] <= 0:
        return HistogramWindow(mean=mean)
    # Buckets are read one after the other, so a sum over them may be a little uneven.
    grown = np.maximum.accumulate(grown)
    return HistogramWindow(
        p50=quantile(0.5, now.bounds, grown), p95=quantile(0.95, now.bounds, grown), mean=mean
    )


def quantile(rank: float, bounds: NDArray[np.float64], cumulative: NDArray[np.float64]) -> float:
    """The `rank` quantile by linear interpolation, as PromQL's `histogram_quantile` does it.

    `bounds`, `cumulative`: shape (b,), rising. The lowest bucket begins at 0 when its bound is
    positive; a quantile in an infinite bucket is the highest finite bound; NaN when there is none.
    """
    wanted = rank * cumulative[-1]
    at = int(np.searchsorted(cumulative, wanted, side="left"))
    at = min(at, len(bounds) - 1)
    if math.isinf(bounds[at]):
        return float(bounds[at - 1]) if at > 0 else math.nan
    low = float(bounds[at - 1]) if at > 0 else min(0.0, float(bounds[at]))
    below = float(cumulative[at - 1]) if at > 0 else 0.0
    inside = float(cumulative[at]) - below
    if inside <= 0:
        return float(bounds[at])
    return float(low + (float(bounds[at]) - low) * (wanted - below) / inside)


def share(before: tuple[float, float] | None, now: tuple[float, float]) -> float:
    """Growth of a part over growth of the whole between two readings of (part, whole); NaN when
    nothing can be said."""
    if before is None:
        return math.nan
    part, whole = now[0] - before[0], now[1] - before[1]
    if not (whole > 0 and 0 <= part <= whole):
        return math.nan
    return float(part / whole)
