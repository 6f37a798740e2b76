"""The platform's own traces and figures, sent by OpenTelemetry's SDK. Off unless settings name an
endpoint.

The composition root opens it, puts `TracedStage` around each stage and `span` around each turn of a
session. Nothing is global, nothing waits for the network: spans go to a bounded queue, and what
cannot be sent is dropped.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import Status, StatusCode
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from fleetmend.errors import SettingsError
from fleetmend.settings.telemetry import TelemetrySettings
from fleetmend.streams.port import Outgoing, Record, TickInput
from fleetmend.streams.stage import Stage, State
from fleetmend.streams.topics import Topic

Attributes = Mapping[str, str | int | float]
_QUEUE_MAX = 2048
"""Spans that wait to be sent; more are dropped."""
_CLOSE_MS = 3000


class Telemetry:
    """What one process says of itself."""

    def __init__(
        self,
        settings: TelemetrySettings,
        *,
        cluster: str,
        worker: str,
        spans: SpanExporter,
        figures: MetricExporter,
    ) -> None:
        """`worker` names this process; `spans`, `figures`: where they go."""
        resource = Resource(
            {
                "service.name": "fleetmend",
                "service.instance.id": worker,
                "k8s.cluster.name": cluster,
            }
        )
        self._tracing = TracerProvider(
            resource=resource,
            sampler=TraceIdRatioBased(settings.traces_share),
            shutdown_on_exit=False,
        )
        self._tracing.add_span_processor(BatchSpanProcessor(spans, max_queue_size=_QUEUE_MAX))
        self._tracer = self._tracing.get_tracer("fleetmend")
        reader = PeriodicExportingMetricReader(
            figures,
            export_interval_millis=settings.metrics_interval_s * 1000,
            export_timeout_millis=settings.timeout_s * 1000,
        )
        self._metering = MeterProvider([reader], resource=resource, shutdown_on_exit=False)

    @contextmanager
    def span(self, name: str, attributes: Attributes) -> Iterator[None]:
        """A span around a block; an error in it is noted and goes on."""
        with self._tracer.start_as_current_span(
            name,
            attributes=dict(attributes),
            record_exception=False,  # its text may be a tenant's
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def show(self, registry: CollectorRegistry) -> None:
        """Send the figures that `/metrics` shows, those that are on the page now."""
        meter = self._metering.get_meter("fleetmend")
        for family in registry.collect():
            observe = partial(_observations, registry, family.name)
            if family.type == "counter":
                meter.create_observable_counter(
                    family.name, [observe], description=family.documentation
                )
            elif family.type == "gauge":
                meter.create_observable_gauge(
                    family.name, [observe], description=family.documentation
                )

    def close(self) -> None:
        """Send what waits, for three seconds at most."""
        self._tracing.force_flush(_CLOSE_MS)
        self._tracing.shutdown()
        self._metering.shutdown(timeout_millis=_CLOSE_MS)


class TracedStage:
    """A stage with one span for each tick. Decides nothing: what the stage says goes through."""

    def __init__(
        self, stage: Stage, span: Callable[[str, Attributes], AbstractContextManager[None]]
    ) -> None:
        self._stage = stage
        self._span = span

    @property
    def name(self) -> str:
        """The stage's."""
        return self._stage.name

    @property
    def inputs(self) -> tuple[Topic, ...]:
        """The stage's."""
        return self._stage.inputs

    def arrive(self, record: Record) -> list[Outgoing]:
        """The stage's."""
        return self._stage.arrive(record)

    def fold(self, tick: TickInput) -> list[Outgoing]:
        """The stage's, in a span."""
        attributes: dict[str, str | int | float] = {
            "fleetmend.stage": self._stage.name,
            "fleetmend.tick": tick.tick,
            "fleetmend.records": len(tick.records),
            "fleetmend.late": len(tick.late),
        }
        with self._span("tick", attributes):
            return self._stage.fold(tick)

    def snapshot(self) -> State:
        """The stage's."""
        return self._stage.snapshot()

    def restore(self, state: State) -> None:
        """The stage's."""
        self._stage.restore(state)


def open_telemetry(settings: TelemetrySettings, *, cluster: str, worker: str) -> Telemetry | None:
    """Telemetry to the endpoint of the settings; None where there is none. Raises SettingsError."""
    if not settings.endpoint:
        return None
    # Only who sends needs the exporter, which is no part of the base install.
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
            OTLPMetricExporter,
        )
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
            OTLPSpanExporter,
        )
    except ImportError as error:
        raise SettingsError(
            "sending telemetry needs the extra platform", where="telemetry.endpoint"
        ) from error
    headers = _headers(settings.headers_file)
    # The SDK tells of every failed try at length; one line of warning is enough.
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    more: dict[str, Any] = {"headers": headers, "timeout": settings.timeout_s}
    return Telemetry(
        settings,
        cluster=cluster,
        worker=worker,
        spans=OTLPSpanExporter(endpoint=f"{settings.endpoint}/v1/traces", **more),
        figures=OTLPMetricExporter(endpoint=f"{settings.endpoint}/v1/metrics", **more),
    )


def _headers(path: str) -> dict[str, str]:
    if not path:
        return {}
    try:
        lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(str(error), where="telemetry.headers_file") from error
    pairs = [line.partition(":") for line in lines]
    if not all(mark and name.strip() for name, mark, _ in pairs):
        raise SettingsError("a line is not `name: value`", where="telemetry.headers_file")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _observations(
    registry: CollectorRegistry, name: str, _options: CallbackOptions
) -> Iterable[Observation]:
    family: Metric
    for family in registry.collect():
        if family.name == name:
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    yield Observation(sample.value, dict(sample.labels))
