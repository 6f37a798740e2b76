"""How silence becomes a state: rules that hold for every age, whatever the cadence."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.freshness import STATES, Patience, judge
from detection.robust import Floats
from fleetmend.model.coverage import MISSING, Freshness

PATIENCE = Patience(gaps=3.0, least_s=5.0, most_s=60.0, frozen_s=15.0)
SECONDS = st.floats(0.0, 1e5, allow_nan=False)
CADENCE = st.floats(0.1, 600.0, allow_nan=False)


def one(silence_s: float, usual_s: float, still_s: float = 0.0) -> Freshness:
    """The state of a single thing."""
    ages = (np.array([number], np.float64) for number in (silence_s, usual_s, still_s))
    silence, usual, still = ages
    codes = judge(silence_s=silence, usual_s=usual, still_s=still, patience=PATIENCE)
    return STATES[int(codes[0])]


@settings(max_examples=100)
@given(silence_s=SECONDS, more_s=SECONDS, usual_s=CADENCE, still_s=SECONDS)
def test_silence_only_ever_makes_it_worse(
    silence_s: float, more_s: float, usual_s: float, still_s: float
) -> None:
    """Without a word nothing gets fresher: fresh, late, absent in this order, frozen on top."""
    before = one(silence_s, usual_s, still_s)
    after = one(silence_s + more_s, usual_s, still_s + more_s)
    assert STATES.index(after) >= STATES.index(before)


@settings(max_examples=100)
@given(usual_s=CADENCE, share=st.floats(0.0, 1.0))
def test_whoever_speaks_as_often_as_usual_is_fresh(usual_s: float, share: float) -> None:
    assert one(share * usual_s, usual_s) is Freshness.FRESH


@settings(max_examples=100)
@given(silence_s=SECONDS, usual_s=CADENCE)
def test_what_is_not_due_yet_is_never_absent_and_what_is_long_gone_always_is(
    silence_s: float, usual_s: float
) -> None:
    absent = one(silence_s, usual_s) is Freshness.ABSENT
    if silence_s <= max(usual_s, PATIENCE.least_s):
        assert not absent
    if silence_s > max(3.0 * usual_s, PATIENCE.least_s) or silence_s > max(60.0, 1.5 * usual_s):
        assert absent


@settings(max_examples=100)
@given(silence_s=SECONDS, usual_s=CADENCE, still_s=SECONDS)
def test_frozen_is_what_is_heard_and_stands_still(
    silence_s: float, usual_s: float, still_s: float
) -> None:
    state = one(silence_s, usual_s, still_s)
    heard = one(silence_s, usual_s) is not Freshness.ABSENT
    assert (state is Freshness.FROZEN) is (heard and still_s >= PATIENCE.frozen_s)
    assert (state in MISSING) is (not heard or still_s >= PATIENCE.frozen_s)


@given(usual_s=CADENCE, still_s=SECONDS)
def test_only_what_never_spoke_is_never_heard(usual_s: float, still_s: float) -> None:
    assert one(math.inf, usual_s, still_s) is Freshness.NEVER


@settings(max_examples=50)
@given(st.lists(st.tuples(SECONDS, CADENCE, SECONDS), min_size=1, max_size=30))
def test_each_is_judged_by_itself(rows: list[tuple[float, float, float]]) -> None:
    columns: list[Floats] = [np.array(column, np.float64) for column in zip(*rows, strict=True)]
    codes = judge(silence_s=columns[0], usual_s=columns[1], still_s=columns[2], patience=PATIENCE)
    assert [STATES[code] for code in codes] == [one(*row) for row in rows]


def test_the_five_states_have_the_order_from_well_to_not_at_all() -> None:
    assert [state.value for state in STATES] == ["fresh", "late", "frozen", "absent", "never"]
    assert {state.value for state in MISSING} == {"frozen", "absent", "never"}
