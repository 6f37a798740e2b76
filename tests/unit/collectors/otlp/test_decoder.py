"""The fast decoder says what protobuf's own parser and a plain walk say, or refuses as they do."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from collectors.otlp.decoder import Decoder
from collectors.otlp.plain import walk
from collectors.otlp.points import HistogramColumns, histograms_to_arrow, to_arrow
from tests.fuzz.otlp import EAGER, outcome, rows_of

MESSAGES = Path(__file__).parents[3] / "data" / "otlp"

Draw = st.DrawFn
TEXTS = st.sampled_from(["", "a", "hw.id", "GPU-1", "µ" * 70, "x" * 130])
WORDS = st.one_of(st.integers(0, 2**64 - 1), st.just(0), st.integers(0, 300))
WAYS = [
    AggregationTemporality.AGGREGATION_TEMPORALITY_UNSPECIFIED,
    AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA,
    AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE,
]
FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@pytest.fixture(scope="module", params=["usual", "eager"], autouse=True)
def _eagerness(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once as it is, and once so that what is meant for long lists is done with the shortest."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in EAGER.items() if request.param == "eager" else ():
            patch.setattr(name, value)
        yield


@st.composite
def attributes(draw: Draw) -> list[KeyValue]:
    found = []
    for key in draw(st.lists(TEXTS, max_size=3)):
        pair = KeyValue(key=key)
        match draw(st.integers(0, 7)):
            case 0:
                pair.value.bool_value = draw(st.booleans())
            case 1:
                pair.value.int_value = draw(st.integers(-(2**63), 2**63 - 1))
            case 2:
                pair.value.double_value = draw(FLOATS)
            case 3:
                pair.value.array_value.values.add().string_value = "nested"
            case 4:
                pair.value.bytes_value = b"\xff"
            case _:
                pair.value.string_value = draw(TEXTS)
        found.append(pair)
    return found


def number_points(draw: Draw, points: object, *, most: int) -> None:
    shared = draw(attributes())
    for _ in range(draw(st.integers(0, most))):
        point = points.add()  # type: ignore[attr-defined]  # a repeated field of protobuf
        point.time_unix_nano = draw(WORDS)
        point.start_time_unix_nano = draw(WORDS)
        point.flags = draw(st.sampled_from([0, 0, 0, 1, 200]))
        match draw(st.integers(0, 5)):
            case 0:
                point.as_int = draw(st.integers(-(2**63), 2**63 - 1))
            case 1:
                pass
            case _:
                point.as_double = draw(FLOATS)
        point.attributes.extend(shared if draw(st.booleans()) else draw(attributes()))
        if draw(st.integers(0, 9)) == 0:
            point.exemplars.add(as_double=1.0).filtered_attributes.extend(draw(attributes()))


def histogram_points(draw: Draw, points: object) -> None:
    for _ in range(draw(st.integers(0, 4))):
        point = points.add()  # type: ignore[attr-defined]  # a repeated field of protobuf
        point.time_unix_nano = draw(WORDS)
        point.start_time_unix_nano = draw(WORDS)
        point.count = draw(WORDS)
        point.bucket_counts.extend(draw(st.lists(WORDS, max_size=4)))
        point.explicit_bounds.extend(draw(st.sampled_from([[], [0.1], [0.1, 1.0], [math.nan]])))
        point.attributes.extend(draw(attributes()))
        point.flags = draw(st.sampled_from([0, 0, 1, 200]))
        for name in ("sum", "min", "max"):
            if draw(st.booleans()):
                setattr(point, name, draw(FLOATS))
        if draw(st.integers(0, 4)) == 0:
            point.exemplars.add(as_double=1.0).filtered_attributes.extend(draw(attributes()))


@st.composite
def metrics(draw: Draw) -> Metric:
    metric = Metric(name=draw(TEXTS), unit=draw(TEXTS), description=draw(TEXTS))
    most = draw(st.sampled_from([3, 3, 40]))
    match draw(st.integers(0, 6)):
        case 0:
            metric.histogram.aggregation_temporality = draw(st.sampled_from(WAYS))
            histogram_points(draw, metric.histogram.data_points)
        case 1:
            each = metric.exponential_histogram.data_points.add(scale=3, zero_count=2, count=4)
            each.positive.offset = -2
            each.positive.bucket_counts.extend([1, 1])
        case 2:
            metric.summary.data_points.add(count=2, sum=1.0).quantile_values.add(
                quantile=0.5, value=draw(FLOATS)
            )
        case 3:
            metric.sum.is_monotonic = draw(st.booleans())
            metric.sum.aggregation_temporality = draw(st.sampled_from(WAYS))
            number_points(draw, metric.sum.data_points, most=most)
        case 4:
            pass
        case _:
            number_points(draw, metric.gauge.data_points, most=most)
    if draw(st.booleans()):
        metric.metadata.extend(draw(attributes()))
    return metric


@st.composite
def messages(draw: Draw) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    for _ in range(draw(st.integers(0, 2))):
        resource = request.resource_metrics.add(schema_url=draw(TEXTS))
        resource.resource.attributes.extend(draw(attributes()))
        for _ in range(draw(st.integers(0, 2))):
            scope = resource.scope_metrics.add()
            scope.scope.name = draw(TEXTS)
            scope.metrics.extend(draw(st.lists(metrics(), max_size=3)))
    return request


@settings(max_examples=50, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=2))
def test_any_message_is_read_as_protobuf_reads_it_at_first_and_again(
    sent: list[ExportMetricsServiceRequest],
) -> None:
    decoder = Decoder()
    for request in sent * 3:  # the third time a template answers
        body = request.SerializeToString()
        assert rows_of(decoder.decode(body)) == rows_of(walk(body))


@settings(max_examples=80, deadline=None)
@given(messages(), st.data())
def test_a_damaged_message_is_read_or_refused_as_protobuf_does_it(
    sent: ExportMetricsServiceRequest, data: st.DataObject
) -> None:
    decoder, body = Decoder(), bytearray(sent.SerializeToString())
    for _ in range(3):
        decoder.decode(bytes(body)) if body else None
    for _ in range(data.draw(st.integers(1, 4))):
        if not body:
            break
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.integers(0, 3)):
            case 0:
                body[at] = data.draw(st.integers(0, 255))
            case 1:
                del body[at]
            case 2:
                body.insert(at, data.draw(st.sampled_from([0x0A, 0x11, 0x19, 0x3A, 0x40, 0x80])))
            case _:
                del body[at:]
    broken = bytes(body)
    assert outcome(lambda: decoder.decode(broken)) == outcome(lambda: walk(broken))


def steady(seed: int, *, gpus: int = 100) -> ExportMetricsServiceRequest:
    """What a node agent sends each second."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    pair = resource.resource.attributes.add(key="host.name")
    pair.value.string_value = "node-0"
    scope = resource.scope_metrics.add()
    for name in ("hw.gpu.utilization", "hw.power"):
        metric = scope.metrics.add(name=name, unit="1")
        for gpu in range(gpus):
            point = metric.gauge.data_points.add(time_unix_nano=10**18 + seed, as_double=seed + gpu)
            label = point.attributes.add(key="hw.id")
            label.value.string_value = f"GPU-{gpu}"
    counter = scope.metrics.add(name="hw.energy", unit="J")
    counter.sum.is_monotonic = True
    counter.sum.aggregation_temporality = 2
    for gpu in range(gpus):
        counter.sum.data_points.add(
            start_time_unix_nano=5, time_unix_nano=10**18 + seed, as_int=seed * gpu
        )
    return request


