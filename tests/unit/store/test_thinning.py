"""Fewer points for the same picture: bounded, nothing invented, no peak lost, however often."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fleetmend.store import Points, thinned

MAX = 40

series = st.lists(
    st.tuples(st.integers(1, 400), st.integers(-1000, 1000)), min_size=1, max_size=300
).map(lambda rows: made(rows))


def made(rows: list[tuple[int, int]]) -> Points:
    """Gaps in quarter seconds and values to points that rise in time."""
    time_s = 1.7e9 + np.cumsum([gap for gap, _ in rows]) / 4
    return time_s, np.array([value for _, value in rows], np.float64)


@given(series)
def test_it_is_bounded_invents_nothing_and_keeps_the_extremes(points: Points) -> None:
    time_s, value = thinned(points, MAX)

    assert len(time_s) <= MAX
    assert set(zip(time_s, value, strict=True)) <= set(zip(*points, strict=True))
    assert (np.diff(time_s) > 0).all()
    assert (value.min(), value.max()) == (points[1].min(), points[1].max())
    assert (time_s[0], time_s[-1]) == (points[0][0], points[0][-1])


@given(series, st.integers(1, 50))
def test_extending_piece_by_piece_loses_no_extreme(points: Points, piece: int) -> None:
    held: Points = (np.empty(0), np.empty(0))
    for start in range(0, len(points[0]), piece):
        held = thinned(
            (
                np.concatenate((held[0], points[0][start : start + piece])),
                np.concatenate((held[1], points[1][start : start + piece])),
            ),
            MAX,
        )

    assert len(held[0]) <= MAX
    assert (held[1].min(), held[1].max()) == (points[1].min(), points[1].max())


def test_what_is_few_enough_is_left_as_it_is() -> None:
    points = (np.array([1.0, 1.5, 9.0]), np.array([3.0, 3.0, 3.0]))

    assert thinned(points, 3) is points


def test_the_newest_hour_of_a_day_is_no_finer_than_the_first() -> None:
    day = (np.arange(86_400.0), np.sin(np.arange(86_400.0)))

    time_s, _ = thinned(day, 600)

    first = np.count_nonzero(time_s < 3600)
    last = np.count_nonzero(time_s >= 82_800)
    assert abs(first - last) <= 4
