"""What was found of a message so far: `collectors.otlp.decoder` makes one for each message.

Lists of points that came before with other numbers are known as a whole; what is new is kept aside
and read together at the end, because numpy is fast with many points and slow with few.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectors.otlp.attribute_sets import FLAGS_BITS, FLAGS_MAX, AttributeSets
from collectors.otlp.blocks import distinct
from collectors.otlp.histograms import NO_HISTOGRAMS, HistogramReader
from collectors.otlp.layouts import NO_POINTS, Frame, Layout
from collectors.otlp.points import HistogramPoint, Points, Tables
from collectors.otlp.templates import Lists
from collectors.otlp.wire import (
    ATTRIBUTE,
    PointHeads,
    Span,
    Spotter,
    Unusual,
    length_at,
    point_spans,
)

_SPOT_BYTES = 4096
"""Points of a metric with fewer bytes are read one after the other, and need no template."""

Told = dict[int, int]
"""The fields of a metric's data beside its points, by tag."""


@dataclass(frozen=True, slots=True)
class PointList:
    """The points of one gauge or sum, with places counted from the list's begin."""

    layout: Layout
    told: Told


class Memory:
    """What is remembered of points between messages."""

    def __init__(self, tables: Tables) -> None:
        self.sets = AttributeSets(tables, tag=ATTRIBUTE)
        self.lists = Lists[PointList]()
        self.histograms = HistogramReader(tables)

    @property
    def known_chars(self) -> int:
        """Bytes of attributes and bounds."""
        return self.sets.known_chars + self.histograms.known_chars


class Draft:
    """The points of one message."""

    def __init__(self, body: bytes, memory: Memory) -> None:
        self._body, self._memory = body, memory
        self._octets = np.frombuffer(body, np.uint8)
        self._spotter: Spotter | None = None
        self._heads: list[int] = []
        self._counts: list[int] = []
        self._known: dict[int, tuple[Layout, int]] = {}
        """Lists that came before and where they begin, by their number."""
        self._begins: list[NDArray[np.intp]] = []
        self._ends: list[NDArray[np.intp]] = []
        """Contents of the other points, list by list."""
        self._histogram_heads: list[int] = []
        self._histogram_begins: list[int] = []
        self._histogram_ends: list[int] = []
        """Of each histogram point with given bounds."""
        self._others: list[tuple[int, list[HistogramPoint]]] = []
        """Points that protobuf's parser read, and how many histogram points come before them."""

    def numbers(self, span: Span) -> Told:
        """Take the points of a gauge or sum; its other fields by tag. `head` says whose they are.
        Raises Unusual."""
        if span[1] - span[0] < _SPOT_BYTES or self._body[span[0]] != 0x0A:
            return self._one_by_one(span)
        lists = self._memory.lists
        found = lists.find(self._body, span)
        if found is None and lists.worth():
            found = self._keep(self._body[span[0] : span[1]])
        if found is None:
            return self._spotted(span)
        self._known[len(self._counts)] = found.layout, span[0]
        self._counts.append(len(found.layout.time_at))
        return found.told

    def head(self, number: int) -> None:
        """Whose the numbers taken last are: a row of `Tables.heads`."""
        self._heads.append(number)

    def histograms(self, span: Span) -> Told:
        """Take the points of a histogram with given bounds; its other fields by tag.
        `histogram_head` says whose they are. Raises Unusual."""
        return point_spans(self._body, span, self._histogram_begins, self._histogram_ends)

    def histogram_head(self, number: int) -> None:
        """Whose the histogram points taken last are: a row of `Tables.heads`."""
        new = len(self._histogram_begins) - len(self._histogram_heads)
        self._histogram_heads += [number] * new

    def others(self, points: list[HistogramPoint]) -> None:
        """Take points that are neither gauge nor sum, as protobuf's parser gave them."""
        self._others.append((len(self._histogram_begins), points))

    def _keep(self, body: bytes) -> PointList:
        """Read a list by itself; `body` is a copy, so that no template holds a whole message."""
        begins: list[int] = []
        ends: list[int] = []
        told = point_spans(body, (0, len(body)), begins, ends)
        layout = self._read(body, np.array(begins, np.intp), np.array(ends, np.intp))
        found = PointList(layout, told)
        self._memory.lists.keep(found, layout.places(), body)
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
        codes = np.array(self._memory.sets.codes(keys), np.int64)[which]
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

    def finish(self, tables: Tables) -> tuple[Points, Frame | None]:
        """What the message says, and its frame: None when a parser had to read a part of it. Raises
        Unusual."""
        head = np.repeat(np.array(self._heads, np.int32), self._counts)
        begins, ends = self._begins, self._ends
        layout = NO_POINTS
        if begins:
            layout = self._read(self._body, np.concatenate(begins), np.concatenate(ends))
        if self._known:
            layout = self._joined(layout)
        histograms = NO_HISTOGRAMS
        if self._histogram_begins:
            begin_at = np.array(self._histogram_begins, np.intp)
            end_at = np.array(self._histogram_ends, np.intp)
            histograms = self._memory.histograms.layout(self._body, begin_at, end_at)
        frame = Frame(head, layout, np.array(self._histogram_heads, np.int32), histograms)
        points = frame.read(tables, self._body)
        if not self._others:
            return points, frame
        return replace(points, histograms=[*self._in_order(points.histograms)]), None

    def _in_order(self, histograms: Sequence[HistogramPoint]) -> Iterator[HistogramPoint]:
        done = 0
        for before, others in self._others:
            yield from itertools.islice(histograms, done, before)
            yield from others
            done = before
        yield from itertools.islice(histograms, done, None)

    def _joined(self, rest: Layout) -> Layout:
        """Lists that came before and the others, in the order of the message."""
        parts: list[Layout] = []
        begins: list[int] = []
        at = 0
        for number, count in enumerate(self._counts):
            layout, begin = self._known.get(number, (None, 0))
            if layout is None:
                layout = rest.part(at, at + count)
                at += count
            parts.append(layout)
            begins.append(begin)
        return Layout.joined(parts, begins)
