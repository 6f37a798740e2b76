"""All sections together: what a settings file can hold."""

from pydantic import Field

from fleetmend.settings.section import Section
from fleetmend.settings.streams import StreamsSettings, TickSettings


class Settings(Section):
    """The whole of the settings."""

    cluster: str = Field(default="local", min_length=1, pattern=r"^[a-z0-9][a-z0-9-]*$")
    """Name of the cluster; the first part of every entity id."""
    streams: StreamsSettings = StreamsSettings()
    """The log."""
    ticks: TickSettings = TickSettings()
    """How event time advances."""
