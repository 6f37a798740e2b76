"""Doors and intake together: what the SDK of OpenTelemetry sends arrives; a topic's records too."""

import socket
import threading
from pathlib import Path

import httpx
import pytest

from collectors.otlp.collector import OtlpCollector
from collectors.otlp.doors import Reason
from collectors.otlp.intake import Full, Taken
from collectors.otlp.over_kafka import KafkaDoor
from fleetmend.clock import SystemClock
from fleetmend.errors import BadInput, StreamError
from fleetmend.settings.otlp import OtlpSenderSettings, OtlpSettings
from fleetmend.streams.port import ForeignReader, ForeignRecord


class FakeIntake:
    """Refuses what begins with a bang, is full once, and keeps the rest."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str, bytes]] = []
        self.refused: list[str] = []
        self.full = 1
        self.polls = threading.Event()

    def metrics(self, sender: str, body: bytes) -> Taken:
        return self._take("metrics", sender, body)

    def logs(self, sender: str, body: bytes) -> Taken:
        return self._take("logs", sender, body)

    def feedback(self, sender: str, body: bytes) -> Taken:
        return self._take("feedback", sender, body)

    def _take(self, what: str, sender: str, body: bytes) -> Taken:
        if body.startswith(b"!"):
            raise BadInput("no message")
        if self.full:
            self.full -= 1
            raise Full
        self.taken.append((what, sender, body))
        return Taken()

    def refuse(self, sender: str, reason: Reason, *, payload: bytes = b"") -> None:
        self.refused.append(reason)

    def announce(self) -> None:
        pass

    def poll(self) -> None:
        self.polls.set()


class Broker:
    """Is away the first time, then gives these records, then ends the door."""

    def __init__(self, records: list[ForeignRecord], stop: threading.Event) -> None:
        self.records, self.stop, self.tries = records, stop, 0

    def __call__(self) -> ForeignReader:
        self.tries += 1
        if self.tries == 1:
            raise StreamError("no broker")
        return self

    def poll(self, wait_s: float) -> list[ForeignRecord]:
        self.stop.set() if not self.records else None
        records, self.records = self.records, []
        return records

    def close(self) -> None:
        raise StreamError("gone already")


class FastClock(SystemClock):
    """Waits no longer than it must."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        return super().wait(event, min(timeout_s, 0.001))


def settings(**more: object) -> OtlpSettings:
    sender = OtlpSenderSettings(name="topic", speaks_for="cluster")
    return OtlpSettings.model_validate({"senders": (sender,), "body_bytes_max": 65_536, **more})


def test_records_of_topics_are_taken_and_bad_ones_stop_nothing() -> None:
    stop, intake = threading.Event(), FakeIntake()
    told = (
        ("otlp_metrics", b"m"),
        ("otlp_metrics", b"!"),
        ("otlp_metrics", bytes(70_000)),
        ("l", b"l"),
    )
    records = [ForeignRecord(topic, 0, at, value) for at, (topic, value) in enumerate(told)]
    broker = Broker(records, stop)
    wanted = settings(kafka_bootstrap="b:1", kafka_logs_topic="l", kafka_sender="topic")

    KafkaDoor(wanted, intake, FastClock(), connect=broker).run(stop)  # type: ignore[arg-type]

    assert intake.taken == [("metrics", "topic", b"m"), ("logs", "topic", b"l")]
    assert intake.refused == [Reason.UNREACHABLE, Reason.UNREADABLE, Reason.OVERSIZE]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_doors_open_with_the_loop_and_close_with_it(tmp_path: Path) -> None:
    port, intake, stop = free_port(), FakeIntake(), threading.Event()
    intake.full = 0
    wanted = settings(http_port=port, grpc_port=free_port())
    broker = Broker([], stop)
    collector = OtlpCollector(wanted, intake, SystemClock(), foreign=broker)  # type: ignore[arg-type]
    thread = threading.Thread(target=collector.run, args=(stop,), daemon=True)
    thread.start()
    assert collector.opened.wait(10)
    headers = {"Content-Type": "application/x-protobuf"}
    answer = httpx.post(f"http://127.0.0.1:{port}/v1/logs", content=b"", headers=headers)
    assert answer.status_code == 200
    assert intake.polls.wait(5)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert intake.taken == [("logs", "topic", b"")]
    with pytest.raises(httpx.ConnectError):
        httpx.post(f"http://127.0.0.1:{port}/v1/logs", content=b"", headers=headers)
