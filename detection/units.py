"""The unit of every signal that a symptom can name, catalogue or derived."""

import functools

from detection.derive import DERIVED
from fleetmend.signals.catalogue import catalogue
from fleetmend.signals.records import Shape


@functools.cache
def units() -> dict[str, str]:
    """Unit by signal; counters are told as rates."""
    known = {
        name: f"{signal.unit}/s" if signal.shape is Shape.COUNTER else signal.unit
        for name, signal in catalogue().signals.items()
    }
    return known | {derived.name: derived.unit for derived in DERIVED}
