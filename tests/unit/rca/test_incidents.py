"""The life of incidents, tick by tick: opening, joining, changing, merging, ending."""

from dataclasses import replace

import pytest

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.findings import Finding, FindingState
from fleetmend.model.incidents import Abstention, CauseRole, Incident, IncidentStatus, Severity
from rca.case import incident_id
from tests.unit.rca.faults import FAULTS, foreign, xid
from tests.unit.rca.made_up import (
    START_S,
    Fold,
    closed,
    engine,
    finding,
    gpu,
    incidents,
    node,
    rack,
    racked,
    single,
)

NEIGHBOUR = FAULTS["noisy_neighbour"].findings


def opened(fold: Fold, *findings: Finding, within: int = 5) -> list[Incident]:
    """What opens when these findings come, within some ticks."""
    found = [*fold.tick(*findings), *fold.ticks(within)]
    return [incident for incident in found if incident.change == "opened"]


def end(fold: Fold, *findings: Finding, within: int = 12) -> list[Incident]:
    """Close these findings and wait."""
    return [*fold.tick(*(closed(f, at_s=fold.now_s) for f in findings)), *fold.ticks(within)]


def root(incident: Incident) -> tuple[str, EntityId]:
    return incident.causes[0].cause, incident.causes[0].entity


def test_a_clear_fault_opens_one_incident_with_cause_evidence_and_path() -> None:
    fold = Fold(single())
    (incident,) = opened(fold, *NEIGHBOUR)
    assert root(incident) == ("noisy_neighbour", gpu(0))
    assert incident.causes[0].role is CauseRole.ROOT
    assert incident.causes[0].path == (gpu(0), engine(0))
    assert incident.causes[0].runbooks == ("gpu-noisy-neighbour",)
    assert incident.version == 1
    assert incident.entity == gpu(0)
    assert engine(0) in incident.affected
    assert [e.id for e in incident.evidence] == [f"E{i + 1}" for i in range(len(incident.evidence))]
    assert set(incident.causes[0].supports) <= {e.id for e in incident.evidence}
    assert incident.next_check != ""


def test_it_is_opened_at_the_event_time_reached_and_not_at_its_onset() -> None:
    fold = Fold(single())
    (incident,) = opened(fold, *NEIGHBOUR)
    assert incident.opened_at_s > incident.onset_s
    assert incident.opened_at_s == incident.updated_at_s


def test_a_lone_learned_finding_opens_nothing_however_sure_it_is() -> None:
    fold = Fold(single())
    learned = finding(
        gpu(0),
        "gpu.sm_active up",
        "gpu.power up",
        "gpu.dram_active up",
        "gpu.work_per_token up",
        reason="odd_combination",
        detector="forest",
        witness=Witness.MODEL,
        confidence=1.0,
    )
    assert opened(fold, learned, within=40) == []


def test_moves_of_load_alone_open_nothing() -> None:
    fold = Fold(single())
    load = finding(
        engine(0),
        "engine.arrival_rate up",
        "engine.requests_running up",
        "engine.generation_tokens up",
        reason="load_shift",
        confidence=0.3,
    )
    busy = finding(gpu(0), "gpu.sm_active up", "gpu.power up", reason="load_shift", confidence=0.3)
    assert opened(fold, load, busy, within=40) == []


def test_an_unclear_fault_waits_for_more_and_then_opens() -> None:
    """A queue fits several causes; what comes a second later decides."""
    fold = Fold(single())
    queue = finding(engine(0), "engine.requests_waiting up", "engine.ttft_p50 up")
    assert fold.tick(queue) == []
    prompts = finding(
        engine(0), "engine.prompt_tokens_per_request up", "engine.prompt_tokens up", key="prompts"
    )
    (incident,) = opened(fold, prompts)
    assert root(incident) == ("long_prompt_flood", engine(0))


