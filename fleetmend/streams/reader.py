"""Reads decoded records from positions that it keeps. What cannot be decoded becomes a dead letter.

For everyone who follows topics: the runner of a stage, the intake of remediation, people's tools.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from fleetmend.clock import Clock
from fleetmend.errors import BadInput
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.streams.codec import decode
from fleetmend.streams.deadletter import dead_letter
from fleetmend.streams.port import Log, RawRecord, Record, TopicPartition
from fleetmend.streams.topics import SPECS

POLL_RECORDS = 200
"""Records of one poll: enough to keep a disk or a socket busy, few enough to stay prompt."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A record as it lies in the log, and what it says."""

    raw: RawRecord
    record: Record | None
    """None when its bytes could not be understood."""

    @property
    def place(self) -> TopicPartition:
        """Where it lies."""
        return TopicPartition(self.raw.topic, self.raw.partition)


class Reader:
    """Follows partitions of a log. One thread at a time."""

    def __init__(
        self,
        log: Log,
        positions: Mapping[TopicPartition, int],
        *,
        dead_letters: DeadLetters,
        clock: Clock,
    ) -> None:
        """`positions` holds the next offset of each partition."""
        self.positions = dict(positions)
        """The next offset of each partition: keep these to go on after a restart."""
        self.dead = 0
        """How many records could not be understood."""
        self._log = log
        self._dead_letters = dead_letters
        self._clock = clock

    def poll(
        self, *, wait_s: float = 0.0, only: Collection[TopicPartition] | None = None
    ) -> Iterator[Fetched]:
        """What has come since, at most `POLL_RECORDS`; waits `wait_s` when there is nothing.

        Facts about the fleet come before events and events before samples; within a partition the
        order is the log's. A position moves when its record is handed out, so a caller that stops
        early loses nothing. Raises StreamError, and OffsetsLost when the log has no such offsets.
        """
        wanted = {p: at for p, at in self.positions.items() if only is None or p in only}
        found = self._log.read(wanted, limit=POLL_RECORDS, wait_s=wait_s)
        for raw in sorted(found, key=lambda raw: SPECS[raw.topic].rank):
            fetched = Fetched(raw, self._decoded(raw))
            self.positions[fetched.place] = raw.offset + 1
            yield fetched

    def skip_lost(self) -> int:
        """After OffsetsLost: go on from the oldest record of each partition that no longer holds
        its position; how many those are. Raises StreamError."""
        moved = 0
        for place, at in self.positions.items():
            begin = self._log.begin(place)
            if not begin <= at <= self._log.end(place):  # behind the log, or of one that is no more
                self.positions[place] = begin
                moved += 1
        return moved

    def at_end(self) -> bool:
        """True when the log holds nothing beyond the positions, at this moment."""
        return all(self._log.end(place) <= at for place, at in self.positions.items())

    def _decoded(self, raw: RawRecord) -> Record | None:
        try:
            return decode(raw)
        except BadInput as error:
            self.dead += 1
            self._dead_letters.put(dead_letter(raw, str(error), at_s=self._clock.now_s()))
            return None
