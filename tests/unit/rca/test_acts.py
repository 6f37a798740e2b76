"""What we did ourselves is no fault, and explains nothing that it cannot cause."""

from dataclasses import replace

from fleetmend.model.entities import EntityId, RelationKind, TopologyChange
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from tests.unit.rca.faults import FAULTS, silent, xid
from tests.unit.rca.made_up import (
    START_S,
    Fold,
    engine,
    entity,
    finding,
    gpu,
    node,
    pair,
    relation,
)

IDLE = (
    finding(gpu(0), "gpu.utilization down", "gpu.power down", confidence=0.9, onset_s=START_S + 5),
    finding(gpu(1), "gpu.utilization down", "gpu.power down", confidence=0.9, onset_s=START_S + 5),
    finding(engine(0), "engine.generation_tokens down", confidence=0.9, onset_s=START_S + 5),
    finding(gpu(0), "gpu.nvlink_rx down", confidence=0.9, onset_s=START_S + 5),
    finding(gpu(1), "gpu.nvlink_rx down", confidence=0.9, onset_s=START_S + 5),
)
"""An engine of two GPUs that gets nothing to do."""


def act(action: str, target: EntityId, at_s: float) -> Event:
    return Event(
        id=f"{action}-{at_s}",
        source="fleetmend/remediator",
        type=EventType.ACTION,
        time_s=at_s,
        subject=target,
        data={"action": action},
    )


def opened_by(*findings: Finding, did: tuple[Event, ...] = ()) -> list[Incident]:
    fold = Fold(pair())
    fold.tick(*did)
    fold.ticks(8)
    found = [*fold.tick(*findings), *fold.ticks(30)]
    return [incident for incident in found if incident.change == "opened"]


def test_an_engine_that_we_took_out_of_the_traffic_is_idle_by_our_own_doing() -> None:
    assert opened_by(*IDLE) != []
    assert opened_by(*IDLE, did=(act("eject", engine(0), START_S + 4),)) == []


def test_an_act_explains_nothing_that_began_before_it() -> None:
    assert opened_by(*IDLE, did=(act("eject", engine(0), START_S + 60),)) != []


def test_what_was_given_back_explains_nothing_that_comes_long_after() -> None:
    did = act("eject", engine(0), START_S - 500), act("restore", engine(0), START_S - 400)
    assert opened_by(*IDLE, did=did) != []


def test_a_cordon_does_not_explain_the_silence_of_the_gpu_that_fell_off_the_bus() -> None:
    fold = Fold(pair())
    fold.tick(xid(79))
    fold.tick(act("cordon", node(0), fold.now_s))
    later = replace(silent(gpu(0)), onset_s=fold.now_s)
    fold.tick(later)
    fold.ticks(3)
    (incident,) = fold.last.values()
    witnesses = {e.witness for e in incident.evidence if e.id in incident.causes[0].supports}
    assert Witness.SILENCE in witnesses
    assert Witness.KERNEL_LOG in witnesses


def test_an_engine_that_dies_late_and_anew_belongs_to_the_gpu_that_it_lost() -> None:
    fold = Fold(pair())
    fold.tick(xid(79))
    crash = FAULTS["engine_crash"].findings
    for round_s in (30.0, 90.0):
        died = [
            replace(
                f,
                id=f"{f.id}-{round_s}",
                onset_s=START_S + round_s,
                symptoms=tuple(replace(s, onset_s=START_S + round_s) for s in f.symptoms),
            )
            for f in crash
        ]
        fold.ticks(int(START_S + round_s - fold.now_s) + 1)
        fold.tick(*died)
        fold.ticks(6)
    (incident,) = fold.last.values()
    assert incident.causes[0].cause == "gpu_fallen_off_bus"


def test_what_a_restart_shows_is_no_evidence_for_another_cause() -> None:
    fold = Fold(pair())
    fold.tick(*FAULTS["engine_hang"].findings)
    fold.ticks(6)
    (before,) = fold.last.values()
    fold.tick(act("engine_restart", engine(0), fold.now_s))
    gone = [
        finding(
            gpu(i),
            "gpu.memory_used down",
            "gpu.sm_clock down",
            "gpu.nvlink_rx down",
            confidence=0.9,
            onset_s=fold.now_s,
        )
        for i in range(2)
    ]
    fold.tick(*gone, silent(engine(0)))
    fold.ticks(40)
    (after,) = fold.last.values()
    assert before.causes[0].cause == after.causes[0].cause == "engine_hang"
    assert {e.symptom for e in after.evidence}.isdisjoint({"gpu.memory_used", "gpu.sm_clock"})


def rebooted(at_s: float) -> tuple[Finding, ...]:
    """The other engine of the node as a reboot shows it."""
    return (
        replace(silent(engine(1)), onset_s=at_s),
        finding(engine(1), "log.engine_dead", reason="log_signature", confidence=0.9, onset_s=at_s),
        finding(gpu(1), "gpu.sm_clock down", confidence=0.9, onset_s=at_s),
    )


def after_xid_79(*did: Event) -> dict[str, Incident]:
    """GPU 0 falls off the bus, something is done, and a minute later engine 1 dies beside it."""
    fold = Fold(two_engines())
    fold.tick(xid(79))
    fold.tick(*did)
    fold.ticks(60)
    fold.tick(*rebooted(fold.now_s))
    fold.ticks(20)
    return fold.last


def two_engines() -> list[TopologyChange]:
    """One node with two GPUs and an engine on each."""
    return [
        *map(entity, (node(0), gpu(0), gpu(1), engine(0), engine(1))),
        *(relation(gpu(i), RelationKind.PART_OF, node(0)) for i in range(2)),
        *(relation(engine(i), RelationKind.RUNS_ON, gpu(i)) for i in range(2)),
    ]


def test_what_dies_on_a_node_held_for_repair_belongs_to_the_fault_that_it_is_held_for() -> None:
    assert len(after_xid_79()) == 2
    (incident,) = after_xid_79(act("cordon", node(0), START_S + 1)).values()
    assert incident.causes[0].cause == "gpu_fallen_off_bus"
    assert engine(1) in incident.affected