def test_later_evidence_joins_the_incident_that_explains_it() -> None:
    fold = Fold(single())
    opened(fold, *NEIGHBOUR)
    more = finding(gpu(0), "gpu.dram_active up", onset_s=START_S + 4.0, key="late")
    (update,) = fold.tick(more)
    assert update.change == "evidence_added"
    assert update.version == 2
    assert "gpu.dram_active" in {e.symptom for e in update.evidence}


def test_evidence_keeps_its_number_for_life() -> None:
    fold = Fold(single())
    (first,) = opened(fold, *NEIGHBOUR)
    fold.tick(finding(gpu(0), "gpu.dram_active up", onset_s=START_S + 4.0, key="late"))
    last = fold.last[first.id]
    assert [(e.id, e.symptom) for e in last.evidence][: len(first.evidence)] == [
        (e.id, e.symptom) for e in first.evidence
    ]


def test_a_second_fault_on_another_machine_opens_its_own_incident() -> None:
    fold = Fold(racked(2))
    (first,) = opened(fold, *NEIGHBOUR)
    (second,) = opened(fold, xid(79, at=gpu(1)))
    assert root(second) == ("gpu_fallen_off_bus", gpu(1))
    assert second.id != first.id


def test_a_second_fault_on_the_same_gpu_opens_its_own_incident() -> None:
    fold = Fold(single())
    opened(fold, *NEIGHBOUR)
    (second,) = opened(fold, replace(xid(79), onset_s=fold.now_s))
    assert root(second) == ("gpu_fallen_off_bus", gpu(0))


def test_two_faults_at_once_give_two_causes() -> None:
    fold = Fold(single())
    found = opened(fold, *NEIGHBOUR[:2], xid(79))
    assert {root(incident) for incident in found} == {
        ("noisy_neighbour", gpu(0)),
        ("gpu_fallen_off_bus", gpu(0)),
    }


@pytest.mark.parametrize("name", sorted(name for name in FAULTS if name != "bad_rollout"))
def test_one_fault_gives_one_incident_though_others_would_explain_parts_of_it(name: str) -> None:
    fault = FAULTS[name]
    fold = Fold(fault.fleet())
    found = opened(fold, *fault.findings, within=30)
    assert [root(incident) for incident in found] == [(name, fault.blamed)]


def test_a_better_explanation_takes_over_while_the_incident_is_young() -> None:
    fold = Fold(single())
    surge = FAULTS["request_surge"].findings
    (incident,) = opened(fold, *surge, within=3)
    assert root(incident) == ("request_surge", engine(0))
    prompts = finding(
        engine(0),
        "engine.prompt_tokens_per_request up",
        "engine.prompt_tokens up",
        "engine.decode_rate down",
        key="prompts",
        score=20.0,
    )
    changes = [*fold.tick(prompts), *fold.ticks(2)]
    assert [change.change for change in changes] == ["cause_changed"]
    assert root(changes[0]) == ("long_prompt_flood", engine(0))
    assert changes[0].id == incident.id


def test_what_begins_much_later_is_a_new_fault_and_no_better_explanation() -> None:
    fold = Fold(single())
    (first,) = opened(fold, *FAULTS["request_surge"].findings)
    fold.ticks(40)
    later = [
        replace(
            f, id=f.id + "b", symptoms=tuple(replace(s, onset_s=fold.now_s) for s in f.symptoms)
        )
        for f in FAULTS["host_cpu_starvation"].findings
    ]
    (second,) = opened(fold, *later)
    assert root(second) == ("host_cpu_starvation", node(0))
    assert root(fold.last[first.id]) == ("request_surge", engine(0))


def test_an_incident_resolves_when_its_findings_have_closed() -> None:
    fold = Fold(single())
    (incident,) = opened(fold, *NEIGHBOUR)
    changes = end(fold, *NEIGHBOUR)
    assert [(c.id, c.change) for c in changes] == [(incident.id, "resolved")]
    assert changes[0].status is IncidentStatus.RESOLVED
    assert changes[0].resolved_at_s == changes[0].updated_at_s
    assert root(changes[0]) == root(incident)


