"""Small builders of made-up incidents and plans, for the console's tests and its preview."""

from dataclasses import dataclass
from pathlib import Path

from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.incidents import (
    Abstention,
    Cause,
    Evidence,
    Incident,
    IncidentStatus,
    Severity,
)
from fleetmend.model.plans import (
    ActionKind,
    Effect,
    Plan,
    Step,
)
from fleetmend.store import Store
from remediation.proposals import plan_id

NOW_S = 1_795_370_400.0
"""22 November 2026, 18:00 UTC: when the made-up data is looked at."""


def gpu(node: int, index: int) -> EntityId:
    """A GPU by its UUID."""
    return entity_id(
        "prod-1", EntityKind.GPU, f"GPU-{node:02d}{index}7c41e-9b2d-4c1f-8a3e-5d6f7a8b9c0d"
    )


def node(number: int) -> EntityId:
    """A node."""
    return entity_id("prod-1", EntityKind.NODE, f"node-{number}")


def engine(number: int) -> EntityId:
    """An engine."""
    return entity_id("prod-1", EntityKind.ENGINE, f"llama-70b-{number}")


MODEL = entity_id("prod-1", EntityKind.MODEL, "llama-3.3-70b")


@dataclass(frozen=True, slots=True)
class Made:
    """Ids that tests look for."""

    hot: str = "inc-5f1c09aa"
    hung: str = "inc-77b0e41d"
    leak: str = "inc-c2e9031f"
    silent: str = "inc-0d4417b2"
    plan: str = plan_id("inc-5f1c09aa")


MADE = Made()


def open_store(folder: Path, clock: ManualClock) -> Store:
    """An empty store in a file below `folder`."""
    store = store_at(folder, clock)
    store.migrate()
    return store


def store_at(folder: Path, clock: ManualClock) -> Store:
    """The store in a file that is there already."""
    return Store(f"sqlite:///{folder}/console.db", clock)


def incident(
    incident_id: str = "inc-1",
    *,
    title: str = "SM clock low on GPU-0170",
    opened_at_s: float = NOW_S - 372,
    status: IncidentStatus = IncidentStatus.OPEN,
    severity: Severity = Severity.P1,
    version: int = 1,
    change: str = "opened",
    evidence: tuple[Evidence, ...] = (),
    causes: tuple[Cause, ...] = (),
    affected: tuple[EntityId, ...] = (),
    entity: EntityId | None = None,
    length_s: float | None = None,
    provisional: bool = False,
    severity_reason: str = "P99 latency over 2 s",
    abstention: Abstention = Abstention.NONE,
    next_check: str = "",
) -> Incident:
    """An incident with what is given and plain defaults."""
    return Incident(
        id=incident_id,
        version=version,
        status=status,
        provisional=provisional,
        severity=severity,
        severity_reason=severity_reason,
        entity=entity or gpu(7, 1),
        title=title,
        opened_at_s=opened_at_s,
        updated_at_s=opened_at_s + 6.0 * version,
        onset_s=opened_at_s - 6.4,
        causes=causes,
        evidence=evidence,
        affected=affected or ((entity or gpu(7, 1)),),
        abstention=abstention,
        next_check=next_check,
        resolved_at_s=None if length_s is None else opened_at_s + length_s,
        open_findings=0 if length_s is not None else max(1, len(evidence)),
        change=change,
    )


def step(
    index: int,
    action: ActionKind,
    effect: Effect,
    target: EntityId,
    *,
    verify: str = "",
    timeout_s: float = 60.0,
    undo: ActionKind | None = None,
    witnesses: int = 1,
) -> Step:
    """One step."""
    return Step(
        index=index,
        action=action,
        effect=effect,
        target=target,
        verify=verify,
        timeout_s=timeout_s,
        compensation=undo,
        witnesses_needed=witnesses,
    )


def plan(
    plan_id: str,
    incident_id: str,
    *,
    runbook: str = "gpu-thermal-slowdown",
    number: int = 7,
    created_at_s: float = NOW_S - 360,
    version: int = 1,
) -> Plan:
    """Cordon, drain, restart the engine; uncordon when it is over."""
    place = node(number)
    return Plan(
        id=plan_id,
        version=version,
        incident=incident_id,
        incident_version=1,
        runbook=runbook,
        runbook_version=3,
        cause="gpu_thermal_slowdown",
        entity=gpu(number, 1),
        pool="chat-h200",
        domain=entity_id("prod-1", EntityKind.RACK, "r12"),
        steps=(
            step(
                0,
                ActionKind.CORDON,
                Effect.REVERSIBLE,
                place,
                verify="node_unschedulable",
                undo=ActionKind.UNCORDON,
            ),
            step(
                1,
                ActionKind.DRAIN,
                Effect.DISRUPTIVE,
                place,
                verify="no_pods_left",
                timeout_s=300,
                witnesses=2,
            ),
            step(
                2,
                ActionKind.ENGINE_RESTART,
                Effect.DISRUPTIVE,
                engine(number),
                verify="engine_serves",
                timeout_s=180,
                witnesses=2,
            ),
        ),
        created_at_s=created_at_s,
        give_back=(
            step(0, ActionKind.UNCORDON, Effect.REVERSIBLE, place, verify="node_schedulable"),
        ),
    )
