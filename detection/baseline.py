"""Breaks of level: signals of an entity that left their own normal range, as one finding per onset.

Deviations that begin within `join_s` of the first belong to it; later ones are a new finding, so
that two faults in a row do not melt into one. When only load has moved the finding says so
(`load_shift`): more traffic is no fault. Fails when a fault is there from the start, or grows more
slowly than the level follows; peers and leak look for those.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from detection.base import Opinion
from detection.blocks import Block
from detection.cells import Cells
from detection.frame import Frame
from detection.symptoms import moved
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Symptom
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import State

_LOAD_CONFIDENCE = 0.3
_HARM_CONFIDENCE = (0.5, 0.1, 0.9)
"""One signal of harm or fault, what each further one adds, and the most."""


class Baseline:
    """Turns deviating cells into opinions."""

    name = "baseline"

    def __init__(self, settings: DetectionSettings) -> None:
        self._join_s = settings.join_s
        self._cells = Cells(group=-1)
        """The tick of the onset that a deviating cell was counted to."""

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each entity and onset with deviating signals."""
        opinions: list[Opinion] = []
        for block in frame.blocks.values():
            if not block.shape[0] or not block.shape[1]:
                continue
            arrays = frame.normal.arrays(block)
            group = self._cells.of(block)["group"]
            group[arrays["active"] == 0] = -1
            for row in np.flatnonzero((arrays["active"] != 0).any(axis=1)):
                opinions += self._of_row(frame, block, int(row), group[row])
        return opinions

    def _of_row(
        self, frame: Frame, block: Block, row: int, group: NDArray[np.int64]
    ) -> Iterable[Opinion]:
        arrays = frame.normal.arrays(block)
        active, since = arrays["active"][row], arrays["since"][row]
        join = frame.ticks(self._join_s)
        fresh = np.flatnonzero((active != 0) & (group < 0))
        for column in sorted(fresh, key=lambda c: (since[c], c)):
            known = [g for g in np.unique(group) if g >= 0 and abs(since[column] - g) <= join]
            group[column] = known[-1] if known else since[column]
        load = frame.normal.columns(block).load
        for onset in np.unique(group[group >= 0]):
            columns = np.flatnonzero(group == onset)
            symptoms = tuple(_symptom(frame, block, row, int(c)) for c in columns)
            blamed = int((~load[columns]).sum())
            first, more, most = _HARM_CONFIDENCE
            yield Opinion(
                detector=self.name,
                entity=block.entities[row],
                key=f"onset {int(onset)}",
                reason="level_shift" if blamed else "load_shift",
                witness=Witness.TELEMETRY,
                confidence=min(most, first + more * (blamed - 1)) if blamed else _LOAD_CONFIDENCE,
                symptoms=symptoms,
                onset_s=min(symptom.onset_s for symptom in symptoms),
                load=not blamed,
            )

    def snapshot(self) -> State:
        """Which onset each deviating cell belongs to."""
        return self._cells.snapshot()

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._cells.restore(state)


def _symptom(frame: Frame, block: Block, row: int, column: int) -> Symptom:
    arrays = frame.normal.arrays(block)
    direction = Direction.UP if arrays["active"][row, column] > 0 else Direction.DOWN
    onset_s = frame.seconds(int(arrays["since"][row, column]))
    return moved(frame, block, row, block.signals[column], direction, onset_s)
