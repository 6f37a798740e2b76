"""The whole platform on a simulated fleet, in event time."""

import pytest

from fleetmend.cli.config import load
from fleetmend.cli.simulate import PRESET
from fleetmend.errors import PortRefused
from fleetmend.model.incidents import IncidentStatus
from fleetmend.settings import Settings
from fleetmend.simulation import Simulated, simulate

QUIET = {"simulator.faults.speed_up": 0.0, "simulator.faults.deploy_every_s": 0.0}
QUICK = {
    "simulator.load.mean_running": 0.25,  # so that a node can be spared
    "simulator.life.repair_s": 20.0,
    "simulator.life.start_s_min": 5.0,
    "simulator.life.start_s_max": 10.0,
}


def settings(**changed: object) -> Settings:
    return load(None, {"simulator.gpus": 96, **QUIET, **QUICK, **changed}, preset=PRESET).settings


def told(found: Simulated) -> list[tuple[str, float, str]]:
    return [(str(act.data["action"]), act.time_s, act.subject) for act in found.acts]


@pytest.fixture(scope="module")
def lost_gpu() -> Simulated:
    return simulate(settings(), seed=7, seconds=420, faults={60: ("gpu_fallen_off_bus",)})


def test_a_lost_gpu_is_one_incident_mended_and_given_back(lost_gpu: Simulated) -> None:
    judged = lost_gpu.judged()
    (one,) = judged.answered
    assert [opening.cause for opening in one.right] == ["gpu_fallen_off_bus"]
    assert one.misnamed == []
    assert judged.false == ()
    assert judged.wrong_acts == ()
    assert one.fault.ended_at_s is not None
    assert not one.fault.by_people
    assert [name for name, _, _ in told(lost_gpu) if name != "notify"] == [
        "cordon",
        "drain",
        "uncordon",
    ]
    assert lost_gpu.incidents[-1].status is IncidentStatus.RESOLVED
    assert lost_gpu.dead_letters == 0


def test_the_same_seed_tells_the_same_story(lost_gpu: Simulated) -> None:
    again = simulate(settings(), seed=7, seconds=420, faults={60: ("gpu_fallen_off_bus",)})
    assert again.incidents == lost_gpu.incidents
    assert told(again) == told(lost_gpu)
    assert again.totals == lost_gpu.totals


def test_where_nothing_may_be_done_nothing_is_done() -> None:
    watching = settings(**{"remediation.default.autonomy": "recommend"})
    found = simulate(watching, seed=7, seconds=120, faults={60: ("gpu_fallen_off_bus",)})
    assert found.incidents != ()
    assert [name for name, _, _ in told(found) if name != "notify"] == []


def test_a_fault_that_does_not_exist_is_refused() -> None:
    with pytest.raises(PortRefused, match="no fault is called"):
        simulate(settings(), seed=7, seconds=5, faults={1: ("gremlins",)})
