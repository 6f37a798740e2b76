"""Series and the numbers they get: what a page, a recording or a receiver hands to the normaliser.

A series is a metric name with its labels. It keeps its number for the life of its table, so that
everything that depends only on names and labels is worked out once and not at every scrape.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Series:
    """One metric name with its labels, as the source spells them."""

    name: str
    labels: Mapping[str, str]


class SeriesTable:
    """Series by number. It only grows; whoever owns it starts a new one when it gets too large."""

    def __init__(self) -> None:
        self._series: list[tuple[str, Mapping[str, str]]] = []

    def __len__(self) -> int:
        return len(self._series)

    def __getitem__(self, number: int) -> Series:
        return Series(*self._series[number])

    def add(self, name: str, labels: Mapping[str, str]) -> int:
        """The number of a new series; the same series added twice gets two numbers."""
        return self.extend([(name, labels)])[0]

    def extend(self, series: Iterable[tuple[str, Mapping[str, str]]]) -> range:
        """The numbers of new series, each a name with its labels."""
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
