"""What was heard: samples of a tick folded into dense blocks, one per kind of entity.

A gauge becomes the mean of its samples in the tick, a counter its rate per second (a fall is a
restart: what it counts since then is what has happened), a state its last value. Called by the
stage once a tick; detectors read the blocks through the frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.blocks import Block
from detection.kernels.fill import COUNTER, GAUGE, STATE, fill_once, note_heard
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId, EntityKind, kind_of
from fleetmend.model.samples import SampleBatch
from fleetmend.signals.records import Shape
from fleetmend.streams.stage import Json, State

VALUE_MAX = 1e30
"""Larger values measure nothing; they would only overflow what is computed from them."""


@dataclass(frozen=True, slots=True)
class _Heard:
    """Samples of one block in columns of equal length."""

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    time_s: NDArray[np.float64]
    value: NDArray[np.float64]


class Windows:
    """The blocks of all kinds."""

    def __init__(self, shapes: Mapping[str, Shape], *, ticks: int) -> None:
        """`shapes`: the signals that are taken in, and how each behaves; others are left out."""
        self._shapes = shapes
        self._ticks = ticks
        self.blocks: dict[EntityKind, Block] = {}

    def block(self, kind: EntityKind) -> Block:
        """The block of a kind, empty when nothing of it was heard."""
        if kind not in self.blocks:
            self.blocks[kind] = Block(kind.value, ticks=self._ticks)
        return self.blocks[kind]

    def advance(self, tick: int, gone: Iterable[EntityId]) -> None:
        """Begin a tick; entities that are gone from the topology lose their rows."""
        left: dict[EntityKind, list[EntityId]] = {}
        for entity in gone:
            left.setdefault(kind_of(entity), []).append(entity)
        for kind in EntityKind:
            if kind in self.blocks:
                self.blocks[kind].advance(tick, left.get(kind, []))

    def take(self, batches: Sequence[SampleBatch], tick: int) -> None:
        """Fill the blocks with the samples of a tick. What is not finite, absurdly large or not
        known is left out."""
        heard: dict[EntityKind, list[_Heard]] = {}
        for batch in batches:
            for kind, part in self._sorted_out(batch, tick):
                heard.setdefault(kind, []).append(part)
        for kind, parts in heard.items():
            self._fill(self.blocks[kind], parts)

    def keep(self) -> None:
        """End the filling: what is known of this tick becomes history."""
        for block in self.blocks.values():
            block.keep()

    def _sorted_out(self, batch: SampleBatch, tick: int) -> Iterable[tuple[EntityKind, _Heard]]:
        """The batch by kind, names replaced by rows and columns."""
        good = (np.abs(batch.value) <= VALUE_MAX) & np.isfinite(batch.time_s)
        signal_known = np.array([name in self._shapes for name in batch.signals], bool)
        if len(signal_known):
            good &= signal_known[batch.signal]
        if not good.any():
            return
        rows = np.full(len(batch.entities), -1, np.int64)
        kinds = np.full(len(batch.entities), -1, np.int64)
        order = list(EntityKind)
        for code in np.unique(batch.entity[good]):
            entity = EntityId(batch.entities[code])
            try:
                kind = kind_of(entity)
            except BadInput:  # counted at the edge that let it in; here it has no row
                continue
            block = self.block(kind)
            if block.tick != tick:
                block.advance(tick, [])
            rows[code], kinds[code] = block.place(entity), order.index(kind)
        good &= rows[batch.entity] >= 0
        for number in np.unique(kinds[batch.entity[good]]):
            block = self.blocks[order[number]]
            mine = good & (kinds[batch.entity] == number)
            columns = np.full(len(batch.signals), -1, np.int64)
            for code in np.unique(batch.signal[mine]):
                columns[code] = block.place_signal(batch.signals[code])
            yield (
                order[number],
                _Heard(
                    rows[batch.entity[mine]],
                    columns[batch.signal[mine]],
                    batch.time_s[mine],
                    batch.value[mine],
                ),
            )

    def _fill(self, block: Block, parts: Sequence[_Heard]) -> None:
        row = np.concatenate([part.row for part in parts])
        column = np.concatenate([part.column for part in parts])
        time_s = np.concatenate([part.time_s for part in parts])
        value = np.concatenate([part.value for part in parts])
        cells, twice = block.cells, np.zeros(1, bool)
        note_heard(row, column, block.tick, cells["heard"], twice)
        if twice[0]:
            self._fill_several(block, _Heard(row, column, time_s, value))
            return
        counter, state = self._marks(block)
        shape = np.where(counter, COUNTER, np.where(state, STATE, GAUGE)).astype(np.int8)
        names = ("now", "known", "grown", "raw", "raw_at", "moved")
        written = (cells[name] for name in names)
        fill_once(row, column, time_s, value, shape, block.tick, *written)

    def _fill_several(self, block: Block, heard: _Heard) -> None:
        """The same where a cell has several samples in the tick."""
        row, column, time_s, value = heard.row, heard.column, heard.time_s, heard.value
        place = row * block.shape[1] + column
        order = np.lexsort((time_s, place))
        row, column, time_s, value = row[order], column[order], time_s[order], value[order]
        place = place[order]
        first = np.flatnonzero(np.r_[True, place[1:] != place[:-1]])
        last = np.r_[first[1:], len(place)] - 1
        at = (row[first], column[first])
        cells = block.cells
        before, before_s = cells["raw"][at], cells["raw_at"][at]
        counter, state = self._marks(block)
        mean = np.add.reduceat(value, first) / (last - first + 1)
        growth, rate = _growth(value, time_s, first, last, before, before_s)
        result = np.where(counter[at[1]], rate, np.where(state[at[1]], value[last], mean))
        cells["now"][at] = result
        cells["grown"][at] = np.where(counter[at[1]], growth, np.nan)
        told = np.isfinite(result)
        cells["known"][at[0][told], at[1][told]] = result[told]
        moved = value[last] != before
        cells["moved"][at[0][moved], at[1][moved]] = block.tick
        cells["raw"][at], cells["raw_at"][at] = value[last], time_s[last]

    def _marks(self, block: Block) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which columns are counters, and which are states."""
        shapes = [self._shapes.get(name) for name in block.signals]
        return (
            np.array([shape is Shape.COUNTER for shape in shapes], bool),
            np.array([shape is Shape.STATE for shape in shapes], bool),
        )

    def snapshot(self) -> State:
        """All blocks, by kind."""
        return {
            f"{kind.value}/{key}": value
            for kind, block in sorted(self.blocks.items())
            for key, value in block.snapshot().items()
        }

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        parts: dict[EntityKind, dict[str, NDArray[np.generic] | Json]] = {}
        for key, value in state.items():
            kind, _, name = key.partition("/")
            parts.setdefault(EntityKind(kind), {})[name] = value
        self.blocks = {}
        for kind, part in parts.items():
            self.block(kind).restore(part)


def _growth(
    value: NDArray[np.float64],
    time_s: NDArray[np.float64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    before: NDArray[np.float64],
    before_s: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Growth of each group of samples since the sample before it, and the same per second; NaN when
    no time has passed or nothing came before."""
    previous = np.r_[np.nan, value[:-1]]
    previous[first] = before
    step = value - previous
    step = np.where(step < 0, value, step)
    total = np.add.reduceat(np.where(np.isnan(step), 0.0, step), first)
    span_s = time_s[last] - np.where(np.isnan(before_s), time_s[first], before_s)
    good = span_s > 0
    return np.where(good, total, np.nan), np.where(
        good, total / np.where(good, span_s, 1.0), np.nan
    )
