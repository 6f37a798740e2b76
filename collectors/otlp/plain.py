"""The plain way to read a metrics message: protobuf's own parser, then a walk over its objects.

It defines what the fast decoder must say, and answers for every message that is unusual.
"""

import math
from collections.abc import Iterable, Mapping
from itertools import islice

import numpy as np
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import HistogramDataPoint, Metric

from collectors.otlp.points import Head, HistogramPoint, Kind, Points, Tables
from fleetmend.errors import BadInput

_NESTED = frozenset({"array_value", "kvlist_value"})
TEXT_MAX = 1024
"""Longest attribute value that is kept: names of things are shorter."""
ATTRIBUTES_MAX = 128
"""Most attributes of a resource, and of a point, that are read: the limit that OpenTelemetry's SDKs
set themselves. Each point bears those of its resource, so more of them multiply."""


def parse(body: bytes) -> ExportMetricsServiceRequest:
    """The message. Raises BadInput."""
    message = ExportMetricsServiceRequest()
    try:
        message.MergeFromString(body)
    except DecodeError as error:
        raise BadInput("not an OTLP metrics message") from error
    return message


def walk(body: bytes) -> Points:
    """What a message says. Raises BadInput."""
    return walk_message(parse(body))


def walk_message(message: ExportMetricsServiceRequest) -> Points:
    """What a parsed message says."""
    tables = Tables()
    heads: list[int] = []
    sets: list[int] = []
    starts: list[int] = []
    times: list[int] = []
    values: list[float] = []
    flags: list[int] = []
    histograms: list[HistogramPoint] = []
    for resource in message.resource_metrics:
        tables.resources.append(labels_of(resource.resource.attributes))
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                head = head_of(metric, len(tables.resources) - 1)
                if head is None:
                    continue
                tables.heads.append(head)
                number = len(tables.heads) - 1
                if head.kind not in (Kind.GAUGE, Kind.SUM):
                    histograms += histogram_points(metric, number, tables)
                    continue
                for point in (metric.gauge if head.kind is Kind.GAUGE else metric.sum).data_points:
                    tables.attributes.append(labels_of(point.attributes))
                    heads.append(number)
                    sets.append(len(tables.attributes) - 1)
                    starts.append(point.start_time_unix_nano)
                    times.append(point.time_unix_nano)
                    values.append(_number(point.WhichOneof("value"), point))
                    flags.append(point.flags)
    return Points(
        tables,
        np.array(heads, np.int32),
        np.array(sets, np.int32),
        np.array(starts, np.uint64),
        np.array(times, np.uint64),
        np.array(values, np.float64),
        np.array(flags, np.uint32),
        tuple(histograms),
    )


def _number(which: str | None, point: object) -> float:
    return math.nan if which is None else float(getattr(point, which))


def head_of(metric: Metric, resource: int) -> Head | None:
    """Name, unit and kind of a metric; None when it holds no data of a known kind."""
    match metric.WhichOneof("data"):
        case "gauge":
            return Head(resource, metric.name, metric.unit, Kind.GAUGE)
        case "sum":
            of = metric.sum
            kind, monotonic = Kind.SUM, of.is_monotonic
            return Head(
                resource, metric.name, metric.unit, kind, of.aggregation_temporality, monotonic
            )
        case "histogram":
            kind, way = Kind.HISTOGRAM, metric.histogram.aggregation_temporality
            return Head(resource, metric.name, metric.unit, kind, way, monotonic=True)
        case "exponential_histogram":
            kind, way = Kind.EXPONENTIAL, metric.exponential_histogram.aggregation_temporality
            return Head(resource, metric.name, metric.unit, kind, way, monotonic=True)
        case "summary":
            return Head(resource, metric.name, metric.unit, Kind.SUMMARY)
        case _:
            return None


def histogram_points(metric: Metric, head: int, tables: Tables) -> list[HistogramPoint]:
    """The points of a metric that is neither gauge nor sum."""
    found = []

    def add(point: object, bounds: Iterable[float], counts: Iterable[float], **more: int) -> None:
        p: HistogramDataPoint = point  # type: ignore[assignment]  # the three kinds share these fields
        labels = tables.intern(labels_of(p.attributes))
        summed = p.sum if metric.WhichOneof("data") == "summary" or p.HasField("sum") else math.nan
        found.append(
            HistogramPoint(
                head,
                labels,
                p.start_time_unix_nano,
                p.time_unix_nano,
                p.flags,
                p.count,
                summed,
                tuple(bounds),
                tuple(counts),
                **more,
            )
        )

    for explicit in metric.histogram.data_points:
        add(explicit, explicit.explicit_bounds, explicit.bucket_counts)
    for each in metric.exponential_histogram.data_points:
        below = each.zero_count + sum(each.negative.bucket_counts)
        more = {"scale": each.scale, "offset": each.positive.offset, "below": below}
        add(each, (), each.positive.bucket_counts, **more)
    for summary in metric.summary.data_points:
        rows = summary.quantile_values
        add(summary, (row.quantile for row in rows), (row.value for row in rows))
    return found


def labels_of(attributes: Iterable[KeyValue]) -> Mapping[str, str]:
    """The first attributes as labels; nested ones and bytes name nothing and are left out."""
    found = {}
    for attribute in islice(attributes, ATTRIBUTES_MAX):
        text = text_of(attribute.value)
        if text is not None:
            found[attribute.key[:TEXT_MAX]] = text
    return found


def text_of(value: AnyValue) -> str | None:
    """A scalar as text; None for everything else."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value[:TEXT_MAX]
        case "bool_value":
            return "true" if value.bool_value else "false"
        case "int_value":
            return str(value.int_value)
        case "double_value":
            return repr(value.double_value)
        case _:
            return None


def nested(attributes: Iterable[KeyValue]) -> bool:
    """Whether any attribute holds values inside a value: protobuf limits how deep a message goes,
    counted from its beginning, so a part of such a message must not be read by itself."""
    return any(attribute.value.WhichOneof("value") in _NESTED for attribute in attributes)
