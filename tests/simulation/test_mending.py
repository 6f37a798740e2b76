"""Faults end: by themselves, by what the platform does, or by people; what was lost comes back."""

import threading

import pytest

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, key_of
from fleetmend.model.events import EventType
from fleetmend.ports.cluster import PodState
from fleetmend.settings.simulator import FaultSchedule, SimulatedLife
from fleetmend.views.topology import TopologyView
from simulator.catalogue import CATALOGUE
from simulator.faults import Mend
from simulator.fleet import Fleet
from tests.unit.simulator.fleets import small_fleet, wait_until, watch

QUICK = SimulatedLife(on_call_s=200, repair_spread=0.1)
"""A person comes after about three minutes."""


def engines_on(fleet: Fleet, node: str) -> list[PodState]:
    return [pod for pod in fleet.cluster.pods_on(node) if not pod.daemon]


def drain(fleet: Fleet, node: str, *, session: str = "s-1") -> float:
    """Cordon and evict until the node is empty; how long it took."""
    state = fleet.cluster.node(node)
    assert state is not None
    fleet.cluster.quarantine(state, session=session, reason="test")

    def empty() -> bool:
        for pod in engines_on(fleet, node):
            fleet.cluster.evict(pod, session=session)
        return not engines_on(fleet, node)

    return wait_until(fleet, empty, limit_s=300)


def ended(fleet: Fleet) -> list[Mend | None]:
    return [fault.ended_by for fault in fleet.truth()]


def mended_s(fleet: Fleet) -> float:
    """Seconds until a restart has ended the only fault."""
    return wait_until(fleet, lambda: ended(fleet) == [Mend.RESTART], limit_s=400)


def gpu_of(fleet: Fleet, *, pool: int) -> EntityId:
    """A GPU of a serving engine of a pool."""
    return engine_and_gpu(fleet, pool=pool)[1]


def engine_and_gpu(fleet: Fleet, *, pool: int) -> tuple[EntityId, EntityId]:
    """A serving engine of a pool and one of its GPUs."""
    view = TopologyView()
    for change in fleet.topology():
        view.apply(change)
    members = view.sources(fleet.layout.pool_ids[pool], RelationKind.MEMBER_OF)
    engine = next(entity for entity in members if entity.startswith("sim/engine"))
    return engine, view.targets(engine, RelationKind.RUNS_ON)[0]


