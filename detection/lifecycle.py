"""From opinions to findings: opens, lets grow, closes after a quiet time.

A finding keeps the id of its opening for life. A record is published when there is something new to
say (a symptom, another reason, clearly more confidence) and once a day, not each tick. Called by
the stage last.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import cast

from pydantic import TypeAdapter

from detection.base import Opinion
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.findings import Finding, FindingState, Symptom, finding_id
from fleetmend.streams.stage import Json

_MORE_SURE = 0.1
"""Rise of confidence that is worth a record."""
_SAID_AGAIN_S = 86_400.0
"""An open finding is said again daily: the log forgets records after a week, and who starts from
its oldest must find whatever is still open."""
_ANNOUNCED_S = 60.0
"""How long after an opening an announcement of the same may still have crossed it."""
_DETAIL_MAX = 200

Key = tuple[EntityId, str, str]


@dataclass(frozen=True, slots=True)
class Moment:
    """The tick in which records are published."""

    tick: int
    end_s: float
    reached_s: float


@dataclass(slots=True)
class Open:
    """A finding that lives."""

    finding: Finding
    key: str
    opened_s: float
    heard_s: float
    """End of the last tick in which a detector held the opinion."""
    quiet_s: float


_SAVED = TypeAdapter(list[Open])


class Lifecycle:
    """All findings that are open."""

    def __init__(self, *, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._open: dict[Key, Open] = {}

    def is_open(self, entity: EntityId, detector: str, key: str) -> bool:
        """Whether such a finding lives."""
        return (entity, detector, key) in self._open

    def accused(self, entities: Collection[EntityId]) -> bool:
        """Whether one of them has an open finding of more than load or what was only learned."""
        return any(
            entity in entities
            and held.finding.reason != "load_shift"
            and held.finding.witness is not Witness.MODEL
            for (entity, _, _), held in self._open.items()
        )

    def take(self, opinions: Iterable[Opinion], now: Moment) -> list[Finding]:
        """The records that follow from this tick's opinions, in a stable order."""
        records: list[Finding] = []
        for opinion in sorted(opinions, key=lambda o: (o.entity, o.detector, o.key)):
            records += self._hear(opinion, now)
        for key in sorted(self._open):
            living = self._open[key]
            if now.end_s - living.heard_s > living.quiet_s:
                del self._open[key]
                records.append(_at(living.finding, now, FindingState.CLOSED))
        return records

    def _hear(self, opinion: Opinion, now: Moment) -> list[Finding]:
        key = (opinion.entity, opinion.detector, opinion.key)
        opening = now.tick if opinion.opening_tick is None else opinion.opening_tick
        name = finding_id(opinion.entity, opinion.detector, opinion.key, opening)
        living = self._open.get(key)
        if living is None:
            finding = _finding(name, opinion, now)
            quiet_s = opinion.quiet_s or self._quiet_s
            self._open[key] = Open(finding, opinion.key, now.end_s, now.end_s, quiet_s)
            return [finding]
        living.heard_s = now.end_s
        before = living.finding
        after = _merged(before, opinion)
        records = []
        if _news(before, after) or now.end_s - before.at_s >= _SAID_AGAIN_S:
            living.finding = _at(after, now, FindingState.OPEN)
            records.append(living.finding)
        else:
            living.finding = replace(after, confidence=before.confidence)
        announced = opinion.opening_tick is not None and name != before.id
        if announced and now.end_s - living.opened_s <= _ANNOUNCED_S:
            twin = replace(_finding(name, opinion, now), detail=f"belongs to {before.id}")
            records.append(_at(twin, now, FindingState.CLOSED))
        return records

    def snapshot(self) -> Json:
        """The open findings as JSON."""
        living = [self._open[key] for key in sorted(self._open)]
        return cast(Json, _SAVED.dump_python(living, mode="json"))

    def restore(self, state: Json) -> None:
        """Become what `snapshot` saved."""
        self._open = {
            (living.finding.entity, living.finding.detector, living.key): living
            for living in _SAVED.validate_python(state)
        }


def _finding(name: str, opinion: Opinion, now: Moment) -> Finding:
    return Finding(
        id=name,
        detector=opinion.detector,
        entity=opinion.entity,
        state=FindingState.OPEN,
        witness=opinion.witness,
        tick=now.tick,
        at_s=now.reached_s,
        onset_s=opinion.onset_s,
        confidence=opinion.confidence,
        symptoms=_ordered(opinion.symptoms),
        reason=opinion.reason,
        detail=opinion.detail[:_DETAIL_MAX],
    )


def _at(finding: Finding, now: Moment, state: FindingState) -> Finding:
    return replace(finding, state=state, tick=now.tick, at_s=now.reached_s)


def _merged(finding: Finding, opinion: Opinion) -> Finding:
    """The finding with what the opinion adds: symptoms keep their first onset and strongest form,
    and a weaker opinion does not change the reason. What a learned detector shows is how it opened:
    it would name another handful of signals each tick."""
    symptoms = {(s.name, s.direction): s for s in finding.symptoms}
    for symptom in opinion.symptoms if finding.witness is not Witness.MODEL else ():
        known = symptoms.get((symptom.name, symptom.direction))
        if known is None:
            symptoms[symptom.name, symptom.direction] = symptom
        elif symptom.score > known.score:
            symptoms[symptom.name, symptom.direction] = replace(symptom, onset_s=known.onset_s)
    return replace(
        finding,
        witness=_stronger(finding.witness, opinion.witness),
        onset_s=min(finding.onset_s, opinion.onset_s),
        confidence=max(finding.confidence, opinion.confidence),
        symptoms=_ordered(symptoms.values()),
        reason=opinion.reason if opinion.confidence >= finding.confidence else finding.reason,
        detail=opinion.detail[:_DETAIL_MAX] or finding.detail,
    )


def _news(before: Finding, after: Finding) -> bool:
    names = {(s.name, s.direction) for s in before.symptoms}
    return (
        after.reason != before.reason
        or after.witness is not before.witness
        or after.confidence >= before.confidence + _MORE_SURE
        or any((s.name, s.direction) not in names for s in after.symptoms)
    )


def _ordered(symptoms: Iterable[Symptom]) -> tuple[Symptom, ...]:
    return tuple(sorted(symptoms, key=lambda s: (-s.score, s.name, s.direction)))


def _stronger(one: Witness, other: Witness) -> Witness:
    """A kernel line or driver event outranks what else says the same."""
    order = (Witness.KERNEL_LOG, Witness.DRIVER_EVENT)
    return min(one, other, key=lambda w: order.index(w) if w in order else len(order))
