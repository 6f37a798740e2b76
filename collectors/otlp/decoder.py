"""Metrics messages to columns, several times faster than protobuf's parser and a walk.

Two things make it fast. What stands before and after the numbers of a point hardly ever changes
from message to message, so attribute blocks, metric heads and resources are looked up by their
bytes, and numbers are gathered by numpy from their places. A message that came before with other
numbers is known as a whole (`collectors.otlp.templates`). The result is always that of
`collectors.otlp.plain`, which reads what is unusual.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collectors.otlp.plain import head_of, histogram_points, labels_of, nested, walk
from collectors.otlp.points import Head, HistogramPoint, Kind, Points, Tables
from collectors.otlp.templates import Layout, Templates
from collectors.otlp.wire import (
    PointHeads,
    Span,
    Spotter,
    Unusual,
    attributes_only,
    fields,
    length_at,
    point_spans,
    texts,
)

_KNOWN_CHARS_MAX = 32 * 1024 * 1024
"""Bytes of names and attributes to remember; then everything is learnt anew."""
_SPOT_BYTES = 4096
"""Points of a metric with fewer bytes are read one after the other."""
_ENTRY_CHARS = 200
"""What an entry costs beside its bytes."""
_SPOT_BYTES = 4096
"""Points of a metric with fewer bytes are read one after the other."""
_CHUNK = 8192
"""Words that are compared at once: they fit the fastest caches."""
_FLAGS_BITS = 7
_FLAGS_MAX = 127


@dataclass(slots=True)
class _Draft:
    """What was found of a message so far."""

    octets: NDArray[np.uint8]
    begins: list[NDArray[np.intp]] = field(default_factory=lambda: [np.empty(0, np.intp)])
    """Contents of points, metric by metric."""
    ends: list[NDArray[np.intp]] = field(default_factory=lambda: [np.empty(0, np.intp)])
    heads: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    """Points of each head."""
    histograms: list[HistogramPoint] = field(default_factory=list)
    spotter: Spotter | None = None

    def add(self, body: bytes, span: Span) -> dict[int, int]:
        """Take the points of a gauge or sum; its other fields by tag."""
        if span[1] - span[0] >= _SPOT_BYTES and body[span[0]] == 0x0A:
            if self.spotter is None:
                self.spotter = Spotter(body, self.octets, length_at(body, span[0] + 1)[1])
            rows = self.spotter.within(span)
            if rows is not None:
                low, high = rows
                others: list[int] = []
                told = point_spans(body, (int(self.spotter.ends[high - 1]), span[1]), others, [])
                if not others:
                    self._append(self.spotter.begins[low:high], self.spotter.ends[low:high])
                    return told
        begins: list[int] = []
        ends: list[int] = []
        told = point_spans(body, span, begins, ends)
        self._append(np.array(begins, np.intp), np.array(ends, np.intp))
        return told

    def _append(self, begins: NDArray[np.intp], ends: NDArray[np.intp]) -> None:
        self.begins.append(begins)
        self.ends.append(ends)
        self.counts.append(len(begins))


class Decoder:
    """One per process; one thread at a time. Remembers names and attributes between messages."""

    def __init__(self) -> None:
        self.plain_messages = 0
        """Messages that protobuf's parser had to read."""
        self._forget()

    def _forget(self) -> None:
        self._tables = Tables()
        self._resources: dict[bytes, int] = {}
        self._scopes: set[bytes] = set()
        self._metrics: dict[tuple[int, bytes], tuple[str, str]] = {}
        self._heads: dict[Head, int] = {}
        self._blocks: dict[bytes, int] = {}
        self._known_chars = 0
        self._templates = Templates()

    def decode(self, body: bytes) -> Points:
        """What a message says. Raises BadInput for what is no metrics message."""
        if self._known_chars > _KNOWN_CHARS_MAX:
            self._forget()
        octets = np.frombuffer(body, np.uint8)
        layout = self._templates.find(octets)
        if layout is not None:
            return layout.read(self._tables, body)
        try:
            return self._split(body, octets)
        except (Unusual, DecodeError):
            self.plain_messages += 1
            return walk(body)

    def _split(self, body: bytes, octets: NDArray[np.uint8]) -> Points:
        draft = _Draft(octets)
        for tag, span in fields(body, (0, len(body))):
            if tag != 0x0A:
                raise Unusual
            self._resource_metrics(body, span, draft)
        end_at = np.concatenate(draft.ends)
        found = PointHeads(octets, np.concatenate(draft.begins), end_at)
        keys = texts(octets, found.rest, end_at)
        blocks = [*map(self._blocks.get, keys)]
        if None in blocks:
            blocks = [self._learn(key) for key in keys]
        codes = np.array(blocks, np.int64)
        told = (codes & _FLAGS_MAX).astype(np.uint32)
        if bool(((told > 0) & found.flagged).any()):
            raise Unusual
        layout = Layout(
            head=np.repeat(np.array(draft.heads, np.int32), draft.counts),
            attributes=(codes >> _FLAGS_BITS).astype(np.int32),
            flags=found.flags | told,
            start_at=found.start_at,
            time_at=found.time_at,
            value_at=found.value_at,
            is_int=found.is_int,
        )
        points = layout.read(self._tables, body)
        if draft.histograms:
            return replace(points, histograms=tuple(draft.histograms))
        self._templates.keep(layout, octets)
        return points

    def _resource_metrics(self, body: bytes, span: Span, draft: _Draft) -> None:
        resource, scopes = b"", []
        seen: set[int] = set()
        for tag, part in fields(body, span):
            if tag == 0x12:
                scopes.append(part)
                continue
            if tag in seen or tag not in (0x0A, 0x1A):
                raise Unusual
            seen.add(tag)
            if tag == 0x0A:
                resource = body[part[0] : part[1]]
            else:
                _text(body, part)
        number = self._resource(resource)
        for part in scopes:
            self._scope_metrics(body, part, number, draft)

    def _resource(self, blob: bytes) -> int:
        number = self._resources.get(blob)
        if number is None:
            attributes = Resource.FromString(blob).attributes
            if nested(attributes):
                raise Unusual
            number = self._resources[blob] = len(self._tables.resources)
            self._tables.resources.append(labels_of(attributes))
            self._known_chars += len(blob) + _ENTRY_CHARS
        return number

    def _scope_metrics(self, body: bytes, span: Span, resource: int, draft: _Draft) -> None:
        seen: set[int] = set()
        for tag, part in fields(body, span):
            if tag == 0x12:
                self._metric(body, part, resource, draft)
                continue
            if tag in seen or tag not in (0x0A, 0x1A):
                raise Unusual
            seen.add(tag)
            if tag == 0x1A:
                _text(body, part)
                continue
            scope = body[part[0] : part[1]]
            if scope not in self._scopes:
                if nested(InstrumentationScope.FromString(scope).attributes):
                    raise Unusual
                self._scopes.add(scope)
                self._known_chars += len(scope) + _ENTRY_CHARS

    def _metric(self, body: bytes, span: Span, resource: int, draft: _Draft) -> None:
        data = kind = None
        seen: set[int] = set()
        for tag, part in fields(body, span):
            if tag in _DATA:
                if data is not None:
                    raise Unusual
                kind, data = Kind(tag >> 3), part
                # With its tag and length: the rest is what the head is known by.
                begin = part[0] - 1 - _length_bytes(part[1] - part[0])
            elif tag in (0x0A, 0x12, 0x1A) and tag not in seen:
                seen.add(tag)
            elif tag != 0x62:
                raise Unusual
        if data is None or kind is None:
            raise Unusual
        if kind not in (Kind.GAUGE, Kind.SUM):
            self._others(body, span, resource, draft)
            return
        key = resource, body[span[0] : begin] + body[data[1] : span[1]]
        named = self._metrics.get(key)
        if named is None:
            named = self._name(key)
        told = draft.add(body, data)
        if kind is Kind.GAUGE and told:
            raise Unusual
        head = Head(resource, *named, kind, told.get(0x10, 0), bool(told.get(0x18, 0)))
        draft.heads.append(self._head(head))

    def _name(self, key: tuple[int, bytes]) -> tuple[str, str]:
        metric = Metric.FromString(key[1])
        if nested(metric.metadata):
            raise Unusual
        self._known_chars += len(key[1]) + _ENTRY_CHARS
        named = self._metrics[key] = metric.name, metric.unit
        return named

    def _head(self, head: Head) -> int:
        number = self._heads.get(head)
        if number is None:
            number = self._heads[head] = len(self._tables.heads)
            self._tables.heads.append(head)
            self._known_chars += len(head.name) + _ENTRY_CHARS
        return number

    def _others(self, body: bytes, span: Span, resource: int, draft: _Draft) -> None:
        """Histograms and summaries, by protobuf's parser."""
        metric = Metric.FromString(body[span[0] : span[1]])
        head = head_of(metric, resource)
        points = [
            *metric.histogram.data_points,
            *metric.exponential_histogram.data_points,
            *metric.summary.data_points,
        ]
        if head is None or nested(metric.metadata) or any(nested(p.attributes) for p in points):
            raise Unusual
        for point in (*metric.histogram.data_points, *metric.exponential_histogram.data_points):
            if any(nested(exemplar.filtered_attributes) for exemplar in point.exemplars):
                raise Unusual
        before = len(self._tables.attributes)
        draft.histograms += histogram_points(metric, self._head(head), self._tables)
        self._known_chars += _ENTRY_CHARS * (len(self._tables.attributes) - before)

    def _learn(self, block: bytes) -> int:
        """The code of what follows the numbers of a point: attributes, seldom flags."""
        code = self._blocks.get(block)
        if code is None:
            attributes_only(block)
            point = NumberDataPoint.FromString(block)
            if nested(point.attributes):
                raise Unusual
            code = len(self._tables.attributes) << _FLAGS_BITS | point.flags
            self._tables.attributes.append(labels_of(point.attributes))
            self._blocks[block] = code
            self._known_chars += len(block) + _ENTRY_CHARS
        return code


_DATA = frozenset(kind << 3 | 2 for kind in Kind)


def _text(body: bytes, span: Span) -> None:
    """Raise Unusual for what is no text."""
    try:
        body[span[0] : span[1]].decode()
    except UnicodeDecodeError as error:
        raise Unusual from error


def _length_bytes(size: int) -> int:
    return 1 if size < 0x80 else 2 if size < 0x4000 else 3 if size < 0x200000 else 4
