"""Isolation trees as flat arrays, scored without scikit-learn.

`flatten` takes a fitted forest apart; `Trees.scores` gives what its `score_samples` gives, to 1e-6
(a test compares), and the arrays can be saved in a snapshot, which an estimator cannot without
pickle. scikit-learn compares in float32, so do we.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from detection.robust import Floats

_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class Trees:
    """`trees` trees of at most `nodes` nodes, padded; a leaf has feature -1."""

    feature: NDArray[np.int32]
    """(trees, nodes)."""
    threshold: Floats
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    path: Floats
    """At leaves: depth plus the mean depth of the samples that ended there."""
    usual: float
    """Mean path length of an unbuilt tree of the sample size: the yardstick."""

    def scores(self, rows: Floats) -> Floats:
        """How normal each row (rows, features) is: -1 very odd, near 0 quite normal, (rows,)."""
        values = rows.astype(np.float32)
        trees = np.arange(len(self.feature))[:, None]
        here = np.zeros((len(self.feature), len(values)), np.int64)
        inside = self.feature[trees, here] >= 0
        across = np.arange(len(values))[None, :]
        while inside.any():
            feature = np.maximum(self.feature[trees, here], 0)
            goes_left = values[across, feature] <= self.threshold[trees, here]
            step = np.where(goes_left, self.left[trees, here], self.right[trees, here])
            here = np.where(inside, step, here)
            inside = self.feature[trees, here] >= 0
        depth = self.path[trees, here].mean(axis=0)
        scores: Floats = -np.power(2.0, -depth / self.usual)
        return scores


def fit(rows: Floats, *, trees: int, samples: int, seed: int) -> Trees:
    """A forest on `rows` (rows, features). The same rows and seed give the same trees."""
    forest = IsolationForest(
        n_estimators=trees, max_samples=min(samples, len(rows)), random_state=seed, n_jobs=1
    )
    forest.fit(rows.astype(np.float32))
    return flatten(forest)


def flatten(forest: Any) -> Trees:
    """The arrays of a fitted IsolationForest that sees all features in each tree."""
    built = [estimator.tree_ for estimator in forest.estimators_]
    nodes = max(tree.node_count for tree in built)
    shape = (len(built), nodes)
    feature = np.full(shape, -1, np.int32)
    threshold = np.zeros(shape)
    left, right = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    path = np.zeros(shape)
    for number, tree in enumerate(built):
        count = tree.node_count
        leaf = tree.children_left < 0
        feature[number, :count] = np.where(leaf, -1, tree.feature)
        threshold[number, :count] = tree.threshold
        left[number, :count] = np.maximum(tree.children_left, 0)
        right[number, :count] = np.maximum(tree.children_right, 0)
        ends = _depths(tree) + mean_path(tree.n_node_samples)
        path[number, :count] = np.where(leaf, ends, 0.0)
    usual = float(mean_path(np.array([forest.max_samples_]))[0])
    return Trees(feature, threshold, left, right, path, usual)


def mean_path(count: NDArray[Any]) -> Floats:
    """Mean depth of an unsuccessful search in a binary tree of `count` entries (Liu, Ting, Zhou
    2008, equation 1)."""
    size = np.asarray(count, float)
    large = np.maximum(size, 3.0)
    deep = 2.0 * (np.log(large - 1.0) + _EULER) - 2.0 * (large - 1.0) / large
    return np.where(size <= 1, 0.0, np.where(size == 2, 1.0, deep))


def _depths(tree: Any) -> Floats:
    depths = np.zeros(tree.node_count)
    for node in range(tree.node_count):  # children come after their parent
        for child in (tree.children_left[node], tree.children_right[node]):
            if child >= 0:
                depths[child] = depths[node] + 1
    return depths
