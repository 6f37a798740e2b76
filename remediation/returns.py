"""When what a session took comes back: the probation that a runbook wants after a resolution.

Pure; asked by `remediation.returning`, which waits for it, and by `remediation.service`, which says
it to people.
"""

from dataclasses import dataclass

from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.model.plans import Plan, Session, SessionState
from fleetmend.store import Transaction
from remediation.plan import CALM_S
from remediation.session import TAKES, has_taken


@dataclass(frozen=True, slots=True)
class ComingBack:
    """Capacity of a resolved incident that is still out."""

    incident: str
    session: str
    targets: tuple[EntityId, ...]
    """What comes back: nodes and engines, in order of the plan."""
    at_s: float
    """When giving back begins, Unix seconds (at most `remediation.hold_check_s` later); in the past
    once it has begun."""
    begun: bool
    """Steps that give back are being done now."""


def probation_ends_s(incident: Incident, plan: Plan) -> float | None:
    """When a resolved incident has been over for as long as its runbook wants, Unix seconds; None
    for one that is not resolved: what is merged is given back at once."""
    if incident.status is not IncidentStatus.RESOLVED or incident.resolved_at_s is None:
        return None
    calm_s = max((float(s.parameters.get(CALM_S, "0")) for s in plan.give_back), default=0.0)
    return incident.resolved_at_s + calm_s


def coming_back(tx: Transaction) -> list[ComingBack]:
    """Sessions of resolved incidents that still hold capacity, the soonest first."""
    found = []
    for session in tx.sessions.active():
        plan = tx.plans.get(session.plan, session.plan_version)
        incident = tx.incidents.get(session.incident)
        if plan is None or incident is None or not has_taken(session, plan):
            continue
        at_s = probation_ends_s(incident, plan)
        if at_s is not None:
            found.append(_of(session, plan, at_s))
    return sorted(found, key=lambda back: (back.at_s, back.session))


def _of(session: Session, plan: Plan, at_s: float) -> ComingBack:
    taken = dict.fromkeys(step.target for step in plan.steps if step.action in TAKES)
    begun = session.state in (SessionState.GIVING_BACK, SessionState.COMPENSATING)
    return ComingBack(session.incident, session.id, tuple(taken), at_s, begun)
