"""Rows of lists: incidents, sessions, what waits for a person."""

from dataclasses import dataclass

from console.figures import kind_word, name_of, percent
from console.present.automation import automation
from console.present.case import PlanCase
from console.present.header import sentence, touched
from console.present.plan import HELD, ask, phase
from console.words import ABSTENTION, SEVERITY, STATUS, WAITS_FOR_PERSON, Word, humanise
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import Session, Step


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """One incident in a list."""

    id: str
    version: int
    severity: Word
    severity_name: str
    status: Word
    automation: Word
    needs_me: bool
    provisional: bool
    title: str
    cause: str
    percent: str
    scope: str
    scope_kind: str
    affected: int
    opened_at_s: float
    resolved_at_s: float | None
    updated_at_s: float


def incident_row(
    incident: Incident,
    found: PlanCase | None,
    *,
    needs_me: bool = False,
    back: Word | None = None,
) -> IncidentRow:
    """The row of an incident with the plan that is under way; `needs_me`: automation leaves it to
    people; `back`: when a resolved incident's capacity returns."""
    first = incident.causes[0] if incident.causes else None
    said = ABSTENTION[incident.abstention]
    word = back or automation(found)
    return IncidentRow(
        id=incident.id,
        version=incident.version,
        severity=SEVERITY[incident.severity],
        severity_name=incident.severity.value,
        status=STATUS[incident.status],
        automation=word,
        needs_me=needs_me or word is WAITS_FOR_PERSON,
        provisional=incident.provisional,
        title=sentence(incident.title),
        cause=said or (humanise(first.cause) if first else "no cause ranked yet"),
        percent=percent(first.score) if first and not said else "",
        scope=name_of(incident.entity),
        scope_kind=kind_word(incident.entity),
        affected=len(touched(incident)),
        opened_at_s=incident.opened_at_s,
        resolved_at_s=incident.resolved_at_s,
        updated_at_s=incident.updated_at_s,
    )


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session in a list."""

    id: str
    incident: str
    title: str
    runbook: str
    what: str
    state: Word
    phase: str
    reason: str
    steps_done: int
    steps: int
    opened_at_s: float
    updated_at_s: float
    plan: str
    plan_version: int
    needs_me: bool


def session_row(found: PlanCase, session: Session, title: str) -> SessionRow:
    """The row of a session of `found`'s plan."""
    done = sum(1 for r in session.steps if r.state.value in ("done", "found_done"))
    return SessionRow(
        id=session.id,
        incident=session.incident,
        title=title,
        runbook=found.plan.runbook,
        what=_what(found, session),
        state=automation(found),
        phase=phase(session.state),
        # What holds it is in its state already.
        reason="" if session.state in HELD else session.reason,
        steps_done=done,
        steps=len(session.steps),
        opened_at_s=session.opened_at_s,
        updated_at_s=session.updated_at_s,
        plan=session.plan,
        plan_version=session.plan_version,
        needs_me=found.needs_person,
    )


def _what(found: PlanCase, session: Session) -> str:
    """What is left to do, or what the whole plan was when it is over."""
    left: list[Step] = list(found.plan.steps)
    if not found.over and found.next_step is not None:
        left = [s for s in left if s.index >= found.next_step.index]
    return ask(left)
