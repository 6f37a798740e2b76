"""All sections together: what a settings file can hold."""

from pydantic import Field

from fleetmend.settings.agent import AgentSettings
from fleetmend.settings.alerting import AlertingSettings
from fleetmend.settings.collectors import CollectorsSettings
from fleetmend.settings.console import ConsoleSettings
from fleetmend.settings.detection import DetectionSettings
from fleetmend.settings.rca import RcaSettings
from fleetmend.settings.remediation import RemediationSettings
from fleetmend.settings.section import Section
from fleetmend.settings.simulator import SimulatorSettings
from fleetmend.settings.store import StoreSettings
from fleetmend.settings.streams import StreamsSettings, TickSettings
from fleetmend.settings.telemetry import TelemetrySettings


class HealthSettings(Section):
    """Health pages of roles other than the console."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback: figures are nobody else's business by default."""
    port: int = Field(default=0, ge=0, le=65535)
    """TCP port of `/healthz`, `/readyz` and `/metrics`; 0 opens none."""


class Settings(Section):
    """The whole of the settings."""

    cluster: str = Field(default="local", min_length=1, pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of the cluster; the first part of every entity id."""
    streams: StreamsSettings = StreamsSettings()
    """The log."""
    ticks: TickSettings = TickSettings()
    """How event time advances."""
    store: StoreSettings = StoreSettings()
    """The database."""
    collectors: CollectorsSettings = CollectorsSettings()
    """What is read, and how often."""
    agent: AgentSettings = AgentSettings()
    """The node agent."""
    detection: DetectionSettings = DetectionSettings()
    """What counts as odd."""
    rca: RcaSettings = RcaSettings()
    """How causes are ranked and incidents opened."""
    remediation: RemediationSettings = RemediationSettings()
    """What may be done about it."""
    alerting: AlertingSettings = AlertingSettings()
    """Who is told."""
    console: ConsoleSettings = ConsoleSettings()
    """The pages."""
    health: HealthSettings = HealthSettings()
    """Health pages."""
    telemetry: TelemetrySettings = TelemetrySettings()
    """The platform's own traces and figures."""
    simulator: SimulatorSettings = SimulatorSettings()
    """The simulated fleet, for `demo` and `simulate`."""
