"""Taking in samples of which each cell has at most one: the usual tick, in one pass instead of a
sort and a dozen. `detection.windows` takes several samples of a cell in its own, longer way; both
give the same.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from detection.kernels.compiled import compiled

GAUGE, COUNTER, STATE = 0, 1, 2


@compiled(numba.int64[:], numba.int64[:], numba.int64, numba.int64[:, :], numba.boolean[::1])
def note_heard(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    tick: int,
    heard: NDArray[np.int64],
    twice: NDArray[np.bool_],
) -> None:
    """Write `tick` into `heard` (rows, columns) for every sample; `twice` (1,) becomes true where a
    cell has been heard in this tick before."""
    for at in range(len(row)):
        if heard[row[at], column[at]] == tick:
            twice[0] = True
        heard[row[at], column[at]] = tick


@compiled(
    numba.int64[:],
    numba.int64[:],
    numba.float64[:],
    numba.float64[:],
    numba.int8[::1],
    numba.int64,
    *[numba.float64[:, :]] * 5,
    numba.int64[:, :],
)
def fill_once(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    time_s: NDArray[np.float64],
    value: NDArray[np.float64],
    shape: NDArray[np.int8],
    tick: int,
    now: NDArray[np.float64],
    known: NDArray[np.float64],
    grown: NDArray[np.float64],
    raw: NDArray[np.float64],
    raw_at: NDArray[np.float64],
    moved: NDArray[np.int64],
) -> None:
    """One sample a cell into the cells of a block, all (rows, columns). `shape` (columns,): a
    counter becomes its growth and rate since the sample before it (a fall is a restart), anything
    else its value."""
    for at in range(len(row)):
        r, c = row[at], column[at]
        before, new = raw[r, c], value[at]
        result, growth = new, np.nan
        if shape[c] == COUNTER:
            step = new - before
            if step < 0:
                step = new
            if np.isnan(step):
                step = 0.0
            span_s = time_s[at] - raw_at[r, c]
            result = np.nan
            if span_s > 0:
                growth, result = step, step / span_s
        now[r, c], grown[r, c] = result, growth
        if np.isfinite(result):
            known[r, c] = result
        if new != before:
            moved[r, c] = tick
        raw[r, c], raw_at[r, c] = new, time_s[at]
