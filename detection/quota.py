"""A threshold from a budget of false episodes, without labels, that follows the stream.

The stream may alarm nearly twice as often as its budget: then the budget holds when half of the
alarms are true, and is hardly passed more than twofold even when none is. The threshold is the
lowest that would have kept this quota over the last days, found anew every two hours from scores
already seen, so it follows drift; a threshold fixed on the training part does not (on public
series it realised from none to five times the budget).
"""

import numpy as np
from numpy.typing import NDArray

from detection.robust import Floats

GAP_ROWS = 30
"""Alarms up to so many rows apart are one episode."""
_QUOTA = 1.8
"""Twice, and a tenth kept back for what rises between two renewals."""
_LOOK_BACK_DAYS = 2.5
"""Long enough for one episode at a quarter a day, short enough to follow drift."""
_RENEWALS_A_DAY = 12
_CANDIDATES = 400
_RAREST, _COMMONEST = 1e-5, 0.3
"""Shares of rows that may lie above a threshold: the range that is searched."""


def alarms(
    before: Floats, scores: Floats, *, rows_a_day: float, false_a_day: float
) -> NDArray[np.bool_]:
    """Which of `scores` (rows,) alarm under a budget of false episodes a day; `before` are the
    scores of the rows just before them, at least 2.5 days if there are so many."""
    seen = np.concatenate([before, scores])
    thresholds = np.empty(len(scores))
    renew = max(1, round(rows_a_day / _RENEWALS_A_DAY))
    back = round(_LOOK_BACK_DAYS * rows_a_day)
    for at in range(0, len(scores), renew):
        past = seen[max(0, len(before) + at - back) : len(before) + at]
        allowed = _QUOTA * false_a_day * len(past) / rows_a_day
        thresholds[at : at + renew] = threshold(past, episodes_max=allowed)
    return scores > thresholds


def threshold(scores: Floats, *, episodes_max: float) -> float:
    """The lowest threshold down to which no more than so many episodes rise above; infinity where
    not even one may, or nothing was seen."""
    lowest = np.inf
    if not len(scores):
        return lowest
    shares = np.geomspace(_RAREST, _COMMONEST, _CANDIDATES)
    for candidate in np.unique(np.quantile(scores, 1.0 - shares))[::-1]:
        if episodes(np.flatnonzero(scores > candidate)) > episodes_max:
            break
        lowest = float(candidate)
    return lowest


def episodes(rows: NDArray[np.int64]) -> int:
    """How many episodes these alarm rows, in order, make."""
    return 0 if not len(rows) else 1 + int((np.diff(rows) > GAP_ROWS).sum())
