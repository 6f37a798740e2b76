"""What should be heard of each entity, and what is: the arithmetic of coverage.

Learns which signals of an entity always come and which always move, beside how often it speaks
(`hearing.py`); `coverage.py` turns what is missing into opinions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.blocks import Block
from detection.cells import Cells
from detection.frame import Frame
from detection.hearing import own_columns
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import State

Flags = NDArray[np.bool_]

_STEADY_MIN = 30
"""Looks at a signal before its absence or stillness means anything."""
_STEADY = 0.9
"""Share of looks in which a signal came, or moved, that makes it one that always does."""
_MEMORY = 100
_FORGIVE_TICKS = 3000
"""A signal that always came and has gone is missed for about a tenth of this, then let go."""
_STALE_S = 10.0
_GAPS_TO_ABSENCE = 3.0
_MOVERS_MIN = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """How a block is heard in one tick; all (rows,)."""

    known: Flags
    """Heard often enough to be expected."""
    absent: Flags
    late: Flags
    frozen: Flags
    stale: Flags


class Ledger:
    """Expectations of all blocks."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._set = settings
        self._cells = Cells(comes=0.0, moves=0.0, looks=0)

    def look(self, frame: Frame, block: Block) -> Seen:
        """Learn from this tick and judge it."""
        hearing = frame.hearing
        known, heard = hearing.known(block), hearing.heard(block)
        usual_s = hearing.gap(block) * frame.period_s
        allowed_s = np.clip(
            _GAPS_TO_ABSENCE * usual_s,
            self._set.absent_after_s,
            np.maximum(self._set.absent_at_most_s, 1.5 * usual_s),
        )
        silence_s = hearing.silence(block) * frame.period_s
        absent = known & (silence_s > allowed_s)
        frozen, stale = self._signals(frame, block, heard)
        return Seen(
            known=known,
            absent=absent,
            late=known & ~absent & (silence_s > 2 * usual_s),
            frozen=frozen & ~absent,
            stale=stale & ~absent,
        )

    def missing(self, frame: Frame, block: Block, row: int) -> list[str]:
        """Signals of a row that always came and do not."""
        gone = self._gone(frame, block)[row]
        return [block.signals[column] for column in np.flatnonzero(gone)]

    def _signals(self, frame: Frame, block: Block, heard: Flags) -> tuple[Flags, Flags]:
        """Which rows are frozen and which have lost a signal."""
        own = own_columns(block)
        cells, heard_at = self._cells.of(block), block.cells["heard"]
        here = heard_at == block.tick
        moved = block.cells["moved"] == block.tick
        still = block.tick - block.cells["moved"]
        movers = own & (cells["looks"] >= _STEADY_MIN) & (cells["moves"] >= _STEADY)
        patience = frame.ticks(self._set.frozen_after_s)
        listening = block.tick - heard_at <= frame.ticks(self._set.absent_after_s)
        stuck = movers & listening & (still >= patience)
        voiced = (movers & listening).sum(axis=1)
        frozen = (voiced >= _MOVERS_MIN) & (stuck.sum(axis=1) == voiced) & ~_idle(block)
        stale = self._gone(frame, block).any(axis=1) & heard
        quiet = still >= patience // 2
        looked = heard[:, None] & own
        settled = cells["looks"] >= _STEADY_MIN
        step = np.maximum(1.0 / _MEMORY, 1.0 / np.maximum(cells["looks"] + 1, 1))
        steady = settled & (cells["comes"] >= _STEADY) & ~here
        fade = np.where(steady, 1.0 / _FORGIVE_TICKS, step)
        cells["comes"][looked] += (fade * (here - cells["comes"]))[looked]
        learn = here & own & (~settled | ~quiet)
        cells["moves"][learn] += (step * (moved - cells["moves"]))[learn]
        cells["looks"][looked] += 1
        return frozen, stale

    def _gone(self, frame: Frame, block: Block) -> Flags:
        """Cells that always came and have not for a while, (rows, columns)."""
        cells = self._cells.of(block)
        usual_s = frame.hearing.gap(block)[:, None] * frame.period_s
        age_s = (block.tick - block.cells["heard"]) * frame.period_s
        steady = (cells["looks"] >= _STEADY_MIN) & (cells["comes"] >= _STEADY)
        gone: Flags = steady & own_columns(block) & (age_s > np.maximum(_STALE_S, 5 * usual_s))
        return gone

    def snapshot(self) -> State:
        """Expectations."""
        return self._cells.snapshot()

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._cells.restore(state)


def _idle(block: Block) -> Flags:
    """Rows that say themselves that they have nothing to do: then standing still is lawful."""
    running = block.known("engine.requests_running")
    waiting = block.known("engine.requests_waiting")
    idle: Flags = (running == 0) & (np.nan_to_num(waiting) == 0)
    return idle
