"""The facts: what counts as out, taken, silent, lost, shared, and what the diagnosis explains."""

from dataclasses import replace

import pytest

from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Finding, FindingState, Symptom
from fleetmend.model.incidents import Abstention, Incident
from fleetmend.model.plans import (
    ActionKind,
    Autonomy,
    Effect,
    Plan,
    Refusal,
    Session,
    SessionState,
    Step,
)
from fleetmend.ports.cluster import NodeState
from fleetmend.ports.engine import EngineState
from fleetmend.ports.halt import HaltState
from fleetmend.settings.remediation import PoolSettings, RemediationSettings
from remediation.admit import admit
from remediation.effects import OwnActs
from remediation.facts import DomainKind, Facts
from remediation.gather import Asking, Books, Reading, TakenUnit, facts_for
from remediation.picture import Picture
from remediation.plan import plan
from remediation.policy import policy_from
from remediation.runbook_files import Runbook
from remediation.sample import (
    FULL_DEMAND,
    NODES,
    NOW_S,
    engine_id,
    gpu_id,
    node_id,
    sample_incident,
    sample_picture,
)
from tests.unit.remediation.bench import RUNBOOKS, auto

BY_ID = {runbook.id: runbook for runbook in RUNBOOKS}
THERE = Reading(found=True, node=NodeState("node-0", "1", True, False, (), "", ""))


def finding(entity: EntityId, symptom: str, identity: str = "f-x") -> Finding:
    return Finding(
        id=identity,
        detector="rules",
        entity=entity,
        state=FindingState.OPEN,
        witness=Witness.TELEMETRY,
        tick=0,
        at_s=NOW_S,
        onset_s=NOW_S,
        confidence=0.9,
        symptoms=(Symptom(symptom, Direction.PRESENT, 1.0, NOW_S),),
        reason="x",
    )


class Asker:
    """Asks for facts about one step of the plan for a GPU (or engine) fault."""

    def __init__(self, settings: RemediationSettings | None = None, demand: float = 20.0) -> None:
        self.settings = settings or auto()
        self.runbooks: dict[str, Runbook] = BY_ID
        self.picture: Picture = sample_picture(self.settings, demand=demand)
        self.incident: Incident = sample_incident(
            cause="gpu_fallen_off_bus",
            entity=gpu_id(0),
            witnesses=(Witness.KERNEL_LOG, Witness.SILENCE),
            symptom="xid.79",
        )

    def made(self) -> Plan:
        found = plan(self.incident, self.picture.topology, RUNBOOKS, NOW_S)
        assert found is not None
        return found

    def facts(
        self,
        action: ActionKind = ActionKind.DRAIN,
        *,
        reading: Reading = THERE,
        books: Books | None = None,
    ) -> Facts:
        made = self.made()
        steps = (*made.steps, *made.give_back)
        step: Step = next(s for s in steps if s.action is action)
        session = Session(
            "s-1", made.id, 1, "i", made.entity, SessionState.RUNNING, 1, "w", 0.0, (), 0.0, 0.0
        )
        return facts_for(
            Asking(step, made, self.incident, session),
            reading,
            books or Books(),
            self.picture,
            policy_from(self.settings),
            self.runbooks,
            HaltState(halted=False),
            NOW_S,
        )


@pytest.fixture
def asker() -> Asker:
    return Asker()


def taken(
    unit: EntityId,
    *,
    action: ActionKind = ActionKind.CORDON,
    out: bool = True,
    session: str = "s-2",
    runbook: str = "gpu-reset-needed",
) -> TakenUnit:
    return TakenUnit(unit, action, NOW_S - 100, out, session, runbook)


def test_the_domains_of_a_node_are_its_rack_its_pool_the_fleet_and_its_runbook(
    asker: Asker,
) -> None:
    domains = asker.facts().domains

    assert [(d.kind, d.size) for d in domains] == [
        (DomainKind.RACK, 8),
        (DomainKind.POOL, NODES),
        (DomainKind.FLEET, NODES),
        (DomainKind.RUNBOOK, 5),
    ]


def test_what_others_and_what_we_took_counts_as_out(asker: Asker) -> None:
    asker.picture.change(
        TopologyChange(1.0, TopologyOp.ENTITY, node_id(1), attributes={"unschedulable": "true"})
    )
    asker.picture.change(
        TopologyChange(1.0, TopologyOp.ENTITY, node_id(2), attributes={"ready": "false"})
    )
    asker.picture.find(finding(node_id(3), "node_condition.Ready"))
    books = Books((taken(node_id(4)), taken(node_id(5), out=False), taken(node_id(12))))

    rack, pool, *_ = asker.facts(books=books).domains

    assert rack.out == {node_id(n) for n in (1, 2, 3, 4)}
    assert set(rack.taken) == {node_id(4), node_id(5)}
    assert pool.out == rack.out | {node_id(12)}


