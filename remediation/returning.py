"""Returning: hold what was taken until the fault clears, then give it back; or undo a failed plan.

Nothing here heeds the halt, a rate or a level, and nothing here ever gives up: what cannot be given
back now is tried again, ever more slowly, until it is. Called by `remediation.execute`; each
function makes one move and returns the seconds until the next, or None for at once.
"""

from dataclasses import replace

from fleetmend.errors import PortRefused
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import ENDED_INCIDENTS, IncidentStatus
from fleetmend.model.plans import SessionState, StepState
from remediation.actions.base import Look, Seen
from remediation.forward import let_go
from remediation.interrupt import stop_begun
from remediation.reasons import LET_GO, Why
from remediation.returns import probation_ends_s
from remediation.session import TAKES, next_step, record_of, to_compensate
from remediation.turn import Turn, about

BACKOFF_MAX_S = 60.0

S, T = SessionState, StepState


def unwind(turn: Turn) -> float | None:
    """The incident is over: take nothing more, and give back once it has been over long
    enough."""
    stop_begun(turn)
    calm_s = _calm_left_s(turn)
    if calm_s > 0:
        return min(calm_s, turn.tools.settings.hold_check_s)
    merged = turn.incident.status is IncidentStatus.MERGED
    settled = next_step(turn.plan.steps, turn.session.steps) is None
    state = S.GIVING_BACK if turn.has_taken else S.DONE if settled else S.CANCELLED
    turn.change(state, Why.MERGED if merged else Why.RESOLVED)
    return None


def hold(turn: Turn) -> float | None:
    """Look whether what we hold is still ours."""
    for step in turn.plan.steps:
        state = record_of(turn.session.steps, step.index).state
        if step.action not in TAKES or state not in (T.DONE, T.FOUND_DONE):
            continue
        if turn.action(step).look(turn.looking, turn.task(step)).seen is Seen.LOST:
            return let_go(turn)
    return turn.tools.settings.hold_check_s


def give_back(turn: Turn) -> float | None:
    """The next step that returns capacity."""
    stop_begun(turn)
    found = next_step(turn.plan.give_back, turn.session.give_back)
    if found is None:
        let_go_of = turn.session.reason in LET_GO
        turn.change(S.CANCELLED if let_go_of else S.DONE, turn.session.reason)
        return None
    step, record = found
    task, action = turn.task(step), turn.action(step)
    look = action.look(turn.looking, task)
    if look.seen is not Seen.DONE:
        if record.state is not T.INTENDED:
            verdict = turn.decide(step, record, Look(look.seen), giving_back=True)
            if not verdict.admitted:
                # Somebody else owns it by now: it is theirs to give.
                others = record_of(turn.session.give_back, step.index)
                skipped = replace(others, state=T.SKIPPED, updated_at_s=turn.now_s)
                detail = about(step) | {"outcome": T.SKIPPED.value}
                turn.write(AuditVerb.OUTCOME, detail, step=skipped, giving_back=True)
                return None
            record = record_of(turn.session.give_back, step.index)
        try:
            action.act(turn.world(heed_halt=False), task)
        except PortRefused as error:
            again = replace(record, attempt=record.attempt + 1, updated_at_s=turn.now_s)
            detail = about(step) | {"refused": str(error)}
            turn.write(AuditVerb.OUTCOME, detail, step=again, giving_back=True)
            return _backoff_s(turn, again.attempt)
        if not action.holds(turn.looking, task):
            return turn.tools.settings.retry_s
    state = T.DONE if look.seen is not Seen.DONE else T.FOUND_DONE
    turn.write(
        AuditVerb.GAVE_BACK,
        about(step) | {"outcome": state.value},
        step=replace(record, state=state, updated_at_s=turn.now_s),
        giving_back=True,
        published=record.state is T.INTENDED,
    )
    return None


def compensate(turn: Turn) -> float | None:
    """Undo the last step that is not undone yet."""
    found = to_compensate(turn.plan.steps, turn.session.steps)
    if found is None:
        turn.change(S.FAILED, turn.session.reason)
        return None
    step, record = found
    task, action = turn.task(step), turn.action(step)
    if action.look(turn.looking, task).seen is not Seen.DONE:
        turn.write(AuditVerb.INTENT, about(step) | {"compensates": True})
        try:
            action.act(turn.world(heed_halt=False), task)
        except PortRefused as error:
            turn.write(AuditVerb.OUTCOME, about(step) | {"refused": str(error)})
            return _backoff_s(turn, 1)
    turn.write(
        AuditVerb.GAVE_BACK,
        about(step) | {"compensates": True},
        step=replace(record, state=T.COMPENSATED, updated_at_s=turn.now_s),
        published=True,
    )
    return None


def is_over(turn: Turn) -> bool:
    """Whether the incident needs this session no more."""
    return turn.incident.status in ENDED_INCIDENTS


def _calm_left_s(turn: Turn) -> float:
    """What is left of the probation that the runbook wants after a resolution."""
    ends_s = probation_ends_s(turn.incident, turn.plan)
    if ends_s is None or not turn.has_taken:
        return 0.0
    return ends_s - turn.now_s


def _backoff_s(turn: Turn, attempt: int) -> float:
    retry_s = turn.tools.settings.retry_s
    return float(min(BACKOFF_MAX_S, retry_s * 2.0 ** min(attempt, 10)))
