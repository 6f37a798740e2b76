"""From diagnosis to plan: which runbook answers, what it means for this fleet, when it stays the
same."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetmend.model.entities import EntityId, EntityKind, TopologyChange, TopologyOp, kind_of
from fleetmend.model.events import Witness
from fleetmend.model.incidents import Abstention, CauseRole, Incident, IncidentStatus
from fleetmend.model.plans import ActionKind
from fleetmend.store import nodes_held_by
from fleetmend.views.topology import TopologyView
from remediation.expressions import FIELDS, ITEMS_MAX
from remediation.picture import Picture
from remediation.place import Place, engines_of
from remediation.plan import CALM_S, context_of, leading_cause, plan
from remediation.sample import NOW_S, engine_id, gpu_id, node_id, sample_incident, sample_picture
from tests.unit.remediation.bench import RUNBOOKS, auto

PICTURE: Picture = sample_picture(auto())
TOPOLOGY: TopologyView = PICTURE.topology


def incident(cause: str = "gpu_fallen_off_bus", entity: EntityId | None = None) -> Incident:
    return sample_incident(
        cause=cause,
        entity=entity or gpu_id(0),
        witnesses=(Witness.KERNEL_LOG,),
        symptom="xid.79",
    )


def test_a_gpu_fault_is_planned_for_its_node() -> None:
    made = plan(incident(), TOPOLOGY, RUNBOOKS, NOW_S)

    assert made is not None
    assert (made.runbook, made.cause, made.version) == (
        "gpu-fallen-off-bus",
        "gpu_fallen_off_bus",
        1,
    )
    assert [(s.action, s.target) for s in made.steps] == [
        (ActionKind.CORDON, node_id(0)),
        (ActionKind.NOTIFY, gpu_id(0)),
        (ActionKind.DRAIN, node_id(0)),
    ]
    assert [s.action for s in made.give_back] == [ActionKind.UNCORDON]
    assert made.give_back[0].parameters[CALM_S] == "120.0"
    assert (made.pool, made.domain) == ("pool", "example/rack/rack-0")


def test_an_engine_fault_is_planned_for_the_engine_and_holds_its_node() -> None:
    """Two sessions never work on one node, be it the node itself or an engine on it."""
    made = plan(incident("rank_hang"), TOPOLOGY, RUNBOOKS, NOW_S)

    assert made is not None
    assert {s.target for s in made.steps} == {engine_id(0)}
    assert nodes_held_by(made) == (node_id(0),)


def test_every_engine_on_a_gpu_gets_its_step() -> None:
    picture = sample_picture(auto())
    second = EntityId("example/engine/second")
    picture.change(TopologyChange(1.0, TopologyOp.ENTITY, second))
    from_first = [
        (relation, target)
        for source, relation, target in TOPOLOGY.relations()
        if source == engine_id(0)
    ]
    for relation, target in from_first:
        picture.change(TopologyChange(1.0, TopologyOp.RELATION, second, target, relation))

    made = plan(incident("rank_hang"), picture.topology, RUNBOOKS, NOW_S)

    assert made is not None
    ejected = [s.target for s in made.steps if s.action is ActionKind.EJECT]
    assert ejected == [engine_id(0), second]
    assert [s.index for s in made.steps] == [0, 1, 2, 3]


def test_the_same_diagnosis_gives_the_same_plan() -> None:
    first = plan(incident(), TOPOLOGY, RUNBOOKS, NOW_S)
    again = plan(replace(incident(), version=7), TOPOLOGY, RUNBOOKS, NOW_S + 50, previous=first)

    assert first is not None
    assert again is first
    fresh = plan(incident(), TOPOLOGY, RUNBOOKS, NOW_S)
    assert fresh == first


def test_another_remedy_is_a_new_version_of_the_same_plan() -> None:
    first = plan(incident(), TOPOLOGY, RUNBOOKS, NOW_S)
    changed = plan(incident("gsp_timeout"), TOPOLOGY, RUNBOOKS, NOW_S + 5, previous=first)

    assert first is not None
    assert changed is not None
    assert (changed.id, changed.version) == (first.id, 2)
    assert changed.runbook == "gpu-reset-needed"


def test_a_cause_that_only_gets_another_name_keeps_plan_and_approval() -> None:
    """A tick that names the fault better must not undo what a person has agreed to."""
    first = plan(incident("gpu_ecc_contained"), TOPOLOGY, RUNBOOKS, NOW_S)

    again = plan(incident("gpu_ecc_uncontained"), TOPOLOGY, RUNBOOKS, NOW_S, previous=first)

    assert again is first


def test_an_approval_that_ran_out_asks_for_a_new_version() -> None:
    first = plan(incident(), TOPOLOGY, RUNBOOKS, NOW_S)
    renewed = plan(incident(), TOPOLOGY, RUNBOOKS, NOW_S, previous=first, renew=True)

    assert renewed is not None
    assert renewed.version == 2


@pytest.mark.parametrize("status", [IncidentStatus.RESOLVED, IncidentStatus.MERGED])
def test_what_is_over_needs_no_plan(status: IncidentStatus) -> None:
    assert plan(replace(incident(), status=status), TOPOLOGY, RUNBOOKS, NOW_S) is None


@pytest.mark.parametrize(
    "changes",
    [{"abstention": Abstention.SMALL_MARGIN}, {"abstention": Abstention.BLIND}, {"causes": ()}],
)
def test_without_a_cause_that_is_stood_by_nothing_is_changed(changes: dict[str, object]) -> None:
    undecided = replace(incident(), **changes)  # type: ignore[arg-type]

    made = plan(undecided, TOPOLOGY, RUNBOOKS, NOW_S)

    assert made is not None
    assert made.runbook == "observe-only"


@pytest.mark.parametrize(
    "changes",
    [{"abstention": Abstention.SMALL_MARGIN}, {"abstention": Abstention.BLIND}, {"causes": ()}],
)
def test_a_diagnosis_in_doubt_keeps_the_plan_that_there_is(changes: dict[str, object]) -> None:
    """A moment of doubt must not give a node back and take it again."""
    first = plan(incident(), TOPOLOGY, RUNBOOKS, NOW_S)
    doubtful = replace(incident(), **changes)  # type: ignore[arg-type]

    assert plan(doubtful, TOPOLOGY, RUNBOOKS, NOW_S + 5, previous=first) is first


def test_a_cause_that_was_ruled_out_does_not_lead() -> None:
    first = incident().causes[0]
    out = replace(first, role=CauseRole.RULED_OUT)
    second = replace(first, cause="noisy_neighbour")
    both = replace(incident(), causes=(out, second))

    assert leading_cause(both) == second
    made = plan(both, TOPOLOGY, RUNBOOKS, NOW_S)
    assert made is not None
    assert made.runbook == "gpu-noisy-neighbour"


def test_runbooks_that_the_diagnosis_names_come_first() -> None:
    named = replace(incident().causes[0], runbooks=("observe-only", "gpu-fallen-off-bus"))

    made = plan(replace(incident(), causes=(named,)), TOPOLOGY, RUNBOOKS, NOW_S)

    assert made is not None
    assert made.runbook == "observe-only"


def test_a_named_runbook_still_has_to_match() -> None:
    """A surge is not answered by ejecting engines, whatever the diagnosis proposes."""
    surge = incident("request_surge", engine_id(0))
    named = replace(surge.causes[0], runbooks=("engine-slow",))

    made = plan(replace(surge, causes=(named,)), TOPOLOGY, RUNBOOKS, NOW_S)

    assert made is not None
    assert made.runbook == "observe-only"


def test_what_is_not_in_the_fleet_is_planned_for_itself() -> None:
    """Admission then refuses it by name, and people see it."""
    stranger = EntityId("example/gpu/GPU-unknown")

    made = plan(incident(entity=stranger), TOPOLOGY, RUNBOOKS, NOW_S)

    assert made is not None
    assert {step.target for step in made.steps} == {stranger}


def test_an_alias_means_the_entity_behind_it() -> None:
    picture = sample_picture(auto())
    alias = EntityId("example/gpu/node-0/gpu:0")
    picture.change(TopologyChange(1.0, TopologyOp.ALIAS, gpu_id(0), alias))

    made = plan(incident(entity=alias), picture.topology, RUNBOOKS, NOW_S)

    assert made is not None
    assert made.steps[0].target == node_id(0)


def test_engines_are_found_from_gpu_and_node() -> None:
    assert engines_of(TOPOLOGY, engine_id(3)) == (engine_id(3),)
    assert engines_of(TOPOLOGY, gpu_id(3)) == (engine_id(3),)
    assert engines_of(TOPOLOGY, node_id(3)) == (engine_id(3),)


@given(
    count=st.integers(0, 200),
    entity=st.sampled_from([gpu_id(0), engine_id(0), node_id(0), EntityId("example/link/x")]),
)
def test_conditions_see_exactly_the_known_fields_and_bounded_lists(
    count: int, entity: EntityId
) -> None:
    base = incident(entity=entity)
    evidence = tuple(replace(base.evidence[0], id=f"E{n}") for n in range(count))
    seen = context_of(
        replace(base, evidence=evidence), leading_cause(base), Place(TOPOLOGY, entity)
    )

    assert set(seen) == set(FIELDS)
    for name in ("cause", "incident", "node"):
        value = seen[name]
        assert isinstance(value, dict)
        assert set(value) == FIELDS[name]
    items = seen["evidence"]
    assert isinstance(items, list)
    assert len(items) == min(count, ITEMS_MAX)
    assert all(isinstance(item, dict) and set(item) == FIELDS["evidence"] for item in items)


def test_the_targets_of_steps_have_the_kind_that_their_action_needs() -> None:
    for cause, entity in (("engine_hang", engine_id(1)), ("node_not_ready", node_id(1))):
        made = plan(incident(cause, entity), TOPOLOGY, RUNBOOKS, NOW_S)
        assert made is not None
        for step in made.steps:
            if step.action in (ActionKind.CORDON, ActionKind.DRAIN):
                assert kind_of(step.target) is EntityKind.NODE
            if step.action in (ActionKind.EJECT, ActionKind.ENGINE_RESTART):
                assert kind_of(step.target) is EntityKind.ENGINE
