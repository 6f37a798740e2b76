"""A real OpenTelemetry Collector between a sender and us: what it writes to Kafka is read whole.

`FLEETMEND_CAPTURE=FOLDER` keeps its messages there; those in `tests/data/otlp/collector` came so.
"""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from benchmarks.machine import described
from collectors.otlp.decoder import Decoder
from collectors.otlp.log_lines import lines_of
from collectors.otlp.plain import walk
from deploy.parts.otel_collector import VERSION, OtelCollector
from fleetmend.clock import SystemClock
from fleetmend.streams.foreign import ForeignTopics
from fleetmend.streams.port import ForeignRecord
from tests.fuzz.otlp import rows_of
from tests.unit.collectors.otlp.senders import LINES, NS, kernel_lines, readings

pytestmark = pytest.mark.otel

NODE = "node-7"
HEARD_S = 60.0
CLOCK = SystemClock()


def now_ns() -> int:
    return int(CLOCK.now_s() * NS)


@pytest.fixture
def topics(kafka_bootstrap: str) -> tuple[str, str]:
    """Of metrics and of logs."""
    names = f"metrics-{uuid.uuid4().hex[:10]}", f"logs-{uuid.uuid4().hex[:10]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.create_topics([NewTopic(n, num_partitions=1, replication_factor=1) for n in names])
    admin.close()
    return names


@pytest.fixture
def collector(
    kafka_bootstrap: str, topics: tuple[str, str], tmp_path: Path
) -> Iterator[OtelCollector]:
    """A Collector of node-7."""
    running = OtelCollector(
        tmp_path,
        bootstrap=kafka_bootstrap,
        node=NODE,
        metrics_topic=topics[0],
        logs_topic=topics[1],
    )
    yield running
    running.stop()


def post(collector: OtelCollector, path: str, body: bytes) -> None:
    """Send a message as OTLP over HTTP."""
    connection = HTTPConnection("127.0.0.1", collector.port, timeout=10)
    kind = {"Content-Type": "application/x-protobuf"}
    connection.request("POST", f"/v1/{path}", body=body, headers=kind)
    assert connection.getresponse().status == 200
    connection.close()


def heard(
    reader: ForeignTopics, enough: Callable[[list[ForeignRecord]], bool]
) -> list[ForeignRecord]:
    """The records until there are enough."""
    found: list[ForeignRecord] = []
    deadline_s = CLOCK.monotonic_s() + HEARD_S
    while not enough(found):
        assert CLOCK.monotonic_s() < deadline_s, [record.topic for record in found]
        found += reader.poll(0.2)
    return found


def said(body: bytes) -> set[str]:
    """What a message says, as text."""
    return {str(row) for row in rows_of(walk(body))}


def test_what_a_collector_writes_is_what_was_sent(
    kafka_bootstrap: str, topics: tuple[str, str], collector: OtelCollector
) -> None:
    metrics_topic, logs_topic = topics
    reader = ForeignTopics(kafka_bootstrap, list(topics))
    wanted = set[str]()
    for step in range(3):
        request = readings(at_ns=now_ns(), step=step)
        post(collector, "metrics", request.SerializeToString())
        for metrics in request.resource_metrics:
            metrics.resource.attributes.add(key="k8s.node.name").value.string_value = NODE
        wanted |= said(request.SerializeToString())
    post(collector, "logs", kernel_lines(at_ns=now_ns()).SerializeToString())

    def all_there(found: list[ForeignRecord]) -> bool:
        rows = set[str]().union(*(said(r.value) for r in found if r.topic == metrics_topic))
        of_the_host = any("system.memory.usage" in row for row in rows)
        return of_the_host and wanted <= rows and any(r.topic == logs_topic for r in found)

    begun_s = CLOCK.monotonic_s()
    records = heard(reader, all_there)
    heard_s = CLOCK.monotonic_s() - begun_s
    reader.close()
    decoder = Decoder()
    for record in records:
        if record.topic == metrics_topic:
            assert rows_of(decoder.decode(record.value)) == rows_of(walk(record.value))
    assert decoder.plain_messages == 0
    lines = [text for r in records if r.topic == logs_topic for _, _, text in lines_of(r.value)]
    assert lines == list(LINES)
    keep(records, topics)
    report(records, heard_s)


def keep(records: list[ForeignRecord], topics: tuple[str, str]) -> None:
    """Write the messages where the environment says."""
    folder = os.environ.get("FLEETMEND_CAPTURE")
    if not folder:
        return
    for number, record in enumerate(records):
        kind = "metrics" if record.topic == topics[0] else "logs"
        Path(folder, f"{number:02}-{kind}.bin").write_bytes(record.value)


def report(records: list[ForeignRecord], heard_s: float) -> None:
    """Write the figures where the environment says."""
    path = os.environ.get("FLEETMEND_OTEL_RECORD")
    if not path:
        return
    figures = {
        "collector": VERSION,
        "messages": len(records),
        "bytes": sum(len(record.value) for record in records),
        "heard_after_s": round(heard_s, 2),
    }
    Path(path).write_text(json.dumps({**described("otel"), **figures}, indent=1) + "\n")
