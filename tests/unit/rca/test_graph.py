"""The graph: what a step reaches, how far, and that changes give what a rebuild gives."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.model.entities import EntityId, RelationKind, TopologyChange, TopologyOp
from fleetmend.views.topology import TopologyView
from rca.graph import FleetGraph
from rca.knowledge.load import knowledge
from rca.knowledge.model import Step
from tests.unit.rca.made_up import engine, gpu, graph, node, pair, rack, racked

ENTITIES = [gpu(0), gpu(1), engine(0), node(0)]
RELATIONS = [RelationKind.RUNS_ON, RelationKind.PART_OF, RelationKind.LINKED_TO]


@st.composite
def changes(draw: st.DrawFn) -> list[TopologyChange]:
    made = []
    for at in range(draw(st.integers(1, 15))):
        op = draw(
            st.sampled_from(
                [
                    TopologyOp.ENTITY,
                    TopologyOp.ENTITY_GONE,
                    TopologyOp.RELATION,
                    TopologyOp.RELATION_GONE,
                ]
            )
        )
        one, other = draw(st.sampled_from(ENTITIES)), draw(st.sampled_from(ENTITIES))
        related = op in (TopologyOp.RELATION, TopologyOp.RELATION_GONE)
        kind = draw(st.sampled_from(RELATIONS)) if related else None
        made.append(TopologyChange(float(at), op, one, other if related else "", kind))
    return made


@given(changes())
@settings(max_examples=80)
def test_changes_one_by_one_give_what_the_whole_view_gives(made: list[TopologyChange]) -> None:
    view, fleet = TopologyView(), FleetGraph()
    for change in made:
        if view.apply(change):
            fleet.apply(change)
    assert fleet.edges() == FleetGraph.of(view).edges()


def steps(*texts: str) -> tuple[Step, ...]:
    return tuple(Step(RelationKind(text[1:]), text[0] == ">") for text in texts)


def test_a_step_goes_only_its_way() -> None:
    fleet = graph(pair())
    assert fleet.reached(gpu(0), steps("<runs_on"), 1) == (engine(0),)
    assert fleet.reached(engine(0), steps("<runs_on"), 1) == ()


def test_depth_bounds_how_far_a_fault_spreads() -> None:
    fleet = graph(racked(3))
    down = steps("<part_of", "<runs_on")
    assert set(fleet.reached(rack(0), down, 1)) == {node(i) for i in range(3)}
    assert engine(0) not in fleet.reached(rack(0), down, 2)
    assert engine(0) in fleet.reached(rack(0), down, 3)


def test_what_was_reached_is_forgotten_when_the_topology_changes() -> None:
    fleet = graph(pair())
    up = steps("<runs_on")
    assert fleet.reached(gpu(1), up, 1) == (engine(0),)
    gone = TopologyChange(1.0, TopologyOp.RELATION_GONE, engine(0), gpu(1), RelationKind.RUNS_ON)
    fleet.apply(gone)
    assert fleet.reached(gpu(1), up, 1) == ()


def test_roots_are_the_entities_from_which_a_fault_arrives() -> None:
    fleet = graph(pair())
    starvation = knowledge().classes["host_cpu_starvation"]
    straggler = knowledge().classes["gpu_straggler"]
    assert fleet.roots(engine(0), starvation) == (node(0),)
    assert fleet.roots(gpu(0), straggler) == (gpu(0), gpu(1))


def test_a_path_follows_the_steps_of_the_class() -> None:
    fleet = graph(racked(2))
    down = steps("<part_of", "<runs_on")
    assert fleet.path(rack(0), engine(1), down) == [rack(0), node(1), gpu(1), engine(1)]
    assert fleet.path(engine(1), rack(0), down) == [engine(1), rack(0)]
    assert fleet.path(gpu(0), gpu(0), down) == [gpu(0)]


def test_an_unknown_entity_reaches_nothing() -> None:
    assert graph(pair()).reached(EntityId("test/gpu/other"), steps("<runs_on"), 2) == ()
