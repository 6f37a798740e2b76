"""Grouping: connected by a fault that could show both, within the window, whatever the order."""

from collections.abc import Mapping, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from rca.correlate import groups
from rca.evidence import Key
from rca.scene import Hypothesis
from tests.unit.rca.faults import FAULTS, foreign, xid
from tests.unit.rca.made_up import START_S, engine, finding, gpu, racked, scene

NOISY = Hypothesis("noisy_neighbour", gpu(0))
BUSY: Key = (gpu(0), "gpu_busy")
SLOW: Key = (engine(0), "decode_slow")
OTHER: Key = (gpu(7), "gpu_busy")
MAY: Mapping[Key, Sequence[Hypothesis]] = {BUSY: [NOISY], SLOW: [NOISY], OTHER: []}


def test_one_fault_that_could_show_both_connects_them() -> None:
    found = groups({BUSY: 10.0, SLOW: 15.0, OTHER: 11.0}, MAY, window_s=30.0)
    assert found == [(SLOW, BUSY), (OTHER,)]


def test_onsets_outside_the_window_do_not_connect() -> None:
    assert len(groups({BUSY: 10.0, SLOW: 41.0}, MAY, window_s=30.0)) == 2


def test_a_chain_of_onsets_within_the_window_connects() -> None:
    third: Key = (gpu(0), "gpu_power_up")
    onsets = {BUSY: 10.0, third: 35.0, SLOW: 60.0}
    assert len(groups(onsets, {**MAY, third: [NOISY]}, window_s=30.0)) == 1


def test_what_an_incident_holds_stays_together() -> None:
    onsets = {BUSY: 10.0, SLOW: 500.0}
    assert len(groups(onsets, MAY, window_s=30.0, together=[{BUSY, SLOW}])) == 1


@given(st.permutations([(BUSY, 10.0), (SLOW, 15.0), (OTHER, 11.0)]))
@settings(max_examples=10)
def test_order_changes_nothing(items: list[tuple[Key, float]]) -> None:
    assert groups(dict(items), MAY, window_s=30.0) == [(SLOW, BUSY), (OTHER,)]


def test_faults_on_machines_that_share_nothing_stay_apart() -> None:
    findings = [foreign(gpu(0)), finding(gpu(1), "gpu.sm_clock down"), xid(79, at=gpu(2))]
    seen = scene(racked(3), findings)
    candidates = {key: seen.hypotheses(key) for key in seen.observed}
    found = groups({key: START_S for key in seen.observed}, candidates, window_s=30.0)
    assert {frozenset(e for e, _ in group) for group in found} == {
        frozenset({gpu(i)}) for i in range(3)
    }


def test_a_shared_parent_connects_its_members() -> None:
    fault = FAULTS["rack_outage"]
    seen = scene(fault.fleet(), fault.findings)
    candidates = {key: seen.hypotheses(key) for key in seen.observed}
    assert len(groups({key: START_S for key in seen.observed}, candidates, window_s=30.0)) == 1