def test_a_runbook_counts_only_what_it_took_itself(asker: Asker) -> None:
    mine = taken(node_id(9), runbook="gpu-fallen-off-bus")

    own = asker.facts(books=Books((mine, taken(node_id(4))))).domains[-1]

    assert own.out == {node_id(9)}
    assert own.limits is not None


def test_a_drain_removes_what_serves_on_the_node(asker: Asker) -> None:
    (part,) = asker.facts().capacity

    assert (part.serving, part.removed, part.needed) == (64.0 * NODES, 64.0, 20 * NODES * 1.25)


@pytest.mark.parametrize("action", [ActionKind.CORDON, ActionKind.NOTIFY])
def test_a_cordon_takes_no_capacity(asker: Asker, action: ActionKind) -> None:
    assert asker.facts(action).capacity == ()


@pytest.mark.parametrize("symptom", ["no_progress", "probe_failed"])
def test_an_engine_that_serves_nothing_is_no_loss(asker: Asker, symptom: str) -> None:
    asker.picture.find(finding(engine_id(0), symptom))

    assert asker.facts().capacity == ()


def test_an_engine_that_says_itself_that_it_does_not_serve_is_no_loss(asker: Asker) -> None:
    asker.incident = sample_incident(
        cause="engine_crash",
        entity=engine_id(0),
        witnesses=(Witness.PROBE, Witness.SILENCE),
        symptom="probe_failed",
    )
    dead = replace(THERE, engine=EngineState("engine-0", 1, False, ""))

    assert asker.facts(ActionKind.ENGINE_RESTART).capacity != ()
    assert asker.facts(ActionKind.ENGINE_RESTART, reading=dead).capacity == ()


def test_what_others_are_draining_is_spoken_for(asker: Asker) -> None:
    """Two drains at once must not both count on the other's engines."""
    drained = taken(node_id(1), action=ActionKind.DRAIN)
    ejected = taken(engine_id(2), action=ActionKind.EJECT)

    (part,) = asker.facts(books=Books((drained, ejected))).capacity

    assert part.serving == 64.0 * (NODES - 2)


def test_demand_is_part_of_the_facts() -> None:
    (part,) = Asker(demand=FULL_DEMAND).facts().capacity

    assert part.needed == FULL_DEMAND * NODES * 1.25


def test_silence_that_the_diagnosis_names_is_explained(asker: Asker) -> None:
    asker.picture.find(finding(gpu_id(0), "telemetry_absent", "f-silence"))
    asker.picture.find(finding(engine_id(0), "telemetry_stale", "f-other"))
    asker.picture.find(finding(gpu_id(9), "telemetry_absent", "f-elsewhere"))

    silences = {s.entity: s for s in asker.facts().silences}

    assert set(silences) == {gpu_id(0), engine_id(0)}
    assert silences[gpu_id(0)].explained
    assert silences[gpu_id(0)].confirmed_by == {Witness.KERNEL_LOG}
    assert not silences[engine_id(0)].explained


def test_a_silence_that_was_interrupted_is_still_the_one_that_is_explained(asker: Asker) -> None:
    """A collector that restarts closes the finding and opens another; the diagnosis is the same."""
    evidence = tuple(
        replace(item, symptom="telemetry_absent") if item.witness is Witness.SILENCE else item
        for item in asker.incident.evidence
    )
    asker.incident = replace(asker.incident, evidence=evidence)
    asker.picture.find(finding(gpu_id(0), "telemetry_absent", "f-anew"))
    asker.picture.find(finding(gpu_id(0), "telemetry_frozen", "f-other"))

    silences = {s.symptom: s.explained for s in asker.facts().silences}

    assert silences == {"telemetry_absent": True, "telemetry_frozen": False}


