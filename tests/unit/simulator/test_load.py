"""How many requests arrive."""

import numpy as np
import pytest

from fleetmend.settings.simulator import SimulatedLoad, SimulatorSettings
from simulator.layout import Layout, build_layout
from simulator.load import Load, steady_rate
from simulator.pressure import no_pressure

STEADY = SimulatedLoad(day_swing=0, burst_factor=1)


def layout(load: SimulatedLoad = STEADY) -> Layout:
    settings = SimulatorSettings(gpus=256, load=load)
    return build_layout(settings, np.random.default_rng(1))


def mean_requests(fleet: Layout, *, at_s: float = 0.0, seconds: int = 400) -> np.ndarray:
    load = Load(fleet, np.random.default_rng(2), np.random.default_rng(3), start_s=0.0)
    pressure = no_pressure(fleet)
    came = [load.step(at_s + second, pressure).requests for second in range(seconds)]
    return np.asarray(np.mean(came, axis=0))


def test_the_mean_is_what_keeps_the_slots_busy_that_are_set() -> None:
    fleet = layout()
    engines = np.bincount(fleet.engine_pool)
    wanted = [steady_rate(pool, 0.5) * n for pool, n in zip(fleet.pools, engines, strict=True)]

    assert mean_requests(fleet) == pytest.approx(wanted, rel=0.05)


def test_littles_law_gives_the_rate() -> None:
    """32 running, 220 tokens of 25.04 ms: 5.8 a second, less the time that prompts take."""
    pool = layout().pools[0]
    rate = steady_rate(pool, 0.5)
    step_s = (14 + 0.22 * 32 + 4) / 1_000 / (1 - rate * 900 / 40_000)

    assert rate * 220 * step_s == pytest.approx(32)


def test_the_day_swings_around_its_mean() -> None:
    fleet = layout(SimulatedLoad(day_swing=0.4, burst_factor=1))
    night, morning, noon = (mean_requests(fleet, at_s=hour * 3_600).sum() for hour in (0, 6, 12))

    assert night / morning == pytest.approx(0.6, rel=0.05)
    assert noon / morning == pytest.approx(1.4, rel=0.05)


def test_a_flood_lengthens_prompts_and_a_surge_multiplies_requests() -> None:
    fleet = layout()
    load, pressure = (
        Load(fleet, np.random.default_rng(2), np.random.default_rng(3), start_s=0.0),
        no_pressure(fleet),
    )
    calm = load.step(0.0, pressure)
    pressure.prompts[0, 0] = 10.0
    pressure.arrivals[1] = 3.0
    hit = load.step(1.0, pressure)

    assert hit.prompt_tokens[0] > 3 * calm.prompt_tokens[0]
    assert hit.prompt_tokens[1] == calm.prompt_tokens[1]
    assert hit.requests[1] > 2 * calm.requests[1]
    assert hit.requests[0] < 2 * calm.requests[0]


def test_bursts_raise_the_mean_by_their_share_of_time() -> None:
    bursty = SimulatedLoad(day_swing=0, burst_every_s=20, burst_s=20, burst_factor=2)

    more = mean_requests(layout(bursty), seconds=2_000).sum()
    assert more / mean_requests(layout()).sum() == pytest.approx(1.5, rel=0.15)
