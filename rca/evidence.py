"""From findings to signs: what is seen, on which entity, how surely, since when.

Several findings and symptoms can show one sign; they count once, as strong as the strongest,
because they are not independent. Called by `rca.stage`, each tick and on arrival.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleetmend.model.entities import EntityId, kind_of, split_entity_id
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Finding, Symptom
from rca.knowledge.model import Channel, Hearing, Knowledge, Match, Sign

Key = tuple[EntityId, str]
"""An entity and a sign's name; where no sign knows any symptom of a finding, the first of them is
its own sign, `?<symptom>`."""

UNKNOWN_LEAK = 0.05
"""Leak of a symptom that no sign knows: nothing expects it, so it only weighs as unexplained."""
_COUNTED = "counter_rose"
"""Reason of findings about counters of errors: they have risen or not."""
WEAK_CONFIDENCE = 0.5
"""Findings that no sign knows are kept from this confidence on."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One sign on one entity, with the symptom that shows it best."""

    entity: EntityId
    sign: str
    confidence: float
    """Of the surest finding that shows it."""
    hard: float
    """The same without learned detectors, which may propose and never decide."""
    onset_s: float
    """The earliest onset of the findings that show it."""
    latest_s: float
    """The latest: later than the first where it has come or worsened again."""
    factual: bool
    """An event or state that is there or not, rather than a number that is odd."""
    finding: str
    symptom: Symptom
    witness: Witness
    detail: str

    @property
    def key(self) -> Key:
        """Entity and sign."""
        return self.entity, self.sign


class SignIndex:
    """Finds the signs that a symptom or a finding's reason shows."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._signs: dict[Match, list[Sign]] = {}
        for sign in knowledge.signs.values():
            for match in sign.matches:
                self._signs.setdefault(match, []).append(sign)

    def observations(self, finding: Finding) -> tuple[Observation, ...]:
        """What one finding shows, one observation a sign."""
        kind = kind_of(finding.entity)
        shown: dict[str, Symptom] = {}
        for symptom in finding.symptoms:
            for sign in self._signs.get(Match(symptom.name, symptom.direction), ()):
                if kind in sign.kinds:
                    shown.setdefault(sign.name, symptom)
        reasons = {
            sign.name
            for sign in self._signs.get(Match(finding.reason, None), ())
            if kind in sign.kinds and finding.symptoms
        }
        for name in sorted(reasons):
            shown.setdefault(name, finding.symptoms[0])
        if not shown and finding.confidence >= WEAK_CONFIDENCE:
            shown = {f"?{symptom.name}": symptom for symptom in finding.symptoms[:1]}
        return tuple(
            _observation(finding, sign, symptom, by_reason=sign in reasons)
            for sign, symptom in shown.items()
        )


def merge(observations: Iterable[Observation]) -> dict[Key, Observation]:
    """One observation for each entity and sign, in order of key, whatever the order given."""
    merged: dict[Key, Observation] = {}
    for seen in sorted(observations, key=_strength, reverse=True):
        held = merged.get(seen.key)
        if held is None:
            merged[seen.key] = seen
            continue
        merged[seen.key] = Observation(
            entity=held.entity,
            sign=held.sign,
            confidence=held.confidence,
            hard=max(held.hard, seen.hard),
            onset_s=min(held.onset_s, seen.onset_s),
            latest_s=max(held.latest_s, seen.latest_s),
            factual=held.factual,
            finding=held.finding,
            symptom=held.symptom,
            witness=held.witness,
            detail=held.detail,
        )
    return dict(sorted(merged.items()))


def overlay(
    observed: Mapping[Key, Observation], held: Iterable[Observation]
) -> Mapping[Key, Observation]:
    """What is seen now and what an incident holds besides. A copy where they differ: a storm
    looks things up in it many millions of times, where a chain of maps takes several times as
    long."""
    older = {
        seen.key: seen if (now := observed.get(seen.key)) is None else merge([seen, now])[seen.key]
        for seen in merge(held).values()
        if observed.get(seen.key) != seen
    }
    return {**observed, **older} if older else observed


class Ears:
    """Which signs can be heard at all, so that only their absence counts.

    A sign that only some exporters give counts once it was seen in its cluster. What comes through
    telemetry is not heard on an entity whose telemetry is missing or frozen.
    """

    def __init__(self, seen: Iterable[str] = ()) -> None:
        self._seen = set(seen)

    def learn(self, key: Key) -> None:
        """A sign was seen: from now on its absence counts in this cluster."""
        self._seen.add(_heard_name(key))

    def hears(self, key: Key, sign: Sign, observed: Mapping[Key, Observation]) -> bool:
        """True when the sign would be known if it were there."""
        entity = key[0]
        if sign.heard is Hearing.SEEN and _heard_name(key) not in self._seen:
            return False
        if sign.channel is not Channel.TELEMETRY:
            return True
        return (entity, "silent") not in observed and (entity, "frozen") not in observed

    def state(self) -> list[str]:
        """For snapshots."""
        return sorted(self._seen)


def _heard_name(key: Key) -> str:
    return f"{split_entity_id(key[0])[0]}/{key[1]}"


def _observation(finding: Finding, sign: str, symptom: Symptom, *, by_reason: bool) -> Observation:
    learned = finding.witness is Witness.MODEL
    return Observation(
        entity=finding.entity,
        sign=sign,
        confidence=finding.confidence,
        hard=0.0 if learned else finding.confidence,
        onset_s=symptom.onset_s,
        latest_s=symptom.onset_s,
        factual=not learned
        and (by_reason or symptom.direction is Direction.PRESENT or finding.reason == _COUNTED),
        finding=finding.id,
        symptom=symptom,
        witness=finding.witness,
        detail=finding.detail,
    )


def _strength(seen: Observation) -> tuple[bool, float, float, float, str, str]:
    # A symptom with a figure explains itself to people better than one without.
    figure = 0.0 if seen.symptom.observed is None else 1.0
    return (
        seen.factual,
        seen.confidence,
        figure,
        abs(seen.symptom.score),
        seen.finding,
        seen.symptom.name,
    )
