"""The topics: their rank in the fold order, what they carry, how they are keyed and kept."""

from dataclasses import dataclass
from enum import StrEnum


class Topic(StrEnum):
    """Every topic of the platform. The value is its name without the configured prefix."""

    TOPOLOGY = "topology"
    EVENTS = "events"
    SAMPLES = "samples"
    FINDINGS = "findings"
    INCIDENTS = "incidents"
    ACTIONS = "actions"
    TICKS = "ticks"
    COVERAGE = "coverage"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How a topic is laid out."""

    rank: int
    """Order within a tick: what is known about the fleet first, then events, then numbers."""
    partitions: int
    retention_s: float
    """How long records are kept; the default is longer than any outage we mean to survive."""


DAY_S = 86_400.0

SPECS: dict[Topic, TopicSpec] = {
    Topic.TOPOLOGY: TopicSpec(rank=0, partitions=1, retention_s=30 * DAY_S),
    Topic.EVENTS: TopicSpec(rank=1, partitions=4, retention_s=7 * DAY_S),
    Topic.SAMPLES: TopicSpec(rank=2, partitions=4, retention_s=2 * DAY_S),
    Topic.FINDINGS: TopicSpec(rank=3, partitions=1, retention_s=7 * DAY_S),
    Topic.INCIDENTS: TopicSpec(rank=4, partitions=1, retention_s=30 * DAY_S),
    Topic.ACTIONS: TopicSpec(rank=5, partitions=1, retention_s=30 * DAY_S),
    Topic.TICKS: TopicSpec(rank=6, partitions=1, retention_s=7 * DAY_S),
    Topic.COVERAGE: TopicSpec(rank=7, partitions=1, retention_s=7 * DAY_S),
}
