"""What a metrics message says, in columns: `collectors.otlp.decoder` makes it, `intake` reads it.

Names and attributes stand once in tables that only grow; a row holds their numbers. Histograms with
given bounds are columns too; exponential ones and summaries are few and stay objects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import chain

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

NO_VALUE = 1
"""DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK of opentelemetry-proto: the series has gone stale."""


class Kind(IntEnum):
    """What sort of metric a point belongs to; also the field of `Metric` that holds it."""

    GAUGE = 5
    SUM = 7
    HISTOGRAM = 9
    EXPONENTIAL = 10
    SUMMARY = 11


class Temporality(IntEnum):
    """`AggregationTemporality` of opentelemetry-proto."""

    UNSPECIFIED = 0
    DELTA = 1
    CUMULATIVE = 2


@dataclass(frozen=True, slots=True)
class Head:
    """A metric of a resource."""

    resource: int
    """Row of `Tables.resources`."""
    name: str
    unit: str
    kind: Kind
    temporality: int = Temporality.UNSPECIFIED
    """A `Temporality`, or a number that the standard does not know yet."""
    monotonic: bool = False


@dataclass(slots=True)
class Tables:
    """Everything that rows point to."""

    resources: list[Mapping[str, str]] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    attributes: list[Mapping[str, str]] = field(default_factory=list)
    bounds: list[tuple[float, ...]] = field(default_factory=list)
    """Of explicit histograms."""
    _interned: dict[tuple[tuple[str, str], ...], int] = field(default_factory=dict)
    _arrow: tuple[pa.Array, pa.Array] | None = None

    def intern(self, labels: Mapping[str, str]) -> int:
        """The row of an attribute set that was interned before, or a new one."""
        key = tuple(labels.items())
        number = self._interned.get(key)
        if number is None:
            number = self._interned[key] = len(self.attributes)
            self.attributes.append(labels)
        return number

    def arrow(self) -> tuple[pa.Array, pa.Array]:
        """Metric names and attribute sets as Arrow arrays; only what came since is made anew."""
        made = self._arrow
        before = (0, 0) if made is None else (len(made[0]), len(made[1]))
        heads, sets = self.heads[before[0] :], self.attributes[before[1] :]
        if made is None or heads or sets:
            names = pa.array([head.name for head in heads], pa.string())
            new = names, _labels(sets)
            made = new if made is None else (_more(made[0], new[0]), _more(made[1], new[1]))
            self._arrow = made
        return made


def _more(before: pa.Array, new: pa.Array) -> pa.Array:
    return pa.concat_arrays([before, new]) if len(new) else before


def _labels(sets: Sequence[Mapping[str, str]]) -> pa.Array:
    """Attribute sets as an Arrow map."""
    starts = np.zeros(len(sets) + 1, np.int32)
    np.cumsum([*map(len, sets)], out=starts[1:])
    keys = pa.array([*chain.from_iterable(sets)], pa.string())
    texts = pa.array([*chain.from_iterable(labels.values() for labels in sets)], pa.string())
    return pa.MapArray.from_arrays(starts, keys, texts)


@dataclass(frozen=True, slots=True)
class HistogramPoint:
    """One point of a histogram, exponential histogram or summary."""

    head: int
    attributes: int
    start_ns: int
    time_ns: int
    flags: int
    count: int
    sum: float
    """NaN when the sender does not say."""
    bounds: tuple[float, ...]
    """Explicit: rising upper bounds without the infinite one. Summary: quantiles."""
    counts: tuple[float, ...]
    """Explicit: one more than bounds. Summary: values at the quantiles. Exponential: positive
    buckets."""
    scale: int = 0
    offset: int = 0
    """Exponential: index of the first positive bucket."""
    below: int = 0
    """Exponential: observations at zero or below."""


@dataclass(frozen=True, slots=True)
class HistogramColumns(Sequence[HistogramPoint]):
    """Points of explicit histograms in columns of shape (m,); one by one when asked."""

    tables: Tables
    head: NDArray[np.int32]
    attributes: NDArray[np.int32]
    bounds: NDArray[np.int32]
    """Rows of `Tables.bounds`."""
    start_ns: NDArray[np.uint64]
    time_ns: NDArray[np.uint64]
    flags: NDArray[np.uint32]
    observations: NDArray[np.uint64]
    sum: NDArray[np.float64]
    """NaN where the sender does not say."""
    first: NDArray[np.int32]
    """Shape (m + 1,): where the counts of each point begin, and their number."""
    counts: NDArray[np.uint64]
    """Shape (buckets,)."""

    def __len__(self) -> int:
        return len(self.head)

    def __getitem__(self, at: int) -> HistogramPoint:  # type: ignore[override]  # never a slice
        if not 0 <= at < len(self):
            raise IndexError(at)
        return HistogramPoint(
            int(self.head[at]),
            int(self.attributes[at]),
            int(self.start_ns[at]),
            int(self.time_ns[at]),
            int(self.flags[at]),
            int(self.observations[at]),
            float(self.sum[at]),
            self.tables.bounds[self.bounds[at]],
            tuple(self.counts[self.first[at] : self.first[at + 1]].tolist()),
        )


@dataclass(frozen=True, slots=True)
class Points:
    """Gauge and sum points in columns of shape (n,), in the order of the message; then the rest."""

    tables: Tables
    head: NDArray[np.int32]
    attributes: NDArray[np.int32]
    start_ns: NDArray[np.uint64]
    time_ns: NDArray[np.uint64]
    value: NDArray[np.float64]
    flags: NDArray[np.uint32]
    histograms: Sequence[HistogramPoint] = ()

    def __len__(self) -> int:
        return len(self.value) + len(self.histograms)


def to_arrow(points: Points) -> pa.RecordBatch:
    """Gauge and sum points as Arrow: `metric` and `attributes` dictionary-encoded, `start_ns`,
    `time_ns`, `value`, `flags`. The columns share memory with `points`."""
    names, labels = points.tables.arrow()
    return pa.RecordBatch.from_arrays(
        [
            pa.DictionaryArray.from_arrays(pa.array(points.head), names, safe=False),
            pa.DictionaryArray.from_arrays(pa.array(points.attributes), labels, safe=False),
            pa.array(points.start_ns),
            pa.array(points.time_ns),
            pa.array(points.value),
            pa.array(points.flags),
        ],
        ["metric", "attributes", "start_ns", "time_ns", "value", "flags"],
    )


def histograms_to_arrow(points: HistogramColumns) -> pa.RecordBatch:
    """Histogram points as Arrow: `metric`, `attributes` and `bounds` dictionary-encoded,
    `start_ns`, `time_ns`, `flags`, `count`, `sum`, `counts`."""
    names, labels = points.tables.arrow()
    bounds = pa.array(points.tables.bounds, pa.list_(pa.float64()))
    return pa.RecordBatch.from_arrays(
        [
            pa.DictionaryArray.from_arrays(pa.array(points.head), names, safe=False),
            pa.DictionaryArray.from_arrays(pa.array(points.attributes), labels, safe=False),
            pa.DictionaryArray.from_arrays(pa.array(points.bounds), bounds, safe=False),
            pa.array(points.start_ns),
            pa.array(points.time_ns),
            pa.array(points.flags),
            pa.array(points.observations),
            pa.array(points.sum),
            pa.ListArray.from_arrays(points.first, pa.array(points.counts)),
        ],
        [
            "metric",
            "attributes",
            "bounds",
            "start_ns",
            "time_ns",
            "flags",
            "count",
            "sum",
            "counts",
        ],
    )
