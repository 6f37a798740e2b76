"""Whom an open incident waits for: which ones automation leaves to people, and why, by name.

Read by `remediation.service` for the console and the command line. Nothing is kept: sessions, plans
and verdicts say it all. A mitigated incident is on its way to its end and asks nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.model.plans import (
    Plan,
    Reason,
    Refusal,
    Session,
    SessionState,
    StepState,
    Verdict,
)
from fleetmend.store import Transaction, nodes_held_by
from remediation.proposals import asked_for, changes_its_mind, denied, plan_id
from remediation.reasons import Why
from remediation.session import is_over, next_step

HELD_S = 30.0
"""Seconds for which a guard, or the want of an executor, may hold a session before a person is
asked. 30: telemetry that blinks and a tick that confirms take less."""

PAGE = 500


class Need(StrEnum):
    """Why an incident waits for a person."""

    APPROVAL = "approval"
    """The plan waits for a word: none was said, or it ran out, or was about another version."""
    ADVICE = "advice"
    """The pool or the runbook only watches or recommends."""
    HELD = "held"
    """A guard has held the next step for long; `reasons` name it."""
    INTERRUPTED = "interrupted"
    """A step was begun and then stopped; `reasons` say by what."""
    NOT_TAKEN_UP = "not_taken_up"
    """No executor carries the session on, or no intake has opened one."""
    QUEUED = "queued"
    """Another session holds a node of the plan."""
    NO_RUNBOOK = "no_runbook"
    """No runbook answers the diagnosis."""
    PLAN_UNSTABLE = "plan_unstable"
    """The diagnosis has changed the plan too often."""
    DENIED = "denied"
    UNDONE = "undone"
    TAKEN_BACK = "taken_back"
    """A person took back behind our back what a session had taken."""
    HELD_AFTER_FAILURE = "held_after_failure"
    """A step failed; what was done before it stays done."""
    FAILED = "failed"
    """A step failed; what was done before it is undone."""
    REPAIR = "repair"
    """Every step is done and holds, the fault is still there."""
    NOTHING_LEFT = "nothing_left"
    """Every step is done, nothing is held, the incident goes on."""


ADVICE = frozenset({Refusal.AUTONOMY_OBSERVE, Refusal.AUTONOMY_RECOMMEND})
APPROVAL = frozenset({Refusal.APPROVAL_MISSING, Refusal.APPROVAL_STALE, Refusal.APPROVAL_EXPIRED})
_AFTER: Mapping[str, Need] = {
    Why.DENIED: Need.DENIED,
    Why.UNDONE: Need.UNDONE,
    Why.TAKEN_BACK_BY_PERSON: Need.TAKEN_BACK,
    Why.HELD_AFTER_FAILURE: Need.HELD_AFTER_FAILURE,
    Why.STEP_FAILED: Need.FAILED,
}
"""What the reason of a session that holds or is over means for people."""


@dataclass(frozen=True, slots=True)
class NeedsPerson:
    """An open incident for which automation does nothing now."""

    incident: Incident
    need: Need
    since_s: float
    """From when on, Unix seconds."""
    session: Session | None = None
    """The last one; None when none was opened."""
    plan: Plan | None = None
    """The plan of that session, else the newest; None when no runbook answers."""
    reasons: tuple[Reason, ...] = ()
    """What admission said last about the step that it waits with."""
    may_renew: bool = False
    """Whether a person may ask for a new plan now (`RemediationService.renew`)."""


def needs_person(tx: Transaction, *, now_s: float, held_s: float = HELD_S) -> list[NeedsPerson]:
    """Every open incident that waits for a person, the worst first, then the longest open."""
    found = [
        need
        for incident in _open(tx)
        if (need := need_of(tx, incident, now_s=now_s, held_s=held_s)) is not None
    ]
    return sorted(found, key=lambda n: (n.incident.severity.value, n.incident.opened_at_s))


def need_of(
    tx: Transaction, incident: Incident, *, now_s: float, held_s: float = HELD_S
) -> NeedsPerson | None:
    """Why this incident waits for a person; None while automation is at work, and for one that is
    not open."""
    if incident.status is not IncidentStatus.OPEN:
        return None
    sessions = tx.sessions.for_incident(incident.id)
    newest = tx.plans.get(plan_id(incident.id))
    session = sessions[-1] if sessions else None
    if newest is None:
        return NeedsPerson(incident, Need.NO_RUNBOOK, incident.opened_at_s)
    if session is None or (is_over(session) and session.plan_version != newest.version):
        return _without(tx, incident, newest, sessions, now_s=now_s, held_s=held_s)
    plan = tx.plans.get(session.plan, session.plan_version) or newest
    verdict = _last_verdict(tx, plan)
    need, since_s = _of_session(session, plan, verdict, now_s=now_s, held_s=held_s)
    if need is None:
        return None
    waits = session.state is SessionState.WAITING and verdict is not None
    reasons = verdict.reasons if waits and verdict is not None else ()
    renew = why_not_renewed(tx, incident, newest, sessions) == ""
    return NeedsPerson(incident, need, since_s, session, plan, reasons, renew)


def why_not_renewed(
    tx: Transaction, incident: Incident, newest: Plan | None, sessions: list[Session]
) -> str:
    """Why a person cannot ask for a new plan now; empty when they can."""
    if incident.status is not IncidentStatus.OPEN:
        return f"the incident is {incident.status.value}"
    if newest is None:
        return "no runbook answers it"
    session = sessions[-1] if sessions else None
    if newest.renewed_by and all(s.plan_version != newest.version for s in sessions):
        return f"{newest.renewed_by} has asked already; what was taken is given back first"
    holder = tx.sessions.holding(
        nodes_held_by(newest), but=session.id if session is not None else ""
    )
    if holder is not None:
        return f"session {holder.id} holds what it is about"
    if session is None or is_over(session):
        return ""
    if session.state is SessionState.HOLDING:
        # Giving back a fault that is treated, only to treat it again, helps nobody.
        return "" if session.reason else "all steps are done and hold"
    expired = Refusal.APPROVAL_EXPIRED.value in session.reason
    if session.state is SessionState.WAITING and expired:
        return ""
    return f"its session is {session.state.value}"


def _of_session(
    session: Session, plan: Plan, verdict: Verdict | None, *, now_s: float, held_s: float
) -> tuple[Need | None, float]:
    """What the newest session asks of people, and since when."""
    since_s = session.updated_at_s
    if session.state is SessionState.HOLDING or is_over(session):
        if (need := _AFTER.get(session.reason)) is not None:
            return need, since_s
        if session.state is SessionState.HOLDING:
            return Need.REPAIR, since_s
        if session.state is SessionState.DONE:
            return Need.NOTHING_LEFT, since_s
        return (Need.NOT_TAKEN_UP if now_s - since_s >= held_s else None), since_s
    idle_since_s = max(session.lease_until_s, since_s)
    if now_s - idle_since_s >= held_s:
        return Need.NOT_TAKEN_UP, idle_since_s
    if session.state is not SessionState.WAITING:
        return None, since_s
    found = next_step(plan.steps, session.steps)
    if found is not None:
        since_s = found[1].updated_at_s
    if found is not None and found[1].state is StepState.INTERRUPTED:
        return Need.INTERRUPTED, since_s
    said = {reason.refusal for reason in verdict.reasons} if verdict is not None else set()
    if said & ADVICE:
        return Need.ADVICE, since_s
    if said & APPROVAL:
        return Need.APPROVAL, since_s
    return (Need.HELD if now_s - since_s >= held_s else None), since_s


def _without(
    tx: Transaction,
    incident: Incident,
    newest: Plan,
    sessions: list[Session],
    *,
    now_s: float,
    held_s: float,
) -> NeedsPerson | None:
    """The newest plan has no session: why not, and is that for a person to change?"""
    since = asked_for(tx, incident.id)
    last = sessions[-1] if sessions else None
    said = [_AFTER.get(s.reason) for s in sessions if s.plan_version >= since]
    after = next((need for need in reversed(said) if need is not None), None)
    at_s = last.updated_at_s if last is not None else newest.created_at_s
    long = now_s - max(at_s, newest.created_at_s) >= held_s
    need: Need | None = after
    if need is None and denied(tx, newest, since):
        need = Need.DENIED
    if need is None and changes_its_mind(tx, newest, more=1):
        need = Need.PLAN_UNSTABLE
    if need is None and tx.sessions.holding(nodes_held_by(newest)) is not None:
        need = Need.QUEUED
    if need is None and long:
        need = Need.NOT_TAKEN_UP
    if need is None:
        return None
    renew = why_not_renewed(tx, incident, newest, sessions) == ""
    return NeedsPerson(incident, need, at_s, last, newest, (), renew)


def _last_verdict(tx: Transaction, plan: Plan) -> Verdict | None:
    given = [v for v in tx.verdicts.for_plan(plan.id) if v.plan_version == plan.version]
    return given[-1] if given and not given[-1].admitted else None


def _open(tx: Transaction) -> list[Incident]:
    found: list[Incident] = []
    after: str | None = None
    while page := tx.incidents.page(status=IncidentStatus.OPEN, after=after, limit=PAGE):
        found += page
        after = page[-1].id
    return found
