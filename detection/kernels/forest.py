"""Walking isolation trees: every row of a block goes down one tree after the other.

Trees are complete, so a step is arithmetic and never a jump that the processor could guess wrong:
from node p to 2p+1 or 2p+2. A block of rows and one tree stay in the first-level cache.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from detection.kernels.compiled import compiled

_BLOCK = 256
"""Rows that go down a tree together."""


@compiled(
    numba.float32[:, ::1],
    numba.int32[:, ::1],
    numba.float32[:, ::1],
    numba.float64[:, ::1],
    numba.float64[::1],
)
def add_paths(
    rows: NDArray[np.float32],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    path: NDArray[np.float64],
    total: NDArray[np.float64],
) -> None:
    """Set `total` (rows,) to the sum over all trees of the `path` of the leaf that each of `rows`
    (rows, features) ends in. `feature` and `threshold`: (trees, 2^depth - 1); `path`: (trees,
    2^depth)."""
    width, inner = rows.shape[1], feature.shape[1]
    here = np.empty(_BLOCK, np.int32)
    for start in range(0, rows.shape[0], _BLOCK):
        count = min(_BLOCK, rows.shape[0] - start)
        values = rows[start : start + count].reshape(-1)
        for row in range(count):
            total[start + row] = 0.0
        for tree in range(feature.shape[0]):
            of, limit, ends = feature[tree], threshold[tree], path[tree]
            for row in range(count):
                here[row] = 0
            level = 1
            while level <= inner:
                for row in range(count):
                    node = here[row]
                    right = values[row * width + of[node]] > limit[node]
                    here[row] = np.int32(2 * node + 1 + np.int32(right))
                level *= 2
            for row in range(count):
                total[start + row] += ends[here[row] - inner]
