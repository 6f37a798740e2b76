"""The top of the incident page: chips, title, and the impact strip of measured figures."""

from collections import Counter
from dataclasses import dataclass

from console.figures import NOTHING, kind_word, name_of, percent, span
from console.present.automation import automation
from console.present.case import IncidentCase
from console.words import ABSTENTION, SEVERITY, STATUS, WITNESS, Word, humanise
from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import ENDED_INCIDENTS, Incident, IncidentStatus
from fleetmend.model.plans import Effect, StepState

_PLURAL = {"gpu": "GPUs", "nic": "NICs", "switch": "switches", "mig": "MIG instances"}
_SINGULAR = {"gpu": "GPU", "nic": "NIC", "mig": "MIG instance"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One cell of a strip of figures."""

    label: str
    value: str
    note: str = ""
    tone: str = ""
    since_s: float | None = None
    """When set, the value is the time since then and keeps counting."""


@dataclass(frozen=True, slots=True)
class Head:
    """What stands above the cards."""

    id: str
    title: str
    severity: Word
    severity_reason: str
    status: Word
    automation: Word
    provisional: bool
    opened_at_s: float
    resolved_at_s: float | None
    merged_into: str
    entity: str
    figures: tuple[Figure, ...]


def head(case: IncidentCase, *, now_s: float, back: Word | None = None) -> Head:
    """Chips, title and figures; `back` says when a resolved incident's capacity returns."""
    incident = case.incident
    return Head(
        id=incident.id,
        title=sentence(incident.title),
        severity=SEVERITY[incident.severity],
        severity_reason=_reason(incident),
        status=STATUS[incident.status],
        automation=back or automation(case.current),
        provisional=incident.provisional,
        opened_at_s=incident.opened_at_s,
        resolved_at_s=incident.resolved_at_s,
        merged_into=incident.merged_into,
        entity=name_of(incident.entity),
        figures=(
            _harm(incident),
            _length(incident, now_s),
            _cause(incident),
            _affected(incident),
            _evidence(incident),
            _first_action(case),
        ),
    )


def sentence(text: str) -> str:
    """A title as it begins a line."""
    return text[:1].upper() + text[1:]


def things(kinds: Counter[str]) -> str:
    """`3 GPUs, 1 engine`, most first."""
    words = []
    for kind, count in kinds.most_common():
        one, many = _SINGULAR.get(kind, kind), _PLURAL.get(kind, f"{kind}s")
        words.append(f"{count} {one if count == 1 else many}")
    return ", ".join(words)


def _harm(incident: Incident) -> Figure:
    word = SEVERITY[incident.severity]
    if incident.status in ENDED_INCIDENTS:
        return Figure("How bad it was", word.text, _reason(incident))
    return Figure("How bad", word.text, _reason(incident), word.tone)


def _reason(incident: Incident) -> str:
    """Why it is so bad; once it is over, as what was said last, not as what is so now."""
    if not incident.severity_reason:
        return "no limit passed"
    over = incident.status in ENDED_INCIDENTS
    return f"before it ended: {incident.severity_reason}" if over else incident.severity_reason


def _length(incident: Incident, now_s: float) -> Figure:
    found = f"found in {span(max(0.0, incident.opened_at_s - incident.onset_s))}"
    if incident.resolved_at_s is not None:
        length = span(incident.resolved_at_s - incident.opened_at_s)
        return Figure("Lasted", length, found, tone="ok")
    figure = span(now_s - incident.opened_at_s)
    note = "symptoms gone, still watched"
    if incident.status is IncidentStatus.OPEN:
        findings = incident.open_findings
        note = f"{found}, {findings} finding{'' if findings == 1 else 's'} open now"
    return Figure("Open for", figure, note, since_s=incident.opened_at_s)


def _cause(incident: Incident) -> Figure:
    if not incident.causes:
        return Figure(
            "First cause", "not named", ABSTENTION[incident.abstention] or "not ranked yet"
        )
    said = ABSTENTION[incident.abstention]
    if said:
        return Figure("First cause", "not named", said, tone="warn")
    first = incident.causes[0]
    return Figure("Cause score", percent(first.score), humanise(first.cause))


def _affected(incident: Incident) -> Figure:
    entities = touched(incident)
    kinds = Counter(kind_word(entity) for entity in entities)
    count = len(entities)
    return Figure(
        "Affected", f"{count} entit{'y' if count == 1 else 'ies'}", things(kinds) or "none named"
    )


def touched(incident: Incident) -> tuple[EntityId, ...]:
    """The incident's own entity and all that are affected, each once."""
    return tuple(dict.fromkeys((incident.entity, *incident.affected)))


def _evidence(incident: Incident) -> Figure:
    witnesses = sorted({WITNESS[e.witness] for e in incident.evidence})
    count = len(incident.evidence)
    value = f"{count} piece{'' if count == 1 else 's'}"
    return Figure("Evidence", value, ", ".join(witnesses) or "no witness")


def _first_action(case: IncidentCase) -> Figure:
    done = [
        record.updated_at_s
        for found in case.plans
        for step in found.plan.steps
        if step.effect is not Effect.OBSERVE
        and (record := found.record(step)) is not None
        and record.state in (StepState.DONE, StepState.FOUND_DONE)
    ]
    if not done:
        return Figure("First action", NOTHING, "nothing has been changed")
    delay_s = min(done) - case.incident.opened_at_s
    count = len(done)
    note = f"after opening · {count} step{'' if count == 1 else 's'} done"
    return Figure("First action", span(delay_s), note)
