"""The ledger in the store: each method is one transaction, audit record included.

Used by the executor of a running platform. Admission is decided inside the transaction that keeps
the intent, under the lock of the audit chain, so two workers never admit against the same count.
"""

from collections.abc import Callable
from dataclasses import replace

from fleetmend.clock import Clock
from fleetmend.errors import FenceLost, StoreConflict, StoreError
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType, event_id
from fleetmend.model.plans import (
    ENDED_SESSIONS,
    ActionKind,
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
from fleetmend.ports.halt import HaltState
from fleetmend.store import Store, Transaction, nodes_held_by
from remediation.gather import Books, TakenUnit
from remediation.halt_record import record_halt
from remediation.ledger import Brief, Detail, Entry
from remediation.publish import action_row
from remediation.runbook import BLAST_WINDOW_MAX_S
from remediation.session import (
    TAKES,
    WAITS,
    check_session,
    check_step,
    has_taken,
    record_of,
)

COUNTED = frozenset(
    {
        StepState.INTENDED,
        StepState.INTERRUPTED,
        StepState.DONE,
        StepState.FOUND_DONE,
        StepState.FAILED,
    }
)
"""States in which a step that takes has taken, or may have."""

ADVICE = frozenset({Refusal.AUTONOMY_OBSERVE, Refusal.AUTONOMY_RECOMMEND})
"""Refusals of a plan that is only shown: no person's word lets it pass."""

_RETURNED = frozenset({StepState.DONE, StepState.FOUND_DONE})
PLANS_CACHED = 10_000


class _Overtaken(Exception):
    """Another worker was admitted between our look at the books and the lock."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        super().__init__()


class StoreLedger:
    """Implements `remediation.ledger.Ledger`."""

    def __init__(self, store: Store, clock: Clock, *, role: str, taken_window_s: float) -> None:
        """`role` signs the audit records; `taken_window_s` is the longest window of any limit in
        the settings."""
        self._store = store
        self._clock = clock
        self._actor = f"fleetmend/{role}"
        # Runbooks have windows of their own beside those of the settings.
        self._window_s = max(taken_window_s, BLAST_WINDOW_MAX_S)
        self._plans: dict[tuple[str, int], Plan] = {}

    def claim(self, worker: str, *, now_s: float, lease_s: float) -> Session | None:
        """See `Ledger`."""
        with self._store.transaction() as tx:
            return tx.sessions.claim(worker, now_s=now_s, lease_s=lease_s)

    def renew(self, session: Session, *, now_s: float, lease_s: float) -> Session:
        """See `Ledger`."""
        with self._store.transaction() as tx:
            return tx.sessions.renew(session, now_s=now_s, lease_s=lease_s)

    def brief(self, session: Session) -> Brief:
        """See `Ledger`."""
        with self._store.reading() as tx:
            plan = self._plan(tx, session)
            incident = tx.incidents.get(session.incident)
        if incident is None:
            raise StoreError(f"session {session.id} has no incident {session.incident}")
        return Brief(plan, incident)

    def check(self, session: Session) -> None:
        """See `Ledger`."""
        with self._store.reading() as tx:
            held = tx.sessions.get(session.id)
        if held is None or held.fence != session.fence:
            raise FenceLost(f"session {session.id} has another worker", fix="Stop.")
        if held.state is not session.state:
            raise StoreConflict(f"session {session.id} is {held.state.value} by now")

    def judge(self, session: Session, judge: Callable[[Books], Verdict]) -> Verdict:
        """See `Ledger`."""
        with self._store.reading() as tx:
            return judge(self._books(tx, session, self._clock.now_s()))

    def decide(
        self,
        session: Session,
        judge: Callable[[Books], Verdict],
        *,
        intent: StepRecord,
        giving_back: bool,
        detail: Detail,
    ) -> tuple[Verdict, Session]:
        """See `Ledger`."""
        try:
            with self._store.transaction() as tx:
                verdict = judge(self._books(tx, session, intent.updated_at_s))
                if not verdict.admitted:
                    return verdict, self._refuse(tx, session, verdict, intent, giving_back, detail)
                # The lock first, then the count again: now nobody else is between the two.
                said = detail | {"waivers": ", ".join(verdict.waivers)}
                self._audit(tx, session, AuditVerb.INTENT, said, intent.updated_at_s)
                verdict = judge(self._books(tx, session, intent.updated_at_s))
                if not verdict.admitted:
                    raise _Overtaken(verdict)
                held = _step(tx, session, intent, giving_back)
                if giving_back:
                    return verdict, held
                tx.verdicts.put(verdict)
                self._hold(tx, held, intent)
                if held.state is SessionState.RUNNING:
                    return verdict, held
                return verdict, _advance(tx, held, SessionState.RUNNING, "", intent.updated_at_s)
        except _Overtaken as overtaken:
            verdict = overtaken.verdict
        with self._store.transaction() as tx:
            return verdict, self._refuse(tx, session, verdict, intent, giving_back, detail)

    def halt_seen(self, state: HaltState) -> None:
        """See `Ledger`."""
        record_halt(self._store, state, now_s=self._clock.now_s(), seen_by=self._actor)

    def write(self, session: Session, entry: Entry) -> Session:
        """See `Ledger`."""
        with self._store.transaction() as tx:
            held = session
            if entry.step is not None:
                held = _step(tx, held, entry.step, entry.giving_back)
            for index in entry.skip:
                skipped = replace(
                    record_of(held.steps, index), state=StepState.SKIPPED, updated_at_s=entry.at_s
                )
                held = _step(tx, held, skipped, False)
            if entry.state is not None and entry.state is not held.state:
                held = _advance(tx, held, entry.state, entry.reason, entry.at_s)
            detail = entry.detail | {"state": held.state.value, "reason": held.reason}
            if entry.verdict is not None:
                tx.verdicts.put(entry.verdict)
            if entry.published:
                self._publish(tx, session, entry)
            self._audit(tx, session, entry.verb, detail, entry.at_s)
            return held

    def _refuse(
        self,
        tx: Transaction,
        session: Session,
        verdict: Verdict,
        intent: StepRecord,
        giving_back: bool,
        detail: Detail,
    ) -> Session:
        words = ", ".join(reason.refusal.value for reason in verdict.reasons)
        held, at_s = session, intent.updated_at_s
        record = record_of(held.give_back if giving_back else held.steps, intent.index)
        if record.state not in WAITS:
            refused = replace(record, state=StepState.REFUSED, updated_at_s=at_s)
            held = _step(tx, held, refused, giving_back)
        if not giving_back and (held.state is not SessionState.WAITING or held.reason != words):
            held = _wait(tx, held, words, at_s)
        only_advises = any(reason.refusal in ADVICE for reason in verdict.reasons)
        if only_advises and not has_taken(held, self._plan(tx, held)):
            tx.sessions.let_go(held)
        # Verdicts are numbered by the steps that take; those on giving back are in the audit alone.
        new = record.state is not StepState.REFUSED if giving_back else tx.verdicts.put(verdict)
        if new:
            reasons: Detail = {r.refusal.value: r.detail for r in verdict.reasons}
            self._audit(tx, session, AuditVerb.VERDICT, detail | reasons, at_s)
        return held

    def _books(self, tx: Transaction, session: Session, now_s: float) -> Books:
        taken: list[TakenUnit] = []
        for other in tx.sessions.since(now_s - self._window_s):
            taken += taken_by(other, self._plan(tx, other))
        holder = tx.sessions.holding(nodes_held_by(self._plan(tx, session)), but=session.id)
        approval = tx.approvals.get(session.plan, session.plan_version)
        earlier = None
        for version in range(session.plan_version - 1, 0, -1):
            earlier = earlier or tx.approvals.get(session.plan, version)
        return Books(
            tuple(sorted(taken, key=lambda unit: unit.at_s)),
            approval,
            earlier,
            holder.id if holder is not None else "",
        )

    def _hold(self, tx: Transaction, session: Session, intent: StepRecord) -> None:
        """Whoever acts holds: one that only advised until now has let go of its nodes."""
        plan = self._plan(tx, session)
        step = next(step for step in plan.steps if step.index == intent.index)
        if step.effect is not Effect.OBSERVE:
            tx.sessions.hold(session, nodes_held_by(plan))

    def _plan(self, tx: Transaction, session: Session) -> Plan:
        """Plans never change once written."""
        key = session.plan, session.plan_version
        if key not in self._plans:
            if len(self._plans) >= PLANS_CACHED:
                self._plans.clear()
            plan = tx.plans.get(*key)
            if plan is None:
                raise StoreError(f"session {session.id} has no plan {key[0]} version {key[1]}")
            self._plans[key] = plan
        return self._plans[key]

    def _audit(
        self, tx: Transaction, session: Session, verb: AuditVerb, detail: Detail, at_s: float
    ) -> None:
        known: Detail = {"incident": session.incident, "plan": session.plan}
        known |= {"plan_version": session.plan_version, "fence": session.fence}
        tx.audit.append(
            at_s=at_s, actor=self._actor, verb=verb, subject=session.id, detail=known | detail
        )

    def _publish(self, tx: Transaction, session: Session, entry: Entry) -> None:
        what = str(entry.detail.get("action", ""))
        event = Event(
            id=event_id(session.id, what, str(entry.detail.get("step", "")), entry.giving_back),
            source=self._actor,
            type=EventType.ACTION,
            time_s=entry.at_s,
            subject=EntityId(str(entry.detail.get("target") or session.entity)),
            data={
                "action": what,
                "session": session.id,
                "incident": session.incident,
            },
        )
        action_row(tx, event, incident=session.incident, at_s=entry.at_s)


def taken_by(session: Session, plan: Plan) -> list[TakenUnit]:
    """What a session has taken, and whether it is still out."""
    returned = {
        step.target
        for step in plan.give_back
        if record_of(session.give_back, step.index).state in _RETURNED
    }
    found = []
    for step in plan.steps:
        record = record_of(session.steps, step.index)
        if step.action not in TAKES or record.state not in COUNTED | {StepState.COMPENSATED}:
            continue
        out = (
            session.state not in ENDED_SESSIONS
            and record.state is not StepState.COMPENSATED
            and step.target not in returned
            and not _served_again(step, record, session)
        )
        found.append(
            TakenUnit(step.target, step.action, record.updated_at_s, out, session.id, plan.runbook)
        )
    return found


def _served_again(step: Step, record: StepRecord, session: Session) -> bool:
    """A restarted engine is back as soon as its restart is verified."""
    restarted = step.action is ActionKind.ENGINE_RESTART and record.state is not StepState.INTENDED
    return restarted and session.state is not SessionState.VERIFYING


def _step(tx: Transaction, session: Session, record: StepRecord, giving_back: bool) -> Session:
    old = record_of(session.give_back if giving_back else session.steps, record.index)
    check_step(old.state, record.state)
    held = tx.sessions.step(session, record, giving_back=giving_back)
    if held.state is not session.state:
        raise StoreConflict(f"session {session.id} is {held.state.value} by now")
    return held


def _advance(
    tx: Transaction, session: Session, state: SessionState, reason: str, at_s: float
) -> Session:
    check_session(session.state, state)
    return tx.sessions.advance(session, state=state, reason=reason, at_s=at_s)


def _wait(tx: Transaction, session: Session, reason: str, at_s: float) -> Session:
    """Waiting for other reasons than before is no change of state."""
    if session.state is not SessionState.WAITING:
        check_session(session.state, SessionState.WAITING)
    return tx.sessions.advance(session, state=SessionState.WAITING, reason=reason, at_s=at_s)
