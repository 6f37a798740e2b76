"""What a fault would show in a scene, sorted into what is seen, what is missing, what it forbids.

Called by `rca.infer` before it weighs. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

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
        seen = scene.seen_on(expected.sign, hypothesis, expected.on, places)
        present.extend(Present(observation, expected) for observation in seen)
        if expected.consequence:
            continue
        total += 1
        # Where any of several places may show it, one that does is enough.
        each = expected.share_min > 0.0
        if seen and not each:
            continue
        shown = scene.showing(expected.sign)
        sign = scene.knowledge.signs[expected.sign]
        heard = (p for p in places if p not in shown and scene.hears(p, sign))
        wanted = list(heard if each else islice(heard, 1))
        unheard += not seen and not wanted
        missing.extend(((place, sign.name), expected) for place in wanted)
    return Outlook(
        tuple(present),
        tuple(missing),
        tuple(_against(scene, hypothesis)),
        unheard / total if total else 0.0,
    )


def _against(scene: Scene, hypothesis: Hypothesis) -> Iterator[tuple[Observation, float]]:
    fault = scene.fault(hypothesis)
    for forbidden in fault.forbidden:
        places = scene.graph.places(hypothesis.entity, fault, forbidden.on)
        for seen in scene.seen_on(forbidden.sign, hypothesis, forbidden.on, places):
            # What was only learned may propose a fault, it never rules one out.
            if seen.hard > 0.0:
                yield seen, forbidden.likelihood
