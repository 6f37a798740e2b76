"""The headroom view: capacity from topology, need from the trailing peak of demand."""

import pytest

from fleetmend.model.entities import (
    EntityId,
    RelationKind,
    TopologyChange,
    TopologyOp,
)
from fleetmend.model.samples import SampleBatch
from fleetmend.views.headroom import HeadroomView
from fleetmend.views.topology import TopologyView

POOL = EntityId("lab/pool/chat")
ENGINES = [EntityId(f"lab/engine/e-{n}") for n in range(3)]


@pytest.fixture
def topology() -> TopologyView:
    view = TopologyView()
    view.apply(TopologyChange(0.0, TopologyOp.ENTITY, POOL))
    for number, engine in enumerate(ENGINES):
        slots = {"slots": "32"} if number == 0 else {}
        view.apply(TopologyChange(0.0, TopologyOp.ENTITY, engine, attributes=slots))
        view.apply(TopologyChange(0.0, TopologyOp.RELATION, engine, POOL, RelationKind.MEMBER_OF))
    return view


@pytest.fixture
def headroom(topology: TopologyView) -> HeadroomView:
    return HeadroomView(topology, slots=64.0, window_s=300.0, margin=1.25)


def batch(time_s: float, running: float, waiting: float = 0.0) -> SampleBatch:
    rows = [(time_s, engine, "engine.requests_running", running) for engine in ENGINES]
    rows += [(time_s, engine, "engine.requests_waiting", waiting) for engine in ENGINES]
    rows += [(time_s, ENGINES[0], "engine.kv_usage", 0.99)]
    return SampleBatch.from_rows(rows)


def test_capacity_counts_the_slots_of_engines_that_serve(headroom: HeadroomView) -> None:
    assert headroom.of_pool(POOL, now_s=0.0).capacity == 32 + 64 + 64
    left = headroom.of_pool(POOL, now_s=0.0, down={ENGINES[1]})
    assert (left.replicas, left.capacity) == (2, 96)


def test_the_need_is_the_peak_with_its_margin(headroom: HeadroomView) -> None:
    for second in range(100):
        headroom.observe(batch(float(second), running=20.0, waiting=4.0 if second == 50 else 0.0))

    assert headroom.of_pool(POOL, now_s=99.0).needed == pytest.approx(3 * 24 * 1.25)


def test_a_peak_is_forgotten_after_its_window(headroom: HeadroomView) -> None:
    for second in range(200):
        headroom.observe(batch(float(second), running=60.0 if second == 70 else 10.0))
    assert headroom.of_pool(POOL, now_s=199.0).needed == pytest.approx(3 * 60 * 1.25)

    for second in range(200, 800):
        headroom.observe(batch(float(second), running=10.0))
    assert headroom.of_pool(POOL, now_s=799.0).needed == pytest.approx(3 * 10 * 1.25)


def test_the_need_is_unknown_until_demand_was_seen_for_a_while(headroom: HeadroomView) -> None:
    assert headroom.of_pool(POOL, now_s=0.0).needed is None
    for second in range(30):
        headroom.observe(batch(float(second), running=20.0))
    assert headroom.of_pool(POOL, now_s=30.0).needed is None


def test_old_demand_is_unknown_demand(headroom: HeadroomView) -> None:
    for second in range(100):
        headroom.observe(batch(float(second), running=20.0))

    assert headroom.of_pool(POOL, now_s=1000.0).needed is None


def test_an_engine_that_is_gone_leaves_the_demand(headroom: HeadroomView) -> None:
    """Its last figure counts for half a minute, then only the others'."""
    for second in range(100):
        headroom.observe(batch(float(second), running=20.0))
    for second in range(100, 500):
        rows = [(float(second), ENGINES[0], "engine.requests_running", 20.0)]
        headroom.observe(SampleBatch.from_rows(rows))

    assert headroom.of_pool(POOL, now_s=499.0).needed == pytest.approx(20 * 1.25)


def test_engines_without_a_pool_are_counted_by_their_model(topology: TopologyView) -> None:
    model, alone = EntityId("lab/model/m"), EntityId("lab/engine/alone")
    for entity in (model, alone):
        topology.apply(TopologyChange(0.0, TopologyOp.ENTITY, entity))
    topology.apply(TopologyChange(0.0, TopologyOp.RELATION, alone, model, RelationKind.SERVES))
    headroom = HeadroomView(topology, slots=8.0, window_s=300.0, margin=1.0)

    assert headroom.pool_of(alone) == model
    assert headroom.of_pool(model, now_s=0.0).capacity == 8


def test_samples_of_others_and_empty_batches_change_nothing(headroom: HeadroomView) -> None:
    stranger = [(1.0, "lab/engine/unknown", "engine.requests_running", 5.0)]
    headroom.observe(SampleBatch.from_rows(stranger))
    headroom.observe(SampleBatch.from_rows([]))

    assert headroom.of_pool(POOL, now_s=1.0).needed is None
