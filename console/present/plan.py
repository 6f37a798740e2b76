"""The remediation plan as it is shown: steps with their state, what admission said by name, what an
approval would set going and what undoes it."""

from collections import Counter
from dataclasses import dataclass

from console.figures import kind_word, name_of, span
from console.present.automation import automation, refusal_word, waiver_word
from console.present.case import PlanCase
from console.present.header import things
from console.present.signals import title
from console.words import ACTION, EFFECT, STEP, Word, prose
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

_STATE_ITSELF = "state"
"""What a step checks that only looks whether the act took: the page says it in words."""
_NOT_STARTED = frozenset({StepState.PENDING, StepState.REFUSED})
_TO_DO = _NOT_STARTED | {StepState.INTERRUPTED}
HELD = frozenset({SessionState.PROPOSED, SessionState.WAITING})
_NO_UNDO = ENDED_SESSIONS | {SessionState.GIVING_BACK, SessionState.COMPENSATING}
_BY_HAND = frozenset({Refusal.AUTONOMY_OBSERVE, Refusal.AUTONOMY_RECOMMEND})


@dataclass(frozen=True, slots=True)
class ReasonView:
    """One reason of admission."""

    name: str
    """The refusal's own name, as in audit and docs."""
    text: str
    detail: str


@dataclass(frozen=True, slots=True)
class StepView:
    """One step."""

    number: int
    title: str
    target: str
    effect: str
    disruptive: bool
    state: Word
    at_s: float | None
    detail: str
    verify: str
    timeout: str
    undo: str
    witnesses: int
    reasons: tuple[ReasonView, ...]
    waivers: tuple[str, ...]
    next: bool
    """The step that is waited for now."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A person's decision on this version."""

    granted: bool
    by: str
    at_s: float
    expires_at_s: float
    expired: bool
    channel: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlanView:
    """The card."""

    id: str
    version: int
    runbook: str
    runbook_version: int
    state: Word
    reason: str
    session: str
    behind: str
    """The incident whose repair must end before this plan can begin; empty when there is none."""
    steps: tuple[StepView, ...]
    give_back: tuple[StepView, ...]
    affects: str
    undo: str
    decision: Decision | None
    waits_for_person: bool
    """True while a person's decision on this version is asked for."""
    can_undo: bool
    taken: bool
    """True when there is something to give back."""
    by_hand: bool
    """True when the pool lets fleetmend only say what it would do."""
    ask: str
    """What the person is asked, in a few words."""


def plan_view(found: PlanCase, *, now_s: float) -> PlanView:
    """The card of one plan."""
    plan, session = found.plan, found.session
    held = session is None or session.state in HELD
    next_step = found.next_step if held else None
    steps = tuple(
        _step(step, found.record(step), found.verdicts.get(step.index), next_=step is next_step)
        for step in plan.steps
    )
    back = tuple(_step(s, found.back_record(s), None, next_=False) for s in plan.give_back)
    left = open_steps(plan, session)
    approval = found.approval
    return PlanView(
        id=plan.id,
        version=plan.version,
        runbook=plan.runbook,
        runbook_version=plan.runbook_version,
        state=automation(found),
        # What a held session waits for stands beside its step, by name.
        reason=session.reason if session and not held else "",
        session=session.id if session else "",
        behind=found.holder.incident if found.holder else "",
        steps=steps,
        give_back=back,
        affects=_affects(left),
        undo=_undo(plan.steps),
        decision=None
        if approval is None
        else Decision(
            granted=approval.granted,
            by=approval.by,
            at_s=approval.at_s,
            expires_at_s=approval.expires_at_s,
            expired=approval.granted and approval.expires_at_s <= now_s,
            channel=approval.channel,
            reason=approval.reason,
        ),
        waits_for_person=found.needs_person,
        can_undo=session is not None and session.state not in _NO_UNDO,
        taken=any(step.state.tone in ("ok", "inf") for step in steps),
        by_hand=_by_hand(found),
        ask=ask(left),
    )


