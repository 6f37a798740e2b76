"""The flat forest gives the scores of the estimator it was made from."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    rows=st.integers(2, 400),
    features=st.integers(1, 12),
    samples=st.integers(2, 300),
    trees=st.integers(1, 12),
    steps=st.sampled_from([0, 2, 5]),
    scale=st.sampled_from([1e-6, 1.0, 1e7]),
    share=st.sampled_from([0.5, 1.0]),
)
def test_any_forest_gives_what_scikit_learn_gives(
    seed: int,
    rows: int,
    features: int,
    samples: int,
    trees: int,
    steps: int,
    scale: float,
    share: float,
) -> None:
    """With ties (values on a few steps), a constant feature, trees cut short, trees that see some
    features only, values that lie on the thresholds, and values far outside."""
    rng = np.random.default_rng(seed)
    known = rng.normal(size=(rows, features))
    if steps:
        known = np.round(known * steps) / steps
    known[:, 0] = 3.0
    known = (known * scale).astype(np.float32)
    forest = IsolationForest(
        n_estimators=trees, max_samples=min(samples, rows), max_features=share, random_state=seed
    ).fit(known)
    edges = np.tile([tree.tree_.threshold[0] for tree in forest.estimators_], (features, 1)).T
    asked = np.concatenate([known, 1e3 * known[:9], edges.astype(np.float32)])
    asked = np.concatenate([asked, np.nextafter(asked[-3:], np.float32(np.inf))])

    ours = flatten(forest).scores(asked)

    assert np.abs(ours - forest.score_samples(asked)).max() < 1e-6
    assert np.abs(ours - forest.offset_ - forest.decision_function(asked)).max() < 1e-6


def test_no_row_is_scored_by_another_whatever_the_batch() -> None:
    rng = np.random.default_rng(5)
    trees = fit(rng.normal(size=(300, 4)), trees=20, samples=64, seed=1)
    asked = rng.normal(size=(700, 4))

    alone = np.concatenate([trees.scores(row[None]) for row in asked])

    assert np.array_equal(trees.scores(asked), alone)
    assert trees.scores(asked[:0]).shape == (0,)


def test_the_same_rows_and_seed_give_the_same_trees_and_another_seed_others() -> None:
    rows = np.random.default_rng(2).normal(size=(80, 5))
    one, same, other = (fit(rows, trees=20, samples=64, seed=seed) for seed in (3, 3, 4))

    assert np.array_equal(one.threshold, same.threshold)
    assert not np.array_equal(one.scores(rows), other.scores(rows))


def test_the_mean_path_of_small_trees_is_exact() -> None:
    assert mean_path(np.array([0, 1, 2])).tolist() == [0.0, 0.0, 1.0]
