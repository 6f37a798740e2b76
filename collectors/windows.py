"""What happened between two readings: quantiles and means of histograms, growth of counters.

The normaliser keeps one window per histogram and per group of counters. The first reading gives
nothing, and so does a reading after a restart (a counter fell) or with other buckets: then it only
becomes the base of the next window.
"""

import math
from dataclasses import dataclass, field

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
    series: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """Every bucket of every series that was added up."""


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
    growth = now.cumulative - before.cumulative
    if not np.all(growth >= 0):  # a restart, or NaN
        return NOTHING
    # One of several series that began again can hide behind the growth of the others.
    if len(before.series) == len(now.series) and not np.all(now.series >= before.series):
        return NOTHING
    mean = math.nan
    count, total = now.total - before.total, now.sum - before.sum
    if count > 0 and total >= 0:
        mean = total / count
    if len(growth) == 0 or growth[-1] <= 0:
        return HistogramWindow(mean=mean)
    # Buckets are read one after the other, so a sum over them may be a little uneven.
    growth = np.maximum.accumulate(growth)
    return HistogramWindow(
        p50=quantile(0.5, now.bounds, growth), p95=quantile(0.95, now.bounds, growth), mean=mean
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


def grown(before: NDArray[np.float64] | None, now: NDArray[np.float64]) -> float:
    """Growth of a sum of counters between two readings of them, shape (n,); NaN after a restart of
    any and when nothing can be said. A series that is new began at 0."""
    if before is None:
        return math.nan
    if len(before) == len(now):
        each = now - before
        return float(each.sum()) if np.all(each >= 0) else math.nan
    more = float(now.sum() - before.sum())
    return more if more >= 0 else math.nan


def quotient(over: float, under: float, *, limit: float) -> float:
    """One growth over another; NaN when either is unknown, nothing grew, or it exceeds `limit`."""
    if not (under > 0 and over >= 0):
        return math.nan
    found = over / under
    return found if found <= limit else math.nan
