"""Health pages of every role: `/healthz`, `/readyz` and `/metrics`, by the standard library.

The console serves its own; this is for roles that have no web server. Loopback unless set
otherwise.
"""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetmend.services import ServiceThreads

TEXT = "text/plain; charset=utf-8"


class HealthPages:
    """A small server in a thread; `port` is the one it got when 0 was asked for."""

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

        self._server = ThreadingHTTPServer((host, port), Handler)
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
