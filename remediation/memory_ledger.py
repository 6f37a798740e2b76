"""A ledger for one session that nobody needs to remember: the dry run's.

Keeps the same checks of every change as the store's, so a plan that could not be carried out for
real cannot be rehearsed either.
"""

from collections.abc import Callable
from dataclasses import replace

from fleetmend.model.incidents import Incident
from fleetmend.model.plans import (
    Plan,
    Session,
    SessionState,
    StepRecord,
    StepState,
    Verdict,
)
from fleetmend.ports.halt import HaltState
from remediation.gather import Books
from remediation.ledger import Brief, Detail, Entry
from remediation.session import WAITS, check_session, check_step, record_of


class MemoryLedger:
    """Implements `remediation.ledger.Ledger` for one session."""

    def __init__(self, plan: Plan, incident: Incident, books: Books, *, at_s: float) -> None:
        """A fresh session of `plan`."""
        self.plan = plan
        self.incident = incident
        self.books = books
        self.verdicts: list[Verdict] = []
        """Every verdict that was kept, in order."""
        self.session = Session(
            id=f"dry-run-{plan.id}",
            plan=plan.id,
            plan_version=plan.version,
            incident=plan.incident,
            entity=plan.entity,
            state=SessionState.PROPOSED,
            fence=1,
            worker="",
            lease_until_s=0.0,
            steps=tuple(StepRecord(s.index, StepState.PENDING, at_s) for s in plan.steps),
            opened_at_s=at_s,
            updated_at_s=at_s,
            give_back=tuple(StepRecord(s.index, StepState.PENDING, at_s) for s in plan.give_back),
        )

    def claim(self, worker: str, *, now_s: float, lease_s: float) -> Session | None:
        """The one session, when it is due."""
        if self.session.lease_until_s > now_s:
            return None
        self.session = replace(self.session, worker=worker, lease_until_s=now_s + lease_s)
        return self.session

    def renew(self, session: Session, *, now_s: float, lease_s: float) -> Session:
        """See `Ledger`."""
        self.session = replace(self.session, lease_until_s=now_s + lease_s)
        return self.session

    def brief(self, session: Session) -> Brief:
        """See `Ledger`."""
        return Brief(self.plan, self.incident)

    def check(self, session: Session) -> None:
        """Nobody else can have it."""

    def judge(self, session: Session, judge: Callable[[Books], Verdict]) -> Verdict:
        """See `Ledger`."""
        return judge(self.books)

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
        verdict = judge(self.books)
        self.verdicts.append(verdict)
        at_s = intent.updated_at_s
        if verdict.admitted:
            self._step(intent, giving_back)
            if not giving_back:
                self._advance(SessionState.RUNNING, "", at_s)
            return verdict, self.session
        records = self.session.give_back if giving_back else self.session.steps
        refused = replace(
            record_of(records, intent.index), state=StepState.REFUSED, updated_at_s=at_s
        )
        if record_of(records, intent.index).state not in WAITS:
            self._step(refused, giving_back)
        if not giving_back:
            words = ", ".join(reason.refusal.value for reason in verdict.reasons)
            self._advance(SessionState.WAITING, words, at_s)
        return verdict, self.session

    def halt_seen(self, state: HaltState) -> None:
        """A rehearsal tells nobody."""

    def write(self, session: Session, entry: Entry) -> Session:
        """See `Ledger`."""
        if entry.step is not None:
            self._step(entry.step, entry.giving_back)
        for index in entry.skip:
            record = record_of(self.session.steps, index)
            self._step(replace(record, state=StepState.SKIPPED, updated_at_s=entry.at_s), False)
        if entry.verdict is not None:
            self.verdicts.append(entry.verdict)
        if entry.state is not None:
            self._advance(entry.state, entry.reason, entry.at_s)
        return self.session

    def _step(self, record: StepRecord, giving_back: bool) -> None:
        records = self.session.give_back if giving_back else self.session.steps
        check_step(record_of(records, record.index).state, record.state)
        changed = tuple(record if r.index == record.index else r for r in records)
        if giving_back:
            self.session = replace(self.session, give_back=changed)
        else:
            self.session = replace(self.session, steps=changed)

    def _advance(self, state: SessionState, reason: str, at_s: float) -> None:
        if state is self.session.state:
            return
        check_session(self.session.state, state)
        self.session = replace(self.session, state=state, reason=reason, updated_at_s=at_s)
