"""The blind timer: what somebody would score who knows the commonest causes and sees nothing.

It opens as many incidents as the judged run did, evenly spaced. A figure that the timer reaches
says nothing, so `standing_claims` leaves it out.
"""

from collections import Counter
from collections.abc import Sequence

from fleetmend.scoring.match import TOP
from fleetmend.scoring.records import Label, Opening
from fleetmend.scoring.score import Score

CLAIMS = ("detected", "cause_top1", "cause_top3", "entity_right")
"""The figures that can be claimed; all are counts over the same labels."""


def commonest_causes(labels: Sequence[Label]) -> tuple[tuple[str, str], ...]:
    """The three commonest causes that ask for an incident, each with its commonest entity."""
    asked = [label for label in labels if label.asked]
    causes = Counter(label.cause for label in asked).most_common(TOP)
    return tuple(
        (cause, Counter(x.entity for x in asked if x.cause == cause).most_common(1)[0][0])
        for cause, _ in causes
    )


def blind_openings(
    count: int, *, span_s: tuple[float, float], causes: tuple[tuple[str, str], ...]
) -> tuple[Opening, ...]:
    """`count` openings at even spacing over the recording, all with the same causes."""
    start_s, end_s = span_s
    step_s = (end_s - start_s) / max(count, 1)
    return tuple(
        Opening(start_s + (index + 0.5) * step_s, f"blind-{index + 1:03d}", causes)
        for index in range(count)
    )


def standing_claims(run: Score, blind: Score) -> tuple[str, ...]:
    """The figures in which the run beats the timer."""
    return tuple(name for name in CLAIMS if getattr(run, name) > getattr(blind, name))
