"""Metrics messages to columns, several times faster than protobuf's parser and a walk.

Two things make it fast. What stands before and after the numbers of a point hardly ever changes
from message to message, so attribute blocks, metric heads and resources are looked up by their
bytes, and numbers are gathered by numpy from their places. A message that came before with other
numbers is known as a whole (`collectors.otlp.templates`). The result is always that of
`collectors.otlp.plain`, which reads what is unusual.
"""

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collectors.otlp.attribute_sets import ENTRY_CHARS
from collectors.otlp.draft import Draft, Memory
from collectors.otlp.layouts import Frame
from collectors.otlp.plain import head_of, histogram_points, labels_of, nested, walk
from collectors.otlp.points import Head, Kind, Points, Tables
from collectors.otlp.templates import Recurrence, Templates
from collectors.otlp.wire import Span, Unusual, fields

_KNOWN_CHARS_MAX = 32 * 1024 * 1024
"""Bytes of names and attributes to remember; then everything is learnt anew."""
_TEMPORALITY, _MONOTONIC = 0x10, 0x18


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
        self._known_chars = 0
        self._memory = Memory(self._tables)
        self._messages = Templates[Frame]()
        self._recurrence = Recurrence()

    def decode(self, body: bytes) -> Points:
        """What a message says. Raises BadInput for what is no metrics message."""
        if self._known_chars + self._memory.known_chars > _KNOWN_CHARS_MAX:
            self._forget()
        frame = self._messages.find(body, 0, len(body))
        if frame is not None:
            self._recurrence.hit(len(body))
            return frame.read(self._tables, body)
        try:
            return self._split(body)
        except (Unusual, DecodeError):
            self.plain_messages += 1
            return walk(body)

    def _split(self, body: bytes) -> Points:
        draft = Draft(body, self._memory)
        for tag, span in fields(body, (0, len(body))):
            if tag != 0x0A:
                raise Unusual
            self._resource_metrics(body, span, draft)
        points, frame = draft.finish(self._tables)
        if frame is not None and self._recurrence.worth(len(body)):
            self._messages.keep(frame, frame.places(), body)
        return points

    def _resource_metrics(self, body: bytes, span: Span, draft: Draft) -> None:
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
            self._known_chars += len(blob) + ENTRY_CHARS
        return number

    def _scope_metrics(self, body: bytes, span: Span, resource: int, draft: Draft) -> None:
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
                self._known_chars += len(scope) + ENTRY_CHARS

    def _metric(self, body: bytes, span: Span, resource: int, draft: Draft) -> None:
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
        key = resource, body[span[0] : begin] + body[data[1] : span[1]]
        if kind in (Kind.GAUGE, Kind.SUM):
            told = draft.numbers(data)
        elif kind is Kind.HISTOGRAM:
            told = draft.histograms(data)
        else:
            self._others(body, span, resource, draft)
            return
        if (told and kind is Kind.GAUGE) or (_MONOTONIC in told and kind is Kind.HISTOGRAM):
            raise Unusual
        monotonic = kind is Kind.HISTOGRAM or bool(told.get(_MONOTONIC, 0))
        head = Head(resource, *self._named(key), kind, told.get(_TEMPORALITY, 0), monotonic)
        (draft.histogram_head if kind is Kind.HISTOGRAM else draft.head)(self._head(head))

    def _named(self, key: tuple[int, bytes]) -> tuple[str, str]:
        """Name and unit of a metric, known by all that is said of it but its data."""
        return self._metrics.get(key) or self._name(key)

    def _name(self, key: tuple[int, bytes]) -> tuple[str, str]:
        metric = Metric.FromString(key[1])
        if nested(metric.metadata):
            raise Unusual
        self._known_chars += len(key[1]) + ENTRY_CHARS
        named = self._metrics[key] = metric.name, metric.unit
        return named

    def _head(self, head: Head) -> int:
        number = self._heads.get(head)
        if number is None:
            number = self._heads[head] = len(self._tables.heads)
            self._tables.heads.append(head)
            self._known_chars += len(head.name) + ENTRY_CHARS
        return number

    def _others(self, body: bytes, span: Span, resource: int, draft: Draft) -> None:
        """Exponential histograms and summaries, by protobuf's parser."""
        metric = Metric.FromString(body[span[0] : span[1]])
        head = head_of(metric, resource)
        points = [*metric.exponential_histogram.data_points, *metric.summary.data_points]
        if head is None or nested(metric.metadata) or any(nested(p.attributes) for p in points):
            raise Unusual
        for point in metric.exponential_histogram.data_points:
            if any(nested(exemplar.filtered_attributes) for exemplar in point.exemplars):
                raise Unusual
        before = len(self._tables.attributes)
        draft.others(histogram_points(metric, self._head(head), self._tables))
        self._known_chars += ENTRY_CHARS * (len(self._tables.attributes) - before)


_DATA = frozenset(kind << 3 | 2 for kind in Kind)


def _text(body: bytes, span: Span) -> None:
    """Raise Unusual for what is no text."""
    try:
        body[span[0] : span[1]].decode()
    except UnicodeDecodeError as error:
        raise Unusual from error


def _length_bytes(size: int) -> int:
    return 1 if size < 0x80 else 2 if size < 0x4000 else 3 if size < 0x200000 else 4
