"""Messages that a real OpenTelemetry Collector wrote to Kafka become the signals that they mean."""

from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import NumberDataPoint

from collectors.otlp.decoder import Decoder
from collectors.otlp.intake import Intake
from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityId
from fleetmend.model.events import EventType
from fleetmend.settings.collectors import CollectorsSettings
from fleetmend.settings.otlp import OtlpSenderSettings, OtlpSettings
from fleetmend.signals.catalogue import catalogue
from tests.unit.collectors.fakes import ListLetters, ListSink
from tests.unit.collectors.otlp.senders import ENGINE, GPUS, NS, gpu_id

CAPTURED = Path(__file__).parents[3] / "data" / "otlp" / "collector"
ENTITY = EntityId(f"c/engine/{ENGINE}")


def captured(name: str) -> bytes:
    """A message, as its Kafka record held it."""
    return (CAPTURED / f"{name}.bin").read_bytes()


class Rig:
    """An intake with a gateway as its sender, at the time of the messages."""

    def __init__(self) -> None:
        sender = {"name": "gateway", "speaks_for": "cluster", "token_file": "unread"}
        senders = (OtlpSenderSettings.model_validate(sender),)
        self.sink = ListSink()
        self.letters = ListLetters()
        body = ExportMetricsServiceRequest.FromString(captured("metrics-host"))
        newest_ns = max(point.time_unix_nano for _, point in number_points(body))
        self.intake = Intake(
            CollectorsSettings(otlp=OtlpSettings(senders=senders)),
            cluster="c",
            sink=self.sink,
            clock=ManualClock(newest_ns / NS + 0.1),
            dead_letters=self.letters,
            signals=catalogue(),
            resolve=lambda name: ENTITY if name == ENTITY else None,
            node_of=lambda entity: None,
        )

    def take(self, name: str) -> None:
        """Give it a message; everything in it must be taken."""
        give = self.intake.logs if name == "logs" else self.intake.metrics
        assert give("gateway", captured(name)).rejected == 0
        self.intake.poll()

    def values(self, signal: str) -> dict[str, list[float]]:
        """What it said of a signal, by entity, in the order of time."""
        found: dict[str, list[float]] = {}
        for _, batch in self.sink.batches:
            for code, entity, value in zip(
                batch.signal.tolist(), batch.entity.tolist(), batch.value.tolist(), strict=True
            ):
                if batch.signals[code] == signal:
                    found.setdefault(batch.entities[entity], []).append(value)
        return found


def number_points(
    message: ExportMetricsServiceRequest,
) -> list[tuple[str, NumberDataPoint]]:
    """Gauge and sum points with the names of their metrics."""
    return [
        (metric.name, point)
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in (*metric.gauge.data_points, *metric.sum.data_points)
    ]


@pytest.mark.parametrize("name", ["metrics-sent", "metrics-host"])
def test_a_collectors_messages_never_need_protobufs_parser(name: str) -> None:
    decoder = Decoder()
    for _ in range(3):
        decoder.decode(captured(name))
    assert decoder.plain_messages == 0


def test_gpu_metrics_are_those_of_the_senders_gpus_at_each_of_three_moments() -> None:
    rig = Rig()
    rig.take("metrics-sent")
    for gpu in range(GPUS):
        entity = f"c/gpu/{gpu_id(gpu)}"
        steps = [step / 128 + gpu / 16 for step in range(3)]
        assert rig.values("gpu.utilization")[entity] == pytest.approx([0.5 + s for s in steps])
        assert rig.values("gpu.temperature")[entity] == pytest.approx([60.0 + s for s in steps])
        assert rig.values("gpu.memory_used")[entity] == [2**30 * (gpu + 1)] * 3
        assert rig.values("gpu.energy")[entity] == [700.0 * step + gpu for step in range(3)]
    placed = {c.entity: c.target for c in rig.sink.changes if c.target == "c/node/node-7"}
    assert placed.keys() >= {f"c/gpu/{gpu_id(gpu)}" for gpu in range(GPUS)}


def test_a_servers_histograms_are_quantiles_of_what_came_between_two_moments() -> None:
    """Ten requests more each time, all between 0.32 and 0.64 seconds, half a second on average."""
    rig = Rig()
    rig.take("metrics-sent")
    for name in ("engine.e2e", "engine.ttft"):
        assert rig.values(f"{name}_p50") == {ENTITY: pytest.approx([0.48, 0.48])}
        assert rig.values(f"{name}_mean") == {ENTITY: pytest.approx([0.5, 0.5])}
    assert rig.values("engine.process_memory") == {ENTITY: [3 * 2**30] * 3}


def test_the_collectors_own_host_metrics_are_those_of_its_node() -> None:
    rig = Rig()
    rig.take("metrics-host")
    message = ExportMetricsServiceRequest.FromString(captured("metrics-host"))
    told = {name: point for name, point in number_points(message)}
    used = [
        point.as_int
        for name, point in number_points(message)
        if name == "system.memory.usage" and point.attributes[0].value.string_value == "used"
    ]
    load = told["system.cpu.load_average.1m"].as_double
    assert load > 0
    assert rig.values("node.load1") == {"c/node/node-7": [load]}
    assert rig.values("node.memory_used") == {"c/node/node-7": used}


def test_a_collectors_log_lines_are_an_applications_word_about_the_node() -> None:
    rig = Rig()
    rig.take("logs")
    told = [event for event in rig.sink.events if event.type is not EventType.SCRAPE]
    assert [event.type for event in told] == [EventType.XID, EventType.LOG_SIGNATURE]
    assert (told[0].data["xid"], told[1].data["signature"]) == (79, "oom_kill")
    assert {event.subject for event in told} == {"c/node/node-7"}
    assert {event.data["witness"] for event in told} == {"application_log"}
    assert rig.letters.letters == []