def test_it_does_not_resolve_while_something_still_speaks_for_the_fault() -> None:
    fold = Fold(single())
    opened(fold, *NEIGHBOUR)
    assert end(fold, NEIGHBOUR[2], within=60) == []


def test_what_is_left_of_a_resolved_fault_opens_nothing_again() -> None:
    fold = Fold(single())
    hang = FAULTS["engine_hang"].findings
    opened(fold, *hang)
    changes = end(fold, hang[0], within=60)
    assert [change.change for change in changes] == ["resolved"]


def test_the_backlog_of_a_hang_is_no_surge() -> None:
    fold = Fold(single())
    hang = FAULTS["engine_hang"].findings
    opened(fold, *hang)
    fold.ticks(10)
    backlog = finding(
        engine(0),
        "engine.arrival_rate up",
        "engine.requests_waiting up",
        "engine.requests_running up",
        "engine.ttft_p50 up",
        onset_s=fold.now_s,
        key="backlog",
    )
    assert opened(fold, backlog, within=1) == []
    done = [*end(fold, *hang, within=3), *end(fold, backlog)]
    assert [(change.change, root(change)[0]) for change in done] == [("resolved", "engine_hang")]


def test_one_parent_is_blamed_for_eight_nodes_of_a_rack() -> None:
    fold = Fold(racked(8))
    (incident,) = opened(fold, *FAULTS["rack_outage"].findings)
    assert root(incident) == ("rack_outage", rack(0))
    assert set(incident.affected) == {node(i) for i in range(8)}


def test_incidents_of_the_members_merge_when_the_parent_shows() -> None:
    fold = Fold(racked(8))
    nodes = FAULTS["rack_outage"].findings
    first = opened(fold, *nodes[:2], within=2)
    assert {root(i) for i in first} == {("node_not_ready", node(i)) for i in range(2)}
    fold.tick(*nodes[2:])
    fold.ticks(3)
    states = {i.id: i for i in fold.last.values()}
    merged = [i for i in states.values() if i.status is IncidentStatus.MERGED]
    (heir,) = [i for i in states.values() if i.status is IncidentStatus.OPEN]
    assert root(heir) == ("rack_outage", rack(0))
    assert [i.merged_into for i in merged] == [heir.id]


def test_strong_findings_that_nothing_explains_open_without_a_cause() -> None:
    fold = Fold(single())
    strange = finding(node(0), "log.nvme_timeout", reason="log_signature", confidence=0.9)
    assert opened(fold, strange, within=10) == []
    found = fold.ticks(10)
    assert [i.abstention for i in found] == [Abstention.UNKNOWN_SIGNATURE]
    assert found[0].causes == ()
    assert found[0].entity == node(0)
    assert [i.change for i in end(fold, strange)] == ["resolved"]


def test_weak_findings_that_nothing_explains_open_nothing() -> None:
    fold = Fold(single())
    strange = finding(node(0), "log.nvme_timeout", reason="log_signature", confidence=0.6)
    assert opened(fold, strange, within=60) == []


def act(action: str, at_s: float) -> Event:
    return Event(
        id=f"{action}-{at_s}",
        source="fleetmend/remediator",
        type=EventType.ACTION,
        time_s=at_s,
        subject=node(0),
        data={"action": action},
    )


def test_an_incident_is_mitigated_first_while_an_action_of_ours_is_in_place() -> None:
    fold = Fold(single())
    opened(fold, *NEIGHBOUR)
    fold.tick(act("cordon", fold.now_s))
    changes = end(fold, *NEIGHBOUR, within=20)
    assert [change.status for change in changes] == [IncidentStatus.MITIGATED]
    assert [change.status for change in fold.ticks(60)] == [IncidentStatus.RESOLVED]


def test_giving_back_resolves_a_mitigated_incident_at_once() -> None:
    fold = Fold(single())
    opened(fold, *NEIGHBOUR)
    fold.tick(act("cordon", fold.now_s))
    end(fold, *NEIGHBOUR, within=20)
    back = [*fold.tick(act("uncordon", fold.now_s)), *fold.ticks(2)]
    assert [change.status for change in back] == [IncidentStatus.RESOLVED]


