"""What happened, in sentences made from measured evidence by fixed templates; nothing is invented
and every claim names its evidence.

Called for the incident page. A sentence is a row of parts, so that the template can link entities,
times and evidence; telemetry text inside a part is escaped there like all text.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from console.figures import name_of, percent, quantity
from console.present.automation import UNDONE_REASON
from console.present.case import IncidentCase, PlanCase
from console.present.signals import reading_unit, title
from console.words import ABSTENTION, WITNESS, humanise, prose, shorten
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import Abstention, Cause, Evidence, Incident, IncidentStatus
from fleetmend.model.plans import (
    ActionKind,
    Session,
    SessionState,
    Step,
    StepRecord,
    StepState,
)

CHECKS_MAX = 4
CLAIMS_MAX = 4
"""Pieces of evidence told in sentences; the rest is counted and lies in the evidence card."""


REFS_MAX = 8
WHY_CHARS_MAX = 120
"""Of what a detector knows about why nothing came."""
_TAKEN = frozenset({StepState.DONE, StepState.COMPENSATED})
"""Steps that fleetmend itself has done, whatever became of them later."""
_NAME = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")
"""A fault class as the knowledge base names it."""


class PartKind(StrEnum):
    """How the template shows a part."""

    TEXT = "text"
    STRONG = "strong"
    ENTITY = "entity"
    MOMENT = "moment"
    EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a sentence."""

    kind: PartKind
    text: str = ""
    at_s: float = 0.0


Sentence = tuple[Part, ...]

_PAST: dict[ActionKind, str] = {
    ActionKind.CORDON: "cordoned",
    ActionKind.UNCORDON: "uncordoned",
    ActionKind.DRAIN: "drained",
    ActionKind.ENGINE_RESTART: "restarted",
    ActionKind.EJECT: "ejected",
    ActionKind.RESTORE: "gave traffic back to",
    ActionKind.NOTIFY: "told people about",
}
_GERUND: dict[ActionKind, str] = {
    ActionKind.CORDON: "Cordoning",
    ActionKind.UNCORDON: "Uncordoning",
    ActionKind.DRAIN: "Draining",
    ActionKind.ENGINE_RESTART: "Restarting",
    ActionKind.EJECT: "Ejecting",
    ActionKind.RESTORE: "Giving traffic back to",
    ActionKind.NOTIFY: "Telling people about",
}
_STATES: dict[str, str] = {
    "telemetry_absent": "stopped sending telemetry",
    "telemetry_frozen": "kept repeating the same numbers",
    "telemetry_stale": "sent numbers that were too old",
    "no_progress": "made no progress with work in hand",
    "queue_without_work": "kept requests waiting while its GPU was idle",
    "foreign_process": "ran a process that belongs to no known pod",
    "probe_failed": "did not answer the probe as it should",
    "offsets_lost": "lost records of the log",
}


def sentences(case: IncidentCase) -> tuple[Sentence, ...]:
    """The story so far, in the order in which it happened."""
    told = [*_claims(case.incident), _diagnosis(case.incident), *_deeds(case), *_end(case.incident)]
    return tuple(sentence for sentence in told if sentence)


def _claims(incident: Incident) -> list[Sentence]:
    firsts: dict[tuple[EntityId, str], Evidence] = {}
    for piece in sorted(incident.evidence, key=_weight(incident)):
        firsts.setdefault((piece.entity, piece.symptom), piece)
    # Of the same symptom on several entities one is told first: the others tell less.
    each = {e.symptom: e for e in reversed(firsts.values())}.values()
    weighed = sorted(firsts.values(), key=lambda e: e not in each)
    strongest = weighed[:CLAIMS_MAX]
    told = [claim(e) for e in sorted(strongest, key=lambda e: e.onset_s)]
    rest = [e for e in incident.evidence if e not in strongest]
    if rest:
        refs = [part for e in rest[:REFS_MAX] for part in (_text(" "), _ref(e.id))]
        more = f" and {len(rest) - REFS_MAX} more" if len(rest) > REFS_MAX else ""
        told.append((_text("Also seen:"), *refs, _text(f"{more}.")))
    return told


