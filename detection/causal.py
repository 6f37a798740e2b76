"""Causal features of plain series: what a row looks like beside the rows before it, never after.

For detectors that are fitted on the series of one entity whose signals have no known meaning
(`fused.py`); each function takes (ticks, signals), one row a tick, and gives as many rows.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detection.robust import Floats

_FOLLOWED_TICKS = (10, 100)
"""Spans over which levels are followed: a quick one for bursts, a slow one for shifts."""


def windows(rows: Floats, *, ticks: int) -> Floats:
    """Each row with the `ticks` - 1 rows before it, (ticks, signals x ticks). Before the first row
    the first row is taken to have stood for ever."""
    padded = np.concatenate([np.repeat(rows[:1], ticks - 1, axis=0), rows])
    return sliding_window_view(padded, ticks, axis=0).reshape(len(rows), -1)


def steps(rows: Floats) -> Floats:
    """Change since the row before, (ticks, signals); 0 for the first."""
    return np.diff(rows, axis=0, prepend=rows[:1])


def features(rows: Floats) -> Floats:
    """Value, step, and for each span the distance from the followed level and its restlessness,
    (ticks, 6 x signals)."""
    made = [rows, steps(rows)]
    for span in _FOLLOWED_TICKS:
        away = rows - _level_before(rows, span)
        made += [away, np.sqrt(_level_before(away * away, span))]
    return np.concatenate(made, axis=1)


def _level_before(rows: Floats, span: int) -> Floats:
    """Exponentially weighted mean of the rows before each row; the first row for the first."""
    weight = 2.0 / (span + 1.0)
    levels = np.empty_like(rows)
    level = rows[0].copy()
    for at, row in enumerate(rows):
        levels[at] = level
        level += weight * (row - level)
    return levels
