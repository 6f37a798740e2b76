"""Small statistics that bear missing values: NaN in, NaN out only where nothing is known.

numpy's own nan functions warn about empty columns, and here empty columns are normal.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation, for a normal distribution."""


def mean_of(values: NDArray[Any]) -> Floats:
    """Mean over the first axis, leaving out NaN."""
    valid = ~np.isnan(values)
    count = valid.sum(axis=0)
    total = np.where(valid, values, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def median_of(values: NDArray[Any]) -> Floats:
    """Median over the first axis, leaving out NaN."""
    ordered = np.sort(values.astype(np.float64), axis=0)
    count = (~np.isnan(ordered)).sum(axis=0)
    low, high = np.maximum(count - 1, 0) // 2, np.maximum(count, 1) // 2
    middle = (
        np.take_along_axis(ordered, low[None], axis=0)
        + np.take_along_axis(ordered, np.minimum(high, len(values) - 1)[None], axis=0)
    )[0] / 2.0
    return np.where(count > 0, middle, np.nan)


def spread_of(values: NDArray[Any], centre: Floats) -> Floats:
    """Robust standard deviation over the first axis: scaled median distance from `centre`."""
    return MAD_TO_SIGMA * median_of(np.abs(values - centre))


def first_and_last(values: NDArray[Any]) -> tuple[Floats, Floats, Floats]:
    """First and last known value over the first axis, and how many places they lie apart."""
    valid = ~np.isnan(values)
    first = np.argmax(valid, axis=0)
    last = len(values) - 1 - np.argmax(valid[::-1], axis=0)
    begin = np.take_along_axis(values, first[None], axis=0)[0].astype(np.float64)
    end = np.take_along_axis(values, last[None], axis=0)[0].astype(np.float64)
    return begin, end, np.where(valid.any(axis=0), last - first, 0).astype(np.float64)


def divide(above: Floats, below: Floats) -> Floats:
    """Quotient, NaN where the divisor is not positive or anything is unknown."""
    good = below > 0
    return np.where(good, above / np.where(good, below, 1.0), np.nan)
