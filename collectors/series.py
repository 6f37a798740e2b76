"""Series and the numbers they get: what a page, a recording or a receiver hands to the normaliser.

A series is a metric name with its labels. It keeps its number for the life of its table, so that
everything that depends only on names and labels is worked out once and not at every scrape.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Series:
    """One metric name with its labels, as the source spells them."""

    name: str
    labels: Mapping[str, str]


def _no_heads(head: str) -> Series:
    raise TypeError(f"a table without a reader of heads was given {head!r}")


class SeriesTable:
    """Series by number. It only grows; whoever owns it starts a new one when it gets too large."""

    def __init__(self, read: Callable[[str], Series] = _no_heads) -> None:
        """`read`: makes the series of a text that stands for it. Labels are asked for when a plan
        is made and hardly ever after, so that thousands of sources need not keep them."""
        self._read = read
        self._series: list[Series | str] = []

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, number: int) -> Series:
        series = self._series[number]
        return self._read(series) if isinstance(series, str) else series

    def add(self, name: str, labels: Mapping[str, str]) -> int:
        """The number of a new series; the same series added twice gets two numbers."""
        return self.extend([Series(name, labels)])[0]

    def extend(self, series: Iterable[Series | str]) -> range:
        """The numbers of new series, each itself or a text that the table's reader knows."""
        first = len(self._series)
        self._series.extend(series)
        return range(first, len(self._series))


@dataclass(frozen=True, slots=True)
class Reading:
    """The numbers of one moment: one page, or the rows of a recording with one time."""

    table: SeriesTable
    series: NDArray[np.int32]
    """Shape (n,), numbers in `table`, in the order of the source."""
    value: NDArray[np.float64]
    """Shape (n,), as the source wrote them: blanks, NaN and infinities included."""
    stamped_s: Mapping[int, float] = field(default_factory=dict)
    """Row -> Unix seconds, for the rows that carry a time of their own."""
