"""Lawful life opens no incident: load that grows, longer prompts, deploys, clients that leave,
autoscaling, maintenance. `benchmarks.simulated` asks the same with more seeds and a larger fleet.
"""

from collections import Counter

import pytest

from benchmarks.simulated_folds import Watched, folds
from benchmarks.simulated_lawful import LAWFUL, lawful_settings
from detection.aside import Aside
from fleetmend.settings.simulator import SimulatedLife, SimulatedPool

TOLD = {
    "deploys": {"rollout"},
    "autoscaling": {"scale"},
    "maintenance": {"cordon", "taint", "boot", "untaint", "uncordon"},
}
"""Changes that must have been told for the scene to have happened."""
QUICK = SimulatedLife(start_s_min=5, start_s_max=10)
POOLS = (SimulatedPool(name="chat", model="qwen3-32b", tensor_parallel=2, share=1.0),)
SECONDS = {"maintenance": 220, "deploys": 160}
SECONDS_LOAD = 130


def lived(name: str, seed: int) -> tuple[list[str], Counter[str]]:
    """The causes of all incidents, and the changes that were told."""
    settings = lawful_settings(name, gpus=32).model_copy(update={"pools": POOLS, "life": QUICK})
    fleet, both = Watched(settings, seed), folds()
    changes = Counter[str]()
    for _ in range(SECONDS.get(name, SECONDS_LOAD)):
        seen = fleet.second()
        changes.update(str(e.data["change"]) for e in seen.events if "change" in e.data)
        both.take(seen)
    first = {one.id: one for one in reversed(both.incidents)}
    return [one.causes[0].cause if one.causes else "none" for one in first.values()], changes


@pytest.mark.parametrize("name", LAWFUL)
def test_lawful_life_opens_no_incident(name: str) -> None:
    said, changes = lived(name, seed=3)

    assert said == []
    assert changes.keys() >= TOLD.get(name, set())


def test_without_the_word_that_a_pod_terminates_a_deploy_reads_as_faults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What keeps deploys silent is that word, and not that detectors see nothing."""
    monkeypatch.setattr(Aside, "explains", lambda *_: False)
    said, _ = lived("deploys", seed=3)

    assert said
