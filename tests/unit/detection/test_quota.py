"""A threshold that keeps a budget without labels."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.quota import GAP_ROWS, alarms, episodes, threshold


def _episodes_above(scores: np.ndarray[tuple[int], np.dtype[np.float64]], edge: float) -> int:
    return episodes(np.flatnonzero(scores > edge))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), allowed=st.integers(0, 6))
def test_no_more_episodes_than_allowed_rise_above_the_threshold(seed: int, allowed: int) -> None:
    scores = np.random.default_rng(seed).exponential(size=800)

    assert _episodes_above(scores, threshold(scores, episodes_max=allowed)) <= allowed


def test_nothing_seen_and_nothing_allowed_alarm_never() -> None:
    assert threshold(np.zeros(0), episodes_max=3) == np.inf
    assert threshold(np.arange(100.0), episodes_max=0) > 98


def test_rows_further_apart_than_the_gap_are_two_episodes() -> None:
    assert episodes(np.array([5, 5 + GAP_ROWS])) == 1
    assert episodes(np.array([5, 6 + GAP_ROWS])) == 2


def test_a_stream_that_drifts_keeps_within_twice_its_budget_all_false() -> None:
    """Ten days of no event at all, with a level of normal that rises to 2.5 times halfway."""
    draw = np.random.default_rng(3)
    before, scores = draw.exponential(size=3 * 288), draw.exponential(size=10 * 288)
    scores[5 * 288 :] *= 2.5

    alarm = alarms(before, scores, rows_a_day=288.0, false_a_day=1.0)

    assert 5 <= episodes(np.flatnonzero(alarm)) <= 2 * 10 + 4
    fixed, settled = threshold(before, episodes_max=1.8 * 3), slice(7 * 288, None)
    assert (scores[settled] > fixed).sum() > 100
    assert alarm[settled].sum() < 20


def test_alarms_never_look_ahead() -> None:
    draw = np.random.default_rng(4)
    before, scores = draw.exponential(size=600), draw.exponential(size=600)
    changed = np.concatenate([scores[:300], scores[300:] * 10.0])

    told = [alarms(before, part, rows_a_day=288.0, false_a_day=1.0) for part in (scores, changed)]

    assert np.array_equal(told[0][:300], told[1][:300])
