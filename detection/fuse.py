"""Weighing opinions together: what several detectors say of one entity at one onset is surer.

Each finding keeps its own witness; only confidence changes. A learned detector never gets above low
confidence alone, and what fleetmend itself has just changed counts for less.
"""

from collections.abc import Sequence
from dataclasses import replace

from pydantic import TypeAdapter

from detection.base import Opinion
from detection.frame import Frame
from fleetmend.model.entities import EntityId, EntityKind
from fleetmend.model.events import EventType, Witness
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import Json, State

LOW = 0.3
"""The most that a learned detector is believed alone."""
MOST = 0.99
_SHARE = 0.5
"""How much of another detector's confidence counts: they look at the same numbers in part."""
_OWN_ACT_S = 60.0
_OWN_ACT_FACTOR = 0.5
_ACTS = TypeAdapter(dict[EntityId, float])


class Fuse:
    """Confidence after weighing. Holds only the last acts of fleetmend itself."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._join_s = settings.join_s
        self._acts: dict[EntityId, float] = {}

    def weigh(self, opinions: Sequence[Opinion], frame: Frame) -> list[Opinion]:
        """The same opinions with fused confidence."""
        self._note_acts(frame)
        by_entity: dict[EntityId, list[Opinion]] = {}
        for opinion in opinions:
            by_entity.setdefault(opinion.entity, []).append(opinion)
        return [
            self._after_acts(self._with_others(opinion, by_entity[opinion.entity]), frame)
            for opinion in opinions
        ]

    def _with_others(self, opinion: Opinion, there: Sequence[Opinion]) -> Opinion:
        """Noisy-or with the strongest opinion of each other detector at the same onset."""
        best: dict[str, float] = {}
        for other in there:
            near = abs(other.onset_s - opinion.onset_s) <= self._join_s
            if near and not other.load and other.detector != opinion.detector:
                best[other.detector] = max(best.get(other.detector, 0.0), other.confidence)
        if opinion.witness is Witness.MODEL and not best:
            return replace(opinion, confidence=min(opinion.confidence, LOW))
        if opinion.load:
            return opinion
        doubt = 1.0 - opinion.confidence
        for confidence in best.values():
            doubt *= 1.0 - _SHARE * confidence
        return replace(opinion, confidence=round(min(MOST, 1.0 - doubt), 3))

    def _after_acts(self, opinion: Opinion, frame: Frame) -> Opinion:
        """Less sure of what begins on an entity, or in a node, that was just acted upon; words of
        kernel and driver keep their weight."""
        if not self._acts or opinion.witness in (Witness.KERNEL_LOG, Witness.DRIVER_EVENT):
            return opinion
        node = frame.topology.ancestor(opinion.entity, EntityKind.NODE)
        acted_s = max(self._acts.get(e, -1.0) for e in (opinion.entity, node) if e is not None)
        if acted_s < 0 or opinion.onset_s < acted_s:
            return opinion
        return replace(
            opinion,
            confidence=round(opinion.confidence * _OWN_ACT_FACTOR, 3),
            detail=opinion.detail or "began just after an action of fleetmend",
        )

    def _note_acts(self, frame: Frame) -> None:
        for event in frame.events:
            if event.type is EventType.ACTION:
                self._acts[event.subject] = event.time_s
        self._acts = {e: s for e, s in self._acts.items() if frame.end_s - s <= _OWN_ACT_S}

    def snapshot(self) -> State:
        """The acts remembered."""
        acts: dict[str, Json] = {str(entity): s for entity, s in sorted(self._acts.items())}
        return {"acts": acts}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._acts = _ACTS.validate_python(state["acts"])