def test_a_mitigated_incident_opens_again_when_its_fault_shows_again() -> None:
    fold = Fold(single())
    opened(fold, *NEIGHBOUR)
    fold.tick(act("cordon", fold.now_s))
    end(fold, *NEIGHBOUR, within=20)
    again = [replace(f, id=f.id + "b", tick=int(fold.now_s)) for f in NEIGHBOUR]
    assert [change.status for change in fold.tick(*again)] == [IncidentStatus.OPEN]


PROVISIONAL = replace(xid(79), state=FindingState.PROVISIONAL, at_s=START_S)
CONFIRMED = replace(xid(79), at_s=START_S + 2.0)


def test_a_provisional_finding_becomes_a_provisional_incident_on_arrival() -> None:
    fold = Fold(single())
    (incident,) = incidents(fold.stage.arrive(fold.record(PROVISIONAL)))
    assert incident.provisional
    assert root(incident) == ("gpu_fallen_off_bus", gpu(0))
    assert incident.id == incident_id(gpu(0), PROVISIONAL.tick)
    assert (incident.version, incident.opened_at_s) == (1, START_S)
    assert incident.severity is Severity.P0


def test_the_tick_confirms_a_provisional_incident_under_the_same_id() -> None:
    fold = Fold(single())
    (incident,) = incidents(fold.stage.arrive(fold.record(PROVISIONAL)))
    assert fold.tick(PROVISIONAL) == []
    (confirmed,) = [*fold.tick(CONFIRMED), *fold.ticks(3)]
    assert (confirmed.id, confirmed.version, confirmed.change) == (incident.id, 2, "confirmed")
    assert not confirmed.provisional
    assert confirmed.opened_at_s == incident.opened_at_s


def test_a_provisional_incident_that_no_tick_confirms_is_taken_back() -> None:
    fold = Fold(single())
    (incident,) = incidents(fold.stage.arrive(fold.record(PROVISIONAL)))
    fold.tick(PROVISIONAL)
    changes = fold.ticks(45)
    assert [(c.id, c.change) for c in changes] == [(incident.id, "resolved")]
    assert changes[0].provisional


def test_arrival_says_nothing_twice() -> None:
    fold = Fold(single())
    fold.tick(PROVISIONAL)
    assert fold.stage.arrive(fold.record(PROVISIONAL)) == []


def test_arrival_says_nothing_of_findings_that_are_not_decisive() -> None:
    fold = Fold(single())
    vague = replace(NEIGHBOUR[0], state=FindingState.PROVISIONAL)
    assert fold.stage.arrive(fold.record(vague)) == []


def test_arrival_changes_nothing() -> None:
    one, other = Fold(single()), Fold(single())
    one.stage.arrive(one.record(PROVISIONAL))
    assert one.stage.snapshot() == other.stage.snapshot()


@pytest.mark.parametrize("name", ["engine_hang", "engine_crash"])
def test_an_engine_that_serves_nothing_is_p0_where_it_is_the_only_one(name: str) -> None:
    fold = Fold(single())
    (incident,) = opened(fold, *FAULTS[name].findings)
    assert incident.severity is Severity.P0


def test_one_gpu_of_a_fleet_that_turns_slow_is_no_p0() -> None:
    fold = Fold(racked(4))
    (incident,) = opened(fold, foreign(gpu(0)), *NEIGHBOUR[1:])
    assert incident.severity is Severity.P2


def test_one_line_of_the_driver_opens_one_incident_whatever_signs_it_shows() -> None:
    fold = Fold(single())
    # 48 stands for a double-bit error and, among the sticky ones, for a reset that is wanted.
    found = opened(fold, xid(48), xid(94, reason="application_xid"), within=20)
    assert [incident.causes[0].cause for incident in found] == ["gpu_ecc_contained"]
