"""The flat forest gives the scores of the estimator it was made from."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from detection.trees import fit, flatten, mean_path


@pytest.mark.parametrize(("rows", "samples"), [(300, 256), (40, 40), (1000, 128)])
def test_scores_equal_score_samples(rows: int, samples: int) -> None:
    rng = np.random.default_rng(rows)
    known = rng.normal(size=(rows, 9))
    known[:, 4] = 0.0  # a constant feature, as a signal that nobody sends
    asked = np.concatenate([known, 10 * rng.normal(size=(50, 9)), np.zeros((1, 9))])
    forest = IsolationForest(n_estimators=50, max_samples=samples, random_state=1)
    forest.fit(known.astype(np.float32))

    ours = flatten(forest).scores(asked)

    assert np.abs(ours - forest.score_samples(asked.astype(np.float32))).max() < 1e-6


def test_the_same_rows_and_seed_give_the_same_trees_and_another_seed_others() -> None:
    rows = np.random.default_rng(2).normal(size=(80, 5))
    one, same, other = (fit(rows, trees=20, samples=64, seed=seed) for seed in (3, 3, 4))

    assert np.array_equal(one.threshold, same.threshold)
    assert not np.array_equal(one.scores(rows), other.scores(rows))


def test_the_mean_path_of_small_trees_is_exact() -> None:
    assert mean_path(np.array([0, 1, 2])).tolist() == [0.0, 0.0, 1.0]
