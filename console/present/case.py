"""Everything the store knows about one incident, read in one view of one moment.

Called by the pages and the API of an incident; every builder of the incident page takes the case
and nothing else, so that all cards of a page speak of the same moment.
"""

from dataclasses import dataclass

from fleetmend.model.audit import AuditRecord
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import (
    ENDED_SESSIONS,
    Approval,
    Effect,
    Plan,
    Refusal,
    Session,
    SessionState,
    Step,
    StepRecord,
    StepState,
    Verdict,
)
from fleetmend.store import Label, Note, Series, Transaction, nodes_held_by

AUDIT_MAX = 400
"""Audit records of one incident that a page looks at, the newest."""

_NOT_STARTED = frozenset({StepState.PENDING, StepState.REFUSED, StepState.INTERRUPTED})
"""What is still to be done, or to be gone on with."""
_DONE = frozenset({StepState.DONE, StepState.FOUND_DONE})
_ACTED = _DONE | {StepState.COMPENSATED, StepState.INTERRUPTED}
_ASKS_PERSON = frozenset(
    {Refusal.APPROVAL_MISSING, Refusal.APPROVAL_EXPIRED, Refusal.APPROVAL_STALE}
)


@dataclass(frozen=True, slots=True)
class PlanCase:
    """The newest version of a plan with what became of it."""

    plan: Plan
    session: Session | None
    approval: Approval | None
    verdicts: dict[int, Verdict]
    """The last verdict on each step of this version."""
    holder: Session | None = None
    """Of a plan without a session: the other session that holds its node."""

    def record(self, step: Step) -> StepRecord | None:
        """What is known of a step."""
        records = self.session.steps if self.session else ()
        return next((r for r in records if r.index == step.index), None)

    def back_record(self, step: Step) -> StepRecord | None:
        """What is known of a step that gives back."""
        records = self.session.give_back if self.session else ()
        return next((r for r in records if r.index == step.index), None)

    @property
    def changes(self) -> bool:
        """True when a step of the plan would change something."""
        return any(step.effect is not Effect.OBSERVE for step in self.plan.steps)

    @property
    def acted(self) -> bool:
        """True when a step that changes something has been done."""
        records = {r.index: r.state for r in (self.session.steps if self.session else ())}
        return any(
            step.effect is not Effect.OBSERVE and records.get(step.index) in _ACTED
            for step in self.plan.steps
        )

    @property
    def gave_back(self) -> bool:
        """True when a step that returns capacity has been done, or an act was compensated."""
        session = self.session
        if session is None:
            return False
        returned = any(r.state in _DONE for r in session.give_back)
        return returned or any(r.state is StepState.COMPENSATED for r in session.steps)

    @property
    def over(self) -> bool:
        """True when nothing more will be done."""
        return self.session is not None and self.session.state in ENDED_SESSIONS

    @property
    def over_well(self) -> bool:
        """True unless it failed or was called off."""
        ill = (SessionState.FAILED, SessionState.CANCELLED)
        return self.session is not None and self.session.state not in ill

    @property
    def next_step(self) -> Step | None:
        """The first step that has not been started."""
        for step in self.plan.steps:
            record = self.record(step)
            if record is None or record.state in _NOT_STARTED:
                return step
        return None

    @property
    def blocking(self) -> Verdict | None:
        """What admission said of the next step, when it said no."""
        step = self.next_step
        verdict = self.verdicts.get(step.index) if step else None
        return None if verdict is None or verdict.admitted else verdict

    @property
    def needs_person(self) -> bool:
        """True when a person's yes or no is among what the next step waits for."""
        blocking = self.blocking
        if self.over or self.session is None or self.approval is not None or blocking is None:
            return False
        return any(reason.refusal in _ASKS_PERSON for reason in blocking.reasons)


@dataclass(frozen=True, slots=True)
class IncidentCase:
    """One incident with everything around it."""

    incident: Incident
    history: tuple[Incident, ...]
    plans: tuple[PlanCase, ...]
    """Oldest first; only the newest version of each."""
    audit: tuple[AuditRecord, ...]
    series: tuple[Series, ...]
    notes: tuple[Note, ...]
    labels: tuple[Label, ...]

    @property
    def current(self) -> PlanCase | None:
        """The plan to look at: one that is under way, else the newest."""
        under_way = [p for p in self.plans if p.session is not None and not p.over]
        candidates = under_way or self.plans
        return candidates[-1] if candidates else None


def read_case(tx: Transaction, incident_id: str) -> IncidentCase | None:
    """The case of an incident; None when there is no such incident."""
    incident = tx.incidents.get(incident_id)
    if incident is None:
        return None
    return IncidentCase(
        incident=incident,
        history=tuple(tx.incidents.history(incident_id)),
        plans=read_plans(tx, incident_id),
        audit=tuple(tx.audit.about(incident_id, before_seq=tx.audit.head() + 1, limit=AUDIT_MAX)),
        series=tuple(tx.series.for_incident(incident_id)),
        notes=tuple(tx.notes.for_incident(incident_id)),
        labels=tuple(tx.labels.for_incident(incident_id)),
    )


def read_plans(tx: Transaction, incident_id: str) -> tuple[PlanCase, ...]:
    """Every plan of an incident in the version that counts: the one that an active session carries
    out (an older one may still be giving back), else the newest."""
    sessions = {(s.plan, s.plan_version): s for s in tx.sessions.for_incident(incident_id)}
    chosen: dict[str, Plan] = {}
    for plan in tx.plans.for_incident(incident_id):
        before = chosen.get(plan.id)
        held = sessions.get((plan.id, before.version)) if before is not None else None
        own = sessions.get((plan.id, plan.version))
        if held is None or held.state in ENDED_SESSIONS or own is not None:
            chosen[plan.id] = plan
    return tuple(
        plan_case(tx, plan, sessions.get((plan.id, plan.version))) for plan in chosen.values()
    )


def plan_case(tx: Transaction, plan: Plan, session: Session | None) -> PlanCase:
    """A plan with what was decided and said about this version of it."""
    return PlanCase(
        plan=plan,
        session=session,
        approval=tx.approvals.get(plan.id, plan.version),
        verdicts={
            v.step: v for v in tx.verdicts.for_plan(plan.id) if v.plan_version == plan.version
        },
        holder=None if session is not None else tx.sessions.holding(nodes_held_by(plan)),
    )
