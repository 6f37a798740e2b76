"""Shared parents first: one incident for what a rack or a switch takes with it, and no delay for
what stands alone."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.model.entities import EntityKind, RelationKind, TopologyChange
from fleetmend.model.events import Witness
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.settings.rca import RcaSettings
from rca import tally
from rca.case import EVIDENCE_MAX, EVIDENCE_OF_SIGN
from rca.infer import NOTHING
from rca.outlook import outlook
from rca.scene import Hypothesis
from rca.stage import RootCauseStage
from tests.unit.rca.faults import xid
from tests.unit.rca.made_up import (
    MODEL,
    START_S,
    Fold,
    eid,
    engine,
    entity,
    finding,
    gpu,
    node,
    rack,
    racked,
    relation,
    scene,
)

SWITCH = eid(EntityKind.SWITCH, "spine")
PER_RACK = 16


def switched(racks: int, *, joined: bool = True) -> list[TopologyChange]:
    """Racks of sixteen nodes with a GPU and an engine each, below one switch if `joined`."""
    changes = [entity(MODEL), *([entity(SWITCH)] if joined else [])]
    for index in range(racks):
        changes.append(entity(rack(index)))
        if joined:
            changes.append(relation(rack(index), RelationKind.PART_OF, SWITCH))
    for i in range(racks * PER_RACK):
        changes += [
            *map(entity, (node(i), gpu(i), engine(i))),
            relation(node(i), RelationKind.PART_OF, rack(i // PER_RACK)),
            relation(gpu(i), RelationKind.PART_OF, node(i)),
            relation(engine(i), RelationKind.RUNS_ON, gpu(i)),
            relation(engine(i), RelationKind.SERVES, MODEL),
        ]
    return changes


def lost(i: int, onset_s: float = START_S) -> list[Finding]:
    """What is seen of a node that nobody reaches any more."""
    silence = {"reason": "absent", "detector": "coverage", "witness": Witness.SILENCE}
    return [
        finding(
            node(i),
            "node_condition.Ready",
            reason="condition",
            witness=Witness.CLUSTER_API,
            confidence=0.95,
            onset_s=onset_s,
        ),
        finding(node(i), "telemetry_absent", onset_s=onset_s, **silence),  # type: ignore[arg-type]
        finding(gpu(i), "telemetry_absent", onset_s=onset_s, **silence),  # type: ignore[arg-type]
        finding(engine(i), "probe_failed", reason="probe", onset_s=onset_s, confidence=0.9),
    ]


def storm(count: int) -> list[list[Finding]]:
    """Nodes that fall within two seconds, half of them in each."""
    seconds: list[list[Finding]] = [[], []]
    for i in range(count):
        seconds[i % 2] += lost(i, START_S + i % 2)
    return seconds


def played(fold: Fold, seconds: Sequence[Sequence[Finding]], quiet: int = 25) -> list[Incident]:
    """The incidents that are left, newest state."""
    for findings in seconds:
        fold.tick(*findings)
    fold.ticks(quiet)
    return [one for one in fold.last.values() if one.status is IncidentStatus.OPEN]


def root(incident: Incident) -> tuple[str, str]:
    return incident.causes[0].cause, incident.causes[0].entity


@pytest.mark.parametrize("racks", [2, 4])
def test_a_switch_fault_gives_one_incident_with_one_cause_and_never_another(racks: int) -> None:
    fold = Fold(switched(racks))
    (left,) = played(fold, storm(racks * PER_RACK))
    assert root(left) == ("rack_outage", SWITCH)
    assert {incident.id for incident in fold.published} == {left.id}


def test_a_rack_that_loses_32_nodes_gives_one_incident() -> None:
    fold = Fold(racked(32))
    (left,) = played(fold, storm(32))
    assert root(left) == ("rack_outage", rack(0))
    assert {incident.id for incident in fold.published} == {left.id}


def test_two_racks_without_a_common_parent_give_two_causes() -> None:
    fold = Fold(switched(2, joined=False))
    left = played(fold, storm(2 * PER_RACK))
    assert {root(incident) for incident in left} == {
        ("rack_outage", rack(0)),
        ("rack_outage", rack(1)),
    }


def test_a_lone_node_waits_for_no_parent() -> None:
    fold = Fold(racked(32))
    (opened,) = fold.tick(*lost(0)[:2])
    assert root(opened) == ("node_not_ready", node(0))


def test_two_nodes_wait_for_their_rack_for_two_seconds_and_no_longer() -> None:
    fold = Fold(racked(8))
    assert fold.tick(*lost(0), *lost(1)) == []
    assert fold.tick() == []
    assert {root(one) for one in fold.tick()} == {("node_not_ready", node(i)) for i in range(2)}


def test_an_xid_beside_a_storm_does_not_wait() -> None:
    fold = Fold(racked(32))
    (opened,) = fold.tick(*lost(0), *lost(1), *lost(2), *lost(3), xid(79, at=gpu(20)))
    assert root(opened) == ("gpu_fallen_off_bus", gpu(20))


def test_a_storm_names_some_of_each_sign_as_evidence_and_counts_the_rest() -> None:
    racks = 8
    (left,) = played(Fold(switched(racks)), storm(racks * PER_RACK), quiet=4)
    assert len(left.evidence) <= EVIDENCE_MAX
    assert max(Counter(e.symptom for e in left.evidence).values()) <= EVIDENCE_OF_SIGN
    assert left.evidence_count == racks * PER_RACK * 4
    assert left.affected_count == racks * PER_RACK * 3
    assert {e.symptom for e in left.evidence} == {
        "node_condition.Ready",
        "telemetry_absent",
        "probe_failed",
    }


def test_a_rack_waits_for_the_switch_above_it() -> None:
    fold = Fold(switched(4))
    first = [found for i in range(PER_RACK + 2) for found in lost(i)]
    others = [found for i in range(PER_RACK + 2, 4 * PER_RACK) for found in lost(i, START_S + 1.0)]
    (left,) = played(fold, [first, others], quiet=4)
    assert root(left) == ("rack_outage", SWITCH)
    assert {incident.id for incident in fold.published} == {left.id}


def test_nodes_of_which_nothing_is_heard_wait_for_their_rack_too() -> None:
    """Each of them looks like a node whose collector died, which is a parent of its GPUs."""
    changes = racked(16)
    for i in range(16):
        changes += [entity(gpu(100 + i)), relation(gpu(100 + i), RelationKind.PART_OF, node(i))]
    found = [
        [*lost(i), replace(lost(i)[2], id=f"more-{i}", entity=gpu(100 + i))] for i in range(16)
    ]
    fold = Fold(changes)
    (left,) = played(fold, [[*chain(*found[:3])], [*chain(*found[3:])]], quiet=4)
    assert root(left) == ("rack_outage", rack(0))
    assert {incident.id for incident in fold.published} == {left.id}


def test_a_rack_that_fell_first_is_merged_into_its_switch() -> None:
    fold = Fold(switched(4))
    one_rack = [found for i in range(PER_RACK) for found in lost(i)]
    others = [found for i in range(PER_RACK, 4 * PER_RACK) for found in lost(i, START_S + 1.0)]
    (left,) = played(fold, [one_rack, others], quiet=4)
    assert root(fold.published[0]) == ("rack_outage", rack(0))
    assert root(left) == ("rack_outage", SWITCH)
    assert left.evidence_count == 4 * PER_RACK * 4


def test_what_nothing_explains_in_a_lost_rack_belongs_to_it() -> None:
    seconds = [[found for i in range(32) for found in lost(i)[:2]]]
    strange = [
        finding(engine(i), "log.nvme_timeout", reason="log_signature", confidence=0.9)
        for i in range(32)
    ]
    (left,) = played(Fold(racked(32)), [*seconds, strange], quiet=25)
    assert root(left) == ("rack_outage", rack(0))


def test_findings_of_a_storm_that_come_late_join_its_incident() -> None:
    first, second = storm(32)
    fold = Fold(racked(32))
    (left,) = played(fold, [first, [], [], [], second])
    assert root(left) == ("rack_outage", rack(0))
    assert left.evidence_count == 32 * 4


def test_findings_of_a_storm_that_come_twice_change_nothing() -> None:
    one, other = Fold(racked(32)), Fold(racked(32))
    played(one, storm(32))
    played(other, [[*findings, *findings] for findings in storm(32)])
    assert one.published == other.published


def test_a_storm_ends_when_its_findings_close() -> None:
    fold = Fold(racked(32))
    seconds = storm(32)
    played(fold, seconds)
    ended = [replace(f, state="closed", tick=int(fold.now_s)) for s in seconds for f in s]  # type: ignore[arg-type]
    assert [one.change for one in [*fold.tick(*ended), *fold.ticks(10)]][-1] == "resolved"


@given(st.integers(0, 6))
@settings(max_examples=7, deadline=None)
def test_a_stage_restored_in_the_middle_of_a_storm_goes_on_as_before(cut: int) -> None:
    seconds = [*storm(32), *([[]] * 5)]
    straight, other = Fold(racked(32)), Fold(racked(32))
    expected = [list(straight.tick(*findings)) for findings in seconds]
    begun = [list(other.tick(*findings)) for findings in seconds[:cut]]
    restored = RootCauseStage(RcaSettings())
    restored.restore(other.stage.snapshot())
    other.stage = restored
    assert begun + [list(other.tick(*findings)) for findings in seconds[cut:]] == expected


def cases() -> Iterator[Hypothesis]:
    yield Hypothesis("rack_outage", rack(0))
    yield Hypothesis("node_not_ready", node(1))
    yield Hypothesis("telemetry_loss", rack(0))


@given(
    st.lists(st.tuples(st.floats(-40, 40), st.integers(0, 7)), min_size=1, max_size=12),
    st.lists(st.floats(-30, 30), min_size=1, max_size=4),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_the_loop_and_the_arrays_weigh_alike(
    shown: list[tuple[float, int]], moments: list[float], consequences: bool
) -> None:
    findings = [one for lag_s, i in shown for one in lost(i, START_S + lag_s)]
    seen = scene(racked(8), findings)
    onsets_s = [START_S + moment for moment in moments]
    for hypothesis in cases():
        present = outlook(seen, hypothesis).present
        if not present:
            continue
        left = {present[0].seen.key: 0.4}
        for assumed in (NOTHING, left):
            one = tally.few(seen, present, onsets_s, assumed, consequences=consequences)
            other = tally.many(seen, present, onsets_s, assumed, consequences=consequences)
            for a, b in zip(one, other, strict=True):
                assert a.told == pytest.approx(b.told, abs=1e-9)
                assert a.gains == pytest.approx(b.gains, abs=1e-9)
                assert a.weights == pytest.approx(b.weights, abs=1e-9)
                assert a.strengths == pytest.approx(b.strengths, abs=1e-9)
