"""What was found of a message so far: `collectors.otlp.decoder` makes one for each message.

Lists of points that came before with other numbers are known as a whole; what is new is kept aside
and read together at the end, because numpy is fast with many points and slow with few.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors.otlp.attribute_sets import FLAGS_BITS, FLAGS_MAX, AttributeSets
from collectors.otlp.blocks import distinct
from collectors.otlp.points import HistogramPoint, Points, Tables
from collectors.otlp.templates import Credit, Templates
from collectors.otlp.wire import PointHeads, Span, Spotter, Unusual, length_at, point_spans, words

_SPOT_BYTES = 4096
"""Points of a metric with fewer bytes are read one after the other, and need no template."""

Told = dict[int, int]
"""The fields of a gauge or sum beside its points, by tag."""


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


_NONE = np.empty(0, np.intp)
_NO_POINTS = Layout(
    np.empty(0, np.int32), np.empty(0, np.uint32), _NONE, _NONE, _NONE, np.empty(0, np.bool_)
)


@dataclass(frozen=True, slots=True)
class PointList:
    """The points of one gauge or sum, with places counted from the list's begin."""

    layout: Layout
    told: Told


class Lists:
    """The lists that came before; one for all messages."""

    def __init__(self) -> None:
        self.templates = Templates[PointList]()
        self.credit = Credit()


class Draft:
    """The gauges and sums of one message."""

    def __init__(self, body: bytes, sets: AttributeSets, lists: Lists) -> None:
        self._body, self._octets = body, np.frombuffer(body, np.uint8)
        self._sets, self._lists = sets, lists
        self.histograms: list[HistogramPoint] = []
        """What is neither gauge nor sum."""
        self._spotter: Spotter | None = None
        self._heads: list[int] = []
        self._counts: list[int] = []
        self._known: dict[int, tuple[Layout, int]] = {}
        """Lists that came before and where they begin, by their number."""
        self._begins: list[NDArray[np.intp]] = []
        self._ends: list[NDArray[np.intp]] = []
        """Contents of the other points, list by list."""

    def add(self, span: Span) -> Told:
        """Take the points of a gauge or sum; its other fields by tag. `head` says whose they are.
        Raises Unusual."""
        large = span[1] - span[0] >= _SPOT_BYTES and self._body[span[0]] == 0x0A
        if not large:
            return self._one_by_one(span)
        found = self._lists.templates.find(self._body, *span)
        if found is not None:
            self._lists.credit.hit()
        elif self._lists.credit.worth():
            found = self._keep(self._body[span[0] : span[1]])
        if found is None:
            return self._spotted(span)
        self._known[len(self._counts)] = found.layout, span[0]
        self._counts.append(len(found.layout.time_at))
        return found.told

    def head(self, number: int) -> None:
        """Whose the points added last are: a row of `Tables.heads`."""
        self._heads.append(number)

    def _keep(self, body: bytes) -> PointList:
        """Read a list by itself; `body` is a copy, so that no template holds a whole message."""
        begins: list[int] = []
        ends: list[int] = []
        told = point_spans(body, (0, len(body)), begins, ends)
        layout = self._read(body, np.array(begins, np.intp), np.array(ends, np.intp))
        found = PointList(layout, told)
        self._lists.templates.keep(found, layout.places(), body)
        return found

    def _spotted(self, span: Span) -> Told:
        if self._spotter is None:
            first = length_at(self._body, span[0] + 1)[1]
            self._spotter = Spotter(self._body, self._octets, first)
        rows = self._spotter.within(span)
        if rows is None:
            return self._one_by_one(span)
        low, high = rows
        others: list[int] = []
        told = point_spans(self._body, (int(self._spotter.ends[high - 1]), span[1]), others, [])
        if others:
            return self._one_by_one(span)
        self._append(self._spotter.begins[low:high], self._spotter.ends[low:high])
        return told

    def _one_by_one(self, span: Span) -> Told:
        begins: list[int] = []
        ends: list[int] = []
        told = point_spans(self._body, span, begins, ends)
        self._append(np.array(begins, np.intp), np.array(ends, np.intp))
        return told

    def _append(self, begins: NDArray[np.intp], ends: NDArray[np.intp]) -> None:
        self._begins.append(begins)
        self._ends.append(ends)
        self._counts.append(len(begins))

    def _read(self, body: bytes, begins: NDArray[np.intp], ends: NDArray[np.intp]) -> Layout:
        """Shapes (n,)."""
        found = PointHeads(np.frombuffer(body, np.uint8), begins, ends)
        keys, which = distinct(body, found.rest, ends)
        codes = np.array(self._sets.codes(keys), np.int64)[which]
        told = (codes & FLAGS_MAX).astype(np.uint32)
        if bool(((told > 0) & found.flagged).any()):
            raise Unusual
        return Layout(
            attributes=(codes >> FLAGS_BITS).astype(np.int32),
            flags=found.flags | told,
            start_at=found.start_at,
            time_at=found.time_at,
            value_at=found.value_at,
            is_int=found.is_int,
        )

    def laid_out(self) -> tuple[NDArray[np.int32], Layout]:
        """The head of each point, and the rest. Raises Unusual."""
        head = np.repeat(np.array(self._heads, np.int32), self._counts)
        begins, ends = self._begins, self._ends
        rest = _NO_POINTS
        if begins:
            rest = self._read(self._body, np.concatenate(begins), np.concatenate(ends))
        return head, self._joined(rest) if self._known else rest

    def _joined(self, rest: Layout) -> Layout:
        """Lists that came before and the others, in the order of the message."""
        parts: list[Layout] = []
        moved: list[int] = []
        at = 0
        for number, count in enumerate(self._counts):
            layout, begin = self._known.get(number, (None, 0))
            if layout is None:
                layout = rest.part(at, at + count)
                at += count
            parts.append(layout)
            moved.append(begin)
        by = np.repeat(np.array(moved, np.intp), self._counts)
        start_at = np.concatenate([part.start_at for part in parts])
        return Layout(
            attributes=np.concatenate([part.attributes for part in parts]),
            flags=np.concatenate([part.flags for part in parts]),
            start_at=np.where(start_at < 0, start_at, start_at + by),
            time_at=np.concatenate([part.time_at for part in parts]) + by,
            value_at=np.concatenate([part.value_at for part in parts]) + by,
            is_int=np.concatenate([part.is_int for part in parts]),
        )
