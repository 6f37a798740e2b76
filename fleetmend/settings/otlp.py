"""Settings of the OpenTelemetry doors: who may send, where, and how much.

Thumbs of people come in at the HTTP door as well, with or without OpenTelemetry.
"""

import ipaddress
from typing import Literal, Self

from pydantic import Field, model_validator

from fleetmend.settings.section import Section


class OtlpSenderSettings(Section):
    """Somebody who sends metrics and logs."""

    name: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*$")
    """What this sender is called in events and figures."""
    speaks_for: Literal["node", "engine", "cluster", "feedback"]
    """What it may speak of: `node` one node, its GPUs and the engines on them; `engine` one engine;
    `cluster` everything, which suits a gateway that has asked its own senders who they are;
    `feedback` thumbs of people and nothing else, which suits a chat page."""
    node: str = ""
    """For `node`: its name, as the cluster knows it. Goes before what resources say."""
    engine: str = ""
    """For `engine`: the key of the engine's entity, as in its target."""
    tenant: str = ""
    """For `feedback`: the one tenant whose people's thumbs it may tell; empty: any."""
    token_file: str = ""
    """File whose first line is the bearer token that this sender shows. Empty: whoever shows none,
    which only loopback doors allow, and one sender."""

    @model_validator(mode="after")
    def _says_whose(self) -> Self:
        if (self.speaks_for == "node") != bool(self.node):
            raise ValueError("node belongs to a sender that speaks for a node")
        if (self.speaks_for == "engine") != bool(self.engine):
            raise ValueError("engine belongs to a sender that speaks for an engine")
        if self.tenant and self.speaks_for != "feedback":
            raise ValueError("tenant belongs to a sender of feedback")
        return self


class OtlpSettings(Section):
    """OpenTelemetry in."""

    host: str = "127.0.0.1"
    """Address that the doors listen on."""
    http_port: int = Field(default=0, ge=0, le=65535)
    """TCP port for OTLP over HTTP, 4318 by convention, and for thumbs of people (`/v1/feedback`);
    0 opens none."""
    grpc_port: int = Field(default=0, ge=0, le=65535)
    """TCP port for OTLP over gRPC, 4317 by convention; 0 opens none."""
    senders: tuple[OtlpSenderSettings, ...] = ()
    """Who may send; all others are refused."""
    kafka_bootstrap: str = ""
    """Brokers that an OpenTelemetry Collector's Kafka exporter writes to (`otlp_proto`),
    `host:port` separated by commas; empty: none."""
    kafka_metrics_topic: str = "otlp_metrics"
    """Topic of metrics. The exporter's own default."""
    kafka_logs_topic: str = ""
    """Topic of logs, `otlp_logs` by the exporter's default; empty: none is read."""
    kafka_sender: str = ""
    """Name of the sender that whoever writes to these topics counts as."""
    body_bytes_max: int = Field(default=4_194_304, ge=65_536, le=67_108_864)
    """Most bytes of a message, unpacked; an eighth of it in JSON, which is dearer to read. 4 MiB:
    gRPC's own default, some 40,000 points."""
    requests_max: int = Field(default=16, ge=1, le=256)
    """Most requests of each door at once; others are told to come again."""
    request_timeout_s: float = Field(default=10.0, gt=0, le=120)
    """Seconds for a whole request, from its first byte. 10: what exporters wait by default."""
    waiting_max: int = Field(default=256, ge=1, le=65_536)
    """Most messages that wait for the log; then senders are told to come again."""
    lateness_s: float = Field(default=2.0, ge=0.1, le=60)
    """Seconds for which points may be under way; what comes later is dropped and counted. Every
    tick waits so long. 2: a sender's batch of a second, and a second of delay."""
    future_s: float = Field(default=5.0, ge=0, le=60)
    """A point further ahead of our clock than this is dropped and counted."""
    resources_max: int = Field(default=4096, ge=1)
    """Most resources (processes, nodes) to remember, and most in one message; the one longest
    silent is forgotten first."""

    @property
    def enabled(self) -> bool:
        """Whether any door is open."""
        return bool(self.http_port or self.grpc_port or self.kafka_bootstrap)

    @model_validator(mode="after")
    def _is_safe(self) -> Self:
        names = [sender.name for sender in self.senders]
        if len(set(names)) != len(names):
            raise ValueError("two senders have the same name")
        open_ones = [s for s in self.senders if not s.token_file and s.name != self.kafka_sender]
        if len(open_ones) > 1:
            raise ValueError("only one sender may come without a token")
        if open_ones and not _is_loopback(self.host):
            raise ValueError("a sender without a token needs a loopback host")
        if self.kafka_bootstrap and self.kafka_sender not in names:
            raise ValueError("kafka_sender must be one of senders")
        if (self.http_port or self.grpc_port) and not self.senders:
            raise ValueError("an open door needs senders")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
