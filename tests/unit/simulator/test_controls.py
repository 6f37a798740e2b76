"""Router, engines and receiver keep the promises of their ports."""

import pytest

from fleetmend.errors import PortRefused
from fleetmend.model.entities import key_of
from simulator.fleet import Fleet
from simulator.topology import engine_id
from tests.unit.simulator.fleets import small_fleet, wait_until, watch


def an_engine(fleet: Fleet, name: str) -> str:
    pods = (p for node in fleet.layout.nodes for p in fleet.cluster.pods_on(node))
    uid = next(pod.uid for pod in pods if pod.name == name)
    return engine_id(fleet.layout, uid)


@pytest.fixture
def fleet() -> Fleet:
    return small_fleet()


def first_llama(fleet: Fleet) -> str:
    return next(name for name in fleet.layout.engine_names if name.startswith("llama"))


def test_an_engine_is_known_by_entity_uid_and_pod_name(fleet: Fleet) -> None:
    name = first_llama(fleet)
    entity = an_engine(fleet, name)

    for known in (entity, key_of(entity), name):  # type: ignore[arg-type]
        state = fleet.traffic.backend(known)
        assert state is not None
        assert (state.engine, state.weight, state.healthy) == (known, 100, True)
    assert fleet.traffic.backend("nobody") is None
    assert fleet.engines.state("nobody") is None


def test_an_ejected_engine_gets_nothing_and_the_others_its_share(fleet: Fleet) -> None:
    names = [name for name in fleet.layout.engine_names if name.startswith("llama")]
    entities = [an_engine(fleet, name) for name in names]
    calm = watch(fleet, 60)
    state = fleet.traffic.set_weight(entities[0], 0, operation="op-1")
    watch(fleet, 60)
    after = watch(fleet, 60)

    assert (state.weight, state.operation) == (0, "op-1")
    assert after.rate(entities[0], "engine.requests_done") == 0
    assert after.mean(entities[0], "engine.requests_running") == 0
    before = sum(calm.mean(e, "engine.requests_running") for e in entities[1:])
    now = sum(after.mean(e, "engine.requests_running") for e in entities[1:])
    assert now > before * (1 + 0.6 / len(entities[1:]))


def test_setting_a_weight_twice_changes_nothing(fleet: Fleet) -> None:
    name = first_llama(fleet)
    first = fleet.traffic.set_weight(name, 40, operation="op-1")

    assert fleet.traffic.set_weight(name, 40, operation="op-1") == first


@pytest.mark.parametrize("weight", [-1, 101])
def test_a_weight_out_of_range_is_refused(fleet: Fleet, weight: int) -> None:
    with pytest.raises(PortRefused, match="Use 0 to 100"):
        fleet.traffic.set_weight(first_llama(fleet), weight, operation="op-1")


def test_unknown_engines_are_refused(fleet: Fleet) -> None:
    with pytest.raises(PortRefused, match="no such engine"):
        fleet.traffic.set_weight("nobody", 0, operation="op-1")
    with pytest.raises(PortRefused, match="no such engine"):
        fleet.engines.restart("nobody", operation="op-1")


def test_a_restart_happens_once_for_its_operation_and_warms_up(fleet: Fleet) -> None:
    name = first_llama(fleet)
    before = fleet.engines.state(name)
    assert before is not None
    first = fleet.engines.restart(name, operation="op-1")
    again = fleet.engines.restart(name, operation="op-1")

    assert first == again
    assert (first.generation, first.serving) == (before.generation + 1, False)

    def serving() -> bool:
        state = fleet.engines.state(name)
        assert state is not None
        return state.serving

    assert 20 <= wait_until(fleet, serving, limit_s=60) <= 42
    assert fleet.engines.restart(name, operation="op-2").generation == before.generation + 2


def test_a_restart_loses_what_was_in_hand_and_starts_its_counters_anew(fleet: Fleet) -> None:
    name = first_llama(fleet)
    entity = an_engine(fleet, name)
    aborted = fleet.totals().aborted
    running = watch(fleet, 30).values(entity, "engine.requests_running")[-1]
    fleet.engines.restart(name, operation="op-1")
    seen = watch(fleet, 60)

    assert fleet.totals().aborted - aborted >= running
    starts = seen.values(entity, "engine.process_start")
    assert starts[-1] > fleet.now_s - 61
    assert seen.values(entity, "engine.requests_done")[-1] < 400
