"""What is normal is learnt from calm, and only shifts that matter are deviations."""

import numpy as np
import pytest

from detection.links import Links
from detection.normal import Normal
from detection.windows import Windows
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.detection import DetectionSettings
from fleetmend.signals.records import Shape
from fleetmend.views.topology import TopologyView

GPU = entity_id("c", EntityKind.GPU, "a")
SIGNALS = ("gpu.power", "gpu.sm_active", "gpu.work_per_token", "gpu.sm_clock")


class Bench:
    """One GPU whose values are set by the test."""

    def __init__(self, **settings: float) -> None:
        self.windows = Windows(dict.fromkeys(SIGNALS, Shape.GAUGE), ticks=64)
        self.normal = Normal(DetectionSettings.model_validate(settings))
        self.links, self.topology = Links(), TopologyView()
        self.tick = -1

    def feed(self, **values: float) -> None:
        self.tick += 1
        rows = [(self.tick + 0.5, str(GPU), f"gpu.{name}", value) for name, value in values.items()]
        self.windows.advance(self.tick, [])
        self.windows.take([SampleBatch.from_rows(rows)], self.tick)
        self.windows.keep()
        self.links.update(self.topology, self.windows.blocks, 0)
        self.normal.update(self.windows.blocks, self.links, 1.0)

    def deviates(self, signal: str) -> int:
        block = self.windows.block(EntityKind.GPU)
        return int(self.normal.arrays(block)["active"][0, block.column[signal]])

    def level(self, signal: str) -> float:
        return float(self.normal.level(self.windows.block(EntityKind.GPU), signal)[0])


@pytest.mark.parametrize("seed", range(3))
def test_minutes_of_noise_are_no_deviation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bench = Bench()
    for _ in range(400):
        bench.feed(
            power=200 + 12 * rng.standard_normal(), sm_active=0.15 + 0.03 * rng.standard_t(4)
        )
        assert bench.deviates("gpu.power") == bench.deviates("gpu.sm_active") == 0


def test_a_step_is_a_deviation_after_as_many_votes_as_are_needed_and_not_before() -> None:
    bench = Bench()
    for _ in range(60):
        bench.feed(power=200.0)
    said = []
    for _ in range(5):
        bench.feed(power=600.0)
        said.append(bench.deviates("gpu.power"))

    assert said == [0, 0, 0, 1, 1]
    block = bench.windows.block(EntityKind.GPU)
    assert bench.normal.arrays(block)["since"][0, 0] == 60


def test_the_level_does_not_follow_what_deviates() -> None:
    bench = Bench()
    for _ in range(60):
        bench.feed(power=200.0)
    for _ in range(120):
        bench.feed(power=600.0)

    assert bench.level("gpu.power") == pytest.approx(200.0, rel=0.02)
    assert bench.deviates("gpu.power") == 1


def test_a_new_level_of_load_is_normal_in_the_end_and_one_of_harm_is_not_yet() -> None:
    bench = Bench(accept_load_s=100.0, accept_harm_s=1000.0)
    for _ in range(60):
        bench.feed(power=200.0, work_per_token=2e-4)
    for _ in range(200):
        bench.feed(power=600.0, work_per_token=2e-3)

    assert (bench.deviates("gpu.power"), bench.deviates("gpu.work_per_token")) == (0, 1)
    assert bench.level("gpu.power") == pytest.approx(600.0, rel=0.02)


def test_one_wild_sample_is_no_deviation_and_moves_the_level_little() -> None:
    bench = Bench()
    for at in range(120):
        bench.feed(power=200.0 if at % 40 else 5000.0)
        assert bench.deviates("gpu.power") == 0
    assert bench.level("gpu.power") == pytest.approx(200.0, rel=0.05)


def test_a_constant_signal_needs_a_shift_that_matters_not_just_one_that_shows() -> None:
    bench = Bench()
    for _ in range(60):
        bench.feed(sm_clock=1980.0)
    for _ in range(10):
        bench.feed(sm_clock=1935.0)  # three steps of the driver
    assert bench.deviates("gpu.sm_clock") == 0
    for _ in range(10):
        bench.feed(sm_clock=1500.0)
    assert bench.deviates("gpu.sm_clock") == -1


def test_nothing_is_learnt_of_a_gpu_while_something_else_on_it_is_broken() -> None:
    bench = Bench()
    for _ in range(60):
        bench.feed(power=200.0, work_per_token=2e-4)
    for _ in range(60):
        bench.feed(power=230.0, work_per_token=2e-3)

    assert bench.level("gpu.power") == pytest.approx(200.0, rel=0.02)


def test_few_samples_make_wide_limits() -> None:
    bench = Bench()
    for _ in range(12):
        bench.feed(power=200.0)
    block = bench.windows.block(EntityKind.GPU)
    early = bench.normal.limits(block, 0, 0)
    for _ in range(120):
        bench.feed(power=200.0)
    late = bench.normal.limits(block, 0, 0)

    assert early is not None
    assert late is not None
    assert early[0] < late[0] < 200 < late[1] < early[1]


def test_a_deviation_that_is_not_heard_any_more_ends() -> None:
    bench = Bench()
    for _ in range(60):
        bench.feed(power=200.0, sm_active=0.1)
    for _ in range(10):
        bench.feed(power=600.0, sm_active=0.1)
    for _ in range(12):
        bench.feed(sm_active=0.1)

    assert bench.deviates("gpu.power") == 0
