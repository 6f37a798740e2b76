"""Settings of the platform's own telemetry."""

from pydantic import Field

from fleetmend.settings.section import Section


class TelemetrySettings(Section):
    """Traces and figures of the platform itself, sent by OTLP over HTTP. `/metrics` stays."""

    endpoint: str = Field(default="", pattern=r"^(https?://[^/\s]+)?$")
    """Where to send, `http://127.0.0.1:4318` without a path; empty: nowhere. Never the platform's
    own door: it would watch itself being watched."""
    headers_file: str = ""
    """File with headers to send along, `name: value` in lines; empty: none."""
    metrics_interval_s: float = Field(default=15.0, ge=1, le=3600)
    """Seconds between sending figures."""
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Seconds for one sending. What cannot be sent is dropped, never waited for."""
    traces_share: float = Field(default=1.0, ge=0, le=1)
    """Share of traces that are sent. 1: a tick a second is little."""
