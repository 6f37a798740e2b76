"""Forward: the steps that take. The order for each is fixed: look, admit, keep the intent, check
halt and fence, act, keep the outcome, verify.

After a crash an intent without an outcome is answered by looking: what is found done is not sent
again. A step that takes several turns is asked again before each (`guards.FOR_CARRYING_ON`), and
what stops it is kept as its outcome. Called by `remediation.execute`; each function makes one move
and returns the seconds until the next, or None for at once.
"""

from dataclasses import replace

from fleetmend.errors import ActionRefused, PortRefused
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import IncidentStatus
from fleetmend.model.plans import (
    Effect,
    OnFailure,
    Reason,
    Refusal,
    SessionState,
    Step,
    StepRecord,
    StepState,
    Verdict,
)
from remediation.actions.base import Look, Progress, Seen
from remediation.interrupt import interrupt, parts_done
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
        # Of what is done in parts the last look is how its end is seen.
        ours = record.state is T.INTENDED and record.parts > 0
        return _done(turn, step, record, T.DONE if ours else T.FOUND_DONE, look)
    if record.state is T.INTENDED and _late(turn, step, record):
        return _fail(turn, step, record, f"not done within {step.timeout_s:.0f} s")
    if record.state is T.INTENDED:
        begun = parts_done(record, look) > 0
        verdict = turn.still_admitted(step, look, under_way=begun)
        if not verdict.admitted:
            # It may have been sent: only a look can tell, so it counts as begun.
            interrupt(turn, step, record, look, reasons=verdict.reasons, verdict=verdict)
            return None
        return _act(turn, step, fresh=False)
    verdict = turn.decide(step, record, look, giving_back=False)
    return _act(turn, step, fresh=True) if verdict.admitted else _refused(turn, verdict)


def let_go(turn: Turn) -> float | None:
    """A person took back what we held: clear our marks, and take nothing again for this
    incident."""
    turn.change(S.GIVING_BACK, Why.TAKEN_BACK_BY_PERSON)
    return None


def _act(turn: Turn, step: Step, *, fresh: bool) -> float | None:
    """An answer that does not come (PortError) leaves the intent: the next turn looks. `fresh`: the
    intent was kept a moment ago, and nothing was sent before."""
    record = record_of(turn.session.steps, step.index)
    try:
        acted = turn.action(step).act(turn.world(heed_halt=True), turn.task(step))
    except ActionRefused as refused:
        # Stopped at the last moment, by the halt or because a person took the node back.
        why = Refusal.HALTED if refused.guard == HALT else Refusal.OWNED_BY_OTHER
        look = turn.action(step).look(turn.looking, turn.task(step))
        unsent = fresh and parts_done(record, look) == 0
        state = T.REFUSED if unsent else T.INTERRUPTED
        reasons = (Reason(why, str(refused)),)
        interrupt(turn, step, record, look, reasons=reasons, state=state)
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
    memory = record.detail or look.memory
    done = replace(record, state=state, updated_at_s=turn.now_s, detail=memory, parts_left=0)
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
        # What was begun stays known as begun.
        over = SETTLED | {T.INTERRUPTED}
        rest = tuple(r.index for r in turn.session.steps if r.state not in over)
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
