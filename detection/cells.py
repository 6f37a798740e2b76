"""Arrays over (entity x signal) that grow as the fleet does: the memory of windows and detectors.

Every array of a detector has the rows and columns of the block it watches. Growing doubles the
rows, so a fleet that appears one entity at a time costs no more than one that appears at once.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fleetmend.streams.stage import State

Fill = bool | int | float
Arrays = dict[str, NDArray[Any]]

_COLUMNS_STEP = 8


class Extent(Protocol):
    """What `Cells` needs to know of a block."""

    name: str
    tick: int
    released: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns in use."""
        ...


def grown(array: NDArray[Any] | None, shape: tuple[int, ...], fill: Fill) -> NDArray[Any]:
    """`array` itself when `shape` fits into it, else a larger copy; new places hold `fill`.

    The last two axes of a window, or the first of a row array, are what grows.
    """
    if array is not None and all(
        have >= need for have, need in zip(array.shape, shape, strict=True)
    ):
        return array
    capacity = list(shape)
    rows = max(len(shape) - 2, 0)
    if array is not None and shape[rows] > array.shape[rows]:
        capacity[rows] = max(shape[rows], 2 * array.shape[rows])
    if len(shape) > 1:
        capacity[-1] = -(-shape[-1] // _COLUMNS_STEP) * _COLUMNS_STEP
    if array is not None:
        capacity = [max(have, need) for have, need in zip(array.shape, capacity, strict=True)]
    larger = np.full(capacity, fill, dtype=_dtype(fill) if array is None else array.dtype)
    if array is not None:
        larger[tuple(slice(0, n) for n in array.shape)] = array
    return larger


class Cells:
    """A detector's named arrays, one set per block; rows of entities that are gone start afresh."""

    def __init__(self, *, per_signal: bool = True, **fills: Fill) -> None:
        self._fills = fills
        self._per_signal = per_signal
        self._stores: dict[str, Arrays] = {}
        self._cleared: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._views: dict[str, Arrays] = {}

    def of(self, block: Extent) -> Arrays:
        """The arrays of `block`, of its shape (rows, columns) or (rows,); written in place."""
        shape = block.shape if self._per_signal else block.shape[:1]
        clear = len(block.released) > 0 and self._cleared.get(block.name) != block.tick
        if self._shapes.get(block.name) == shape and block.name in self._views and not clear:
            return self._views[block.name]
        store, views = self._stores.setdefault(block.name, {}), {}
        for name, fill in self._fills.items():
            store[name] = grown(store.get(name), shape, fill)
            if clear:
                store[name][block.released] = fill
            views[name] = store[name][tuple(slice(0, n) for n in shape)]
        self._cleared[block.name], self._shapes[block.name] = block.tick, shape
        self._views[block.name] = views
        return views

    def snapshot(self) -> State:
        """All arrays, cut to what is in use, as `<block>.<name>`."""
        return {
            f"{block}.{name}": array[tuple(slice(0, n) for n in self._shapes[block])].copy()
            for block, store in sorted(self._stores.items())
            for name, array in sorted(store.items())
        }

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._stores, self._cleared, self._shapes, self._views = {}, {}, {}, {}
        for key, value in state.items():
            if isinstance(value, np.ndarray) and "." in key:
                block, _, name = key.partition(".")
                self._stores.setdefault(block, {})[name] = np.array(value)
                self._shapes[block] = value.shape


def _dtype(fill: Fill) -> type:
    if isinstance(fill, bool):
        return bool
    return np.int64 if isinstance(fill, int) else np.float64