@pytest.mark.parametrize("name", [n for n, s in CATALOGUE.items() if Mend.REPAIR in s.mends])
def test_a_drained_node_is_repaired_and_its_telemetry_returns(name: str) -> None:
    fleet = small_fleet()
    gpu = gpu_of(fleet, pool=0)
    index = fleet.layout.gpu_ids.index(gpu)
    node = fleet.layout.nodes[index // 8]
    target = gpu if CATALOGUE[name].target is EntityKind.GPU else fleet.layout.node_ids[index // 8]
    fleet.faults.inject(name, target)
    watch(fleet, 60)
    drain(fleet, node)
    wait_until(fleet, lambda: ended(fleet) == [Mend.REPAIR], limit_s=600)
    seen = watch(fleet, 10)

    assert len(seen.values(gpu, "gpu.power")) == 10
    assert seen.values(gpu, "gpu.xid_last")[-1] == 0
    assert seen.values(gpu, "gpu.recovery_action")[-1] == 0
    assert seen.values(gpu, "gpu.row_remap_pending")[-1] == 0
    state = fleet.cluster.node(node)
    assert state is not None
    # The technician mends the hardware; giving the node back is the platform's part.
    assert (state.ready, state.unschedulable, state.session) == (True, True, "s-1")


def test_without_a_drain_nothing_is_repaired_until_a_person_comes() -> None:
    fleet = small_fleet(life=QUICK)
    fleet.faults.inject("gpu_fallen_off_bus", gpu_of(fleet, pool=0))
    watch(fleet, 100)

    assert ended(fleet) == [None]
    wait_until(fleet, lambda: ended(fleet) == [Mend.ON_CALL], limit_s=300)


def test_evicted_engines_serve_again_elsewhere_with_the_traffic_they_had() -> None:
    fleet = small_fleet()
    gpu = gpu_of(fleet, pool=1)
    node = fleet.layout.nodes[fleet.layout.gpu_ids.index(gpu) // 8]
    names = {pod.name for pod in engines_on(fleet, node)}
    watch(fleet, 30)
    before = fleet.totals()
    drain(fleet, node)

    def all_serve() -> bool:
        states = [fleet.engines.state(name) for name in names]
        return all(state is not None and state.serving for state in states)

    assert wait_until(fleet, all_serve, limit_s=120) > 20
    watch(fleet, 60)
    after = fleet.totals()
    assert not engines_on(fleet, node)
    assert after.running == pytest.approx(before.running, rel=0.2)
    assert after.refused == before.refused


def test_a_released_node_takes_pods_again() -> None:
    """Every spare node is closed; the pod waits until one is given back."""
    fleet = small_fleet()
    pool = fleet.layout.node_pool
    mine = [n for n, p in zip(fleet.layout.nodes, pool, strict=True) if p == 1]
    spare = [node for node in mine if not engines_on(fleet, node)]
    for node in spare:
        fleet.cluster.set_unschedulable(node, True, owner="kubectl")
    source = next(node for node in mine if engines_on(fleet, node))
    pod = engines_on(fleet, source)[0]
    state = fleet.cluster.node(source)
    assert state is not None
    fleet.cluster.quarantine(state, session="s-1", reason="test")
    fleet.cluster.evict(pod, session="s-1")
    watch(fleet, 60)
    places = [p for node in mine for p in engines_on(fleet, node) if p.name == pod.name]
    assert not places
    fleet.cluster.set_unschedulable(spare[0], False)
    watch(fleet, 5)

    assert [p.name for p in engines_on(fleet, spare[0])] == [pod.name]


@pytest.mark.parametrize("name", ["engine_hang", "operator_degradation", "engine_memory_leak"])
def test_a_restart_mends_what_it_can(name: str) -> None:
    fleet = small_fleet()
    fault = fleet.faults.inject(name)
    watch(fleet, 20)
    fleet.engines.restart(fault.target, operation="op-1")
    wait_until(fleet, lambda: ended(fleet) == [Mend.RESTART], limit_s=60)
    seen = watch(fleet, 30)

    assert seen.rate(fault.target, "engine.generation_tokens") > 0
    assert seen.mean(fault.target, "engine.memory_allocated") < 121e9


def test_a_hung_rank_is_mended_by_a_restart_or_by_the_engines_own_time_limit() -> None:
    for restarts in (True, False):
        fleet = small_fleet()
        engine, gpu = engine_and_gpu(fleet, pool=1)
        fleet.faults.inject("rank_hang", gpu)
        watch(fleet, 20)
        if restarts:
            fleet.engines.restart(engine, operation="op-1")
        assert (mended_s(fleet) > 250) is not restarts


def test_moving_an_engine_away_mends_its_own_faults_and_leaves_those_of_the_gpu() -> None:
    fleet = small_fleet()
    gpu = gpu_of(fleet, pool=2)
    node = fleet.layout.nodes[fleet.layout.gpu_ids.index(gpu) // 8]
    engine = engines_on(fleet, node)[0]
    fleet.faults.inject("engine_hang", EntityId(f"sim/engine/{engine.uid}"))
    fleet.faults.inject("thermal_throttling", gpu)
    watch(fleet, 60)
    fleet.cluster.evict(engine, session="s-1")
    wait_until(fleet, lambda: ended(fleet) == [Mend.RESTART, None], limit_s=120)


@pytest.mark.parametrize("name", ["rack_power_loss", "rack_switch_failure", "collector_death"])
def test_what_passes_by_itself_leaves_everything_as_before(name: str) -> None:
    fleet = small_fleet()
    before = watch(fleet, 30)
    hit = fleet.faults.inject(name).target
    wait_until(fleet, lambda: ended(fleet) == [Mend.ITSELF], limit_s=400)
    watch(fleet, 60)
    after = watch(fleet, 60)

    assert hit.startswith(("sim/rack", "sim/node"))
    for node in fleet.layout.node_ids:
        assert after.heard(node) >= before.heard(node)
        state = fleet.cluster.node(key_of(node))
        assert state is not None
        assert state.ready
    assert fleet.totals().running > 0


def test_ready_comes_back_as_a_condition() -> None:
    fleet = small_fleet()
    fleet.faults.inject("rack_switch_failure")
    seen = watch(fleet, 330)
    found = [
        (event.data["condition"], event.data["status"])
        for event in seen.events
        if event.type is EventType.NODE_CONDITION
    ]

    assert found == [("Ready", "Unknown")] * 8 + [("Ready", "True")] * 8


def test_kubernetes_moves_pods_off_a_node_that_stays_silent() -> None:
    """After its toleration of five minutes, also when nobody acts."""
    fleet = small_fleet()
    gpu = gpu_of(fleet, pool=0)
    node = fleet.layout.node_ids[fleet.layout.gpu_ids.index(gpu) // 8]
    fleet.faults.inject("node_not_ready", node)
    watch(fleet, 330)
    assert engines_on(fleet, key_of(node))
    wait_until(fleet, lambda: not engines_on(fleet, key_of(node)), limit_s=60)


def test_a_rollback_ends_a_bad_rollout() -> None:
    fleet = small_fleet(life=QUICK)
    pool = fleet.layout.pool_ids[2]
    fleet.faults.inject("bad_rollout", pool)
    wait_until(fleet, lambda: ended(fleet) == [Mend.ON_CALL], limit_s=400)
    seen = watch(fleet, 200)
    members = [name for name in fleet.layout.engine_names if name.startswith("deepseek")]

    assert [e.data["who"] for e in seen.events if e.type is EventType.CHANGE] in ([], ["on-call"])
    for name in members:
        backend = fleet.traffic.backend(name)
        assert backend is not None
        assert backend.healthy
    after = watch(fleet, 60)
    view = TopologyView()
    for change in fleet.topology():
        view.apply(change)
    engine = view.resolve(members[0])
    assert engine is not None
    assert after.mean(engine, "engine.tpot_p50") < 0.045


def test_scheduled_faults_come_at_the_rate_that_is_set_and_lemons_take_more() -> None:
    """With open_max out of the way, about rate times time of them."""
    fleet = small_fleet(faults=FaultSchedule(speed_up=100_000, quiet_s=0, open_max=10_000))
    per_s = sum(spec.per_gpu_hour for spec in CATALOGUE.values()) * 128 * 100_000 / 3_600
    watch(fleet, 120)
    faults = [fault for fault in fleet.truth() if not fault.benign]

    assert len(faults) == pytest.approx(per_s * 120, rel=0.5)
    assert len({fault.fault.name for fault in faults}) > 5
    assert len({fault.fault.id for fault in faults}) == len(faults)


def test_never_more_faults_are_open_than_allowed() -> None:
    fleet = small_fleet(faults=FaultSchedule(speed_up=1_000_000, quiet_s=0, open_max=2))
    for _ in range(60):
        watch(fleet, 2)
        assert sum(f.ended_at_s is None and not f.benign for f in fleet.truth()) <= 2


def test_calm_comes_first() -> None:
    fleet = small_fleet(faults=FaultSchedule(speed_up=1_000_000, quiet_s=30))
    watch(fleet, 30)
    assert not fleet.truth()
    watch(fleet, 10)
    assert fleet.truth()


def test_lawful_rollouts_are_on_record_as_benign() -> None:
    fleet = small_fleet(faults=FaultSchedule(speed_up=0, deploy_every_s=5, quiet_s=0))
    seen = watch(fleet, 60)
    announced = [event for event in seen.events if event.type is EventType.CHANGE]

    assert announced
    assert all(fault.benign for fault in fleet.truth())
    assert len(fleet.truth()) == len(announced)


def test_ports_may_be_called_while_the_fleet_moves() -> None:
    """One thread advances, others act: no torn state, no lost request."""
    fleet = small_fleet()
    failures: list[BaseException] = []

    def act(session: str) -> None:
        try:
            for node in fleet.layout.nodes[:6]:
                for pod in engines_on(fleet, node):
                    fleet.cluster.evict(pod, session=session)
                fleet.cluster.node(node)
                fleet.faults.offers()
        except (AssertionError, ArithmeticError, LookupError, RuntimeError) as error:
            failures.append(error)

    threads = [threading.Thread(target=act, args=(f"s-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    watch(fleet, 60)
    for thread in threads:
        thread.join()

    assert not failures
    now = fleet.totals()
    assert now.arrived == now.running + now.waiting + now.done + now.aborted + now.refused
