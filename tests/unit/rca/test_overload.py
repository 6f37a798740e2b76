"""Load that moves from engines that are gone to those that are left is no second fault."""

from dataclasses import replace

import pytest

from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from tests.unit.rca.faults import FAULTS
from tests.unit.rca.made_up import START_S, Fold, closed, engine, finding, gpu, racked

LATER_S = START_S + 20


def loaded(index: int) -> tuple[Finding, ...]:
    """An engine with twice the load, as it shows."""
    return (
        finding(
            engine(index),
            "engine.ttft_p95 up",
            "engine.requests_waiting up",
            "engine.tpot_p50 up",
            confidence=0.9,
            score=20.0,
            onset_s=LATER_S,
        ),
        finding(
            gpu(index),
            "gpu.sm_active up",
            "gpu.power up",
            "gpu.dram_active up",
            confidence=0.9,
            score=20.0,
            onset_s=LATER_S,
        ),
    )


def at_engine(index: int, one: Finding) -> Finding:
    """The same finding on the engine or GPU of that index."""
    place = engine(index) if one.entity == engine(0) else gpu(index)
    return replace(one, entity=place, id=f"{one.id}-{index}")


def opened(nodes: int, *, crashes: bool) -> list[Incident]:
    fold = Fold(racked(nodes))
    if crashes:
        fold.tick(*(at_engine(0, one) for one in FAULTS["engine_crash"].findings))
    fold.ticks(int(LATER_S - fold.now_s) + 1)
    fold.tick(*loaded(1))
    fold.ticks(20)
    return [i for i in fold.published if i.change == "opened"]


def test_the_load_of_a_dead_engine_on_the_only_other_one_belongs_to_its_incident() -> None:
    assert len(opened(2, crashes=False)) == 1
    (crash,) = opened(2, crashes=True)
    assert crash.causes[0].cause == "engine_crash"


@pytest.mark.parametrize("nodes", [60])
def test_one_dead_engine_of_many_does_not_explain_a_queue(nodes: int) -> None:
    assert len(opened(nodes, crashes=True)) == 2


def test_load_is_remembered_for_a_while_after_the_engine_is_back_and_over_a_restart() -> None:
    crash = [at_engine(0, one) for one in FAULTS["engine_crash"].findings]
    fold = Fold(racked(2))
    fold.tick(*crash)
    fold.ticks(12)
    fold.tick(*(closed(one, at_s=fold.now_s) for one in crash))
    saved = fold.stage.snapshot()
    fold.stage.restore(saved)
    fold.ticks(int(LATER_S - fold.now_s) + 1)
    fold.tick(*loaded(1))
    fold.ticks(20)
    assert len([i for i in fold.published if i.change == "opened"]) == 1
    assert fold.stage.snapshot() != saved
