"""The public service of remediation: what people decide. For the console and the command line.

Everything a person does is written to the audit log in the transaction that does it, with their
name. The halt is set first and written down afterwards: it must work with the store down.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from fleetmend.clock import Clock
from fleetmend.errors import ActionRefused, StoreConflict, StoreError
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import ENDED_SESSIONS, Approval, Plan, Session, SessionState, Verdict
from fleetmend.ports.halt import HaltState, HaltSwitch
from fleetmend.store import Store, Transaction
from remediation.attention import HELD_S, Need, NeedsPerson, need_of, needs_person, why_not_renewed
from remediation.halt_record import record_halt
from remediation.ledger import Detail
from remediation.proposals import begin, plan_id, supersede
from remediation.reasons import Why
from remediation.returns import ComingBack, coming_back
from remediation.runbook_files import Runbook
from remediation.session import check_session, has_taken, is_over

__all__ = ["ROLE_RANK", "ComingBack", "Need", "NeedsPerson", "RemediationService", "WaitingPlan"]

logger = logging.getLogger(__name__)

ROLE_RANK = {"viewer": 0, "responder": 1, "approver": 2, "policy-admin": 3, "admin": 4}
"""Roles, each of which may do what those before it may."""

TRIES = 3

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class WaitingPlan:
    """A session that does not go on by itself now."""

    session: Session
    plan: Plan
    incident: Incident
    verdict: Verdict | None
    """The last word of admission on the step that it waits with."""


class RemediationService:
    """Thread-safe as far as the store and the switch are."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        halt: HaltSwitch,
        runbooks: Sequence[Runbook],
        approval_ttl_s: float,
    ) -> None:
        """`approval_ttl_s`: how long an approval holds where a runbook is not known any more."""
        self._store = store
        self._clock = clock
        self._halt = halt
        self._runbooks = {runbook.id: runbook for runbook in runbooks}
        self._ttl_s = approval_ttl_s

    def approve(
        self, plan_id: str, version: int, by: str, channel: str, *, role: str = "approver"
    ) -> Approval:
        """A person agrees to this version of a plan. Raises ActionRefused (role, version, plan is
        over), AlreadyDecided (a StoreConflict: somebody was first)."""
        return self._decide(plan_id, version, by, channel, role=role, granted=True, reason="")

    def deny(
        self,
        plan_id: str,
        version: int,
        by: str,
        reason: str,
        channel: str,
        *,
        role: str = "approver",
    ) -> Approval:
        """A person says no. Nothing more is taken for this incident; what was taken stays out until
        the fault clears or somebody undoes it. Raises like `approve`."""
        return self._decide(plan_id, version, by, channel, role=role, granted=False, reason=reason)

    def waiting(self) -> list[WaitingPlan]:
        """Sessions that wait, oldest first, with the reason."""
        found = []
        with self._store.reading() as tx:
            for session in tx.sessions.active():
                if session.state not in (SessionState.PROPOSED, SessionState.WAITING):
                    continue
                plan = tx.plans.get(session.plan, session.plan_version)
                incident = tx.incidents.get(session.incident)
                if plan is None or incident is None:
                    continue
                verdicts = [
                    verdict
                    for verdict in tx.verdicts.for_plan(plan.id)
                    if verdict.plan_version == plan.version and not verdict.admitted
                ]
                last = verdicts[-1] if verdicts else None
                found.append(WaitingPlan(session, plan, incident, last))
        return found

    def undo(
        self, session_id: str, by: str, *, role: str = "approver", reason: str = ""
    ) -> Session:
        """Give back what a session has taken, whatever the incident says. Raises ActionRefused
        (role, unknown, over)."""
        self._check_role(role, ("approver",))
        return self._tried(lambda tx: self._undo(tx, session_id, by, reason))

    def needs_person(self, *, held_s: float = HELD_S) -> list[NeedsPerson]:
        """Every open incident for which automation will do nothing more, or which it holds: the
        worst first, then the longest open. `held_s`: seconds for which a guard may hold a session
        before it is listed."""
        with self._store.reading() as tx:
            return needs_person(tx, now_s=self._clock.now_s(), held_s=held_s)

    def need_of(self, incident_id: str, *, held_s: float = HELD_S) -> NeedsPerson | None:
        """The same for one incident; None when it needs nobody, or is not there."""
        with self._store.reading() as tx:
            incident = tx.incidents.get(incident_id)
            if incident is None:
                return None
            return need_of(tx, incident, now_s=self._clock.now_s(), held_s=held_s)

    def renew(
        self, incident_id: str, by: str, channel: str, *, role: str = "approver", reason: str = ""
    ) -> Plan:
        """Plan again for an open incident that automation has given up, or that a person stopped:
        a new version of its plan, which waits for an approval of its own where one is needed, and
        a session as soon as what an earlier one took is given back. What was denied or undone
        before counts no more. Raises ActionRefused (role, incident, renewal)."""
        self._check_role(role, ("approver",))
        return self._tried(lambda tx: self._renew(tx, incident_id, by, channel, reason))

    def coming_back(self) -> list[ComingBack]:
        """Capacity that resolved incidents still hold, and when it is given back, the soonest
        first."""
        with self._store.reading() as tx:
            return coming_back(tx)

    def halt(self, by: str, reason: str) -> HaltState:
        """Stop all side effects at once; giving back goes on. Raises PortError when a switch could
        not be set."""
        return self._set(HaltState(True, by, reason, self._clock.now_s()))

    def resume(self, by: str) -> HaltState:
        """Go on. Raises like `halt`."""
        return self._set(HaltState(False, by, "", self._clock.now_s()))

    def halt_state(self) -> HaltState:
        """Whether side effects are stopped; a switch that cannot be read counts as halted."""
        return self._halt.state()

    def _decide(
        self,
        plan_id: str,
        version: int,
        by: str,
        channel: str,
        *,
        role: str,
        granted: bool,
        reason: str,
    ) -> Approval:
        now_s = self._clock.now_s()
        with self._store.transaction() as tx:
            plan = tx.plans.get(plan_id)
            if plan is None:
                raise ActionRefused(guard="plan", reason=f"there is no plan {plan_id}")
            runbook = self._runbooks.get(plan.runbook)
            rule = runbook.file.approval if runbook is not None else None
            self._check_role(role, rule.roles if rule is not None else ("approver",))
            if plan.version != version:
                seen = f"you saw version {version}, the plan is at version {plan.version}"
                raise ActionRefused(guard="version", reason=seen)
            sessions = [
                session
                for session in tx.sessions.for_incident(plan.incident)
                if session.plan_version == version
            ]
            if sessions and is_over(sessions[-1]):
                over = f"its session is {sessions[-1].state.value}"
                raise ActionRefused(guard="session", reason=over)
            ttl_s = rule.ttl_s if rule is not None else self._ttl_s
            made = tx.approvals.decide(
                Approval(plan_id, version, granted, by, now_s, now_s + ttl_s, channel, reason)
            )
            verb = AuditVerb.APPROVED if granted else AuditVerb.DENIED
            detail: Detail = {"version": version, "channel": channel, "role": role}
            detail |= {"reason": reason, "expires_at_s": made.expires_at_s}
            tx.audit.append(at_s=now_s, actor=by, verb=verb, subject=plan_id, detail=detail)
        return made

    def _undo(self, tx: Transaction, session_id: str, by: str, reason: str) -> Session:
        now_s = self._clock.now_s()
        session = tx.sessions.get(session_id)
        if session is None:
            raise ActionRefused(guard="session", reason=f"there is no session {session_id}")
        if session.state in ENDED_SESSIONS:
            raise ActionRefused(guard="session", reason=f"it is {session.state.value} already")
        if session.state in (SessionState.GIVING_BACK, SessionState.COMPENSATING):
            return session
        plan = tx.plans.get(session.plan, session.plan_version)
        taken = plan is not None and has_taken(session, plan)
        state = SessionState.GIVING_BACK if taken else SessionState.CANCELLED
        check_session(session.state, state)
        changed = tx.sessions.advance(session, state=state, reason=Why.UNDONE, at_s=now_s)
        detail: Detail = {"state": state.value, "reason": Why.UNDONE.value, "why": reason}
        verb = AuditVerb.SESSION_CHANGED
        tx.audit.append(at_s=now_s, actor=by, verb=verb, subject=session_id, detail=detail)
        return changed

    def _renew(self, tx: Transaction, incident_id: str, by: str, channel: str, reason: str) -> Plan:
        now_s = self._clock.now_s()
        incident = tx.incidents.get(incident_id)
        if incident is None:
            raise ActionRefused(guard="incident", reason=f"there is no incident {incident_id}")
        newest = tx.plans.get(plan_id(incident_id))
        sessions = tx.sessions.for_incident(incident_id)
        not_now = why_not_renewed(tx, incident, newest, sessions)
        if newest is None or not_now:
            raise ActionRefused(guard="renewal", reason=not_now)
        renewed = replace(
            newest,
            version=newest.version + 1,
            incident_version=incident.version,
            created_at_s=now_s,
            renewed_by=by,
        )
        tx.plans.put(renewed)
        detail: Detail = {"incident": incident_id, "version": renewed.version}
        detail |= {"channel": channel, "reason": reason}
        verb = AuditVerb.PLAN_RENEWED
        tx.audit.append(at_s=now_s, actor=by, verb=verb, subject=renewed.id, detail=detail)
        active = [session for session in sessions if not is_over(session)]
        for session in active:
            supersede(tx, session, now_s=now_s, actor=by)
        if not active:
            begin(tx, renewed, now_s=now_s, actor=by)
        return renewed

    def _tried(self, change: Callable[[Transaction], Result]) -> Result:
        """One transaction; again when an executor was writing at the same moment: its word first,
        then ours."""
        for _ in range(TRIES - 1):
            try:
                with self._store.transaction() as tx:
                    return change(tx)
            except StoreConflict as conflict:
                logger.info("tried again", extra={"error": str(conflict)})
        with self._store.transaction() as tx:
            return change(tx)

    def _check_role(self, role: str, wanted: Sequence[str]) -> None:
        lowest = min(ROLE_RANK[name] for name in wanted)
        if ROLE_RANK.get(role, -1) < lowest:
            raise ActionRefused(guard="role", reason=f"{role} may not; {', '.join(wanted)} may")

    def _set(self, state: HaltState) -> HaltState:
        self._halt.set(state)
        # Read back for the switch's name, so that an executor that sees it says the same.
        read = self._halt.state()
        state = replace(state, where=read.where)
        try:
            record_halt(self._store, state, now_s=self._clock.now_s())
        except StoreError as error:
            # The switch is set, and that is what counts; an executor records what it reads.
            logger.error("halt could not be audited", extra={"error": str(error)})
        return state
