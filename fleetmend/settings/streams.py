"""Settings of the log and of ticks."""

from typing import Literal

from pydantic import Field

from fleetmend.settings.section import Section


class StreamsSettings(Section):
    """The log that everything travels on."""

    engine: Literal["embedded", "kafka"] = "embedded"
    """Which log: `embedded` is one SQLite file and one process; `kafka` is a broker and any
    number."""
    path: str = "var/log.db"
    """File of the embedded log."""
    bootstrap: str = "127.0.0.1:9092"
    """Kafka brokers, `host:port` separated by commas."""
    prefix: str = "fleetmend."
    """Put before every topic name, so that several fleets can share a broker."""
    partitions: int = Field(default=4, ge=1, le=256)
    """Partitions of `samples` and `events`. Nodes are spread by pool; 4 keep a small fleet
    parallel."""
    replication: int = Field(default=1, ge=1, le=5)
    """Replicas of each topic. 1 suits one broker; a fleet wants 3."""


class TickSettings(Section):
    """How event time advances."""

    period_s: float = Field(default=1.0, gt=0)
    """Seconds that one tick covers. 1: GPU and engine telemetry arrive at 1 Hz or faster."""
    lateness_s: float = Field(default=2.0, ge=0)
    """Seconds that a tick waits for records of sources that send no marks. 2: twice a scrape."""
    idle_after_s: float = Field(default=5.0, gt=0)
    """Seconds of silence after which a partition or producer is no longer waited for."""
    future_s: float = Field(default=60.0, gt=0)
    """Records further in the future are dead letters: one bad clock must not stop everybody's
    time."""
    gap_s: float = Field(default=600.0, gt=0)
    """A stretch without any record longer than this is jumped over instead of ticked through."""
    snapshot_every: int = Field(default=30, ge=1)
    """Ticks between snapshots. 30: a restart replays half a minute."""
