"""Health pages of every role: `/healthz`, `/readyz` and `/metrics`, by the standard library.

The console serves its own; this is for roles that have no web server. Loopback unless set
otherwise.
"""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetmend.clock import Clock
from fleetmend.errors import SettingsError
from fleetmend.services import ServiceThreads
from fleetmend.streams.producer import Producer
from fleetmend.streams.runner import StageRunner

TEXT = "text/plain; charset=utf-8"


class HealthPages:
    """A small server in a thread; `port` is the one it got when 0 was asked for. Raises
    SettingsError where it cannot listen."""

    def __init__(
        self, host: str, port: int, *, unready: Callable[[], list[str]], registry: CollectorRegistry
    ) -> None:
        pages: dict[str, Callable[[], tuple[int, str]]] = {
            "/healthz": lambda: (200, "ok\n"),
            "/readyz": lambda: _readiness(unready()),
            "/metrics": lambda: (200, generate_latest(registry).decode()),
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = pages.get(self.path.partition("?")[0])
                status, body = page() if page else (404, "not found\n")
                self.send_response(status)
                self.send_header("Content-Type", TEXT)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Probes every few seconds are no news."""

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror or error}",
                where="health.port",
                fix="Set health.host and health.port to an address that is free.",
            ) from error
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _readiness(reasons: list[str]) -> tuple[int, str]:
    return (200, "ready\n") if not reasons else (503, "\n".join(reasons) + "\n")


class ServiceMetrics(Collector):
    """Figures of the services of this process, read when the page is asked for."""

    def __init__(self, threads: ServiceThreads) -> None:
        self._threads = threads

    def collect(self) -> list[Metric]:
        """Steps, failures and the moment of the last step, by service."""
        steps = CounterMetricFamily(
            "fleetmend_service_steps", "Steps that a service has done", labels=["service"]
        )
        failures = CounterMetricFamily(
            "fleetmend_service_failures", "Steps that ended in an error", labels=["service"]
        )
        stepped = GaugeMetricFamily(
            "fleetmend_service_last_step_seconds", "Unix time of the last step", labels=["service"]
        )
        for service in self._threads.services:
            steps.add_metric([service.name], service.health.steps)
            failures.add_metric([service.name], service.health.failures)
            stepped.add_metric([service.name], service.health.stepped_at_s)
        return [steps, failures, stepped]


@dataclass(slots=True, eq=False)
class FlowMetrics(Collector):
    """Figures of what passes through the log: folds, producers, followers of the fleet. Filled by
    the composition root, read when the page is asked for."""

    clock: Clock
    folds: dict[str, StageRunner] = field(default_factory=dict)
    producers: list[Producer] = field(default_factory=list)
    followers: dict[str, Callable[[], int]] = field(default_factory=dict)
    """How often each has lost its offsets."""
    caught: dict[str, Mapping[str, int]] = field(default_factory=dict)
    """Errors that stopped one thing and not the rest, by name, for each that counts them."""

    def collect(self) -> list[Metric]:
        """Everything that can be known without a step of its own."""
        dropped = CounterMetricFamily(
            "fleetmend_producer_dropped",
            "Records given up because the log was away too long or they could not be encoded",
            labels=["producer", "topic"],
        )
        for producer in self.producers:
            for topic, count in producer.dropped.items():
                dropped.add_metric([producer.name, topic.value], count)
        losses = CounterMetricFamily(
            "fleetmend_follower_losses",
            "Times that the log no longer held what a follower of the fleet was to read next",
            labels=["follower"],
        )
        for name, count_of in self.followers.items():
            losses.add_metric([name], count_of())
        caught = CounterMetricFamily(
            "fleetmend_caught_errors",
            "Errors that stopped one session or incident and not the rest",
            labels=["where", "error"],
        )
        for where, errors in self.caught.items():
            for error, count in tuple(errors.items()):
                caught.add_metric([where, error], count)
        return [*self._counted(), *self._standing(), dropped, losses, caught]

    def _counted(self) -> list[Metric]:
        """The counters that every fold keeps, by name."""
        families: list[Metric] = []
        for name, meaning in FOLD_COUNTERS.items():
            family = CounterMetricFamily(f"fleetmend_fold_{name}", meaning, labels=["fold"])
            for fold, runner in self.folds.items():
                family.add_metric([fold], getattr(runner.stats, name))
            families.append(family)
        return families

    def _standing(self) -> list[Metric]:
        """How far each fold has come. The lag is measured now: a fold that stands still falls
        behind on the page too."""
        lag = GaugeMetricFamily(
            "fleetmend_fold_lag_seconds",
            "The clock minus the event time that a fold has reached",
            labels=["fold"],
        )
        catching_up = GaugeMetricFamily(
            "fleetmend_fold_catching_up",
            "1 while a fold has not passed what the log held when it started",
            labels=["fold"],
        )
        for fold, runner in self.folds.items():
            catching_up.add_metric([fold], float(runner.catching_up))
            if math.isfinite(runner.reached_s):
                lag.add_metric([fold], self.clock.now_s() - runner.reached_s)
        return [lag, catching_up]


FOLD_COUNTERS = {
    "records": "Records read",
    "ticks": "Ticks folded",
    "late": "Records, or parts of batches, that came after their tick had closed",
    "future": "Samples and records refused because their time lies in the future",
    "dead": "Records that could not be decoded",
    "snapshots": "Snapshots saved",
    "snapshots_failed": "Snapshots that the store or the log refused",
    "rebuilds": "Times that offsets were lost and the state was built anew",
}
"""Fields of `RunnerStats`, each a figure of its own name."""
