"""Evidence charts: the affected entity beside the median of its peers, bounded in points."""

import numpy as np

from fleetmend.charts import PEERS_MAX, POINTS_MAX, median_track, peers_of, thinned
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.views.topology import TopologyView

POOL = entity_id("c", EntityKind.POOL, "p")


def node(number: int) -> EntityId:
    return entity_id("c", EntityKind.NODE, f"n{number:03d}")


def gpu(number: int) -> EntityId:
    return entity_id("c", EntityKind.GPU, f"g{number:03d}")


def fleet(nodes: int) -> TopologyView:
    """`nodes` nodes of one GPU each, all in one pool; the GPUs belong to it by their nodes."""
    view = TopologyView()
    for n in range(nodes):
        for entity in (POOL, node(n), gpu(n)):
            view.apply(TopologyChange(0.0, TopologyOp.ENTITY, entity))
        for source, target, relation in (
            (gpu(n), node(n), RelationKind.PART_OF),
            (node(n), POOL, RelationKind.MEMBER_OF),
        ):
            view.apply(TopologyChange(0.0, TopologyOp.RELATION, source, target, relation))
    return view


def test_the_peers_of_a_gpu_are_the_gpus_of_its_nodes_pool() -> None:
    assert peers_of(gpu(1), fleet(3)) == (gpu(0), gpu(2))


def test_a_large_pool_gives_a_bounded_choice() -> None:
    assert len(peers_of(gpu(0), fleet(200))) == PEERS_MAX


def test_an_entity_without_a_pool_has_no_peers() -> None:
    assert peers_of(gpu(0), TopologyView()) == ()


def test_the_median_is_that_of_each_second() -> None:
    one = (np.array([1.0, 2.0]), np.array([10.0, 20.0]))
    other = (np.array([1.4, 3.0]), np.array([30.0, 40.0]))

    times, values = median_track([one, other])

    assert times.tolist() == [1.0, 2.0, 3.0]
    assert values.tolist() == [20.0, 20.0, 40.0]


def test_a_long_track_is_thinned_and_keeps_its_newest_point() -> None:
    track = (np.arange(5000.0), np.arange(5000.0))

    times, values = thinned(track)

    assert len(times) <= POINTS_MAX
    assert values[-1] == 4999.0
