"""Isolation trees as flat arrays, scored without scikit-learn.

`flatten` takes a fitted forest apart; `Trees.scores` gives what its `score_samples` gives, to 1e-6
(a test compares), and the arrays can be saved in a snapshot, which an estimator cannot without
pickle. scikit-learn compares values in float32 with thresholds in float64; a threshold rounded down
to float32 parts the same values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from detection.kernels.forest import add_paths
from detection.robust import Floats

_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Trees:
    """Complete trees of one depth, in the order of a heap: the children of node p are 2p+1 and
    2p+2. A tree that ends earlier goes on to the left."""

    feature: NDArray[np.int32]
    """(trees, 2^depth - 1)."""
    threshold: NDArray[np.float32]
    """The same shape: larger values go to the right."""
    path: Floats
    """(trees, 2^depth), at leaves: depth plus the mean depth of the samples that ended there."""
    usual: float
    """Mean path length of an unbuilt tree of the sample size: the yardstick."""

    def scores(self, rows: NDArray[np.floating[Any]]) -> Floats:
        """How normal each row (rows, features), without NaN, is: -1 very odd, near 0 quite normal,
        (rows,)."""
        total = np.empty(len(rows))
        values = np.ascontiguousarray(rows, np.float32)
        add_paths(values, self.feature, self.threshold, self.path, total)
        scores: Floats = -np.power(2.0, -total / (len(self.feature) * self.usual))
        return scores


def fit(rows: Floats, *, trees: int, samples: int, seed: int) -> Trees:
    """A forest on `rows` (rows, features). The same rows and seed give the same trees."""
    forest = IsolationForest(
        n_estimators=trees, max_samples=min(samples, len(rows)), random_state=seed, n_jobs=1
    )
    forest.fit(rows.astype(np.float32))
    return flatten(forest)


def flatten(forest: Any) -> Trees:
    """The arrays of a fitted IsolationForest."""
    built = [estimator.tree_ for estimator in forest.estimators_]
    depth = max(tree.max_depth for tree in built)
    shape = (len(built), 2**depth - 1)
    feature, threshold = np.zeros(shape, np.int32), np.full(shape, np.inf, np.float32)
    path = np.zeros((len(built), 2**depth))
    for number, tree in enumerate(built):
        chosen = forest.estimators_features_[number]
        ends = mean_path(tree.n_node_samples)
        waiting = [(0, 0, 0)]
        while waiting:
            node, place, level = waiting.pop()
            left, right = int(tree.children_left[node]), int(tree.children_right[node])
            if left < 0:
                leaf = ((place + 1) << (depth - level)) - 2**depth
                path[number, leaf] = level + ends[node]
                continue
            feature[number, place] = chosen[tree.feature[node]]
            threshold[number, place] = _rounded_down(tree.threshold[node])
            waiting += [(left, 2 * place + 1, level + 1), (right, 2 * place + 2, level + 1)]
    usual = float(mean_path(np.array([forest.max_samples_]))[0])
    return Trees(feature, threshold, path, usual)


def _rounded_down(threshold: float) -> np.float32:
    """The largest float32 that is not above it."""
    near = np.float32(threshold)
    return np.nextafter(near, np.float32(-np.inf)) if near > threshold else near


def mean_path(count: NDArray[Any]) -> Floats:
    """Mean depth of an unsuccessful search in a binary tree of `count` entries (Liu, Ting, Zhou
    2008, equation 1)."""
    size = np.asarray(count, float)
    large = np.maximum(size, 3.0)
    deep = 2.0 * (np.log(large - 1.0) + _EULER) - 2.0 * (large - 1.0) / large
    return np.where(size <= 1, 0.0, np.where(size == 2, 1.0, deep))
