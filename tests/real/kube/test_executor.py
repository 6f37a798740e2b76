"""The executor on a real API server: cordon, drain against a budget, hold, give back, and killed in
between; what was sent is read from the API server's own audit log."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from deploy.parts.kube import KubeCluster
from fleetmend.clock import ManualClock, SystemClock
from fleetmend.model.entities import EntityId, RelationKind, TopologyChange, TopologyOp
from fleetmend.model.plans import SessionState
from fleetmend.model.ticks import Mark
from fleetmend.ports.cluster import Cluster
from fleetmend.store import Store
from remediation.execute import Executor
from remediation.ledger import Ledger
from remediation.sample import NOW_S
from tests.real.kube.arrange import RealWorld
from tests.unit.remediation.bench import Bench
from tests.unit.remediation.test_crash import Fuse, Killed, Wired

pytestmark = pytest.mark.kube


@pytest.fixture
def world(kube: KubeCluster) -> RealWorld:
    """A node and a namespace of the test's own."""
    return RealWorld(kube)


@pytest.fixture
def bench(tmp_path: Path, world: RealWorld) -> Iterator[Bench]:
    """The workbench with the real cluster in place of the fake, and the node in its topology."""
    store = Store(f"sqlite:///{tmp_path}/store.db", ManualClock(NOW_S))
    store.migrate()
    made = Bench(store)
    made.ports = replace(made.ports, cluster=world.cluster)
    node, gpu = EntityId(f"example/node/{world.node}"), EntityId(f"example/gpu/{world.node}")
    for entity in (node, gpu):
        made.picture.change(TopologyChange(1.0, TopologyOp.ENTITY, entity))
    for source, relation, target in (
        (gpu, RelationKind.PART_OF, node),
        (node, RelationKind.PART_OF, "example/rack/rack-0"),
        (node, RelationKind.MEMBER_OF, "example/pool/pool"),
    ):
        made.picture.change(TopologyChange(1.0, TopologyOp.RELATION, source, target, relation))
    yield made
    store.close()


def work_until(
    bench: Bench, world: RealWorld, session: str, state: SessionState, *, kills: tuple[int, ...]
) -> int:
    """Let executors work until the session is in `state`; the clock moves with every look. The
    n-th of them is killed at its boundary number `kills[n]`. Returns how many were killed."""
    fuses = iter([*(Fuse(at=at) for at in kills), Fuse(at=None)])
    killed = 0

    def next_worker() -> Executor:
        fuse = next(fuses)
        cluster = cast(Cluster, Wired(world.cluster, fuse))
        ledger = cast(Ledger, Wired(bench.ledger, fuse))
        return bench.new_worker(ledger, replace(bench.ports, cluster=cluster))

    worker = next_worker()

    def there() -> bool:
        nonlocal worker, killed
        try:
            while worker.run_once():
                pass
        except Killed:
            killed += 1
            worker = next_worker()
            bench.clock.sleep(bench.settings.lease_s + 1)
        bench.clock.sleep(0.2)
        bench.picture.mark(Mark("rca", bench.clock.now_s()))
        return bench.session(session).state is state

    world.wait(there)
    return killed


def test_killed_again_and_again_every_change_is_made_once(bench: Bench, world: RealWorld) -> None:
    moving = [world.add_pod(f"engine-{number}") for number in range(6)]
    staying = world.add_pod("agent", daemon=True)
    before = world.node_patches()
    session = bench.lost_gpu(entity=EntityId(f"example/gpu/{world.node}"))

    kills = (7, 16, 22, 27, 33)
    assert work_until(bench, world, session.id, SessionState.HOLDING, kills=kills) == 5
    held = world.cluster.node(world.node)
    assert held is not None
    assert (held.unschedulable, held.session) == (True, session.id)
    left = {pod.uid for pod in world.cluster.pods_on(world.node)}
    assert left == {staying.uid}

    bench.resolve()
    assert work_until(bench, world, session.id, SessionState.DONE, kills=(9,)) == 1
    free = world.cluster.node(world.node)
    assert free is not None
    assert (free.unschedulable, free.session) == (False, "")

    assert world.node_patches() == before + 2
    assert sorted(world.evictions()) == sorted(pod.name for pod in moving)
    assert bench.audit_holds()


def test_a_drain_waits_for_a_real_disruption_budget(bench: Bench, world: RealWorld) -> None:
    free, guarded = world.add_pod("free"), world.add_pod("guarded", guarded=True)
    session = bench.lost_gpu(entity=EntityId(f"example/gpu/{world.node}"))

    for _ in range(20):
        bench.executor = bench.new_worker()
        bench.executor.run_once()
        bench.clock.sleep(2.0)
        SystemClock().sleep(0.05)
    assert bench.session(session.id).state is SessionState.RUNNING
    assert world.evictions() == [free.name]

    budget = f"/apis/policy/v1/namespaces/{world.namespace}/poddisruptionbudgets/guarded"
    world.request("DELETE", budget)
    work_until(bench, world, session.id, SessionState.HOLDING, kills=())
    assert sorted(world.evictions()) == [free.name, guarded.name]