def test_numbers_of_what_is_silent_itself_confirm_nothing(asker: Asker) -> None:
    evidence = tuple(
        replace(item, witness=Witness.TELEMETRY, symptom="gpu.utilization")
        if item.witness is Witness.KERNEL_LOG
        else item
        for item in asker.incident.evidence
    )
    asker.incident = replace(asker.incident, evidence=evidence)
    asker.picture.find(finding(gpu_id(0), "telemetry_frozen", "f-silence"))

    (own,) = asker.facts().silences
    assert own.confirmed_by == frozenset()

    heard = tuple(replace(item, entity=engine_id(0)) for item in evidence)
    asker.incident = replace(asker.incident, evidence=heard)
    (other,) = asker.facts().silences
    assert other.confirmed_by == {Witness.TELEMETRY}


def test_a_domain_knows_who_is_silent_and_who_shows_the_same(asker: Asker) -> None:
    for number in (0, 1, 2, 12):
        asker.picture.find(finding(gpu_id(number), "xid.79", f"f-a{number}"))
        asker.picture.find(finding(gpu_id(number), "telemetry_absent", f"f-b{number}"))

    rack = asker.facts().domains[0]

    assert rack.silent == {node_id(0), node_id(1), node_id(2)}
    assert rack.same_symptom == {"xid.79": frozenset({node_id(0), node_id(1), node_id(2)})}


def test_no_act_of_ours_explains_the_silence_of_a_whole_collector(asker: Asker) -> None:
    """It came after our drain had begun, and covers the unit."""
    collector = entity_id("lab", EntityKind.COLLECTOR, "prometheus")
    for number in (0, 1):
        asker.picture.change(
            TopologyChange(
                1.0, TopologyOp.RELATION, collector, node_id(number), RelationKind.OBSERVES
            )
        )
    acts = OwnActs(node_id(0), NOW_S - 60, frozenset())
    own = finding(engine_id(0), "telemetry_absent", "f-own")
    whole = finding(collector, "telemetry_absent", "f-whole")
    for one in (own, whole):
        asker.picture.find(one)

    assert acts.brought_about(own, "telemetry_absent", asker.picture)
    assert not acts.brought_about(whole, "telemetry_absent", asker.picture)
    assert {s.entity for s in asker.facts().silences} == {engine_id(0), collector}
    assert asker.facts().domains[0].silent == {node_id(0), node_id(1)}


def test_a_closed_finding_counts_no_more(asker: Asker) -> None:
    one = finding(gpu_id(1), "xid.79")
    asker.picture.find(one)
    asker.picture.find(replace(one, state=FindingState.CLOSED))

    assert asker.facts().domains[0].same_symptom == {"xid.79": frozenset()}


@pytest.mark.parametrize(
    ("witness", "entity", "symptom", "outside"),
    [
        (Witness.KERNEL_LOG, gpu_id(0), "xid.79", True),
        (Witness.DRIVER_EVENT, engine_id(0), "xid.79", True),
        (Witness.TELEMETRY, gpu_id(0), "gpu.sm_clock", True),
        (Witness.SILENCE, gpu_id(0), "telemetry_absent", True),
        (Witness.PEER, gpu_id(0), "no_progress", True),
        (Witness.CLUSTER_API, node_id(0), "node_condition.Ready", True),
        (Witness.PROBE, node_id(0), "probe_failed", True),
        (Witness.TELEMETRY, gpu_id(0), "gpu.work_per_token", False),
        (Witness.TELEMETRY, engine_id(0), "engine.decode_rate", False),
        (Witness.SILENCE, engine_id(0), "telemetry_absent", False),
        (Witness.PROBE, engine_id(0), "probe_failed", False),
        (Witness.CLUSTER_API, engine_id(0), "log.container_exit", False),
        (Witness.MODEL, gpu_id(0), "odd", False),
    ],
)
def test_what_whoever_runs_an_engine_could_make_is_not_from_outside(
    asker: Asker, witness: Witness, entity: EntityId, symptom: str, outside: bool
) -> None:
    item = replace(asker.incident.evidence[0], witness=witness, entity=entity, symptom=symptom)
    cause = replace(asker.incident.causes[0], supports=(item.id,))
    asker.incident = replace(asker.incident, evidence=(item,), causes=(cause,))

    assert asker.facts(ActionKind.CORDON).witnesses == {witness}
    assert asker.facts(ActionKind.CORDON).outside_witnesses == ({witness} if outside else set())


def test_evidence_that_does_not_support_the_cause_is_no_witness(asker: Asker) -> None:
    cause = replace(asker.incident.causes[0], supports=("E1",))
    asker.incident = replace(asker.incident, causes=(cause,))

    assert asker.facts().witnesses == {Witness.KERNEL_LOG}


