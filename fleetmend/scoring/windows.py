"""The windows in which a label can be answered, and the calm time outside them."""

from collections.abc import Sequence

from fleetmend.scoring.records import Label

GRACE_S = 15.0
"""A window goes on this long after its label's end, or until the next label starts."""


def window_end_s(label: Label, labels: Sequence[Label]) -> float:
    """When a label's window closes: at its end plus 15 s or at the next label's start, whichever
    is first.

    A label that overlaps this one does not close its window: the two may share an incident.
    """
    following = [
        other.start_s
        for other in labels
        if other is not label and other.start_s >= label.start_s and not other.overlaps(label)
    ]
    return min([label.end_s + GRACE_S, *following])


def calm_s(labels: Sequence[Label], *, start_s: float, end_s: float) -> float:
    """Seconds outside all windows, and in benign spans."""
    spans = sorted(
        (max(start_s, label.start_s), min(end_s, window_end_s(label, labels)))
        for label in labels
        if not label.benign
    )
    calm, reached = 0.0, start_s
    for opens, closes in spans:
        calm += max(0.0, opens - reached)
        reached = max(reached, closes)
    return calm + max(0.0, end_s - reached)
