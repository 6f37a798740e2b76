"""What a fault would show in a scene, sorted into what is seen, what is missing, what it forbids.

Called by `rca.infer` before it weighs. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fleetmend.model.entities import EntityId
from rca.evidence import Key, Observation
from rca.knowledge.model import Expected
from rca.scene import Hypothesis, Scene


@dataclass(frozen=True, slots=True)
class Present:
    """An expected sign that is seen."""

    seen: Observation
    expected: Expected


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a hypothesis expects here, sorted into seen, missing and unheard."""

    present: tuple[Present, ...]
    missing: tuple[tuple[Key, Expected], ...]
    against: tuple[tuple[Observation, float], ...]
    unheard: float
    """Share of the expected signs that cannot be heard."""


def outlook(scene: Scene, hypothesis: Hypothesis) -> Outlook:
    """Sort what a hypothesis expects here."""
    present: list[Present] = []
    missing: list[tuple[Key, Expected]] = []
    unheard = total = 0
    for expected, places in scene.expects(hypothesis):
        if not places:
            continue
        seen = [scene.observed[p, expected.sign] for p in places if _is_seen(scene, p, expected)]
        present.extend(Present(observation, expected) for observation in seen)
        if expected.consequence:
            continue
        total += 1
        not_seen = [p for p in places if not _is_seen(scene, p, expected)]
        sign = scene.knowledge.signs[expected.sign]
        heard = [p for p in not_seen if scene.hears(p, sign)]
        unheard += not seen and not heard
        # Where any of several places may show it, one that does is enough.
        wanted = heard if expected.share_min > 0.0 else heard[:1] if not seen else []
        missing.extend(((place, sign.name), expected) for place in wanted)
    return Outlook(
        tuple(present),
        tuple(missing),
        tuple(_against(scene, hypothesis)),
        unheard / total if total else 0.0,
    )


def _is_seen(scene: Scene, place: EntityId, expected: Expected) -> bool:
    return (place, expected.sign) in scene.observed


def _against(scene: Scene, hypothesis: Hypothesis) -> Iterator[tuple[Observation, float]]:
    fault = scene.fault(hypothesis)
    for forbidden in fault.forbidden:
        for place in scene.graph.places(hypothesis.entity, fault, forbidden.on):
            seen = scene.observed.get((place, forbidden.sign))
            # What was only learned may propose a fault, it never rules one out.
            if seen is not None and seen.hard > 0.0:
                yield seen, forbidden.likelihood
