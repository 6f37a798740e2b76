"""How long a condition has held, row by row: the patience of rules.

A condition counts as holding once it was true in `need` of the last `of` looks, and as over once it
was false in all of them. A look without data changes nothing.
"""

import numpy as np
from numpy.typing import NDArray

from detection.blocks import Block
from detection.cells import Cells
from fleetmend.streams.stage import State

Flags = NDArray[np.bool_]


class Streaks:
    """One condition over the rows of blocks."""

    def __init__(self, *, need: int, of: int) -> None:
        self._need, self._of = need, of
        self._cells = Cells(per_signal=False, votes=0, holds=False, since=-1)

    def feed(self, block: Block, true: Flags, seen: Flags | None = None) -> Flags:
        """Look once; returns the rows for which the condition holds, (rows,)."""
        cells = self._cells.of(block)
        looked = np.ones(block.shape[0], bool) if seen is None else seen
        shifted = ((cells["votes"] << 1) | true) & ((1 << self._of) - 1)
        cells["votes"][:] = np.where(looked, shifted, cells["votes"])
        none = cells["votes"] == 0
        cells["since"][:] = np.where(none, -1, cells["since"])
        begins = looked & true & (cells["since"] < 0)
        cells["since"][begins] = block.tick
        enough = np.bitwise_count(cells["votes"]) >= self._need
        cells["holds"][:] = (cells["holds"] & ~none) | enough
        holds: Flags = cells["holds"].copy()
        return holds

    def holding(self, block: Block) -> Flags:
        """The rows for which the condition holds, without looking again."""
        holds: Flags = self._cells.of(block)["holds"].copy()
        return holds

    def begun(self, block: Block) -> NDArray[np.int64]:
        """The ticks in which the present streaks began, (rows,); -1 where there is none."""
        begun: NDArray[np.int64] = self._cells.of(block)["since"].copy()
        return begun

    def since(self, block: Block, row: int) -> int:
        """The tick in which the present streak began."""
        return int(self._cells.of(block)["since"][row])

    def snapshot(self) -> State:
        """The looks remembered."""
        return self._cells.snapshot()

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._cells.restore(state)
