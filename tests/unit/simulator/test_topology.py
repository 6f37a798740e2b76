"""The fleet as topology records."""

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, TopologyOp
from fleetmend.views.topology import TopologyView
from simulator.fleet import Fleet
from tests.unit.simulator.fleets import small_fleet, watch


def view_of(fleet: Fleet) -> TopologyView:
    view = TopologyView()
    for change in fleet.topology():
        view.apply(change)
    return view


def test_every_gpu_leads_to_its_node_rack_zone_and_pool() -> None:
    view = view_of(small_fleet())
    gpus = list(view.of_kind(EntityKind.GPU))

    assert len(gpus) == 128
    for gpu in gpus:
        for kind in (EntityKind.NODE, EntityKind.RACK, EntityKind.ZONE, EntityKind.POOL):
            assert view.ancestor(gpu, kind) is not None


def test_an_engine_runs_on_as_many_linked_gpus_as_its_pool_says() -> None:
    view = view_of(small_fleet())
    for engine in view.of_kind(EntityKind.ENGINE):
        gpus = view.targets(engine, RelationKind.RUNS_ON)
        pool = view.targets(engine, RelationKind.MEMBER_OF)[0]
        assert len(gpus) == int(view.attributes[pool]["tensor_parallel"])
        for gpu in gpus:
            assert set(view.targets(gpu, RelationKind.LINKED_TO)) == set(gpus) - {gpu}
        assert view.sources(engine, RelationKind.ROUTES_TO)
        assert view.targets(engine, RelationKind.SERVES)


def test_names_of_people_lead_to_entities() -> None:
    fleet = small_fleet()
    view = view_of(fleet)

    assert view.resolve("node-003") == EntityId("sim/node/node-003")
    assert view.resolve("node-003/gpu:2") == fleet.layout.gpu_id(3, 2)
    assert view.resolve(fleet.layout.engine_names[0]) in set(view.of_kind(EntityKind.ENGINE))


def test_the_whole_is_told_once_and_then_only_what_changes() -> None:
    fleet = small_fleet()

    assert len(fleet.topology()) > 1_000
    watch(fleet, 5)
    assert fleet.topology() == []


def test_a_moved_pod_is_a_new_engine_under_the_old_name() -> None:
    fleet = small_fleet()
    view = view_of(fleet)
    name = fleet.layout.engine_names[0]
    old = view.resolve(name)
    assert old is not None
    node = view.attributes[old]["node"]
    pod = next(pod for pod in fleet.cluster.pods_on(node) if pod.name == name)
    fleet.cluster.set_unschedulable(node, True)
    fleet.cluster.evict(pod, session="s-1")
    watch(fleet, 10)
    changes = fleet.topology()
    for change in changes:
        view.apply(change)
    new = view.resolve(name)

    assert new not in (None, old)
    assert old not in view
    assert view.attributes[new]["node"] != node
    said = [c.op for c in changes if c.entity == old and c.op is not TopologyOp.RELATION]
    assert said == [TopologyOp.ENTITY, TopologyOp.ALIAS, TopologyOp.ENTITY_GONE]
    assert changes[0].attributes["terminating"] == "true"