def ask(steps: list[Step]) -> str:
    """`Cordon and drain node-3, then restart engine e-1`."""
    parts: list[tuple[str, str]] = []
    for step in steps:
        if not _changes(step):
            continue
        verb, target = ACTION[step.action], name_of(step.target)
        if parts and parts[-1][1] == target:
            parts[-1] = (f"{parts[-1][0]} and {verb.lower()}", target)
        else:
            parts.append((verb if not parts else verb[:1].lower() + verb[1:], target))
    if not parts:
        return f"Tell people about {name_of(steps[0].target)}" if steps else "Nothing left to do"
    more = f" and {len(parts) - 3} more" if len(parts) > 3 else ""
    return ", then ".join(f"{verb} {target}" for verb, target in parts[:3]) + more


def open_steps(plan: Plan, session: Session | None) -> list[Step]:
    """The steps of a plan that are still to be done, or to be gone on with."""
    records = {r.index: r.state for r in (session.steps if session is not None else ())}
    return [s for s in plan.steps if records.get(s.index, StepState.PENDING) in _TO_DO]


def _changes(step: Step) -> bool:
    return step.action is not ActionKind.NOTIFY


def _by_hand(found: PlanCase) -> bool:
    blocking = found.blocking
    return blocking is not None and any(r.refusal in _BY_HAND for r in blocking.reasons)


def _affects(steps: list[Step]) -> str:
    acting = [s for s in steps if _changes(s)]
    kinds = Counter(kind_word(target) for target in {s.target for s in acting})
    effects = [e for e in Effect if any(s.effect is e for s in acting)]
    if not acting:
        return "nothing"
    return f"{things(kinds)}; {', '.join(EFFECT[effect] for effect in effects)}"


def _undo(steps: tuple[Step, ...]) -> str:
    """What takes the plan back, last step first, and what stays as it is."""
    words = [
        f"{ACTION[s.compensation].lower()} {name_of(s.target)}"
        for s in reversed(steps)
        if s.compensation is not None
    ]
    lasting = [
        ACTION[s.action].lower()
        for s in steps
        if s.compensation is None and _changes(s) and s.effect is not Effect.OBSERVE
    ]
    if lasting:
        words.append(f"{' and '.join(dict.fromkeys(lasting))} cannot be undone")
    return "; ".join(dict.fromkeys(words)) or "nothing to undo"


def _step(
    step: Step, record: StepRecord | None, verdict: Verdict | None, *, next_: bool
) -> StepView:
    state = record.state if record else StepState.PENDING
    started = state not in _NOT_STARTED
    reasons = () if state not in _TO_DO or verdict is None else verdict.reasons
    return StepView(
        number=step.index + 1,
        title=ACTION[step.action],
        target=name_of(step.target),
        effect=EFFECT[step.effect],
        disruptive=step.effect in (Effect.DISRUPTIVE, Effect.DESTRUCTIVE),
        state=STEP[state],
        at_s=record.updated_at_s if record and started else None,
        detail=_detail(record),
        verify="" if step.verify in ("", _STATE_ITSELF) else title(step.verify),
        timeout=span(step.timeout_s),
        undo=ACTION[step.compensation].lower() if step.compensation else "",
        witnesses=step.witnesses_needed,
        reasons=tuple(
            ReasonView(r.refusal.value, refusal_word(r.refusal), prose(r.detail)) for r in reasons
        ),
        waivers=tuple(map(waiver_word, verdict.waivers)) if verdict and not started else (),
        next=next_,
    )


def _detail(record: StepRecord | None) -> str:
    """What the executor noted, and of what is done in parts how many are left."""
    if record is None:
        return ""
    if record.detail or not record.parts_left:
        return record.detail
    return f"{record.parts_left} of {record.parts} left"


NOTHING_PLANNED: dict[bool, tuple[str, str]] = {
    True: (
        "No repair is planned.",
        "No cause is named yet, and a runbook is chosen by the first cause.",
    ),
    False: (
        "No repair is planned.",
        "No runbook matches the first cause, or its pool lets fleetmend only observe.",
    ),
}
"""Why the card is empty, by whether there is no cause."""


def phase(state: SessionState) -> str:
    """Where a session stands, for lists: its own name with spaces."""
    return state.value.replace("_", " ")
