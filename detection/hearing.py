"""Who has been heard, when, and how often it usually speaks: shared by coverage and watchdog.

Only an entity's own regular signals count. What a scraper says about its scrapes, and what a probe
says from outside, is somebody else's voice.
"""

import functools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from detection.blocks import Block
from detection.cells import Cells
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.signals.catalogue import catalogue
from fleetmend.streams.stage import State

HEARD_MIN = 5
"""Times an entity must have been heard before its silence means anything."""
_MEMORY = 100

Flags = NDArray[np.bool_]


class Hearing:
    """Last word and usual gap of every row."""

    def __init__(self) -> None:
        self._rows = Cells(per_signal=False, last=-1, gap=1.0, times=0)

    def update(self, blocks: Mapping[EntityKind, Block], jumped: int) -> None:
        """Take in one tick; `jumped` ticks in which nobody spoke are nobody's silence."""
        for block in blocks.values():
            if not block.shape[0]:
                continue
            rows = self._rows.of(block)
            last = rows["last"]
            last[last >= 0] += jumped
            heard = self.heard(block)
            again = heard & (last >= 0)
            gap = np.where(again, block.tick - last, 0).astype(float)
            rows["gap"][again] = np.maximum(gap, rows["gap"] * (1 - 1 / _MEMORY))[again]
            last[heard] = block.tick
            rows["times"][heard] += 1

    def heard(self, block: Block) -> Flags:
        """Rows that spoke in this tick."""
        own = own_columns(block)
        newest = np.max(block.cells["heard"], axis=1, where=own, initial=-1)
        heard: Flags = newest == block.tick
        return heard

    def times(self, block: Block) -> NDArray[np.int64]:
        """How often each row has been heard."""
        times: NDArray[np.int64] = self._rows.of(block)["times"]
        return times

    def known(self, block: Block) -> Flags:
        """Rows heard often enough to be expected."""
        return self.times(block) >= HEARD_MIN

    def last(self, block: Block) -> NDArray[np.int64]:
        """Tick of the last word, -1 for never."""
        last: NDArray[np.int64] = self._rows.of(block)["last"]
        return last

    def silence(self, block: Block) -> NDArray[np.int64]:
        """Ticks since the last word."""
        return block.tick - self.last(block)

    def gap(self, block: Block) -> NDArray[np.float64]:
        """Longest usual distance between two words, in ticks, at least one."""
        gap: NDArray[np.float64] = self._rows.of(block)["gap"]
        return gap

    def snapshot(self) -> State:
        """What is remembered."""
        return self._rows.snapshot()

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._rows.restore(state)


def own_columns(block: Block) -> Flags:
    """Which columns are the entity's own regular voice, (columns,)."""
    return _own_columns(tuple(block.signals))


@functools.lru_cache(maxsize=64)
def _own_columns(names: tuple[str, ...]) -> Flags:
    signals = catalogue().signals
    return np.array(
        [
            (signal := signals.get(name)) is not None
            and signal.witness is Witness.TELEMETRY
            and signal.period_s > 0
            and "scrape" not in name
            for name in names
        ],
        bool,
    )
