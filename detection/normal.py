"""What is normal for each signal of each entity, learnt online, and which signals deviate now.

Level and scale start as median and MAD of the first samples and then follow slowly with clipped
steps (Huber), and not at all while a signal deviates. So a late alarm or a burst of outliers moves
them little, and a tick costs the same few array operations for one entity or ten thousand.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from detection.blocks import Block
from detection.cells import Arrays, Cells
from detection.links import Links
from detection.robust import Floats, median_of, spread_of
from detection.sensitivity import Columns, columns_for
from fleetmend.model.entities import EntityKind
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import State

_REFINE_AT = (30, 60)
"""Sample counts at which median and MAD are taken again, over more samples."""
_CLIP = 2.0
"""Deviations beyond this many standard deviations pull no harder."""
_SETTLED = 4
_INFLATION = 8.0
"""A scale from n samples is itself uncertain: limits are wider by this over n."""
_SCALE_SLOWER = 4.0
_ABS_TO_SIGMA = 1.2533
"""Mean absolute deviation to standard deviation, for a normal distribution."""
_FORGET_TICKS = 10
"""A deviating signal that is not heard for so long deviates no more: coverage speaks then."""
_ROWS_AT_ONCE = 512


class Normal:
    """Levels, scales and deviations of all blocks."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._set = settings
        self._cells = Cells(
            level=np.nan, scale=0.0, count=0, z=np.nan, up=0, down=0, near=0, active=0, since=-1
        )
        self._columns: dict[str, Columns] = {}
        self._disturbance: dict[str, NDArray[np.bool_]] = {}

    def columns(self, block: Block) -> Columns:
        """How each column of the block is judged."""
        found = self._columns.get(block.name)
        if found is None or len(found.log) != block.shape[1]:
            found = self._columns[block.name] = columns_for(block.signals)
        return found

    @property
    def warm_samples(self) -> int:
        """Samples from which on a signal's past counts."""
        return self._set.warm_samples

    def update(self, blocks: Mapping[EntityKind, Block], links: Links, period_s: float) -> None:
        """Judge the values of this tick, then learn from entities that are not disturbed."""
        live = {kind: block for kind, block in blocks.items() if all(block.shape)}
        clean = {kind: self._judge(block, period_s) for kind, block in live.items()}
        disturbed = self._disturbed(live, links)
        for kind, block in live.items():
            self._disturbance[block.name] = disturbed[kind]
            self._learn(block, clean[kind] & ~disturbed[kind][:, None])

    def forget(self, block: Block, rows: Sequence[int]) -> None:
        """The past of these rows is not theirs any more: they are learnt anew."""
        if not rows:
            return
        fresh = {"level": np.nan, "scale": 0.0, "z": np.nan, "since": -1}
        for name, values in self._cells.of(block).items():
            values[np.asarray(rows)] = fresh.get(name, 0)

    def calm(self, block: Block) -> NDArray[np.bool_]:
        """Rows that nothing disturbs, neither in themselves nor in what they run on, (rows,)."""
        disturbed = self._disturbance.get(block.name)
        return np.zeros(block.shape[0], bool) if disturbed is None else ~disturbed

    def arrays(self, block: Block) -> Arrays:
        """`z` of this tick, `active` (-1, 0, 1), `since` (tick of onset), `count`, `level`,
        `scale`: all (rows, columns)."""
        return self._cells.of(block)

    def warm(self, block: Block, signal: str) -> NDArray[np.bool_]:
        """For which rows the signal's past is long enough to judge by."""
        column = block.column.get(signal)
        if column is None:
            return np.zeros(block.shape[0], bool)
        warm: NDArray[np.bool_] = (
            self._cells.of(block)["count"][:, column] >= self._set.warm_samples
        )
        return warm

    def level(self, block: Block, signal: str) -> Floats:
        """The usual value in the signal's own unit, (rows,); NaN until warm."""
        column = block.column.get(signal)
        if column is None:
            return np.full(block.shape[0], np.nan)
        level = self._cells.of(block)["level"]
        back = self.columns(block).back(level)[:, column]
        return np.where(self.warm(block, signal), back, np.nan)

    def limits(self, block: Block, row: int, column: int) -> tuple[float, float] | None:
        """The range outside which a value of this cell is odd, in its own unit; None until warm."""
        cells, columns = self._cells.of(block), self.columns(block)
        count = int(cells["count"][row, column])
        if count < self._set.warm_samples:
            return None
        base = self._set.deviation_load if columns.load[column] else self._set.deviation_harm
        sigma = max(float(cells["scale"][row, column]), float(columns.floor[column]))
        reach = max(base * (1.0 + _INFLATION / count) * sigma, float(columns.change[column]))
        level = float(cells["level"][row, column])
        low, high = columns.back_one(level - reach, column), columns.back_one(level + reach, column)
        return low, high

    def _needed(self, columns: Columns, count: NDArray[np.int64]) -> Floats:
        """Deviations needed, (rows, columns): more while few samples are known."""
        base = np.where(columns.load, self._set.deviation_load, self._set.deviation_harm)
        return base * (1.0 + _INFLATION / np.maximum(count, 1))

    def _disturbed(
        self, blocks: Mapping[EntityKind, Block], links: Links
    ) -> dict[EntityKind, NDArray[np.bool_]]:
        """Rows that are no example of normal life now. An engine and its GPUs share their fate,
        and a node that of its GPUs. One signal of load alone disturbs nothing."""
        rows: dict[EntityKind, NDArray[np.bool_]] = {}
        for kind, block in blocks.items():
            deviates = self._cells.of(block)["active"] != 0
            load = self.columns(block).load
            rows[kind] = deviates[:, ~load].any(axis=1) | (deviates[:, load].sum(axis=1) > 1)
        engine, gpu, node = (
            rows.get(kind) for kind in (EntityKind.ENGINE, EntityKind.GPU, EntityKind.NODE)
        )
        if engine is not None and gpu is not None:
            pairs = links.engine_gpu
            np.logical_or.at(engine, pairs.source, gpu[pairs.target])
            np.logical_or.at(gpu, pairs.target, engine[pairs.source])
        if gpu is not None and node is not None:
            np.logical_or.at(node, links.gpu_node.target, gpu[links.gpu_node.source])
        return rows

    def _judge(self, block: Block, period_s: float) -> NDArray[np.bool_]:
        """Score and vote; returns the cells that may be learnt from, (rows, columns)."""
        cells, columns = self._cells.of(block), self.columns(block)
        watched = columns.up | columns.down
        value = columns.into(block.cells["now"])
        seen = watched & ~np.isnan(value)
        sigma = np.maximum(cells["scale"], columns.floor)
        away = value - cells["level"]
        z = np.where(cells["count"] >= self._set.warm_samples, away / sigma, np.nan)
        cells["z"][:] = np.where(seen, z, np.nan)
        needed = self._needed(columns, cells["count"])
        odd_up = seen & columns.up & (z >= needed) & (away >= columns.change)
        odd_down = seen & columns.down & (z <= -needed) & (away <= -columns.change)
        toward = np.where(cells["active"] == 0, 0.0, cells["active"] * z)
        near = seen & (toward >= needed / 2) & (np.abs(away) >= columns.change / 2)
        _push(cells["up"], odd_up, seen, self._set.votes_of)
        _push(cells["down"], odd_down, seen, self._set.votes_of)
        _push(cells["near"], near, seen, self._set.votes_of)
        self._switch(block, cells, columns, odd_up | odd_down, period_s)
        clean: NDArray[np.bool_] = seen & ~odd_up & ~odd_down & (cells["active"] == 0)
        return clean

    def _switch(
        self,
        block: Block,
        cells: Arrays,
        columns: Columns,
        odd: NDArray[np.bool_],
        period_s: float,
    ) -> None:
        """Decide which cells deviate, since when, and which have been so for too long to be odd."""
        need, active, since = self._set.votes_needed, cells["active"], cells["since"]
        up = np.bitwise_count(cells["up"]) >= need
        down = np.bitwise_count(cells["down"]) >= need
        voting = (cells["up"] | cells["down"]) > 0
        since[:] = np.where(odd & (since < 0), block.tick, since)
        since[:] = np.where(~voting & (active == 0), -1, since)
        begins = (active == 0) & (up | down)
        active[:] = np.where(begins, np.where(up, 1, -1), active)
        cells["near"][begins] = (1 << self._set.votes_of) - 1
        silent = block.tick - block.cells["heard"] > _FORGET_TICKS
        over = (active != 0) & ((cells["near"] == 0) | silent)
        patience_s = np.where(columns.load, self._set.accept_load_s, self._set.accept_harm_s)
        accepted = (active != 0) & ((block.tick - since) * period_s > patience_s)
        ends = over | accepted
        for name in ("active", "up", "down", "near"):
            cells[name][ends] = 0
        since[ends] = -1
        cells["count"][accepted] = self._set.warm_samples
        self._refine(block, cells, accepted)  # what it has been for so long is its normal now

    def _learn(self, block: Block, clean: NDArray[np.bool_]) -> None:
        """Move level and scale of the clean cells a little; the scale more slowly, so that a
        restless minute does not blind us."""
        cells, columns = self._cells.of(block), self.columns(block)
        count, level, scale = cells["count"], cells["level"], cells["scale"]
        value = columns.into(block.cells["now"])
        sigma = np.maximum(scale, columns.floor)
        count[clean] += 1
        step = np.maximum(1.0 / self._set.memory_samples, 1.0 / np.maximum(count, 1))
        away = np.where(clean, value - level, 0.0)
        first = clean & ((count == 1) | np.isnan(level))
        known = clean & ~first
        held = np.clip(away, -_CLIP * sigma, _CLIP * sigma)
        level[known] += (step * np.where(count > _SETTLED, held, away))[known]
        level[first] = value[first]
        toward = _ABS_TO_SIGMA * np.minimum(np.abs(away), _CLIP * sigma) - scale
        scale[known] += (step / _SCALE_SLOWER * toward)[known]
        refine = clean & np.isin(count, (self._set.warm_samples, *_REFINE_AT))
        self._refine(block, cells, refine)

    def _refine(self, block: Block, cells: Arrays, refine: NDArray[np.bool_]) -> None:
        """Median and MAD over the window, where it holds at least half of the samples counted."""
        rows = np.flatnonzero(refine.any(axis=1))
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            history = self.columns(block).into(block.history_of(part).astype(np.float64))
            centre = median_of(history)
            spread = spread_of(history, centre)
            enough = (~np.isnan(history)).sum(axis=0) * 2 >= cells["count"][part]
            take = refine[part] & enough
            at = (part[np.nonzero(take)[0]], np.nonzero(take)[1])
            cells["level"][at] = centre[take]
            cells["scale"][at] = spread[take]

    def snapshot(self) -> State:
        """Everything learnt."""
        calm = {f"disturbed {name}": rows.copy() for name, rows in self._disturbance.items()}
        return {**self._cells.snapshot(), **calm}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._cells.restore(state)
        self._disturbance = {
            key.removeprefix("disturbed "): value.astype(bool)
            for key, value in state.items()
            if key.startswith("disturbed ") and isinstance(value, np.ndarray)
        }


def _push(
    register: NDArray[np.int64], bit: NDArray[np.bool_], seen: NDArray[np.bool_], of: int
) -> None:
    """Shift a vote into the registers of the cells that were seen; `of` votes are remembered."""
    shifted = ((register << 1) | bit) & ((1 << of) - 1)
    register[:] = np.where(seen, shifted, register)
