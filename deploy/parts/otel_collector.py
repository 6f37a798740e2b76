"""An OpenTelemetry Collector, compiled from its Go modules once (some 160 CPU-seconds cold).

Not part of `make test`: `python -m pytest -m otel tests/real/otel` builds and starts it.
"""

import hashlib
import os
import socket
import subprocess
from pathlib import Path

from deploy.parts.cache import cached
from deploy.parts.process import Daemon, free_port

VERSION = "v0.155.0"
MODULE = Path(__file__).parent / "otel_build"
PROGRAM = "otelcol"
_SOURCES = ("go.mod", "go.sum", "main.go")
ENVIRONMENT = {
    "GOTOOLCHAIN": "local",
    "CGO_ENABLED": "0",
    "GOFLAGS": "-buildvcs=false -mod=readonly",
}
_COMMAND = ["go", "build", "-trimpath", "-ldflags", "-s -w"]


def otel_collector() -> Path:
    """The path of the compiled program; compiles it when it is not in the cache."""

    def build(folder: Path) -> None:
        command = [*_COMMAND, "-o", str(folder / PROGRAM), "."]
        subprocess.run(command, cwd=MODULE, env={**os.environ, **ENVIRONMENT}, check=True)

    return cached("otel", f"{VERSION}-{_key()}", build) / PROGRAM


def _key() -> str:
    """A hash of everything that decides the bytes."""
    go = subprocess.run(["go", "version"], capture_output=True, check=True).stdout
    content = [(MODULE / name).read_bytes() for name in _SOURCES]
    recipe = [go, repr(_COMMAND).encode(), repr(ENVIRONMENT).encode(), *content]
    return hashlib.sha256(b"|".join(recipe)).hexdigest()[:12]


class OtelCollector:
    """A Collector of one node: OTLP over HTTP at `port` and metrics of its host in, Kafka out
    as `otlp_proto`, with the node's name on everything."""

    def __init__(
        self, folder: Path, *, bootstrap: str, node: str, metrics_topic: str, logs_topic: str
    ) -> None:
        self.port = free_port()
        settings = folder / "collector.yaml"
        settings.write_text(
            _SETTINGS.format(
                port=self.port,
                bootstrap=bootstrap,
                node=node,
                metrics_topic=metrics_topic,
                logs_topic=logs_topic,
            )
        )
        self.daemon = Daemon(
            [otel_collector(), "--config", f"file:{settings}"],
            log=folder / "collector.log",
            cwd=folder,
        )
        self.daemon.await_ready(self._answers, timeout_s=60)

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True

    def stop(self) -> None:
        """Stop in good order: what it still holds goes out."""
        self.daemon.stop()


_SETTINGS = """\
receivers:
  otlp:
    protocols:
      http: {{endpoint: "127.0.0.1:{port}"}}
  host_metrics:
    collection_interval: 1s
    scrapers: {{cpu: {{}}, memory: {{}}, load: {{}}, network: {{}}}}
processors:
  resource:
    attributes: [{{key: k8s.node.name, value: {node}, action: upsert}}]
  batch: {{timeout: 200ms, send_batch_size: 5000}}
exporters:
  kafka:
    brokers: ["{bootstrap}"]
    metrics: {{topic: {metrics_topic}, encoding: otlp_proto}}
    logs: {{topic: {logs_topic}, encoding: otlp_proto}}
    producer: {{compression: lz4}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    metrics:
      {{receivers: [otlp, host_metrics], processors: [resource, batch], exporters: [kafka]}}
    logs: {{receivers: [otlp], processors: [resource, batch], exporters: [kafka]}}
"""
