"""OpenTelemetry in, as the composition root builds it: what the SDK sends lies in the log."""

import socket
import threading
from pathlib import Path

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from fleetmend.clock import SystemClock
from fleetmend.model.samples import SampleBatch
from fleetmend.pipeline import Parts, Role, services
from fleetmend.services import Loop, Service
from fleetmend.settings import Settings
from fleetmend.streams.codec import decode
from fleetmend.streams.engines import open_log
from fleetmend.streams.topics import Topic


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_gauge_of_the_sdk_becomes_a_sample_in_the_log(tmp_path: Path) -> None:
    port = free_port()
    settings = Settings.model_validate(
        {
            "streams": {"path": str(tmp_path / "log.db")},
            "collectors": {
                "otlp": {
                    "http_port": port,
                    "senders": [{"name": "n", "speaks_for": "node", "node": "node-1"}],
                }
            },
        }
    )
    clock = SystemClock()
    log = open_log(settings.streams, clock)
    parts = Parts(settings=settings, clock=clock, log=log, store=None, ports=lambda: None)  # type: ignore[arg-type,return-value]
    collecting = services(parts, frozenset({Role.COLLECTOR}))
    (loop,) = [each for each in collecting if isinstance(each, Loop) and each.name == "otlp"]
    (fleet,) = [each for each in collecting if isinstance(each, Service) and each.name == "fleet"]
    fleet.step()  # the doors take nothing before the fleet is known
    stop = threading.Event()
    thread = threading.Thread(target=loop.run, args=(stop,), daemon=True)
    thread.start()
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        clock.wait(stop, 0.02)
    exporter = OTLPMetricExporter(endpoint=f"http://127.0.0.1:{port}/v1/metrics")
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    provider = MeterProvider([reader], resource=Resource({"host.name": "elsewhere"}))
    gauge = provider.get_meter("test").create_gauge("hw.gpu.utilization", unit="1")
    gauge.set(0.25, {"hw.id": "GPU-7"})
    assert provider.force_flush(10_000)
    provider.shutdown()
    found: list[tuple[str, str, float]] = []
    for _ in range(200):
        begins = {place: log.begin(place) for place in log.partitions(Topic.SAMPLES)}
        for raw in log.read(begins, limit=100):
            payload = decode(raw).payload
            if isinstance(payload, SampleBatch):
                found += [
                    (payload.entities[e], payload.signals[s], float(v))
                    for e, s, v in zip(payload.entity, payload.signal, payload.value, strict=True)
                ]
        if found:
            break
        clock.wait(stop, 0.02)
    stop.set()
    thread.join(10)
    log.close()
    assert set(found) == {("local/gpu/GPU-7", "gpu.utilization", 0.25)}
