"""The small healthy fleet of runbook examples: two racks of eight nodes, one GPU and one engine on
each, one pool, one model. `remediation.cases` makes one thing after another wrong in it.
"""

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
from fleetmend.model.incidents import (
    Cause,
    CauseRole,
    Evidence,
    Incident,
    IncidentStatus,
    Severity,
)
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.ports.cluster import NodeState, PodState
from fleetmend.ports.engine import EngineState
from fleetmend.ports.traffic import BackendState
from fleetmend.settings.remediation import RemediationSettings
from remediation.dryrun import Sources
from remediation.paper import StillCluster, StillEngines, StillTraffic
from remediation.picture import Picture
from remediation.witness import XID_SYMPTOM

CLUSTER = "example"
NODES = 16
NODES_PER_RACK = 8
NOW_S = 1_800_000_000.0
POOL = "pool"
CALM_DEMAND = 20.0
"""Requests in hand on each engine when the others could carry them all."""
FULL_DEMAND = 60.0


def node_id(number: int) -> EntityId:
    """A node."""
    return entity_id(CLUSTER, EntityKind.NODE, f"node-{number}")


def gpu_id(number: int) -> EntityId:
    """The GPU of a node."""
    return entity_id(CLUSTER, EntityKind.GPU, f"GPU-{number}")


def engine_id(number: int) -> EntityId:
    """The engine on that GPU."""
    return entity_id(CLUSTER, EntityKind.ENGINE, f"engine-{number}")


def sample_picture(
    settings: RemediationSettings, *, nodes_out: int = 0, demand: float = CALM_DEMAND
) -> Picture:
    """The fleet as remediation would know it; nodes of the first rack from number 1 on are out."""
    picture = Picture(settings)
    for change in _topology(nodes_out):
        picture.change(change)
    for ago_s in range(100, -1, -5):
        rows = [
            (NOW_S - ago_s, engine_id(number), "engine.requests_running", demand)
            for number in range(NODES)
        ]
        picture.observe(SampleBatch.from_rows(rows))
    picture.mark(Mark("rca", NOW_S))
    picture.behind = ""
    return picture


def sample_sources(*, owner: str = "", serving: bool = True) -> Sources:
    """The outside world of the fleet; `owner` holds node 0."""
    nodes = {
        f"node-{number}": NodeState(
            name=f"node-{number}",
            resource_version="1",
            ready=True,
            unschedulable=bool(owner) and number == 0,
            taints=(),
            owner=owner if number == 0 else "",
            session="",
        )
        for number in range(NODES)
    }
    pods = tuple(
        PodState(
            "serving", f"engine-{number}", f"uid-{number}", f"node-{number}", False, False, True
        )
        for number in range(NODES)
    )
    names = [f"engine-{number}" for number in range(NODES)]
    return Sources(
        StillCluster(nodes=nodes, pods=pods),
        StillTraffic(backends={name: BackendState(name, 100, True, "") for name in names}),
        StillEngines(engines={name: EngineState(name, 1, serving, "") for name in names}),
    )


def sample_incident(
    *,
    cause: str,
    entity: EntityId,
    witnesses: tuple[Witness, ...],
    symptom: str,
    provisional: bool = False,
) -> Incident:
    """An incident whose first cause each witness supports, by one piece of evidence each."""
    evidence = tuple(
        Evidence(
            id=f"E{number}",
            finding=f"f-{witness.value}",
            # An application's line is about the engine that printed it.
            entity=engine_id(0) if witness is Witness.APPLICATION_LOG else entity,
            symptom=_shown(witness, symptom),
            direction=Direction.PRESENT,
            witness=witness,
            onset_s=NOW_S - 10,
            score=1.0,
        )
        for number, witness in enumerate(witnesses, 1)
    )
    named = Cause(
        cause=cause,
        entity=entity,
        score=0.9,
        role=CauseRole.ROOT,
        supports=tuple(item.id for item in evidence),
        contradicts=(),
        path=(entity,),
        runbooks=(),
    )
    return Incident(
        id="i-example",
        version=1,
        status=IncidentStatus.OPEN,
        provisional=provisional,
        severity=Severity.P1,
        severity_reason="example",
        entity=entity,
        title=cause,
        opened_at_s=NOW_S - 5,
        updated_at_s=NOW_S - 5,
        onset_s=NOW_S - 10,
        causes=(named,),
        evidence=evidence,
        affected=(entity,),
    )


def _shown(witness: Witness, symptom: str) -> str:
    """What a witness of this symptom sees: of an Xid, numbers show that the work has stopped."""
    if witness is Witness.SILENCE:
        return "telemetry_absent"
    if witness is Witness.TELEMETRY and symptom.startswith(XID_SYMPTOM):
        return "gpu.utilization"
    return symptom


def silence(entity: EntityId) -> Finding:
    """The coverage finding that the evidence of a silent example names."""
    return Finding(
        id=f"f-{Witness.SILENCE.value}",
        detector="coverage",
        entity=entity,
        state=FindingState.OPEN,
        witness=Witness.SILENCE,
        tick=0,
        at_s=NOW_S - 5,
        onset_s=NOW_S - 10,
        confidence=0.9,
        symptoms=(Symptom("telemetry_absent", Direction.PRESENT, 1.0, NOW_S - 10),),
        reason="absent",
    )


def _topology(nodes_out: int) -> list[TopologyChange]:
    changes: list[TopologyChange] = []

    def exists(entity: EntityId, **attributes: str) -> EntityId:
        changes.append(TopologyChange(0.0, TopologyOp.ENTITY, entity, attributes=attributes))
        return entity

    def relate(source: EntityId, relation: RelationKind, target: EntityId) -> None:
        changes.append(TopologyChange(0.0, TopologyOp.RELATION, source, target, relation))

    pool = exists(entity_id(CLUSTER, EntityKind.POOL, POOL))
    model = exists(entity_id(CLUSTER, EntityKind.MODEL, "model"))
    for number in range(NODES):
        rack = exists(entity_id(CLUSTER, EntityKind.RACK, f"rack-{number // NODES_PER_RACK}"))
        out = 1 <= number <= nodes_out
        node = exists(node_id(number), **({"unschedulable": "true"} if out else {}))
        gpu, engine = exists(gpu_id(number)), exists(engine_id(number))
        relate(node, RelationKind.PART_OF, rack)
        relate(node, RelationKind.MEMBER_OF, pool)
        relate(gpu, RelationKind.PART_OF, node)
        relate(engine, RelationKind.RUNS_ON, gpu)
        relate(engine, RelationKind.MEMBER_OF, pool)
        relate(engine, RelationKind.SERVES, model)
    return changes
