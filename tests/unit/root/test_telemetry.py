"""The platform's own traces and figures go out by the SDK, and only where settings say so."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry, Counter, Gauge

from fleetmend.errors import SettingsError
from fleetmend.settings.telemetry import TelemetrySettings
from fleetmend.streams.port import Outgoing, Record, TickInput
from fleetmend.streams.stage import State
from fleetmend.streams.topics import Topic
from fleetmend.telemetry import Telemetry, TracedStage, open_telemetry


class Spans(SpanExporter):
    """Keeps them."""

    def __init__(self) -> None:
        self.kept: list[ReadableSpan] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.kept += spans
        return SpanExportResult.SUCCESS


class Figures(MetricExporter):
    """Keeps name and value of each point."""

    def __init__(self) -> None:
        super().__init__(preferred_temporality=dict[type, AggregationTemporality]())
        self.kept: dict[str, float] = {}

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 0, **kwargs: Any
    ) -> MetricExportResult:
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        self.kept[metric.name] = point.value  # type: ignore[union-attr]
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis: float = 0) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
        pass


class Stage:
    """Fails when told to."""

    name = "detection"
    inputs = (Topic.SAMPLES,)
    fails = False

    def arrive(self, record: Record) -> list[Outgoing]:
        return []

    def fold(self, tick: TickInput) -> list[Outgoing]:
        if self.fails:
            raise ValueError("hostile text that must not leave")
        return []

    def snapshot(self) -> State:
        return {"a": 1}

    def restore(self, state: State) -> None:
        assert state == {"a": 1}


TICK = TickInput(tick=7, start_s=7.0, end_s=8.0, reached_s=8.0, records=())


def test_each_tick_is_a_span_and_a_failed_one_says_only_the_kind_of_error() -> None:
    spans = Spans()
    telemetry = Telemetry(
        TelemetrySettings(), cluster="c", worker="w", spans=spans, figures=Figures()
    )
    stage = Stage()
    traced = TracedStage(stage, telemetry.span)
    traced.fold(TICK)
    stage.fails = True
    with pytest.raises(ValueError, match="hostile"):
        traced.fold(TICK)
    traced.restore(traced.snapshot())
    telemetry.close()
    good, bad = spans.kept
    assert good.attributes is not None
    assert good.attributes["fleetmend.tick"] == 7
    assert good.resource.attributes["service.instance.id"] == "w"
    assert (bad.status.description, list(bad.events)) == ("ValueError", [])


def test_figures_of_the_page_are_sent_with_their_values() -> None:
    registry = CollectorRegistry()
    Counter("ticks", "Ticks", registry=registry).inc(3)
    Gauge("lag_seconds", "Lag", registry=registry).set(1.5)
    figures = Figures()
    telemetry = Telemetry(
        TelemetrySettings(), cluster="c", worker="w", spans=Spans(), figures=figures
    )
    telemetry.show(registry)
    telemetry.close()
    assert figures.kept == {"ticks": 3.0, "lag_seconds": 1.5}


def test_nothing_is_opened_without_an_endpoint() -> None:
    assert open_telemetry(TelemetrySettings(), cluster="c", worker="w") is None


def test_headers_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("no colon\n")
    for name in ("headers", "missing"):
        wanted = TelemetrySettings(endpoint="http://127.0.0.1:1", headers_file=str(tmp_path / name))
        with pytest.raises(SettingsError):
            open_telemetry(wanted, cluster="c", worker="w")


@contextmanager
def silent_endpoint() -> Iterator[int]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_an_endpoint_that_hangs_holds_up_no_tick() -> None:
    with silent_endpoint() as port:
        wanted = TelemetrySettings(endpoint=f"http://127.0.0.1:{port}", timeout_s=0.2)
        telemetry = open_telemetry(wanted, cluster="c", worker="w")
        assert telemetry is not None
        stage = TracedStage(Stage(), telemetry.span)
        done = threading.Event()

        def many() -> None:
            for _ in range(5000):
                stage.fold(TICK)
            done.set()

        threading.Thread(target=many, daemon=True).start()
        assert done.wait(20)
        telemetry.close()