def test_usual_messages_never_need_protobufs_parser() -> None:
    decoder = Decoder()
    for seed in range(4):
        body = steady(seed).SerializeToString()
        assert rows_of(decoder.decode(body)) == rows_of(walk(body))
    assert decoder.plain_messages == 0


def latencies(seed: int, *, engines: int = 40, exemplars: bool = False) -> bytes:
    """What an engine's server says of its requests."""
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    for name in ("gen_ai.server.request.duration", "gen_ai.server.time_to_first_token"):
        metric = scope.metrics.add(name=name, unit="s")
        metric.histogram.aggregation_temporality = 2
        for engine in range(engines):
            point = metric.histogram.data_points.add(
                start_time_unix_nano=10**18,
                time_unix_nano=10**18 + 1 + seed,
                count=7 + seed,
                sum=1.5 * seed + engine,
                bucket_counts=[seed, 2, 5],
                explicit_bounds=[0.1, 1.0],
                min=0.01 * seed,
                max=2.0,
            )
            label = point.attributes.add(key="service.instance.id")
            label.value.string_value = f"engine-{engine}"
            if exemplars:
                point.exemplars.add(as_double=0.5, time_unix_nano=seed, trace_id=bytes(16))
    return bytes(request.SerializeToString())


@pytest.mark.parametrize("exemplars", [False, True])
def test_histograms_never_need_protobufs_parser(
    monkeypatch: pytest.MonkeyPatch, exemplars: bool
) -> None:
    decoder = Decoder()
    bodies = [latencies(seed, exemplars=exemplars) for seed in range(5)]
    wanted = [rows_of(walk(body)) for body in bodies]
    monkeypatch.setattr("collectors.otlp.decoder.histogram_points", None)
    assert [rows_of(decoder.decode(body)) for body in bodies] == wanted
    assert decoder.plain_messages == 0


def test_histograms_of_one_size_that_say_other_things_are_not_taken_for_each_other() -> None:
    """A sum and a least value are written with equally many bytes."""
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="d")
    for number in range(6):
        point = metric.histogram.data_points.add(time_unix_nano=number + 1, count=1)
        setattr(point, ("sum", "min", "max")[number % 3], 4.0)
    body = request.SerializeToString()
    decoder = Decoder()
    assert rows_of(decoder.decode(body)) == rows_of(walk(body))
    assert decoder.plain_messages == 0


