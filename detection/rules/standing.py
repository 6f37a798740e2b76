"""Conditions that stand or do not, looked at once a tick for all entities of a kind.

Subclasses say what to look at and which symptoms to name; patience and the opinion's form are here.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from detection.base import Opinion
from detection.blocks import Block
from detection.frame import Frame
from detection.rules import NAME
from detection.streaks import Flags, Streaks
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.model.findings import Symptom
from fleetmend.streams.stage import State


class Standing(ABC):
    """A rule on the numbers of now."""

    kind: ClassVar[EntityKind]
    key: ClassVar[str]
    """Also the reason, and with `rules.` before it the detector's own name."""
    signals: ClassVar[tuple[str, ...]]
    """What it looks at: where nobody sends any of them there is nothing to look at."""
    confidence: ClassVar[float] = 0.8
    need: ClassVar[int] = 3
    of: ClassVar[int] = 4
    witness: ClassVar[Witness] = Witness.TELEMETRY

    def __init__(self) -> None:
        self.name = f"rules.{self.key}"
        self._streaks = Streaks(need=self.need, of=self.of)

    @abstractmethod
    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """For each row whether the condition is true now, and whether there was anything to look
        at."""

    @abstractmethod
    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """What to say of a row for which the condition stands."""

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each row for which the condition stands."""
        block = frame.blocks.get(self.kind)
        if block is None or not any(signal in block.column for signal in self.signals):
            return []
        true, seen = self.look(frame, block)
        holds = self._streaks.feed(block, true & seen, seen)
        return [self._opinion(frame, block, int(row)) for row in np.flatnonzero(holds)]

    def _opinion(self, frame: Frame, block: Block, row: int) -> Opinion:
        onset_s = frame.seconds(self._streaks.since(block, row))
        return Opinion(
            detector=NAME,
            entity=block.entities[row],
            key=self.key,
            reason=self.key,
            witness=self.witness,
            confidence=self.confidence,
            symptoms=self.symptoms(frame, block, row, onset_s),
            onset_s=onset_s,
        )

    def snapshot(self) -> State:
        """The looks remembered."""
        return self._streaks.snapshot()

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._streaks.restore(state)