def test_in_doubt_nobody_is_a_witness(asker: Asker) -> None:
    """The plan stays, and what it has not done yet waits for the diagnosis."""
    made = asker.made()
    asker.incident = replace(asker.incident, abstention=Abstention.BLIND)
    asker.made = lambda: made  # type: ignore[method-assign]

    assert asker.facts().witnesses == frozenset()


def test_the_lesser_of_pool_and_runbook_decides(asker: Asker) -> None:
    careful = Asker(RemediationSettings(default=PoolSettings(autonomy=Autonomy.APPROVE)))

    assert asker.facts().autonomy is Autonomy.AUTO
    assert careful.facts().autonomy is Autonomy.APPROVE
    assert asker.facts().approval_from is Effect.DESTRUCTIVE

    runbook = BY_ID["gpu-fallen-off-bus"]
    modest = runbook.file.model_copy(update={"autonomy": Autonomy.OBSERVE})
    asker.runbooks = BY_ID | {runbook.id: replace(runbook, file=modest)}
    assert asker.facts().autonomy is Autonomy.OBSERVE
    asker.runbooks = {}
    assert asker.facts().autonomy is Autonomy.RECOMMEND


def test_a_session_that_holds_the_node_and_has_not_marked_it_yet_is_its_owner(
    asker: Asker,
) -> None:
    """What is given back is the object's matter alone."""
    books = Books(holder="s-2")
    marked = Reading(True, NodeState("node-0", "1", True, True, (), "s-3", "s-3"))

    assert asker.facts(ActionKind.CORDON, books=books).owner == "s-2"
    assert asker.facts(ActionKind.CORDON, books=books, reading=marked).owner == "s-3"
    assert asker.facts(ActionKind.UNCORDON, books=books).owner == ""


def test_owner_maintenance_and_platform_are_read_from_where_they_stand(asker: Asker) -> None:
    attributes = {"maintenance": "disk swap", "hosts_platform": "the broker"}
    asker.picture.change(TopologyChange(1.0, TopologyOp.ENTITY, node_id(0), attributes=attributes))
    owned = Reading(True, NodeState("node-0", "1", True, True, (), "medik8s.io/x", ""))

    facts = asker.facts(reading=owned)

    assert (facts.owner, facts.maintenance, facts.hosts_platform, facts.unit_name) == (
        "medik8s.io/x",
        "disk swap",
        "the broker",
        "node-0",
    )


def test_a_target_must_be_known_to_topology_and_world(asker: Asker) -> None:
    assert asker.facts().target_known
    assert not asker.facts(reading=replace(THERE, found=False)).target_known


def test_engines_are_counted_within_their_model_pool(asker: Asker) -> None:
    asker.incident = sample_incident(
        cause="operator_degradation",
        entity=engine_id(0),
        witnesses=(Witness.TELEMETRY,),
        symptom="engine.decode_rate",
    )
    asker.picture.find(finding(engine_id(5), "engine.decode_rate"))

    pool, _ = asker.facts(ActionKind.EJECT).domains

    assert (pool.kind, pool.size) == (DomainKind.POOL, NODES)
    assert pool.same_symptom == {"engine.decode_rate": frozenset({engine_id(5)})}


def test_what_one_sender_of_a_node_can_say_alone_is_no_witness() -> None:
    asker = Asker()
    asker.incident = sample_incident(
        cause="gpu_fallen_off_bus",
        entity=gpu_id(0),
        witnesses=(Witness.TELEMETRY, Witness.APPLICATION_LOG),
        symptom="xid.79",
    )
    told = tuple(
        replace(item, entity=gpu_id(0), symptom="xid.79") for item in asker.incident.evidence
    )
    asker.incident = replace(asker.incident, evidence=told)
    facts = asker.facts()
    assert (facts.witnesses, facts.outside_witnesses) == (frozenset(), frozenset())
    made = asker.made()
    for step in (each for each in made.steps if each.effect is not Effect.OBSERVE):
        refused = {
            reason.refusal for reason in admit(step, made, facts, policy_from(auto())).reasons
        }
        assert Refusal.WITNESSES_MISSING in refused


def test_numbers_other_than_the_last_xid_stay_witnesses() -> None:
    asker = Asker()
    asker.incident = sample_incident(
        cause="gpu_fallen_off_bus",
        entity=gpu_id(0),
        witnesses=(Witness.TELEMETRY, Witness.KERNEL_LOG),
        symptom="gpu.utilization",
    )
    assert asker.facts().witnesses == {Witness.TELEMETRY, Witness.KERNEL_LOG}
