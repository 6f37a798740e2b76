"""Who has been heard, when, and how often it usually speaks: shared by coverage and watchdog.

Only an entity's own regular signals count. What a probe says from outside is somebody else's voice,
and so is what a scraper says about its scrapes: a `Hearing` of its own listens to that.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from detection.blocks import Block
from detection.cells import Cells
from detection.robust import Floats
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.signals.catalogue import catalogue
from fleetmend.streams.stage import State

HEARD_MIN = 5
"""Times an entity must have been heard before its silence means anything."""
_MEMORY = 100
_GROWS = 4.0
"""How much longer than usual a gap may be to be learnt whole: a source that slows down is followed
in a few steps, and an outage does not make us deaf to the next."""

Flags = NDArray[np.bool_]


class Hearing:
    """Last word and usual gap of every row."""

    def __init__(self, columns: "Callable[[Block], Flags] | None" = None) -> None:
        """`columns`: which columns of a block are the voice; by default `own_columns`."""
        self._columns = own_columns if columns is None else columns
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
            rows["gap"][again] = learnt_gap(block.tick - last, rows["gap"])[again]
            last[heard] = block.tick
            rows["times"][heard] += 1

    def heard(self, block: Block) -> Flags:
        """Rows that spoke in this tick."""
        own = self._columns(block)
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


def learnt_gap(seen: NDArray[np.int64] | Floats, known: Floats) -> Floats:
    """The usual gap after a gap of `seen`, in the same unit: the longest, slowly forgotten."""
    longest: Floats = np.maximum(np.minimum(seen, _GROWS * known), known * (1 - 1 / _MEMORY))
    return longest


def own_columns(block: Block) -> Flags:
    """Which columns are the entity's own regular voice, (columns,)."""
    return _own_columns(tuple(block.signals))


def scrape_columns(block: Block) -> Flags:
    """Which columns are what a scraper says about its scrapes, (columns,)."""
    return _scrape_columns(tuple(block.signals))


@functools.lru_cache(maxsize=64)
def _scrape_columns(names: tuple[str, ...]) -> Flags:
    return np.array(["scrape_" in name for name in names], bool)


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
