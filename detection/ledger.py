"""What should be heard of each entity, and how well it is: the arithmetic of coverage.

Learns which signals of an entity always come, how often, and which always move, beside how often
the entity itself speaks (`hearing.py`). What is missing is judged by `freshness.py`; `coverage.py`
turns it into opinions and `entries.py` into entries of the ledger.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.blocks import Block
from detection.cells import Cells
from detection.frame import Frame
from detection.freshness import CODE, UNEXPECTED, Codes, Patience, judge
from detection.hearing import HEARD_MIN, learnt_gap, own_columns
from detection.robust import Floats
from fleetmend.model.coverage import Freshness
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
_FORGIVE_MOVES = 500
"""The same for one that always moved, so that a page which freezes does not teach stillness."""
_LET_GO = 10.0
"""The same for one that comes seldom, in times of its patience."""
_MOVERS_MIN = 2
_PEERS_MIN = 3
"""Peers that must send a signal, nearly all, before it is expected of who never did."""
_PEERS_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Seen:
    """How a block is heard in one tick."""

    known: Flags
    """Heard often enough to be expected, (rows,)."""
    states: Codes
    """Of the entity as a whole, (rows,); `UNEXPECTED` where it is not known."""
    signals: Codes
    """Of each signal, (rows, columns); `UNEXPECTED` where none is expected."""
    usual_s: Floats
    """Longest usual distance between two words, (rows,)."""
    silence_s: Floats
    """Since the last word, (rows,); infinite for never."""

    @property
    def absent(self) -> Flags:
        """Rows that are not heard any more."""
        found: Flags = self.states == CODE[Freshness.ABSENT]
        return found

    @property
    def frozen(self) -> Flags:
        """Rows that are heard and stand still."""
        found: Flags = self.states == CODE[Freshness.FROZEN]
        return found

    @property
    def stale(self) -> Flags:
        """Rows that are heard, without signals that they used to send."""
        here = (self.states == CODE[Freshness.FRESH]) | (self.states == CODE[Freshness.LATE])
        gone: Flags = here & (self.signals == CODE[Freshness.ABSENT]).any(axis=1)
        return gone


class Ledger:
    """Expectations of all blocks."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._set = settings
        self._whole = Patience(
            gaps=3.0,
            least_s=settings.absent_after_s,
            most_s=settings.absent_at_most_s,
            frozen_s=settings.frozen_after_s,
        )
        self._part = Patience(gaps=5.0, least_s=10.0, most_s=math.inf, frozen_s=math.inf)
        """Signals of an entity that is heard: an exporter may leave one out for a while."""
        self._cells = Cells(comes=0.0, moves=0.0, looks=0, times=0, gap=1.0, last=-1)

    def allowed_s(self, usual_s: Floats) -> Floats:
        """Silence that is borne from an entity that usually speaks every `usual_s`."""
        return self._whole.allowed_s(usual_s)

    def look(self, frame: Frame, block: Block, page_still_s: Floats) -> Seen:
        """Learn from this tick and judge it. `page_still_s`, (rows,): for how long the scraper has
        seen the entity's page stand still, 0 where that says nothing."""
        hearing = frame.hearing
        known = hearing.known(block)
        usual_s = hearing.gap(block) * frame.period_s
        last = hearing.last(block)
        silence_s = np.where(last < 0, np.inf, hearing.silence(block) * frame.period_s)
        self._note_times(frame, block)
        still_s = np.maximum(self._still_s(frame, block), np.where(known, page_still_s, 0.0))
        states = judge(silence_s=silence_s, usual_s=usual_s, still_s=still_s, patience=self._whole)
        states[~known] = UNEXPECTED
        signals = self._judge_signals(frame, block, usual_s)
        mute = (states == CODE[Freshness.ABSENT]) | (states == CODE[Freshness.FROZEN])
        signals[mute] = np.where(signals[mute] == UNEXPECTED, UNEXPECTED, states[mute][:, None])
        self._learn(frame, block, hearing.heard(block))
        return Seen(known, states, signals, usual_s, silence_s)

    def expected_of(self, block: Block, cohort: NDArray[np.int64]) -> Flags:
        """Signals that nearly all of a cohort (rows) always send, (columns,); none where too few
        have been heard for long."""
        cells = self._cells.of(block)
        settled = cells["looks"][cohort] >= _STEADY_MIN
        steady = settled & (cells["comes"][cohort] >= _STEADY)
        others = settled.any(axis=1).sum() - 1
        enough = max(_PEERS_MIN, _PEERS_SHARE * others)
        common: Flags = own_columns(block) & (steady.sum(axis=0) >= enough)
        return common

    def never_heard(self, block: Block, cohort: NDArray[np.int64]) -> Flags:
        """Cells of a cohort that its peers always send and this one never did, (rows, columns)."""
        cells = self._cells.of(block)
        common = self.expected_of(block, cohort)
        settled = cells["looks"][cohort].max(axis=1, initial=0) >= _STEADY_MIN
        never: Flags = settled[:, None] & common & (cells["last"][cohort] < 0)
        return never

    def _note_times(self, frame: Frame, block: Block) -> None:
        """When each signal came last, and how far apart its words usually are."""
        cells = self._cells.of(block)
        last = cells["last"]
        last[last >= 0] += frame.jumped
        here = (block.cells["heard"] == block.tick) & own_columns(block)
        again = here & (last >= 0)
        cells["gap"][again] = learnt_gap(block.tick - last, cells["gap"])[again]
        cells["times"][here] += 1
        last[here] = block.tick

    def _judge_signals(self, frame: Frame, block: Block, usual_s: Floats) -> Codes:
        """The state of each signal, as if its entity were heard."""
        cells = self._cells.of(block)
        gap_s = np.maximum(cells["gap"] * frame.period_s, usual_s[:, None])
        silence_s = np.where(
            cells["last"] < 0, np.inf, (block.tick - cells["last"]) * frame.period_s
        )
        settled = own_columns(block) & (cells["looks"] >= _STEADY_MIN)
        steady = settled & (cells["comes"] >= _STEADY)
        patient = silence_s <= _LET_GO * self._part.allowed_s(gap_s)
        seldom = settled & (cells["times"] >= HEARD_MIN) & patient
        signals = judge(
            silence_s=silence_s,
            usual_s=gap_s,
            still_s=np.broadcast_to(0.0, silence_s.shape),
            patience=self._part,
        )
        signals[~(steady | seldom)] = UNEXPECTED
        return signals

    def _still_s(self, frame: Frame, block: Block) -> Floats:
        """For how long everything that always moves has stood still, (rows,)."""
        cells = self._cells.of(block)
        listening = block.tick - block.cells["heard"] <= frame.ticks(self._set.absent_after_s)
        movers = own_columns(block) & (cells["looks"] >= _STEADY_MIN) & (cells["moves"] >= _STEADY)
        voiced = movers & listening
        still = np.where(voiced, block.tick - block.cells["moved"], np.iinfo(np.int64).max)
        enough = (voiced.sum(axis=1) >= _MOVERS_MIN) & ~idle(block)
        return np.where(enough, still.min(axis=1, initial=np.iinfo(np.int64).max), 0) * (
            frame.period_s
        )

    def _learn(self, frame: Frame, block: Block, heard: Flags) -> None:
        """Which signals come and move whenever their entity speaks."""
        own = own_columns(block)
        cells = self._cells.of(block)
        here = block.cells["heard"] == block.tick
        moved = block.cells["moved"] == block.tick
        quiet = block.tick - block.cells["moved"] >= frame.ticks(self._set.frozen_after_s) // 2
        looked = heard[:, None] & own
        settled = cells["looks"] >= _STEADY_MIN
        step = np.maximum(1.0 / _MEMORY, 1.0 / np.maximum(cells["looks"] + 1, 1))
        # One that always moves and stops is not unlearnt within the patience for a frozen page.
        mover = settled & (cells["moves"] >= _STEADY) & ~moved
        steady = settled & (cells["comes"] >= _STEADY) & ~here
        fade = np.where(steady, 1.0 / _FORGIVE_TICKS, step)
        cells["comes"][looked] += (fade * (here - cells["comes"]))[looked]
        learn = here & own & (~settled | ~quiet)
        slow = np.where(mover, 1.0 / _FORGIVE_MOVES, step)
        cells["moves"][learn] += (slow * (moved - cells["moves"]))[learn]
        cells["looks"][looked] += 1

    def snapshot(self) -> State:
        """Expectations."""
        return self._cells.snapshot()

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._cells.restore(state)


def idle(block: Block) -> Flags:
    """Rows that say themselves that they have nothing to do: then standing still is lawful."""
    running = block.known("engine.requests_running")
    waiting = block.known("engine.requests_waiting")
    found: Flags = (running == 0) & (np.nan_to_num(waiting) == 0)
    return found
