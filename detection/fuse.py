"""Weighing opinions together: what several detectors say of one entity at one onset is surer.

Each finding keeps its own witness; only confidence changes. A learned detector never gets above low
confidence alone. What our own acts explain is known to root cause analysis.
"""

from collections.abc import Sequence
from dataclasses import replace

from detection.base import Opinion
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.settings.detection import DetectionSettings

LOW = 0.3
"""The most that a learned detector is believed alone."""
MOST = 0.99
_SHARE = 0.5
"""How much of another detector's confidence counts: they look at the same numbers in part."""


class Fuse:
    """Confidence after weighing."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._join_s = settings.join_s

    def weigh(self, opinions: Sequence[Opinion]) -> list[Opinion]:
        """The same opinions with fused confidence."""
        by_entity: dict[EntityId, list[Opinion]] = {}
        for opinion in opinions:
            by_entity.setdefault(opinion.entity, []).append(opinion)
        return [self._with_others(opinion, by_entity[opinion.entity]) for opinion in opinions]

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
