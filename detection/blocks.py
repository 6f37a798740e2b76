"""One block of the window: all entities of one kind with their signals, as dense arrays.

`windows.py` fills blocks, detectors read them. A row is an entity, a column a signal; NaN is
unknown.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.cells import Cells, grown
from detection.robust import Floats, mean_of
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId
from fleetmend.streams.stage import State

ROWS_MAX = 200_000
"""Entities of one kind beyond this are not taken in: names come from outside."""


class Block:
    """Entities of one kind. `now` holds this tick's values, `known` the last ones ever heard."""

    def __init__(self, name: str, *, ticks: int) -> None:
        self.name = name
        self.tick = -1
        self.entities: list[EntityId] = []
        """By row; empty text where a row is free."""
        self.row: dict[EntityId, int] = {}
        self.signals: list[str] = []
        self.column: dict[str, int] = {}
        self.released = np.zeros(0, np.int64)
        """Rows whose entity has gone in this tick: every detector forgets them."""
        self._free: list[int] = []
        self._cells = Cells(
            now=np.nan,
            known=np.nan,
            before=np.nan,
            grown=np.nan,
            raw=np.nan,
            raw_at=np.nan,
            heard=-1,
            moved=-1,
        )
        self._ticks = ticks
        self._ring = np.full((ticks, 0, 0), np.nan, np.float32)
        self._cursor = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns in use."""
        return len(self.entities), len(self.signals)

    @property
    def cells(self) -> dict[str, NDArray[Any]]:
        """All (rows, columns): `now`, `known`; `before`, what was known before this tick; `grown`,
        by how much a counter grew in this tick; `raw` and `raw_at` (s), the last sample; `heard`
        and `moved`, the ticks in which it last came and last changed."""
        return self._cells.of(self)

    def place(self, entity: EntityId) -> int:
        """The row of an entity, a new one if needed; -1 when the block is full."""
        row = self.row.get(entity)
        if row is None:
            if len(self.row) >= ROWS_MAX:
                return -1
            if self._free:
                row = self._free.pop()
                self.entities[row] = entity
            else:
                row = len(self.entities)
                self.entities.append(entity)
            self.row[entity] = row
        return row

    def place_signal(self, signal: str) -> int:
        """The column of a signal, a new one if needed."""
        column = self.column.get(signal)
        if column is None:
            column = self.column[signal] = len(self.signals)
            self.signals.append(signal)
        return column

    def advance(self, tick: int, gone: list[EntityId]) -> None:
        """Begin a tick: forget entities that are gone, blank the values of now and of ticks that
        were jumped over."""
        self._free += [int(row) for row in self.released]
        rows = sorted(self.row.pop(entity) for entity in gone if entity in self.row)
        for row in rows:
            self.entities[row] = EntityId("")
        self.released = np.array(rows, np.int64)
        steps = min(tick - self.tick, self._ticks) if self.tick >= 0 else 1
        self.tick = tick
        for _ in range(steps):
            self._cursor = (self._cursor + 1) % self._ticks
            self._ring[self._cursor] = np.nan
        self._ring[:, self.released] = np.nan
        cells = self.cells
        cells["now"][:] = np.nan
        cells["grown"][:] = np.nan
        cells["before"][:] = cells["known"]

    def keep(self) -> None:
        """End the filling of a tick: what is in `now` becomes the newest of the history."""
        rows, columns = self.shape
        self._grow_ring()
        self._ring[self._cursor, :rows, :columns] = self.cells["now"]

    def now(self, signal: str) -> Floats:
        """This tick's values, (rows,); NaN where nothing came."""
        return self._of("now", signal)

    def known(self, signal: str) -> Floats:
        """The last values heard, (rows,), however old."""
        return self._of("known", signal)

    def before(self, signal: str) -> Floats:
        """The last values heard before this tick, (rows,)."""
        return self._of("before", signal)

    def age(self, signal: str) -> NDArray[np.int64]:
        """Ticks since the signal was heard, (rows,); a very large number for never."""
        column = self.column.get(signal)
        if column is None:
            return np.full(self.shape[0], np.iinfo(np.int32).max, np.int64)
        heard = self.cells["heard"][:, column]
        return np.where(heard < 0, np.iinfo(np.int32).max, self.tick - heard)

    def recent(self, signal: str, ticks: int, rows: NDArray[np.int64] | None = None) -> Floats:
        """The last `ticks` values, (ticks, rows), oldest first, this tick last; of `rows` alone
        where they are given."""
        column = self.column.get(signal)
        if column is None:
            return np.full((ticks, self.shape[0] if rows is None else len(rows)), np.nan)
        slots = self._slots(ticks)
        if rows is not None:
            chosen: Floats = self._ring[slots[:, None], rows[None, :], column].astype(np.float64)
            return chosen
        return self._ring[slots, : self.shape[0], column].astype(np.float64)

    def recent_at(self, signal: str, back: int) -> Floats:
        """The values of the tick that lies `back` ticks before this one, (rows,)."""
        column = self.column.get(signal)
        if column is None or back >= self._ticks:
            return np.full(self.shape[0], np.nan)
        slot = (self._cursor - back) % self._ticks
        return self._ring[slot, : self.shape[0], column].astype(np.float64)

    def history(self, ticks: int) -> NDArray[np.float32]:
        """The last `ticks` values of all signals, (ticks, rows, columns), oldest first."""
        rows, columns = self.shape
        return self._ring[:, :rows, :columns][self._slots(ticks)]

    def history_of(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """All of the window for some rows, (ticks, rows, columns), in no order of time."""
        return self._ring[:, rows, : self.shape[1]]

    def mean(self, signal: str, ticks: int) -> Floats:
        """Mean of the last `ticks` values, (rows,)."""
        return mean_of(self.recent(signal, ticks))

    def write(self, signal: str, values: Floats) -> None:
        """Set a derived signal of this tick, after `keep`; NaN leaves a place unknown."""
        column = self.place_signal(signal)
        cells = self.cells
        good = np.isfinite(values)
        cells["now"][good, column] = values[good]
        cells["known"][good, column] = values[good]
        cells["heard"][good, column] = self.tick
        self._grow_ring()
        self._ring[self._cursor, np.flatnonzero(good), column] = values[good]

    def _grow_ring(self) -> None:
        self._ring = grown(self._ring, (self._ticks, *self.shape), np.nan)

    def _slots(self, ticks: int) -> NDArray[np.int64]:
        back = np.arange(min(ticks, self._ticks) - 1, -1, -1)
        return (self._cursor - back) % self._ticks

    def _of(self, array: str, signal: str) -> Floats:
        column = self.column.get(signal)
        if column is None:
            return np.full(self.shape[0], np.nan)
        found: Floats = self.cells[array][:, column]
        return found

    def snapshot(self) -> State:
        """The block as arrays and JSON."""
        rows, columns = self.shape
        self._grow_ring()
        return {
            **self._cells.snapshot(),
            "ring": self._ring[:, :rows, :columns].copy(),
            "index": {
                "tick": self.tick,
                "cursor": self._cursor,
                "entities": [str(entity) for entity in self.entities],
                "signals": list(self.signals),
                "free": [*self._free, *(int(row) for row in self.released)],
            },
        }

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved. Raises BadInput when it is no block."""
        index, ring = state.get("index"), state.get("ring")
        if not isinstance(index, dict) or not isinstance(ring, np.ndarray):
            raise BadInput("no saved block", where=f"snapshot of block {self.name}")
        self.tick, self._cursor = _int(index["tick"]), _int(index["cursor"])
        self.entities = [EntityId(str(entity)) for entity in _list(index["entities"])]
        self.row = {entity: row for row, entity in enumerate(self.entities) if entity}
        self.signals = [str(signal) for signal in _list(index["signals"])]
        self.column = {signal: column for column, signal in enumerate(self.signals)}
        self._free = [_int(row) for row in _list(index["free"])]
        self.released = np.zeros(0, np.int64)
        self._ring, self._ticks = np.array(ring), len(ring)
        self._cells.restore(state)


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise BadInput(f"{value!r} is no whole number", where="snapshot of a block")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise BadInput(f"{value!r} is no list", where="snapshot of a block")
    return value
