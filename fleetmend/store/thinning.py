"""Fewer points for the same picture. Pure; called by the store's evidence charts and by whoever
collects points for them.

Points are kept by stretches of time whose length is a power of two seconds, of each stretch the
lowest and the highest, and the first and the last of all. Stretches nest, so thinning what was
thinned before gives what thinning all of it would have given: a chart can be extended for days
without losing its peaks.
"""

import numpy as np
from numpy.typing import NDArray

Points = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Times (Unix seconds, rising) and values, both of shape (n,)."""

_STRETCHES_S = tuple(2.0**power for power in range(-4, 40))


def thinned(points: Points, points_max: int) -> Points:
    """At most `points_max` (from 4 on) of the points: of each stretch its lowest and its highest,
    by the shortest stretch that does it. What is few enough is left as it is."""
    time_s, value = points
    if len(time_s) <= points_max:
        return points
    for stretch_s in _STRETCHES_S:
        kept = _extremes(time_s, value, stretch_s)
        if len(kept) <= points_max:
            return time_s[kept], value[kept]
    return time_s[-points_max:], value[-points_max:]


def _extremes(
    time_s: NDArray[np.float64], value: NDArray[np.float64], stretch_s: float
) -> NDArray[np.intp]:
    """Indices (rising) of the lowest and the highest point of each stretch, and of the ends."""
    stretch = np.floor(time_s / stretch_s)
    starts = np.flatnonzero(np.concatenate(([True], stretch[1:] != stretch[:-1])))
    # Sorted by stretch, then value: the first and last of each stretch are its extremes.
    order = np.lexsort((value, stretch))
    ends = np.concatenate((starts[1:], [len(time_s)])) - 1
    first_and_last = [0, len(time_s) - 1]  # a chart keeps its length
    return np.unique(np.concatenate((order[starts], order[ends], first_and_last)))