def test_flags_before_and_after_the_attributes_are_the_last_ones() -> None:
    words = b"\x19" + bytes(8) + b"\x21" + bytes(8)
    point = b"\x40\x01" + words + _lead(0x3A, b"\x0a\x01a\x12\x03\x0a\x01b") + b"\x40\x02"
    metric = _lead(0x0A, b"m") + _lead(0x2A, _lead(0x0A, point) * 3)
    body = _lead(0x0A, _lead(0x12, _lead(0x12, metric)))
    assert Decoder().decode(body).flags.tolist() == walk(body).flags.tolist() == [2, 2, 2]


def test_histograms_reach_arrow_with_bounds_and_counts() -> None:
    found = Decoder().decode(latencies(3)).histograms
    assert isinstance(found, HistogramColumns)
    row = pa.Table.from_batches([histograms_to_arrow(found)]).slice(41, 1).to_pylist()[0]
    assert row["metric"] == "gen_ai.server.time_to_first_token"
    assert row["attributes"] == [("service.instance.id", "engine-1")]
    assert (row["bounds"], row["counts"]) == ([0.1, 1.0], [3, 2, 5])
    assert (row["time_ns"], row["count"], row["sum"]) == (10**18 + 4, 10, 5.5)


def test_a_changed_name_in_a_message_of_the_same_length_is_not_taken_for_the_old_one() -> None:
    decoder = Decoder()
    body = steady(1).SerializeToString()
    for _ in range(3):
        decoder.decode(body)
    other = body.replace(b"GPU-42", b"GPU-XX")
    assert rows_of(decoder.decode(other)) == rows_of(walk(other))


def reversed_fields(request: ExportMetricsServiceRequest) -> bytes:
    """The same message with the fields of every level the other way round, points' attributes
    last: as senders write that fill a buffer from its end."""
    out = b""
    for resource in request.resource_metrics:
        scopes = b""
        for scope in resource.scope_metrics:
            every = b"".join(_lead(0x12, _metric_backwards(m)) for m in scope.metrics)
            scopes += _lead(0x12, every + _lead(0x0A, scope.scope.SerializeToString()))
        body = _lead(0x1A, b"") + scopes + _lead(0x0A, resource.resource.SerializeToString())
        out += _lead(0x0A, body)
    return out


def _metric_backwards(metric: Metric) -> bytes:
    data = b""
    for point in (*metric.gauge.data_points, *metric.sum.data_points):
        value = point.SerializeToString()
        words = [value[at : at + 9] for at in range(0, len(value), 9) if value[at] != 0x3A]
        count = 3 if point.start_time_unix_nano else 2
        head = words[:count]
        data += _lead(0x0A, b"\x40\x00" + b"".join(reversed(head)) + value[9 * count :])
    if metric.HasField("sum"):
        data = b"\x18\x01\x10\x02" + data
    tag = 0x3A if metric.HasField("sum") else 0x2A
    return _lead(tag, data) + _lead(0x1A, metric.unit.encode()) + _lead(0x0A, metric.name.encode())


def _lead(tag: int, content: bytes) -> bytes:
    size, lead = len(content), bytes([tag])
    while size >= 0x80:
        lead += bytes([size & 0x7F | 0x80])
        size >>= 7
    return lead + bytes([size]) + content


def test_fields_written_from_the_end_are_read_as_fast() -> None:
    decoder = Decoder()
    for seed in range(3):
        body = reversed_fields(steady(seed))
        assert rows_of(walk(body)) == rows_of(walk(steady(seed).SerializeToString()))
        assert rows_of(decoder.decode(body)) == rows_of(walk(body))
    assert decoder.plain_messages == 0


def test_a_text_that_imitates_a_point_is_read_as_a_text() -> None:
    point = b"\x0a\x12\x19" + b"\0" * 8 + b"\x21" + b"\0" * 8
    request = steady(2)
    label = request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[7]
    label.attributes[0].value.string_value = (point * 2).decode()
    body = request.SerializeToString()
    decoder = Decoder()
    assert rows_of(decoder.decode(body)) == rows_of(walk(body))
    assert decoder.plain_messages == 0


def test_a_sender_of_ever_new_names_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("collectors.otlp.decoder._KNOWN_CHARS_MAX", 100_000)
    decoder = Decoder()
    sizes = set()
    for round_ in range(30):
        body = steady(1).SerializeToString().replace(b"GPU-", b"G%03d" % round_)
        sizes.add(len(decoder.decode(body).tables.attributes))
    assert max(sizes) < 1000


def test_messages_of_real_senders_are_read_as_protobuf_reads_them() -> None:
    paths = sorted(MESSAGES.rglob("*.bin"))
    assert paths
    for path in paths:
        body = path.read_bytes()
        decoder = Decoder()
        for _ in range(3):
            assert outcome(partial(decoder.decode, body)) == outcome(partial(walk, body)), path


def test_columns_reach_arrow_with_names_and_attributes() -> None:
    points = Decoder().decode(steady(3, gpus=2).SerializeToString())
    table = pa.Table.from_batches([to_arrow(points)])
    first = table.slice(0, 1).to_pylist()[0]
    assert first["metric"] == "hw.gpu.utilization"
    assert first["attributes"] == [("hw.id", "GPU-0")]
    assert first["value"] == 3.0
    assert first["time_ns"] == 10**18 + 3
    assert not math.isnan(first["value"])
