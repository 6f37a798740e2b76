"""A step that was begun and is stopped before it is done: every intent gets an outcome.

Written when admission, the halt, a person or the end of the incident stops it. What it did so far
stays done; the session still counts it as taken, and giving back returns it. Called by
`remediation.forward` and `remediation.returning`.
"""

from dataclasses import replace

from fleetmend.errors import PortError
from fleetmend.model.audit import AuditVerb
from fleetmend.model.plans import (
    Effect,
    Reason,
    SessionState,
    Step,
    StepRecord,
    StepState,
    Verdict,
)
from remediation.actions.base import Look
from remediation.ledger import Detail, Entry
from remediation.session import record_of
from remediation.turn import Turn, about

INTERRUPTED = StepState.INTERRUPTED.value


def parts_done(record: StepRecord, look: Look) -> int:
    """How many of the parts with which a step began are done; new ones never make it negative."""
    return max(0, record.parts - look.left)


def interrupt(
    turn: Turn,
    step: Step,
    record: StepRecord,
    look: Look | None,
    *,
    reasons: tuple[Reason, ...],
    verdict: Verdict | None = None,
    state: StepState = StepState.INTERRUPTED,
) -> None:
    """Admission or the halt stops a step: the session waits, and may go on with it later. `verdict`
    where admission spoke; `state` is REFUSED for an intent of which certainly nothing was sent."""
    words = ", ".join(reason.refusal.value for reason in reasons)
    said: Detail = {reason.refusal.value: reason.detail for reason in reasons}
    _write(
        turn,
        step,
        record,
        look,
        said | {"reasons": words},
        stopped=state,
        state=SessionState.WAITING,
        reason=words,
        verdict=verdict,
    )


def stop_begun(turn: Turn) -> None:
    """The session takes nothing more: whatever is still under way ends here. It may have been sent,
    so it counts as taken. A world that does not answer keeps nothing from being given back."""
    for step in turn.plan.steps:
        record = record_of(turn.session.steps, step.index)
        if record.state is not StepState.INTENDED:
            continue
        try:
            look: Look | None = turn.action(step).look(turn.looking, turn.task(step))
        except PortError:
            look = None
        why = turn.session.reason or turn.incident.status.value
        _write(turn, step, record, look, {"reasons": why})


def _write(
    turn: Turn,
    step: Step,
    record: StepRecord,
    look: Look | None,
    said: Detail,
    *,
    stopped: StepState = StepState.INTERRUPTED,
    state: SessionState | None = None,
    reason: str = "",
    verdict: Verdict | None = None,
) -> None:
    left = record.parts if look is None else min(record.parts, look.left)
    detail = about(step) | said
    detail["outcome"] = INTERRUPTED if stopped is StepState.INTERRUPTED else "withdrawn"
    if record.parts and look is not None:
        detail |= {"done": record.parts - left, "left": left}
    changed = replace(record, state=stopped, updated_at_s=turn.now_s, parts_left=left)
    turn.keep(
        Entry(
            turn.now_s,
            AuditVerb.OUTCOME,
            detail,
            changed,
            state=state,
            reason=reason,
            published=record.parts > left and step.effect is not Effect.OBSERVE,
            verdict=verdict,
        )
    )
