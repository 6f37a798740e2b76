"""The fused detector and its members on made-up series."""

import numpy as np
import pytest

from detection.causal import features, windows
from detection.clustering import Clusters, fit_clusters
from detection.fused import MEMBERS, Fused, fit_fused
from detection.residual import fit_residual
from detection.robust import Floats


def _calm(seed: int, *, rows: int = 600) -> Floats:
    """Four signals: two that go together, a wave, noise."""
    draw = np.random.default_rng(seed)
    load = draw.normal(size=rows).cumsum() * 0.05
    wave = np.sin(np.arange(rows) / 8.0)
    made = np.stack([load, 2.0 * load, wave, np.zeros(rows)], axis=1)
    return made + 0.05 * draw.normal(size=made.shape)


@pytest.fixture(scope="module")
def model() -> Fused:
    return fit_fused(_calm(1), seed=0)


def test_no_score_looks_ahead(model: Fused) -> None:
    rows = _calm(2)
    changed = rows.copy()
    changed[400:] += 5.0

    assert np.array_equal(model.scores(rows)[:400], model.scores(changed)[:400])


def test_each_member_sees_its_kind_of_fault(model: Fused) -> None:
    """A burst in all; a broken relation in the residual, without a value that is odd by itself."""
    burst, broken = _calm(1), _calm(1)
    burst[300] += 4.0
    broken[300:, 1] = broken[300:, 1][::-1]
    usual = model.members(_calm(1))

    assert (model.members(burst)[300] > 1.0 + usual[300]).all()
    residual = MEMBERS.index("residual")
    assert np.median(model.members(broken)[300:, residual]) > np.median(usual[:, residual]) + 0.3


def test_its_own_past_lies_around_nought_with_one_row_in_a_hundred_above_one(model: Fused) -> None:
    members = model.members(_calm(1))

    assert np.allclose(np.median(members, axis=0), 0.0)
    assert np.allclose(np.quantile(members, 0.99, axis=0), 1.0)


def test_constant_signals_and_a_single_signal_give_finite_scores() -> None:
    flat = np.ones((300, 3))
    alone = _calm(3)[:, 2:3]

    assert np.isfinite(fit_fused(flat, seed=0).scores(flat + 1.0)).all()
    assert np.isfinite(fit_fused(alone, seed=0).scores(alone)).all()


def test_the_same_rows_and_seed_give_the_same_scores(model: Fused) -> None:
    assert np.array_equal(fit_fused(_calm(1), seed=0).scores(_calm(2)), model.scores(_calm(2)))


def test_the_distance_is_that_to_the_nearest_centre() -> None:
    clusters = Clusters(np.array([[0.0, 0.0], [10.0, 0.0]]))

    assert clusters.scores(np.array([[3.0, 4.0], [10.0, 1.0]])) == pytest.approx([5.0, 1.0])


def test_fewer_different_rows_than_centres_are_no_error() -> None:
    assert len(fit_clusters(np.zeros((50, 2)), centres=20, seed=0).centres) == 1


def test_components_explain_what_moves_along_them() -> None:
    rows = _calm(4)[:, :2]
    residual = fit_residual(rows)

    along, across = np.array([[2.0, 4.0]]), np.array([[2.0, -1.0]])

    assert residual.scores(residual.mean + along)[0] < residual.scores(residual.mean + across)[0]


def test_windows_hold_the_rows_before_and_features_six_columns_for_each_signal() -> None:
    rows = np.arange(6.0).reshape(-1, 1)

    assert windows(rows, ticks=3)[[0, 4]].tolist() == [[0, 0, 0], [2, 3, 4]]
    assert features(rows).shape == (6, 6)
