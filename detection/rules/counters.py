"""Counters that should stand still: ECC, row remap, link errors, OOM kills.

The table `data/counters.csv` says how much growth within about a minute is worth a finding. What a
counter stood at when it was first heard is history and says nothing.
"""

import numpy as np

from detection.base import Opinion
from detection.cells import Cells
from detection.frame import Frame
from detection.rules import NAME
from detection.rules.tables import counter_policies
from detection.symptoms import moved
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.streams.stage import State

_MEMORY_S = 60.0
_QUIET_S = 60.0


class Counters:
    """Growth of watched counters, remembered with a time constant of a minute."""

    name = "rules.counters"

    def __init__(self) -> None:
        self._cells = Cells(grown=0.0)

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each counter that has grown by enough."""
        opinions: list[Opinion] = []
        kept = float(np.exp(-frame.period_s * (1 + frame.jumped) / _MEMORY_S))
        for block in frame.blocks.values():
            policies = [p for p in counter_policies() if p.signal in block.column]
            if not policies:
                continue
            grown = self._cells.of(block)["grown"]
            fresh = np.nan_to_num(block.cells["grown"])
            grown *= kept
            grown += fresh
            for policy in policies:
                column = block.column[policy.signal]
                over = (grown[:, column] >= policy.least - 1e-9) & (fresh[:, column] > 0)
                opinions += [
                    Opinion(
                        detector=NAME,
                        entity=block.entities[row],
                        key=policy.signal,
                        reason="counter_rose",
                        witness=Witness.TELEMETRY,
                        confidence=policy.confidence,
                        symptoms=(
                            moved(
                                frame, block, int(row), policy.signal, Direction.UP, frame.start_s
                            ),
                        ),
                        onset_s=frame.start_s,
                        detail=f"grew by {grown[row, column]:.4g} within about a minute",
                        quiet_s=_QUIET_S,
                    )
                    for row in np.flatnonzero(over)
                ]
        return opinions

    def snapshot(self) -> State:
        """Growth remembered."""
        return self._cells.snapshot()

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._cells.restore(state)
