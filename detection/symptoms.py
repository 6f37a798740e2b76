"""Making symptoms: of a number against what was expected, or of a state."""

import math

from detection.blocks import Block
from detection.frame import Frame
from detection.units import units
from fleetmend.model.findings import Direction, Symptom

SCORE_MAX = 1000.0


def present(name: str, onset_s: float, *, score: float = 1.0) -> Symptom:
    """A symptom that is an event or a state."""
    return Symptom(name, Direction.PRESENT, score, onset_s)


def moved(
    frame: Frame, block: Block, row: int, signal: str, direction: Direction, onset_s: float
) -> Symptom:
    """A signal that went `direction`, with what is normal for it where that is known.

    The score is the robust deviation, and 1.0 where the signal has no known past."""
    column = block.column.get(signal)
    observed = low = high = None
    score = 1.0
    if column is not None:
        value = float(block.cells["known"][row, column])
        observed = value if math.isfinite(value) else None
        arrays = frame.normal.arrays(block)
        z = float(arrays["z"][row, column])
        score = max(1.0, min(abs(z), SCORE_MAX)) if math.isfinite(z) else 1.0
        limits = frame.normal.limits(block, row, column)
        if limits is not None:
            low, high = limits
    return Symptom(signal, direction, score, onset_s, observed, low, high, units().get(signal, ""))
