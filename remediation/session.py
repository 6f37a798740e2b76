"""The life of a session and of its steps: which changes there are. Every change goes through here.

Called by the executor, the intake and the service before they write; the store keeps what it is
given. Also answers, purely, what a session has taken and what comes next.
"""

from collections.abc import Mapping
from dataclasses import replace

from fleetmend.errors import FleetError
from fleetmend.model.plans import (
    ENDED_SESSIONS,
    ActionKind,
    Plan,
    Session,
    SessionState,
    Step,
    StepRecord,
    StepState,
)

S, T = SessionState, StepState

NEXT_STATES: Mapping[SessionState, frozenset[SessionState]] = {
    S.PROPOSED: frozenset({S.WAITING, S.RUNNING, S.VERIFYING, S.GIVING_BACK, S.CANCELLED, S.DONE}),
    S.WAITING: frozenset(
        {S.RUNNING, S.VERIFYING, S.HOLDING, S.GIVING_BACK, S.COMPENSATING, S.CANCELLED, S.DONE}
    ),
    S.RUNNING: frozenset(
        {
            S.WAITING,
            S.VERIFYING,
            S.HOLDING,
            S.GIVING_BACK,
            S.COMPENSATING,
            S.CANCELLED,
            S.DONE,
            S.FAILED,
        }
    ),
    S.VERIFYING: frozenset(
        {S.RUNNING, S.HOLDING, S.GIVING_BACK, S.COMPENSATING, S.CANCELLED, S.DONE, S.FAILED}
    ),
    S.HOLDING: frozenset({S.GIVING_BACK, S.CANCELLED}),
    S.GIVING_BACK: frozenset({S.DONE, S.CANCELLED}),
    S.COMPENSATING: frozenset({S.FAILED, S.CANCELLED}),
    S.DONE: frozenset(),
    S.CANCELLED: frozenset(),
    S.FAILED: frozenset(),
}
"""What may follow each state. Once capacity is being returned nothing takes any again."""

NEXT_STEP_STATES: Mapping[StepState, frozenset[StepState]] = {
    T.PENDING: frozenset({T.REFUSED, T.INTENDED, T.FOUND_DONE, T.SKIPPED}),
    T.REFUSED: frozenset({T.INTENDED, T.FOUND_DONE, T.SKIPPED}),
    T.INTENDED: frozenset(
        {
            T.INTENDED,
            T.INTERRUPTED,
            T.REFUSED,
            T.DONE,
            T.FOUND_DONE,
            T.FAILED,
            T.SKIPPED,
            T.COMPENSATED,
        }
    ),
    T.INTERRUPTED: frozenset({T.INTENDED, T.FOUND_DONE, T.FAILED, T.COMPENSATED}),
    T.DONE: frozenset({T.FAILED, T.COMPENSATED}),
    T.FOUND_DONE: frozenset({T.FAILED, T.COMPENSATED}),
    T.FAILED: frozenset({T.COMPENSATED}),
    T.COMPENSATED: frozenset(),
    T.SKIPPED: frozenset(),
}
"""What may follow each state of a step. INTENDED follows itself: another attempt."""

SETTLED = frozenset({T.DONE, T.FOUND_DONE, T.FAILED, T.COMPENSATED, T.SKIPPED})
"""Steps that are not tried again."""

TAKES = frozenset(
    {ActionKind.CORDON, ActionKind.DRAIN, ActionKind.EJECT, ActionKind.ENGINE_RESTART}
)
"""Actions that take a unit out of service."""

WAITS = frozenset({T.REFUSED, T.INTERRUPTED})
"""Steps that admission holds: a further refusal changes nothing."""

_TOUCHED = frozenset({T.INTENDED, T.INTERRUPTED, T.DONE, T.FOUND_DONE, T.FAILED})


class IllegalChange(FleetError):
    """A change that the life of a session does not know: a defect, nothing is written."""


def check_session(old: SessionState, new: SessionState) -> None:
    """Raises IllegalChange unless `new` may follow `old`."""
    if new not in NEXT_STATES[old]:
        raise IllegalChange(f"a session that is {old.value} cannot become {new.value}")


def check_step(old: StepState, new: StepState) -> None:
    """Raises IllegalChange unless `new` may follow `old`."""
    if new not in NEXT_STEP_STATES[old]:
        raise IllegalChange(f"a step that is {old.value} cannot become {new.value}")


def record_of(records: tuple[StepRecord, ...], index: int) -> StepRecord:
    """What is known of step `index`."""
    for record in records:
        if record.index == index:
            return record
    raise IllegalChange(f"there is no step {index}")


def next_step(
    steps: tuple[Step, ...], records: tuple[StepRecord, ...]
) -> tuple[Step, StepRecord] | None:
    """The first step that is not settled, with its record; None when all are."""
    for step in steps:
        record = record_of(records, step.index)
        if record.state not in SETTLED:
            return step, record
    return None


def last_done(
    steps: tuple[Step, ...], records: tuple[StepRecord, ...]
) -> tuple[Step, StepRecord] | None:
    """The last step that was done or found done: the one that a session verifies."""
    for step in reversed(steps):
        record = record_of(records, step.index)
        if record.state in (T.DONE, T.FOUND_DONE):
            return step, record
    return None


def to_compensate(
    steps: tuple[Step, ...], records: tuple[StepRecord, ...]
) -> tuple[Step, StepRecord] | None:
    """What undoes the last step that touched the world and is not undone yet, with that step's
    record."""
    for step in reversed(steps):
        record = record_of(records, step.index)
        if record.state in _TOUCHED and step.compensation is not None:
            return replace(step, action=step.compensation), record
    return None


def has_taken(session: Session, plan: Plan) -> bool:
    """Whether a step of this session took something out, or may have."""
    return any(
        step.action in TAKES and record_of(session.steps, step.index).state in _TOUCHED
        for step in plan.steps
    )


def is_over(session: Session) -> bool:
    """Whether nothing follows any more."""
    return session.state in ENDED_SESSIONS
