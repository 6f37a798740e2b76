"""One turn of one session: carry it on as far as it goes now, then say when to look again.

Made by `remediation.execute` for each claimed session; `remediation.forward` takes,
`remediation.returning` gives back. Both work through this: its writes keep the session as the
ledger knows it, its gate stands before every write to the world.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fleetmend.clock import Clock
from fleetmend.errors import ActionRefused
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import EntityKind, key_of, kind_of
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import (
    ActionKind,
    Effect,
    Plan,
    Session,
    SessionState,
    Step,
    StepRecord,
    StepState,
    Verdict,
)
from fleetmend.ports.halt import HaltSwitch
from fleetmend.settings.remediation import RemediationSettings
from remediation.actions.base import Action, Look, Seen, Task
from remediation.admit import admit
from remediation.gather import Asking, Books, Reading, facts_for
from remediation.ledger import Detail, Entry, Ledger
from remediation.picture import Picture
from remediation.place import node_of
from remediation.policy import Policy
from remediation.runbook_files import Runbook
from remediation.session import has_taken, record_of
from remediation.world import Gate, Ports, World, gated

HALT = "halt"
"""Guard name of an act that the halt stopped at the last moment."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What every turn works with."""

    ledger: Ledger
    ports: Ports
    actions: Mapping[ActionKind, Action]
    picture: Picture
    policy: Policy
    runbooks: Mapping[str, Runbook]
    halt: HaltSwitch
    clock: Clock
    settings: RemediationSettings


class Turn:
    """A claimed session on its way."""

    def __init__(self, tools: Tools, session: Session) -> None:
        brief = tools.ledger.brief(session)
        self.tools = tools
        self.session = session
        self.plan: Plan = brief.plan
        self.incident: Incident = brief.incident
        self.looking: World = gated(tools.ports, _never)

    @property
    def now_s(self) -> float:
        """The clock's time, Unix seconds."""
        return self.tools.clock.now_s()

    @property
    def has_taken(self) -> bool:
        """Whether this session took something out, or may have."""
        return has_taken(self.session, self.plan)

    def action(self, step: Step) -> Action:
        """What carries a step out."""
        return self.tools.actions[step.action]

    def task(self, step: Step) -> Task:
        """A step as its action needs it; one that undoes another gets what that remembered."""
        session = self.session
        undone = [
            record_of(session.steps, other.index).detail
            for other in self.plan.steps
            if other.target == step.target and other.compensation is step.action
        ]
        memory = undone[0] if undone else ""
        return Task(session.id, session.incident, self.plan.cause, step, memory)

    def world(self, *, heed_halt: bool) -> World:
        """The ports to act on. Giving back does not heed the halt; nothing skips the fence."""
        return gated(self.tools.ports, self._gate(heed_halt=heed_halt))

    def write(
        self,
        verb: AuditVerb,
        detail: Detail,
        *,
        step: StepRecord | None = None,
        giving_back: bool = False,
        state: SessionState | None = None,
        reason: str = "",
        skip: tuple[int, ...] = (),
        published: bool = False,
    ) -> None:
        """Keep an entry of the ledger, of now."""
        self.keep(
            Entry(self.now_s, verb, detail, step, giving_back, state, reason, skip, published)
        )

    def keep(self, entry: Entry) -> None:
        """Keep an entry of the ledger."""
        self.session = self.tools.ledger.write(self.session, entry)

    def change(self, state: SessionState, reason: str, *, skip: tuple[int, ...] = ()) -> None:
        """The session in another state."""
        self.write(AuditVerb.SESSION_CHANGED, {}, state=state, reason=reason, skip=skip)

    def decide(self, step: Step, record: StepRecord, look: Look, *, giving_back: bool) -> Verdict:
        """Ask admission, and keep the intent in the same transaction when it agrees."""
        attempt = record.attempt + 1
        memory = record.detail or look.memory
        intent = StepRecord(
            record.index,
            StepState.INTENDED,
            self.now_s,
            attempt,
            memory,
            begun_at_s=record.begun_at_s or self.now_s,
            parts=record.parts or look.left,
            parts_left=look.left,
        )
        verdict, self.session = self.tools.ledger.decide(
            self.session,
            self._judge(step, look, under_way=False),
            intent=intent,
            giving_back=giving_back,
            detail=about(step) | {"attempt": attempt},
        )
        return verdict

    def still_admitted(self, step: Step, look: Look, *, under_way: bool) -> Verdict:
        """For a step that takes several turns: nothing is written while all stays well."""
        return self.tools.ledger.judge(self.session, self._judge(step, look, under_way=under_way))

    def _gate(self, *, heed_halt: bool) -> Gate:
        """The halt, then the lease and the session's own state, read afresh."""

        def check() -> None:
            if heed_halt and (halt := self.tools.halt.state()).halted:
                raise ActionRefused(guard=HALT, reason=f"halted by {halt.by}: {halt.reason}")
            now_s, lease_s = self.now_s, self.tools.settings.lease_s
            if self.session.lease_until_s - now_s < lease_s / 2:
                self.session = self.tools.ledger.renew(self.session, now_s=now_s, lease_s=lease_s)
            self.tools.ledger.check(self.session)

        return check

    def _judge(self, step: Step, look: Look, *, under_way: bool) -> Callable[[Books], Verdict]:
        """Admission with all that is known outside of the store; the books come from inside."""
        tools, at_s, halt = self.tools, self.now_s, self.tools.halt.state()
        asking = Asking(step, self.plan, self.incident, self.session, under_way)
        reading = self._read(step, look)

        def judge(books: Books) -> Verdict:
            facts = facts_for(
                asking, reading, books, tools.picture, tools.policy, tools.runbooks, halt, at_s
            )
            return admit(step, self.plan, facts, tools.policy)

        return judge

    def _read(self, step: Step, look: Look) -> Reading:
        """What admission wants to know of the world, read just before it is asked."""
        if step.effect is Effect.OBSERVE:
            return Reading(found=True)
        node = node_of(self.tools.picture.topology, step.target)
        engine = kind_of(step.target) is EntityKind.ENGINE
        return Reading(
            found=look.seen is not Seen.MISSING,
            node=self.looking.cluster.node(key_of(node)) if node is not None else None,
            engine=self.looking.engines.state(key_of(step.target)) if engine else None,
        )


def about(step: Step) -> Detail:
    """What audit records say of a step."""
    return {
        "step": step.index,
        "action": step.action.value,
        "effect": step.effect.value,
        "target": step.target,
    }


def _never() -> None:
    raise ActionRefused(guard="looking", reason="a look must not write")
