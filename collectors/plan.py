"""What to do with each row of a reading: the arrays that `collectors.normalise` runs over.

`collectors.compile` makes them from names and labels. Output slots are (entity, signal) pairs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors.relations import Claims
from fleetmend.model.entities import EntityId
from fleetmend.signals.records import Combine, How


@dataclass(frozen=True, slots=True)
class Plain:
    """Rows that need only a scale and, when there are several for one slot, a way to combine."""

    combine: Combine
    rows: NDArray[np.intp]
    """Shape (r,), rows of the reading, those of one slot side by side."""
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    blanks: NDArray[np.bool_]
    """Whether the row's source writes huge numbers for no number."""
    starts: NDArray[np.intp]
    """Shape (s,), the first of the rows of each slot."""
    slots: NDArray[np.intp]
    """Shape (s,), where the results go."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """One histogram of one entity; series that differ in other labels are added up."""

    key: tuple[EntityId, str]
    bounds: NDArray[np.float64]
    """Shape (b,), rising."""
    rows: NDArray[np.intp]
    """Rows of the buckets, those of one bound side by side."""
    starts: NDArray[np.intp]
    """Shape (b,)."""
    sum_rows: NDArray[np.intp]
    count_rows: NDArray[np.intp]
    outputs: tuple[tuple[How, float, int], ...]
    """How, scale, slot."""


@dataclass(frozen=True, slots=True)
class Quotient:
    """Growth of some counters of one entity over growth of others: a share, or a mean."""

    key: tuple[EntityId, str]
    """Entity and signal."""
    over: NDArray[np.intp]
    under: NDArray[np.intp]
    scale: float
    limit: float
    """What it cannot exceed: 1 for shares, where more means that two counters were not read in one
    moment."""
    slot: int


@dataclass(frozen=True, slots=True)
class Rate:
    """Growth of some counters of one entity, a second."""

    key: tuple[EntityId, str]
    rows: NDArray[np.intp]
    scale: float
    slot: int


@dataclass(frozen=True, slots=True)
class Processes:
    """A figure over the processes of one GPU; without rows it is 0 where the source is known."""

    how: How
    rows: NDArray[np.intp]
    slot: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything to do for readings with exactly these series in this order."""

    slots: tuple[tuple[EntityId, str], ...]
    entities: tuple[str, ...]
    signals: tuple[str, ...]
    entity_codes: NDArray[np.int32]
    signal_codes: NDArray[np.int32]
    plain: tuple[Plain, ...]
    histograms: tuple[Histogram, ...]
    quotients: tuple[Quotient, ...]
    rates: tuple[Rate, ...]
    processes: tuple[Processes, ...]
    names_processes: bool
    """Some row is a process figure, so the source has them."""
    claims: Claims
    """What the labels say about the topology."""
    unknown: Mapping[str, int]
    """Rows by metric name that the catalogue does not know."""
    refused: Mapping[str, int]
    """Names by kind that were more than the source may name."""
    starts: NDArray[np.intp]
    """Rows that say when the serving process started."""
    told: NDArray[np.intp]
    """Rows of known names that the source itself keeps, not the library which serves its page."""
    used: NDArray[np.intp]
    """Every row that leads to a signal."""
    repeated: int
    """Rows of a series that stands on the page already; the first counts."""
    homeless: int
    """Rows of known names that do not say whose they are."""
