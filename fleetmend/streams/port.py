"""The log as everybody sees it: append and read records by topic, partition and offset.

Two engines implement it and pass one contract suite: `streams.sqlite` (one process, one file) and
`streams.kafka` (Apache Kafka). Nothing outside `fleetmend.streams` knows which one is in use.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fleetmend.model.coverage import Coverage
from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Claim, Cut, Mark
from fleetmend.streams.topics import Topic

Payload = SampleBatch | Event | TopologyChange | Finding | Coverage | Incident | Cut | Claim | Mark
"""What a record can carry once decoded."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What goes into the log for one payload, as `fleetmend.streams.codec` made it."""

    headers: dict[str, str]
    value: bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be appended. The key decides the partition unless `partition` is given."""

    topic: Topic
    key: str
    payload: Payload | Encoded
    """Encoded already where a spool hands on what lies in it."""
    partition: int | None = None


@dataclass(frozen=True, slots=True)
class RawRecord:
    """A record as it lies in the log."""

    topic: Topic
    partition: int
    offset: int
    key: str
    headers: Mapping[str, str]
    """Always `kind` (payload class) and `time_max` (newest event time inside, seconds)."""
    value: bytes
    append_s: float
    """When the log took it, Unix seconds: for people, lag figures, and to tell which times lie in
    the future and which producers are silent; never for ordering."""


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded record."""

    topic: Topic
    partition: int
    offset: int
    payload: Payload


@dataclass(frozen=True, slots=True)
class TopicPartition:
    """One partition of one topic."""

    topic: Topic
    partition: int

    def __str__(self) -> str:
        return f"{self.topic.value}/{self.partition}"


class Log(Protocol):
    """Errors: StreamError (try again), OffsetsLost (rebuild)."""

    def append(self, records: Sequence[Outgoing]) -> None:
        """Append and return when the log has them for good, in the given order per partition."""
        ...

    def partitions(self, topic: Topic) -> tuple[TopicPartition, ...]:
        """The partitions of a topic."""
        ...

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
    ) -> list[RawRecord]:
        """Up to `limit` records from these offsets on, in offset order per partition; waits at most
        `wait_s` when there is none. Raises OffsetsLost when a position is older than the log."""
        ...

    def begin(self, partition: TopicPartition) -> int:
        """The first offset that can still be read."""
        ...

    def end(self, partition: TopicPartition) -> int:
        """One past the last offset."""
        ...

    def close(self) -> None:
        """Flush and let go of files and sockets."""
        ...


@dataclass(frozen=True, slots=True)
class TickInput:
    """What a stage folds for one tick, in the one defined order (topic rank, partition, offset).

    A batch that spans ticks comes here with only the samples of this tick. Duplicates (an event id
    or finding id and state seen before) are still here: stages are idempotent.
    """

    tick: int
    start_s: float
    end_s: float
    reached_s: float
    """Event time reached when the tick closed: what outputs carry as `at_s`."""
    records: tuple[Record, ...]
    late: tuple[Record, ...] = field(default=())
    """Records of earlier ticks that came after their tick had closed: counted, topology and events
    are still applied, samples are not."""
    idle: tuple[str, ...] = field(default=())
    """Partitions that were not waited for: their silence is known, not assumed."""


@dataclass(frozen=True, slots=True)
class ForeignRecord:
    """One record of a topic that somebody else writes."""

    topic: str
    partition: int
    offset: int
    value: bytes


class ForeignReader(Protocol):
    """Reads topics that are none of ours, from now on; `streams.foreign` does it on Kafka."""

    def poll(self, wait_s: float) -> list[ForeignRecord]:
        """What has come; waits at most `wait_s` for it. Raises StreamError."""
        ...

    def close(self) -> None:
        """Let go of the broker. Raises StreamError."""
        ...
