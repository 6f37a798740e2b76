"""Points of histograms with given bounds, read without protobuf: `collectors.otlp.draft` calls it.

Servers of models tell their latencies in histograms. Points that are written alike differ only in
numbers, in bounds and attributes, which are looked up by their bytes, and in what exemplars hold,
which nobody reads. So one of them is taken apart, and the others are compared with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import unpack

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.metrics.v1.metrics_pb2 import Exemplar

from collectors.otlp.attribute_sets import ENTRY_CHARS, FLAGS_BITS, FLAGS_MAX, AttributeSets
from collectors.otlp.blocks import distinct
from collectors.otlp.plain import nested
from collectors.otlp.points import HistogramColumns, Tables
from collectors.otlp.wire import Span, Unusual, length_at, words

_START, _TIME, _COUNT, _SUM, _LEAST, _MOST = 0x11, 0x19, 0x21, 0x29, 0x59, 0x61
_NUMBERS = frozenset({_START, _TIME, _COUNT, _SUM, _LEAST, _MOST})
_BUCKETS, _BOUNDS, _EXEMPLAR, _ATTRIBUTE, _FLAGS = 0x32, 0x3A, 0x42, 0x4A, 0x50
_EXEMPLAR_NUMBERS = frozenset({0x11, 0x19, 0x31})
_EXEMPLAR_IDS, _EXEMPLAR_LABEL = frozenset({0x22, 0x2A}), 0x3A
_WORD_BYTES = 8
_FORMS_MAX = 256
"""Ways in which the points of one message are written; with more, protobuf's parser is faster."""


@dataclass(frozen=True, slots=True)
class HistogramLayout:
    """What histogram points say but for their numbers, and where those lie. Shapes (m,); -1 where
    a point does not say."""

    attributes: NDArray[np.int32]
    bounds: NDArray[np.int32]
    flags: NDArray[np.uint32]
    start_at: NDArray[np.intp]
    time_at: NDArray[np.intp]
    count_at: NDArray[np.intp]
    sum_at: NDArray[np.intp]
    first: NDArray[np.int32]
    """Shape (m + 1,): where the buckets of each point begin in `bucket_at`, and their number."""
    bucket_at: NDArray[np.intp]
    """Shape (buckets,)."""
    unread_at: NDArray[np.intp]
    """Where least and greatest values stand."""

    def places(self) -> tuple[NDArray[np.intp], ...]:
        """Where numbers stand."""
        told = (self.start_at, self.time_at, self.count_at, self.sum_at)
        return *(at[at >= 0] for at in told), self.bucket_at, self.unread_at

    def read(self, tables: Tables, head: NDArray[np.int32], body: bytes) -> HistogramColumns:
        """The points of a message that is laid out like this; `head`: shape (m,)."""
        word = words(body)
        start, time, count, summed = (
            np.where(at < 0, np.uint64(0), word[at])
            for at in (self.start_at, self.time_at, self.count_at, self.sum_at)
        )
        return HistogramColumns(
            tables,
            head,
            self.attributes,
            self.bounds,
            start,
            time,
            self.flags,
            count,
            np.where(self.sum_at < 0, np.nan, summed.view(np.float64)),
            self.first,
            word[self.bucket_at],
        )


_NO_ROWS, _NOWHERE = np.empty(0, np.int32), np.empty(0, np.intp)
NO_HISTOGRAMS = HistogramLayout(
    attributes=_NO_ROWS,
    bounds=_NO_ROWS,
    flags=np.empty(0, np.uint32),
    start_at=_NOWHERE,
    time_at=_NOWHERE,
    count_at=_NOWHERE,
    sum_at=_NOWHERE,
    first=np.zeros(1, np.int32),
    bucket_at=_NOWHERE,
    unread_at=_NOWHERE,
)


@dataclass(slots=True)
class _Form:
    """How a point is written: places count from its begin."""

    at: dict[int, int] = field(default_factory=dict)
    """Places of numbers by tag."""
    buckets: Span = (0, 0)
    bounds: Span = (0, 0)
    attributes: Span = (0, 0)
    """With tags and lengths."""
    flags: int = 0
    unread: list[Span] = field(default_factory=list)
    """What exemplars hold."""

    def mask(self, size: int) -> NDArray[np.uint8]:
        """255 where points of this form have the same bytes."""
        mask = np.full(size, 255, np.uint8)
        for place in self.at.values():
            mask[place : place + _WORD_BYTES] = 0
        for begin, end in (self.buckets, self.bounds, self.attributes, *self.unread):
            mask[begin:end] = 0
        return mask


