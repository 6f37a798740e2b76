"""Forward: the steps that take. The order for each is fixed: look, admit, keep the intent, check
halt and fence, act, keep the outcome, verify.

After a crash an intent without an outcome is answered by looking: what is found done is not sent
again. Called by `remediation.execute`; each function makes one move and returns the seconds until
the next, or None for at once.
"""

from dataclasses import replace

from fleetmend.errors import ActionRefused, PortRefused
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import IncidentStatus
from fleetmend.model.plans import (
    Effect,
    OnFailure,
    Refusal,
    SessionState,
    Step,
    StepRecord,
    StepState,
    Verdict,
)
from remediation.actions.base import Look, Progress, Seen
from remediation.reasons import Why
from remediation.session import SETTLED, last_done, next_step, record_of, to_compensate
from remediation.turn import HALT, Turn, about

ATTEMPTS_MAX = 3
"""Times that the other side may say no before a step has failed."""

WAIT_MAX_S = 5.0
"""Seconds between two looks at a step that has been refused for long: that long an approval may
take to be noticed."""

AGAIN_S = 1.0
"""Seconds between two looks at an act that takes several turns."""

S, T = SessionState, StepState


def forward(turn: Turn) -> float | None:
    """The next step, or the verification of the last."""
    if turn.session.state is S.VERIFYING:
        return _verify(turn)
    found = next_step(turn.plan.steps, turn.session.steps)
    if found is None:
        turn.change(_when_settled(turn), turn.session.reason)
        return None
    step, record = found
    look = turn.action(step).look(turn.looking, turn.task(step))
    if look.seen is Seen.LOST:
        return let_go(turn)
    if look.seen is Seen.DONE:
        return _done(turn, step, record, T.FOUND_DONE, look)
    if record.state is T.INTENDED and _late(turn, step, record):
        return _fail(turn, step, record, f"not done within {step.timeout_s:.0f} s")
    under_way = record.state is T.INTENDED and turn.still_admitted(step, look)
    if not under_way:
        verdict = turn.decide(step, record, look, giving_back=False)
        if not verdict.admitted:
            return _refused(turn, verdict)
    return _act(turn, step)


def let_go(turn: Turn) -> float | None:
    """A person took back what we held: clear our marks, and take nothing again for this
    incident."""
    turn.change(S.GIVING_BACK, Why.TAKEN_BACK_BY_PERSON)
    return None


def _act(turn: Turn, step: Step) -> float | None:
    """An answer that does not come (PortError) leaves the intent: the next turn looks."""
    record = record_of(turn.session.steps, step.index)
    try:
        acted = turn.action(step).act(turn.world(heed_halt=True), turn.task(step))
    except ActionRefused as refused:
        # Stopped at the last moment: the intent is withdrawn, what was done so far stays seen.
        why = Refusal.HALTED.value if refused.guard == HALT else str(refused)
        withdrawn = replace(record, state=T.REFUSED, updated_at_s=turn.now_s)
        detail = about(step) | {"refused": str(refused)}
        turn.write(AuditVerb.OUTCOME, detail, step=withdrawn, state=S.WAITING, reason=why)
        return turn.tools.settings.retry_s
    except PortRefused as error:
        if record.attempt >= ATTEMPTS_MAX:
            return _fail(turn, step, record, str(error))
        again = replace(record, attempt=record.attempt + 1, updated_at_s=turn.now_s)
        turn.write(AuditVerb.OUTCOME, about(step) | {"refused": str(error)}, step=again)
        return None
    if acted.progress is Progress.AGAIN:
        return AGAIN_S
    return _done(turn, step, record, T.DONE, Look(Seen.DONE))


def _done(turn: Turn, step: Step, record: StepRecord, state: StepState, look: Look) -> float | None:
    """Keep the outcome. What we sent, or may have sent, is told to the platform."""
    done = replace(
        record, state=state, updated_at_s=turn.now_s, detail=record.detail or look.memory
    )
    turn.write(
        AuditVerb.OUTCOME,
        about(step) | {"outcome": state.value},
        step=done,
        state=S.VERIFYING,
        published=record.state is T.INTENDED and step.effect is not Effect.OBSERVE,
    )
    return None


def _verify(turn: Turn) -> float | None:
    found = last_done(turn.plan.steps, turn.session.steps)
    if found is None:
        turn.change(_when_settled(turn), turn.session.reason)
        return None
    step, record = found
    task, action = turn.task(step), turn.action(step)
    if action.look(turn.looking, task).seen is Seen.LOST:
        return let_go(turn)
    recovered = turn.incident.status is not IncidentStatus.OPEN
    if action.holds(turn.looking, task) and (step.verify != "recovered" or recovered):
        more = next_step(turn.plan.steps, turn.session.steps) is not None
        state = S.RUNNING if more else _when_settled(turn)
        turn.write(AuditVerb.VERIFIED, about(step) | {"check": step.verify}, state=state)
        return None
    if _late(turn, step, record):
        why = f"{step.verify} not seen within {step.timeout_s:.0f} s"
        return _fail(turn, step, record, why)
    return turn.tools.settings.retry_s


def _fail(turn: Turn, step: Step, record: StepRecord, why: str) -> float | None:
    """What follows is the runbook's word."""
    rest = tuple(
        other.index
        for other in turn.plan.steps
        if other.index != step.index
        and record_of(turn.session.steps, other.index).state not in SETTLED
    )
    skip, reason = rest, ""
    match step.on_failure:
        case OnFailure.CONTINUE:
            state, skip = S.RUNNING if rest else _when_settled(turn), ()
        case OnFailure.HOLD:
            state, reason = S.HOLDING if turn.has_taken else S.FAILED, Why.HELD_AFTER_FAILURE
        case OnFailure.COMPENSATE:
            undo = to_compensate(turn.plan.steps, turn.session.steps) is not None
            state, reason = S.COMPENSATING if undo else S.FAILED, Why.STEP_FAILED
    failed = replace(record, state=T.FAILED, updated_at_s=turn.now_s, detail=record.detail or why)
    detail = about(step) | {"outcome": T.FAILED.value, "why": why}
    turn.write(AuditVerb.OUTCOME, detail, step=failed, state=state, reason=reason, skip=skip)
    return None


def _refused(turn: Turn, verdict: Verdict) -> float | None:
    """Wait and ask again, unless a person's word ends it."""
    said = {reason.refusal for reason in verdict.reasons}
    if Refusal.APPROVAL_DENIED in said:
        rest = tuple(r.index for r in turn.session.steps if r.state not in SETTLED)
        turn.change(S.HOLDING if turn.has_taken else S.CANCELLED, Why.DENIED, skip=rest)
        return None
    if Refusal.APPROVAL_EXPIRED in said and not turn.has_taken:
        # A decision stands once; a new version of the plan can be decided on anew.
        turn.change(S.CANCELLED, Why.APPROVAL_EXPIRED)
        return None
    # What has waited long is asked less often, so that many who wait do not hold up a few.
    waited_s = turn.now_s - turn.session.updated_at_s
    return max(turn.tools.settings.retry_s, min(WAIT_MAX_S, waited_s / 10))


def _when_settled(turn: Turn) -> SessionState:
    """Hold what can be given back; else there is nothing more to do."""
    return S.HOLDING if turn.plan.give_back and turn.has_taken else S.DONE


def _late(turn: Turn, step: Step, record: StepRecord) -> bool:
    return turn.now_s - record.updated_at_s > step.timeout_s