def _weight(incident: Incident) -> Callable[[Evidence], tuple[bool, float]]:
    """What the story is told of: events that speak for the first cause before everything else (an
    Xid says more than a gauge that fell by much), then by score."""
    supports = set(incident.causes[0].supports) if incident.causes else set()

    def weight(piece: Evidence) -> tuple[bool, float]:
        said = piece.direction is Direction.PRESENT and piece.witness is not Witness.SILENCE
        return (not (said and piece.id in supports), -piece.score)

    return weight


def checks(next_check: str) -> tuple[str, ...]:
    """What to look at next, one thing each, names of faults in plain words; the first is the one to
    do."""
    parts = (part.strip() for part in next_check.split(";"))
    told = [_NAME.sub(lambda found: humanise(found[0]).lower(), part) for part in parts if part]
    return tuple(part[:1].upper() + part[1:] for part in told[:CHECKS_MAX])


def claim(evidence: Evidence) -> Sentence:
    """One piece of evidence as a sentence."""
    name, entity = evidence.symptom, _entity(evidence.entity)
    when = (
        _text(" at "),
        Part(PartKind.MOMENT, at_s=evidence.onset_s),
        _text(" "),
        _ref(evidence.id),
    )
    if name in _STATES:
        why = f" ({shorten(prose(evidence.detail), WHY_CHARS_MAX)})" if evidence.detail else ""
        return (entity, _text(f" {_STATES[name]}{why}"), *when, _text("."))
    if evidence.direction is Direction.PRESENT:
        by = f" was reported by the {WITNESS[evidence.witness]} on "
        return (Part(PartKind.STRONG, humanise(name)), _text(by), entity, *when, _text("."))
    verb = " rose" if evidence.direction is Direction.UP else " fell"
    if evidence.observed is not None:
        verb += f" to {quantity(evidence.observed, reading_unit(name, evidence.unit))}"
    band = expected(evidence)
    return (
        Part(PartKind.STRONG, title(name)),
        _text(" of "),
        entity,
        _text(verb + (f" (expected {band})" if band else "")),
        *when,
        _text("."),
    )


def expected(evidence: Evidence) -> str:
    """The expected range in words; empty when there is none."""
    low, high = evidence.expected_low, evidence.expected_high
    unit = reading_unit(evidence.symptom, evidence.unit)
    if low is not None and low < 0 <= (high or 0):
        low = None  # no signal goes below zero: the band only says where the top is
    if unit == "ratio" and low is not None and low < 1 <= (high or 0):
        high = None  # nor a share above all of it
    if low is None and high is None:
        return ""
    if low is None:
        return f"at most {quantity(high, unit)}"
    if high is None:
        return f"at least {quantity(low, unit)}"
    first, last = quantity(low, unit), quantity(high, unit)
    word = last.partition(" ")[2]
    # One unit for both ends when it is the same: `31 to 52 ms`.
    return f"{first.removesuffix(f' {word}') if word else first} to {last}"


def _diagnosis(incident: Incident) -> Sentence:
    if incident.abstention is not Abstention.NONE:
        return (_text(f"No cause is named: {ABSTENTION[incident.abstention]}."),)
    if not incident.causes:
        return (_text("No cause has been ranked yet."),)
    first: Cause = incident.causes[0]
    return (
        _text("The best explanation is "),
        Part(PartKind.STRONG, _low(first.cause)),
        _text(" on "),
        _entity(first.entity),
        _text(f" ({percent(first.score)})."),
    )


def _low(name: str) -> str:
    """The readable name inside a sentence: a leading plain word has no capital there."""
    text = humanise(name)
    head = text.split(" ", 1)[0]
    return text[:1].lower() + text[1:] if head[1:].islower() and head != "Xid" else text


