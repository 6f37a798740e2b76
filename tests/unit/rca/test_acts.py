"""What we did ourselves is no fault, and explains nothing that it cannot cause."""

from dataclasses import replace

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from tests.unit.rca.faults import FAULTS, silent, xid
from tests.unit.rca.made_up import START_S, Fold, engine, finding, gpu, node, pair

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
