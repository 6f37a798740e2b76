"""Requests are never lost and never invented."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.settings.simulator import SimulatedLoad, SimulatorSettings
from simulator.layout import Layout, build_layout
from simulator.pressure import no_pressure
from simulator.queues import Queues, Served

LAYOUT: Layout = build_layout(
    SimulatorSettings(gpus=64, load=SimulatedLoad(client_timeout_s=5)), np.random.default_rng(1)
)
ENGINES = len(LAYOUT.engine_names)


def queues(seed: int = 1) -> Queues:
    return Queues(LAYOUT, np.random.default_rng(seed))


def step(
    queue: Queues,
    came: int,
    *,
    step_s: float = 0.03,
    working: bool = True,
    slots: float = 1.0,
    kv: float = 1.0,
) -> Served:
    pressure = no_pressure(LAYOUT)
    pressure.engine_slots *= slots
    pressure.engine_kv *= kv
    return queue.step(
        np.full(ENGINES, came),
        np.full(ENGINES, 900.0),
        step_s=np.full(ENGINES, step_s),
        working=np.full(ENGINES, working),
        pressure=pressure,
    )


Seconds = st.lists(
    st.tuples(
        st.integers(0, 60),
        st.booleans(),
        st.sampled_from([0.02, 0.2, 5.0]),
        st.sampled_from([1.0, 0.05]),
        st.sampled_from([1.0, 0.02]),
        st.booleans(),
    ),
    max_size=20,
)


@settings(max_examples=40)
@given(Seconds)
def test_arrived_is_running_and_waiting_and_done_and_aborted(
    seconds: list[tuple[int, bool, float, float, float, bool]],
) -> None:
    """Whatever happens: overload, hangs, a starved cache, an engine that dies."""
    queue = queues()
    for came, working, step_s, slots, kv, dies in seconds:
        step(queue, came, step_s=step_s, working=working, slots=slots, kv=kv)
        if dies:
            queue.drop(np.array([0, 3]))
        known = queue.running + queue.waiting + queue.finished + queue.aborted
        assert (known == queue.arrived).all()
        for counts in (queue.running, queue.waiting, queue.line):
            assert (counts >= 0).all()


@settings(max_examples=40)
@given(Seconds)
def test_no_more_run_than_there_are_slots(
    seconds: list[tuple[int, bool, float, float, float, bool]],
) -> None:
    queue = queues()
    for came, working, step_s, _, _, _ in seconds:
        step(queue, came, step_s=step_s, working=working)
        assert (queue.running <= 64).all()


def test_the_first_to_come_is_the_first_to_run() -> None:
    """With a batch limit of three, the median wait of those admitted is that of the oldest."""
    queue = queues()
    for _ in range(4):
        step(queue, 3, working=False)
    served = step(queue, 0, slots=0.05)

    assert served.admitted.tolist() == [3] * ENGINES
    assert served.wait_p50_s.tolist() == [4.0] * ENGINES


def test_a_client_that_waited_too_long_leaves() -> None:
    queue = queues()
    step(queue, 7, working=False)
    for _ in range(4):
        step(queue, 0, working=False)
        assert (queue.waiting == 7).all()
    step(queue, 0, working=False)

    assert (queue.aborted == 7).all()


def test_a_standing_engine_makes_no_progress() -> None:
    queue = queues()
    step(queue, 20)
    before = queue.running.copy()
    served = step(queue, 5, working=False)

    assert not served.generated.any()
    assert (queue.running == before).all()
    assert np.isnan(served.wait_p50_s).all()


def test_a_cache_too_small_preempts_and_queues() -> None:
    """As measured on vLLM with a tiny cache: usage near 1, few running, many waiting."""
    queue = queues()
    preempted = 0
    for _ in range(4):
        preempted += int(step(queue, 30, kv=0.05).preempted.sum())
    pressure = no_pressure(LAYOUT)
    pressure.engine_kv *= 0.05

    assert preempted > 0
    assert queue.kv_usage(pressure).mean() > 0.85
    assert queue.waiting.mean() > queue.running.mean()


def test_reading_prompts_slows_tokens() -> None:
    idle, busy = queues(), queues()
    slow = step(busy, 60)
    fast = step(idle, 1)

    assert (slow.tpot_s > fast.tpot_s).all()
    assert slow.prefill.max() <= 0.8


def test_tokens_follow_from_requests_and_their_pace() -> None:
    queue = queues()
    step(queue, 40)
    served = step(queue, 0, step_s=0.05)

    assert served.generated == pytest.approx(
        queue.running / served.tpot_s + served.admitted, rel=1e-9
    )
