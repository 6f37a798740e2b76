"""The severity table, row by row, each with the sentence that says why."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Severity
from fleetmend.settings.rca import SeveritySettings
from fleetmend.views.topology import TopologyView
from rca.evidence import Observation, SignIndex
from rca.knowledge.load import knowledge
from rca.severity import Graded, effect_words, grade
from tests.unit.rca.made_up import START_S, engine, finding, gpu, racked, single


def graded(
    fault: str | None,
    root: EntityId,
    findings: Sequence[Finding] = (),
    *,
    fleet: Sequence[TopologyChange] = (),
    lasted_s: float = 10.0,
) -> Graded:
    view = TopologyView()
    for change in fleet or single():
        view.apply(change)
    index = SignIndex(knowledge())
    seen: list[Observation] = [o for f in findings for o in index.observations(f)]
    return grade(
        None if fault is None else knowledge().classes[fault],
        root=root,
        evidence=seen,
        onset_s=START_S,
        now_s=START_S + lasted_s,
        topology=view,
        settings=SeveritySettings(),
    )


def measured(at: EntityId, symptom: str, observed: float) -> Finding:
    made = finding(at, symptom)
    return replace(made, symptoms=(replace(made.symptoms[0], observed=observed),))


def test_wrong_answers_are_p1() -> None:
    assert graded("silent_corruption", engine(0)) == Graded(
        Severity.P1, "an engine answers wrongly"
    )


def test_a_gpu_that_is_lost_is_p0() -> None:
    assert graded("gpu_fallen_off_bus", gpu(0)) == Graded(Severity.P0, "a GPU is lost to the fleet")


def test_availability_below_99_per_cent_is_p0() -> None:
    down = graded("engine_hang", engine(0), fleet=racked(50))
    assert down == Graded(Severity.P0, "98.0% of the engines of tiny serve, below 99.0%")


def test_an_engine_of_a_large_fleet_is_p1() -> None:
    down = graded("engine_hang", engine(0), fleet=racked(150))
    assert down.severity is Severity.P1
    assert down.reason.startswith("99.3% of the engines of tiny serve")


def test_a_stopped_rank_takes_its_engine_down() -> None:
    assert graded("rank_hang", gpu(0), fleet=racked(2)).severity is Severity.P0


@pytest.mark.parametrize(("lasted_s", "severity"), [(299.0, Severity.P2), (300.0, Severity.P1)])
def test_requests_over_two_seconds_for_five_minutes_are_p1(
    lasted_s: float, severity: Severity
) -> None:
    slow = [measured(engine(0), "engine.ttft_p95 up", 4.5)]
    found = graded("request_surge", engine(0), slow, lasted_s=lasted_s)
    assert found.severity is severity
    assert found.reason.startswith("requests wait 4.5 s, over 2 s")


def test_requests_within_two_seconds_are_not_slow() -> None:
    slow = [measured(engine(0), "engine.ttft_p95 up", 2.0)]
    assert "wait" not in graded("request_surge", engine(0), slow, lasted_s=900.0).reason


def test_memory_over_90_per_cent_is_p2() -> None:
    full = [measured(gpu(0), "gpu.memory_usage up", 0.95)]
    assert graded("gpu_page_fault", gpu(0), full) == Graded(
        Severity.P2, "95% of GPU memory in use, over 90%"
    )
    most = [measured(gpu(0), "gpu.memory_usage up", 0.9)]
    assert graded("gpu_page_fault", gpu(0), most).severity is Severity.P3


def test_a_hint_of_a_class_never_passes_for_a_measured_limit() -> None:
    """power_brake hints P1, which needs five minutes of slow requests."""
    assert graded("power_brake", gpu(0)).severity is Severity.P2


def test_an_unknown_fault_is_p3() -> None:
    assert graded(None, gpu(0)).severity is Severity.P3


def test_every_effect_has_words() -> None:
    assert all(effect_words(fault.effect) for fault in knowledge().classes.values())
