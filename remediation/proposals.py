"""What one change of an incident means for its plan and its sessions, inside one transaction.

Called by `remediation.intake` for every record and for incidents that wait for their turn. Decides
which session there is; what a session may do is asked by the executor, step by step.
"""

from collections.abc import Callable, Sequence

from fleetmend.model.audit import AuditVerb
from fleetmend.model.events import event_id
from fleetmend.model.incidents import ENDED_INCIDENTS, Incident, IncidentStatus
from fleetmend.model.plans import Plan, Session, SessionState
from fleetmend.store import Transaction, nodes_held_by
from fleetmend.views.topology import TopologyView
from remediation.ledger import Detail
from remediation.plan import plan
from remediation.reasons import ENDED_BY_PERSON, Why
from remediation.runbook_files import Runbook
from remediation.session import check_session, has_taken, is_over

ACTOR = "fleetmend/remediator"
VERSIONS_MAX = 20
"""Versions of one incident's plan since the last that a person asked for: a diagnosis that keeps
changing its mind is for people."""

Notify = Callable[[Transaction, Incident | None, Incident], None]
"""Alerting's word on a change: previous version, new version."""


class Proposals:
    """Keeps incidents, proposes plans, opens sessions."""

    def __init__(
        self, topology: TopologyView, runbooks: Sequence[Runbook], *, notify: Notify
    ) -> None:
        self._topology = topology
        self._runbooks = tuple(runbooks)
        self._notify = notify

    def keep(self, tx: Transaction, incident: Incident, *, now_s: float) -> bool:
        """Take in a change; the same change again changes nothing. Returns whether the incident has
        to be looked at again later, because something holds what its plan is about."""
        previous = tx.incidents.get(incident.id)
        if not tx.incidents.put(incident):
            return False
        if previous is None:
            detail: Detail = {"severity": incident.severity.value, "title": incident.title}
            _audit(tx, AuditVerb.INCIDENT_OPENED, incident.id, detail, now_s)
        if incident.status is IncidentStatus.RESOLVED:
            _audit(tx, AuditVerb.INCIDENT_RESOLVED, incident.id, {}, now_s)
        self._notify(tx, previous, incident)
        return self.propose(tx, incident, now_s=now_s)

    def propose(self, tx: Transaction, incident: Incident, *, now_s: float) -> bool:
        """The plan that answers the incident now, and its session. Returns like `keep`."""
        if incident.status in ENDED_INCIDENTS:
            return False
        sessions = tx.sessions.for_incident(incident.id)
        newest = tx.plans.get(plan_id(incident.id))
        proposed = plan(
            incident,
            self._topology,
            self._runbooks,
            now_s,
            previous=newest,
            renew=bool(sessions) and sessions[-1].reason == Why.APPROVAL_EXPIRED,
        )
        if proposed is None or changes_its_mind(tx, proposed):
            return False
        if proposed is not newest:
            tx.plans.put(proposed)
            detail: Detail = {"incident": incident.id, "version": proposed.version}
            detail |= {"runbook": proposed.runbook, "cause": proposed.cause}
            _audit(tx, AuditVerb.PLAN_PROPOSED, proposed.id, detail, now_s)
        unknown = any(step.target not in self._topology for step in proposed.steps)
        return self._open(tx, proposed, sessions, now_s) or unknown

    def _open(self, tx: Transaction, proposed: Plan, sessions: list[Session], now_s: float) -> bool:
        active = [session for session in sessions if not is_over(session)]
        older = [s for s in active if s.plan_version != proposed.version]
        for session in older:
            supersede(tx, session, now_s=now_s, actor=ACTOR)
        if active:
            return bool(older)
        if any(s.plan_version == proposed.version for s in sessions):
            return False  # one session for each version: what ended is not begun again
        since = asked_for(tx, proposed.incident)
        ended = any(s.reason in ENDED_BY_PERSON for s in sessions if s.plan_version >= since)
        if ended or denied(tx, proposed, since):
            return False
        if tx.sessions.holding(nodes_held_by(proposed)) is not None:
            return True
        begin(tx, proposed, now_s=now_s, actor=ACTOR)
        return False


def begin(tx: Transaction, proposed: Plan, *, now_s: float, actor: str) -> Session:
    """A session of this plan, which holds its nodes. Raises StoreConflict when another does."""
    session = tx.sessions.open(proposed, state=SessionState.PROPOSED, at_s=now_s)
    detail: Detail = {"incident": proposed.incident, "plan": proposed.id}
    detail |= {"plan_version": proposed.version, "state": session.state.value}
    _audit(tx, AuditVerb.SESSION_CHANGED, session.id, detail, now_s, actor)
    return session


def supersede(tx: Transaction, session: Session, *, now_s: float, actor: str) -> None:
    """The plan has changed: let go of what the old one took."""
    if session.state in (SessionState.GIVING_BACK, SessionState.COMPENSATING):
        return
    old = tx.plans.get(session.plan, session.plan_version)
    taken = old is not None and has_taken(session, old)
    state = SessionState.GIVING_BACK if taken else SessionState.CANCELLED
    check_session(session.state, state)
    tx.sessions.advance(session, state=state, reason=Why.SUPERSEDED, at_s=now_s)
    detail: Detail = {"state": state.value, "reason": Why.SUPERSEDED.value}
    _audit(tx, AuditVerb.SESSION_CHANGED, session.id, detail, now_s, actor)


def plan_id(incident: str) -> str:
    """The id of an incident's plan."""
    return "p-" + event_id(incident)


def asked_for(tx: Transaction, incident: str) -> int:
    """The last version of an incident's plan that a person asked for anew; 1 when nobody did."""
    renewed = (p.version for p in tx.plans.for_incident(incident) if p.renewed_by)
    return max(renewed, default=1)


def changes_its_mind(tx: Transaction, proposed: Plan, *, more: int = 0) -> bool:
    """Whether this, or the version `more` after it, is one too many."""
    version = proposed.version + more
    return version > VERSIONS_MAX and version - asked_for(tx, proposed.incident) >= VERSIONS_MAX


def denied(tx: Transaction, proposed: Plan, since: int) -> bool:
    """Whether a person has said no to any version from `since` on."""
    for version in range(since, proposed.version + 1):
        decision = tx.approvals.get(proposed.id, version)
        if decision is not None and not decision.granted:
            return True
    return False


def _audit(
    tx: Transaction,
    verb: AuditVerb,
    subject: str,
    detail: Detail,
    now_s: float,
    actor: str = ACTOR,
) -> None:
    tx.audit.append(at_s=now_s, actor=actor, verb=verb, subject=subject, detail=detail)
