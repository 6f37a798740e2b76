"""Lawful endings accuse nobody; a sick engine's end is not lawful."""

from collections.abc import Collection

from detection.aside import Aside
from fleetmend.model.entities import EntityId, RelationKind, TopologyChange, TopologyOp
from fleetmend.views.topology import TopologyView

ENGINE, GPU, NODE = EntityId("c/engine/e"), EntityId("c/gpu/g"), EntityId("c/node/n")
ENDS = TopologyChange(5.0, TopologyOp.ENTITY, ENGINE, attributes={"terminating": "true"})


def view() -> TopologyView:
    found = TopologyView()
    found.apply(TopologyChange(1.0, TopologyOp.ENTITY, ENGINE))
    found.apply(TopologyChange(1.0, TopologyOp.RELATION, ENGINE, GPU, RelationKind.RUNS_ON))
    return found


def test_an_engine_that_is_told_to_end_is_set_aside_and_forgotten_when_it_is_gone() -> None:
    aside = Aside()
    aside.take(ENDS, view(), (), lambda _: False)
    assert aside.snapshot()["ending"] == {ENGINE: 5.0}
    aside.take(TopologyChange(9.0, TopologyOp.ENTITY_GONE, ENGINE), view(), (), lambda _: False)
    assert aside.snapshot()["ending"] == {}


def test_an_engine_that_was_accused_before_does_not_end_in_peace() -> None:
    asked: list[set[EntityId]] = []
    aside = Aside()

    def accused(parts: Collection[EntityId]) -> bool:
        asked.append(set(parts))
        return True

    aside.take(ENDS, view(), (), accused)
    assert aside.snapshot()["ending"] == {}
    assert asked == [{ENGINE, GPU}]


def test_a_node_is_out_only_by_a_cordon_with_somebody_elses_taint() -> None:
    aside = Aside()
    cordoned = {"unschedulable": "true"}
    for attributes, out in (
        (cordoned, []),
        (cordoned | {"taints": "maintenance=firmware:NoSchedule"}, [NODE]),
        ({}, []),
    ):
        change = TopologyChange(2.0, TopologyOp.ENTITY, NODE, attributes=attributes)
        aside.take(change, TopologyView(), (), lambda _: False)
        assert aside.snapshot()["out"] == out


def test_what_was_known_survives_a_restart() -> None:
    aside, again = Aside(), Aside()
    aside.take(ENDS, view(), (), lambda _: False)
    again.restore(aside.snapshot())
    assert again.snapshot() == aside.snapshot()
