"""One resource of one sender: what it is, and what is remembered of its series between messages.

`collectors.otlp.intake` gives it the rows of each message. Rows of one time are one reading for the
normaliser, so that scrapes and OTLP go the same way to signals.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collectors.normalise import Normaliser
from collectors.otlp.expand import rows_of
from collectors.otlp.points import NO_VALUE, Kind, Points, Tables, Temporality
from collectors.series import Reading, SeriesTable
from fleetmend.signals.identities import with_identities

MOMENTS_MAX = 32
"""Different times in one message of one resource that are kept apart; more are joined by second."""
LABELS_MAX = 2_000_000
"""Labels of all series of one resource: 40,000 series of 50. Some 40 bytes each."""
NS = 1_000_000_000

Key = tuple[str, tuple[tuple[str, str], ...]]
"""Name and the labels of the point: those of the resource are the same for all of them."""


@dataclass(slots=True)
class Columns:
    """Rows of one resource in one message. Lists of one length."""

    series: list[int] = field(default_factory=list)
    start_ns: list[int] = field(default_factory=list)
    time_ns: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    delta: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class Counts:
    """Points that gave nothing, by reason."""

    no_value: int = 0
    """The sender says that the series has gone."""
    repeated: int = 0
    """A difference that was told before."""
    baseless: int = 0
    """A difference of something that also falls: nobody knows from where."""
    series: int = 0
    """More series, or more labels of them, than a resource may have."""


class Source:
    """The state of one resource."""

    def __init__(
        self, normaliser: Normaliser, resource: Mapping[str, str], *, series_max: int
    ) -> None:
        """`resource`: its attributes, which every series of it bears."""
        self.normaliser = normaliser
        self._resource, self._series_max = resource, series_max
        self._forget()

    def _forget(self) -> None:
        self._table = SeriesTable()
        self._numbers: dict[Key, int] = {}
        self._labels_held = 0
        self._tables: Tables | None = None
        self._known: dict[tuple[int, int], int] = {}
        self._starts: dict[int, int] = {}
        self._totals: dict[int, float] = {}
        self._told_ns: dict[int, int] = {}

    def readings(
        self, points: Points, rows: NDArray[np.intp], histograms: list[int], counts: Counts
    ) -> Iterator[tuple[int, Reading]]:
        """The readings in these rows of a message, oldest first, each with its time."""
        if len(self._numbers) > self._series_max * 2:
            self._forget()  # labels that are others each time must not fill the memory
        if points.tables is not self._tables:
            self._tables, self._known = points.tables, {}
        columns = self._columns(points, rows, histograms, counts)
        self._settle(columns, counts)
        yield from self._moments(columns)

    def _columns(
        self, points: Points, rows: NDArray[np.intp], histograms: list[int], counts: Counts
    ) -> Columns:
        found = Columns()
        tables = points.tables
        picked = zip(
            points.head[rows].tolist(),
            points.attributes[rows].tolist(),
            points.start_ns[rows].tolist(),
            points.time_ns[rows].tolist(),
            points.value[rows].tolist(),
            points.flags[rows].tolist(),
            strict=True,
        )
        for head_number, attributes, start, time, value, flags in picked:
            if flags & NO_VALUE:
                counts.no_value += 1
                continue
            head = tables.heads[head_number]
            delta = head.kind is Kind.SUM and head.temporality == Temporality.DELTA
            if delta and not head.monotonic:
                counts.baseless += 1
                continue
            number = self._known.get((head_number, attributes))
            if number is None:
                number = self._number(head.name, tables.attributes[attributes])
                self._known[head_number, attributes] = number
            self._add(found, (number, start, time, value), delta, counts)
        for at in histograms:
            point = points.histograms[at]
            head = tables.heads[point.head]
            if point.flags & NO_VALUE:
                counts.no_value += 1
                continue
            labels = tables.attributes[point.attributes]
            delta = head.temporality == Temporality.DELTA
            for suffix, bound, value in rows_of(point, head.kind):
                named = {**labels, "le": bound} if bound else labels
                number = self._number(head.name + suffix, named)
                self._add(found, (number, point.start_ns, point.time_ns, value), delta, counts)
        return found

    def _number(self, name: str, own: Mapping[str, str]) -> int:
        """The number of a series with these labels beside the resource's; -1 when there are too
        many."""
        key = name, tuple(sorted(own.items()))
        number = self._numbers.get(key)
        if number is None:
            if len(self._numbers) >= self._series_max or self._labels_held >= LABELS_MAX:
                return -1
            labels = with_identities({**self._resource, **own})
            self._labels_held += len(labels)
            number = self._numbers[key] = self._table.add(name, labels)
        return number

    @staticmethod
    def _add(found: Columns, row: tuple[int, int, int, float], delta: bool, counts: Counts) -> None:
        if row[0] < 0:
            counts.series += 1
            return
        found.series.append(row[0])
        found.start_ns.append(row[1])
        found.time_ns.append(row[2])
        found.value.append(row[3])
        found.delta.append(delta)

    def _settle(self, columns: Columns, counts: Counts) -> None:
        """Add up differences, and notice totals that began anew."""
        restarted = False
        keep: list[int] = []
        for at, number in enumerate(columns.series):
            start, time = columns.start_ns[at], columns.time_ns[at]
            if columns.delta[at]:
                if time <= self._told_ns.get(number, -1):
                    counts.repeated += 1
                    continue
                self._told_ns[number] = time
                total = self._totals.get(number, 0.0) + columns.value[at]
                columns.value[at] = self._totals[number] = total
            elif start:
                before = self._starts.get(number)
                restarted |= before is not None and start > before
                self._starts[number] = start
            keep.append(at)
        if restarted:
            self.normaliser.restarted()
        if len(keep) < len(columns.series):
            for column in (columns.series, columns.start_ns, columns.time_ns):
                column[:] = [column[at] for at in keep]
            columns.value[:] = [columns.value[at] for at in keep]

    def _moments(self, columns: Columns) -> Iterator[tuple[int, Reading]]:
        if not columns.series:
            return
        series = np.array(columns.series, np.int32)
        time_ns = np.array(columns.time_ns, np.int64)
        value = np.array(columns.value, np.float64)
        moments = np.unique(time_ns)
        groups = time_ns
        if len(moments) > MOMENTS_MAX:
            groups = time_ns // NS
            moments = np.unique(groups)
        for moment in moments.tolist():
            mine = np.flatnonzero(groups == moment) if len(moments) > 1 else np.arange(len(series))
            mine = _last_of_each(series, mine)
            reading = Reading(self._table, series[mine], value[mine])
            yield int(time_ns[mine].max()), reading


def _last_of_each(series: NDArray[np.int32], rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """The rows without those whose series comes again."""
    unique, first = np.unique(series[rows][::-1], return_index=True)
    if len(unique) == len(rows):
        return rows
    return np.sort(rows[len(rows) - 1 - first])
