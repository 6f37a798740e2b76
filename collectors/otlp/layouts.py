"""Where the numbers of a message lie, and what is the same in the next one: `collectors.otlp.draft`
makes layouts, `collectors.otlp.decoder` reads messages by them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectors.otlp.histograms import HistogramLayout
from collectors.otlp.points import Points, Tables
from collectors.otlp.wire import words


@dataclass(frozen=True, slots=True)
class Layout:
    """What points say but for their numbers, and where those lie. Shapes (n,)."""

    attributes: NDArray[np.int32]
    flags: NDArray[np.uint32]
    start_at: NDArray[np.intp]
    """-1 where a point has no start."""
    time_at: NDArray[np.intp]
    value_at: NDArray[np.intp]
    is_int: NDArray[np.bool_]

    @classmethod
    def joined(cls, parts: Sequence["Layout"], begins: Sequence[int]) -> "Layout":
        """One after the other; `begins`: what the places of each count from."""
        by = np.repeat(np.array(begins, np.intp), [len(part.time_at) for part in parts])
        start_at = np.concatenate([part.start_at for part in parts])
        return cls(
            attributes=np.concatenate([part.attributes for part in parts]),
            flags=np.concatenate([part.flags for part in parts]),
            start_at=np.where(start_at < 0, start_at, start_at + by),
            time_at=np.concatenate([part.time_at for part in parts]) + by,
            value_at=np.concatenate([part.value_at for part in parts]) + by,
            is_int=np.concatenate([part.is_int for part in parts]),
        )

    def places(self) -> tuple[NDArray[np.intp], ...]:
        """Where numbers stand."""
        return self.start_at[self.start_at >= 0], self.time_at, self.value_at

    def part(self, low: int, high: int) -> "Layout":
        """The points from `low` to before `high`."""
        return Layout(
            self.attributes[low:high],
            self.flags[low:high],
            self.start_at[low:high],
            self.time_at[low:high],
            self.value_at[low:high],
            self.is_int[low:high],
        )

    def read(self, tables: Tables, head: NDArray[np.int32], body: bytes) -> Points:
        """The points of a message that is laid out like this; `head`: shape (n,)."""
        word = words(body)
        value = word[self.value_at]
        numbers = value.view(np.float64)
        if self.is_int.any():
            numbers = np.where(self.is_int, value.view(np.int64).astype(np.float64), numbers)
        start = word[self.start_at]
        start[self.start_at < 0] = 0
        return Points(tables, head, self.attributes, start, word[self.time_at], numbers, self.flags)


_NOWHERE = np.empty(0, np.intp)
NO_POINTS = Layout(
    np.empty(0, np.int32),
    np.empty(0, np.uint32),
    _NOWHERE,
    _NOWHERE,
    _NOWHERE,
    np.empty(0, np.bool_),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole message but for its numbers."""

    head: NDArray[np.int32]
    """Shape (n,): rows of `Tables.heads`."""
    layout: Layout
    histogram_head: NDArray[np.int32]
    """Shape (m,)."""
    histogram_layout: HistogramLayout

    def places(self) -> tuple[NDArray[np.intp], ...]:
        """Where numbers stand."""
        return *self.layout.places(), *self.histogram_layout.places()

    def read(self, tables: Tables, body: bytes) -> Points:
        """The points of a message in this frame."""
        points = self.layout.read(tables, self.head, body)
        if not len(self.histogram_head):
            return points
        found = self.histogram_layout.read(tables, self.histogram_head, body)
        return replace(points, histograms=found)