def _deeds(case: IncidentCase) -> list[Sentence]:
    found = case.current
    if found is None or found.session is None:
        return []
    plan, session = found.plan, found.session
    told: list[Sentence] = []
    for step in plan.steps:
        record = found.record(step)
        if record and record.state in _TAKEN and step.action is not ActionKind.NOTIFY:
            told.append(_deed(step, record.updated_at_s))
        elif record and record.state is StepState.INTERRUPTED:
            told.append(_interrupted(step, record))
        elif record and record.state is StepState.INTENDED:
            told.append(_under_way(step, record.updated_at_s))
    waiting = found.next_step
    if found.needs_person and waiting is not None:
        told.append(
            (
                _text(f"{_GERUND[waiting.action]} "),
                _entity(waiting.target),
                _text(" "),
                Part(PartKind.STRONG, "waits for your approval"),
                _text("."),
            )
        )
    told += _undone(case, session)
    told += _given_back(found)
    if session.state is SessionState.FAILED:
        told.append(
            (Part(PartKind.STRONG, "The repair failed"), _text(f": {humanise(session.reason)}."))
        )
    return told


def _interrupted(step: Step, record: StepRecord) -> Sentence:
    left = f" with {record.parts_left} of {record.parts} left" if record.parts_left else ""
    return (
        _text(f"{_GERUND[step.action]} "),
        _entity(step.target),
        _text(" was "),
        Part(PartKind.STRONG, "interrupted"),
        _text(f"{left} at "),
        Part(PartKind.MOMENT, at_s=record.updated_at_s),
        _text("."),
    )


def _undone(case: IncidentCase, session: Session) -> Sequence[Sentence]:
    """Who took it back, as the audit log has it."""
    return [
        (
            Part(PartKind.STRONG, record.actor),
            _text(" undid the repair at "),
            Part(PartKind.MOMENT, at_s=record.at_s),
            _text("."),
        )
        for record in case.audit
        if record.verb is AuditVerb.SESSION_CHANGED
        and record.subject == session.id
        and record.detail.get("reason") == UNDONE_REASON
        and "why" in record.detail  # a person's own record; the executor's later ones repeat it
    ][:1]


def _given_back(found: PlanCase) -> list[Sentence]:
    """What has been returned: by the steps that give back, or by undoing step by step."""
    told: list[Sentence] = []
    for step in found.plan.steps:
        record = found.record(step)
        if record and record.state is StepState.COMPENSATED and step.compensation is not None:
            told.append(_deed(replace(step, action=step.compensation), record.updated_at_s))
    for step in found.plan.give_back:
        record = found.back_record(step)
        if record and record.state in _TAKEN and step.action is not ActionKind.NOTIFY:
            told.append(_deed(step, record.updated_at_s))
    return told


def _deed(step: Step, at_s: float) -> Sentence:
    return (
        _text(f"fleetmend {_PAST[step.action]} "),
        _entity(step.target),
        _text(" at "),
        Part(PartKind.MOMENT, at_s=at_s),
        _text("."),
    )


def _under_way(step: Step, at_s: float) -> Sentence:
    return (
        _text(f"{_GERUND[step.action]} "),
        _entity(step.target),
        _text(" has been under way since "),
        Part(PartKind.MOMENT, at_s=at_s),
        _text("."),
    )


def _end(incident: Incident) -> list[Sentence]:
    if incident.status is IncidentStatus.RESOLVED and incident.resolved_at_s is not None:
        return [
            (
                _text("Nothing is left to see since "),
                Part(PartKind.MOMENT, at_s=incident.resolved_at_s),
                _text("."),
            )
        ]
    if incident.status is IncidentStatus.MITIGATED:
        return [(_text("The symptoms are gone while our action is still in place."),)]
    return []


def _text(text: str) -> Part:
    return Part(PartKind.TEXT, text)


def _entity(entity: EntityId) -> Part:
    return Part(PartKind.ENTITY, name_of(entity))


def _ref(evidence: str) -> Part:
    return Part(PartKind.EVIDENCE, evidence)