class HistogramReader:
    """Remembers bounds and attributes between messages."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._sets = AttributeSets(tables, tag=_ATTRIBUTE)
        self._bounds: dict[bytes, int] = {}
        self._bounds_chars = 0

    @property
    def known_chars(self) -> int:
        """Bytes that are remembered."""
        return self._sets.known_chars + self._bounds_chars

    def layout(
        self, body: bytes, begins: NDArray[np.intp], ends: NDArray[np.intp]
    ) -> HistogramLayout:
        """The layout of points whose contents lie between `begins` and `ends`, shapes (m,). Raises
        Unusual."""
        m = len(begins)
        at = {tag: np.full(m, -1, np.intp) for tag in _NUMBERS}
        spans = np.zeros((3, 2, m), np.intp)
        flags = np.zeros(m, np.uint32)
        for rows, form in _forms(body, begins, ends):
            begin = begins[rows]
            for tag, place in form.at.items():
                at[tag][rows] = begin + place
            for number, span in enumerate((form.buckets, form.bounds, form.attributes)):
                spans[number, 0, rows], spans[number, 1, rows] = begin + span[0], begin + span[1]
            flags[rows] = form.flags
        buckets, bounds, attributes = spans
        sizes = (buckets[1] - buckets[0]) // _WORD_BYTES
        first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        within = np.arange(first[-1]) - np.repeat(first[:-1], sizes)
        sets, set_of = distinct(body, attributes[0], attributes[1])
        codes = np.array(self._sets.codes(sets), np.int64)[set_of]
        lists, list_of = distinct(body, bounds[0], bounds[1])
        extremes = np.concatenate([at[_LEAST], at[_MOST]])
        return HistogramLayout(
            attributes=(codes >> FLAGS_BITS).astype(np.int32),
            bounds=np.array([*map(self._row, lists)], np.int32)[list_of],
            flags=flags,
            start_at=at[_START],
            time_at=at[_TIME],
            count_at=at[_COUNT],
            sum_at=at[_SUM],
            first=first,
            bucket_at=np.repeat(buckets[0], sizes) + within * _WORD_BYTES,
            unread_at=extremes[extremes >= 0],
        )

    def _row(self, raw: bytes) -> int:
        row = self._bounds.get(raw)
        if row is None:
            row = self._bounds[raw] = len(self._tables.bounds)
            self._bounds_chars += len(raw) + ENTRY_CHARS
            self._tables.bounds.append(unpack(f"<{len(raw) // _WORD_BYTES}d", raw))
        return row


def _forms(
    body: bytes, begins: NDArray[np.intp], ends: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], _Form]]:
    """Rows of points, and how they are written. Raises Unusual."""
    sizes = ends - begins
    left = np.arange(len(begins))
    for _ in range(_FORMS_MAX):
        if not len(left):
            return
        leader = left[0]
        size = int(sizes[leader])
        content = body[begins[leader] : ends[leader]]
        form = _form(content)
        same = np.flatnonzero(sizes[left] == size)
        if len(same) > 1:
            whole = np.ndarray((len(body) - size + 1,), f"V{size}", body, strides=(1,))
            rows = whole[begins[left[same]]].view(np.uint8).reshape(-1, size)
            differ = (rows ^ np.frombuffer(content, np.uint8)) & form.mask(size)
            if bool(differ.any()):
                same = same[~differ.any(axis=1)]
        yield left[same], form
        left = np.delete(left, same)
    raise Unusual


def _form(content: bytes) -> _Form:
    """How one point is written. Raises Unusual."""
    form, told = _Form(), set[int]()
    at, end = 0, len(content)
    while at < end:
        tag, begin = content[at], at
        if tag != _EXEMPLAR and tag in told:
            raise Unusual
        told.add(tag)
        if tag in _NUMBERS:
            form.at[tag] = at + 1
            at += 1 + _WORD_BYTES
            continue
        size, at = length_at(content, at + 1)
        if tag == _FLAGS:
            # Not a length but the flags themselves: small numbers are written the same way.
            form.flags = size
            if size > FLAGS_MAX:
                raise Unusual
            continue
        inside = at, at + size
        at += size
        if at > end:
            raise Unusual
        if tag == _EXEMPLAR:
            form.unread += _free(content, inside)
        elif tag == _ATTRIBUTE:
            # Together they are one part, so something else between two of them is unusual.
            while at < end and content[at] == _ATTRIBUTE:
                size, at = length_at(content, at + 1)
                at += size
            form.attributes = begin, at
        elif tag == _BUCKETS and not size % _WORD_BYTES:
            form.buckets = inside
        elif tag == _BOUNDS and not size % _WORD_BYTES:
            form.bounds = inside
        else:
            raise Unusual
    if at != end:
        raise Unusual
    return form


def _free(content: bytes, span: Span) -> list[Span]:
    """What may differ in an exemplar: its numbers and ids. Raises Unusual."""
    if nested(Exemplar.FromString(content[span[0] : span[1]]).filtered_attributes):
        raise Unusual
    found: list[Span] = []
    at, end = span
    while at < end:
        tag = content[at]
        if tag in _EXEMPLAR_NUMBERS:
            size, at = _WORD_BYTES, at + 1
        else:
            size, at = length_at(content, at + 1)
        if tag in _EXEMPLAR_NUMBERS or tag in _EXEMPLAR_IDS:
            found.append((at, at + size))
        elif tag != _EXEMPLAR_LABEL:
            raise Unusual
        at += size
    return found
