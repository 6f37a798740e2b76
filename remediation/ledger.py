"""What the executor remembers, as it needs it: sessions, intents, outcomes, decisions.

Implemented by `remediation.store_ledger` (the store: one transaction for each method) and by the
dry run (in memory). Errors: FenceLost (stop at once), StoreConflict (read again), StoreError.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import Plan, Session, SessionState, StepRecord, Verdict
from fleetmend.ports.halt import HaltState
from remediation.gather import Books

Detail = dict[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class Brief:
    """What a session is about, as it is now."""

    plan: Plan
    incident: Incident


@dataclass(frozen=True, slots=True)
class Entry:
    """Changes that are written together, with the audit record that tells of them."""

    at_s: float
    verb: AuditVerb
    detail: Detail
    step: StepRecord | None = None
    giving_back: bool = False
    """`step` is one of `give_back`."""
    state: SessionState | None = None
    """The session's next state."""
    reason: str = ""
    skip: tuple[int, ...] = field(default=())
    """Steps that will not be done any more."""
    published: bool = False
    """The change is told to the rest of the platform, so that it is not taken for a fault."""
    verdict: Verdict | None = None
    """What stopped the step."""


class Ledger(Protocol):
    """One executor's way to what must outlive it."""

    def claim(self, worker: str, *, now_s: float, lease_s: float) -> Session | None:
        """A session that is due, now this worker's."""
        ...

    def renew(self, session: Session, *, now_s: float, lease_s: float) -> Session:
        """Keep it for longer; or, as a short lease, put it by until then."""
        ...

    def brief(self, session: Session) -> Brief:
        """Its plan and the newest state of its incident."""
        ...

    def check(self, session: Session) -> None:
        """Raises FenceLost or StoreConflict unless the session is still as `session` says."""
        ...

    def judge(self, session: Session, judge: Callable[[Books], Verdict]) -> Verdict:
        """Judge by the books and keep nothing."""
        ...

    def decide(
        self,
        session: Session,
        judge: Callable[[Books], Verdict],
        *,
        intent: StepRecord,
        giving_back: bool,
        detail: Detail,
    ) -> tuple[Verdict, Session]:
        """Judge by the books and, in the same transaction, keep the verdict with the intent or the
        refusal. An admitted step leaves a session that takes RUNNING, a refused one WAITING."""
        ...

    def halt_seen(self, state: HaltState) -> None:
        """A halt switch reads otherwise than before: kept once, whoever else has seen it."""
        ...

    def write(self, session: Session, entry: Entry) -> Session:
        """Keep an entry. Returns the session as it is now."""
        ...
