"""Incidents, plans and what belongs to them, as small as the store lets them be."""

from dataclasses import replace

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import (
    Cause,
    CauseRole,
    Evidence,
    Incident,
    IncidentStatus,
    Severity,
)
from fleetmend.model.plans import ActionKind, Approval, Effect, Plan, Step
from fleetmend.store import Transaction

GPU = EntityId("demo/gpu/GPU-1")
NODE = EntityId("demo/node/n-1")


def incident(id: str = "i-1", *, version: int = 1, opened_at_s: float = 100.0) -> Incident:
    """An open P1 with one cause and one piece of evidence."""
    return Incident(
        id=id,
        version=version,
        status=IncidentStatus.OPEN,
        provisional=False,
        severity=Severity.P1,
        severity_reason="gpu_lost",
        entity=GPU,
        title="GPU fell off the bus",
        opened_at_s=opened_at_s,
        updated_at_s=opened_at_s,
        onset_s=opened_at_s - 2.5,
        causes=(
            Cause(
                cause="gpu_lost",
                entity=GPU,
                score=0.9,
                role=CauseRole.ROOT,
                supports=("E1",),
                contradicts=(),
                path=(GPU, NODE),
                runbooks=("cordon",),
            ),
        ),
        evidence=(
            Evidence(
                id="E1",
                finding="f-1",
                entity=GPU,
                symptom="xid.79",
                direction=Direction.PRESENT,
                witness=Witness.KERNEL_LOG,
                onset_s=opened_at_s - 2.5,
                score=1.0,
            ),
        ),
        affected=(GPU, NODE),
    )


def plan(id: str = "p-1", *, version: int = 1, of: str = "i-1", node: EntityId = NODE) -> Plan:
    """Cordon a node; give it back afterwards."""
    cordon = Step(
        index=0,
        action=ActionKind.CORDON,
        effect=Effect.REVERSIBLE,
        target=node,
        compensation=ActionKind.UNCORDON,
    )
    return Plan(
        id=id,
        version=version,
        incident=of,
        incident_version=1,
        runbook="cordon",
        runbook_version=1,
        cause="gpu_lost",
        entity=GPU,
        pool="pool-a",
        domain=node,
        steps=(cordon, replace(cordon, index=1, action=ActionKind.DRAIN)),
        created_at_s=101.0,
        give_back=(replace(cordon, action=ActionKind.UNCORDON),),
    )


def approval(*, by: str = "ada", granted: bool = True) -> Approval:
    """A decision on version 1 of plan p-1."""
    return Approval(
        plan="p-1",
        plan_version=1,
        granted=granted,
        by=by,
        at_s=110.0,
        expires_at_s=710.0,
        channel="console",
    )


def with_plan(tx: Transaction, a_plan: Plan | None = None) -> Plan:
    """Keep a plan and the incident it is for."""
    kept = a_plan or plan()
    tx.incidents.put(incident(kept.incident))
    tx.plans.put(kept)
    return kept
