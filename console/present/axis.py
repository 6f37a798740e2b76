"""The one time axis of an incident: its span, the lanes above the charts, the marks in them."""

from dataclasses import dataclass

from console.figures import name_of
from console.present.case import IncidentCase, PlanCase
from console.present.signals import title
from console.words import ACTION, STEP, VERB
from fleetmend.model.audit import AuditVerb
from fleetmend.model.findings import Direction
from fleetmend.model.plans import Session, Step, StepRecord, StepState

CORE_S_MAX = 2 * 3600.0
"""What happens later than this after the opening is in the timeline, not on the axis."""
LEAD_S_MIN = 30.0
LANE_ITEMS_MAX = 24

_PEOPLE = (AuditVerb.APPROVED, AuditVerb.DENIED, AuditVerb.NOTE, AuditVerb.CAUSE_LABELLED)
_UNSEEN = frozenset({StepState.PENDING, StepState.REFUSED, StepState.SKIPPED})


@dataclass(frozen=True, slots=True)
class LaneItem:
    """A moment, or a stretch when `end_s` is given."""

    at_s: float
    text: str
    tone: str
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """One row above the charts."""

    name: str
    items: tuple[LaneItem, ...]
    empty: str
    """What to say when there is nothing."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line through all charts."""

    at_s: float
    text: str
    tone: str


@dataclass(frozen=True, slots=True)
class Axis:
    """What the page draws above and through its charts."""

    from_s: float
    to_s: float
    lanes: tuple[Lane, ...]
    marks: tuple[Mark, ...]


def axis(case: IncidentCase, *, now_s: float) -> Axis:
    """Span, lanes and marks."""
    lanes = (
        Lane("Changes", _changes(case), "no change is known in this window"),
        Lane("Signals", _signals(case), "no signal"),
        Lane("Automation", _automation(case, now_s), "nothing was done"),
        Lane("People", _people(case), "nobody has acted yet"),
    )
    from_s, to_s = _span(case, lanes)
    return Axis(from_s, to_s, tuple(_within(lane, from_s, to_s) for lane in lanes), _marks(case))


def _span(case: IncidentCase, lanes: tuple[Lane, ...]) -> tuple[float, float]:
    incident = case.incident
    limit = incident.opened_at_s + CORE_S_MAX
    moments = [incident.onset_s, incident.opened_at_s]
    moments += [item.end_s or item.at_s for lane in lanes for item in lane.items]
    moments += [s.times_s[-1] for s in case.series if s.times_s]
    if incident.resolved_at_s is not None:
        moments.append(incident.resolved_at_s)
    first, last = min(moments), max(m for m in moments if m <= max(limit, incident.opened_at_s))
    starts = [s.times_s[0] for s in case.series if s.times_s]
    lead_s = max(LEAD_S_MIN, 0.3 * (last - first))
    # History before the onset shows what normal looked like, but must not squeeze the rest.
    start = max(min([*starts, first - lead_s]), first - 2 * lead_s)
    return start, last + 0.04 * max(last - start, LEAD_S_MIN)


def _within(lane: Lane, from_s: float, to_s: float) -> Lane:
    inside = tuple(i for i in lane.items if from_s <= i.at_s <= to_s)[:LANE_ITEMS_MAX]
    return Lane(lane.name, inside, lane.empty)


def _changes(case: IncidentCase) -> tuple[LaneItem, ...]:
    return tuple(
        LaneItem(e.onset_s, e.detail or title(e.symptom), "mut")
        for e in sorted(case.incident.evidence, key=lambda e: e.onset_s)
        if e.symptom.startswith("change")
    )


def _signals(case: IncidentCase) -> tuple[LaneItem, ...]:
    incident = case.incident
    items = [
        LaneItem(
            e.onset_s,
            f"{e.id} {title(e.symptom)}",
            "bad" if e.direction is Direction.PRESENT else "warn",
        )
        for e in incident.evidence
        if not e.symptom.startswith("change")
    ]
    return tuple(sorted(items, key=lambda item: item.at_s))


def _automation(case: IncidentCase, now_s: float) -> tuple[LaneItem, ...]:
    items = [
        item
        for found in case.plans
        if found.session is not None
        for item in _session_items(found, found.session, _intents(case, found.session), now_s)
    ]
    return tuple(sorted(items, key=lambda item: item.at_s))


def _session_items(
    found: PlanCase, session: Session, intents: dict[int, float], now_s: float
) -> list[LaneItem]:
    items = []
    for step in found.plan.steps:
        record = found.record(step)
        if record is not None and record.state not in _UNSEEN:
            items.append(_done(step, record, intents.get(step.index)))
    for step in found.plan.give_back:
        record = found.back_record(step)
        if record is not None and record.state not in _UNSEEN:
            items.append(_done(step, record, None))
    if found.needs_person:
        asked = max(session.opened_at_s, *(item.at_s for item in items), 0.0)
        items.append(LaneItem(asked, "waits for approval", "vi", end_s=now_s))
    return items


def _done(step: Step, record: StepRecord, intended_s: float | None) -> LaneItem:
    word = STEP[record.state]
    text = f"{ACTION[step.action]} {name_of(step.target)}: {word.text}"
    if intended_s is None or intended_s >= record.updated_at_s:
        return LaneItem(record.updated_at_s, text, word.tone)
    return LaneItem(intended_s, text, word.tone, end_s=record.updated_at_s)


def _intents(case: IncidentCase, session: Session) -> dict[int, float]:
    """When each step was begun, as the audit log has it."""
    begun: dict[int, float] = {}
    for record in case.audit:
        step = record.detail.get("step")
        ours = record.verb is AuditVerb.INTENT and record.subject == session.id
        if ours and isinstance(step, int):
            begun.setdefault(step, record.at_s)
    return begun


def _people(case: IncidentCase) -> tuple[LaneItem, ...]:
    return tuple(
        LaneItem(r.at_s, f"{r.actor}: {VERB[r.verb].text.lower()}", VERB[r.verb].tone)
        for r in case.audit
        if r.verb in _PEOPLE
    )


def _marks(case: IncidentCase) -> tuple[Mark, ...]:
    incident = case.incident
    marks = [Mark(incident.opened_at_s, "incident opened", "bad")]
    for found in case.plans:
        done = [r for r in (found.session.steps if found.session else ()) if r.state not in _UNSEEN]
        if done:
            first = min(done, key=lambda r: r.updated_at_s)
            marks.append(Mark(first.updated_at_s, "first action", "inf"))
    mitigated = next((v for v in case.history if v.change == "mitigated"), None)
    if mitigated is not None:
        marks.append(Mark(mitigated.updated_at_s, "mitigated", "ok"))
    if incident.resolved_at_s is not None:
        marks.append(Mark(incident.resolved_at_s, "resolved", "ok"))
    return tuple(marks)
