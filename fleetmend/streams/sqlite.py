"""The embedded log: one SQLite file, one process, any number of its threads.

Opened by `fleetmend.streams.engines.open_log`; tests and replays open `:memory:`. What `append` has
returned survives the death of the process (WAL, synchronous=normal); after a loss of power the last
moments may be missing, the file stays sound. A second process is refused by name.
"""

import threading
from collections.abc import Mapping, Sequence

from fleetmend.clock import Clock
from fleetmend.errors import OffsetsLost, StreamError
from fleetmend.streams.codec import encode
from fleetmend.streams.partition import target
from fleetmend.streams.port import Outgoing, RawRecord, TopicPartition
from fleetmend.streams.sqlite_file import LogFile, Row
from fleetmend.streams.topics import Topic

_RETIRE_EVERY_S = 60.0


class SqliteLog:
    """A `Log` in one file."""

    def __init__(self, path: str, *, clock: Clock, partitions: int) -> None:
        """`partitions` of samples and events each; a file that already has more keeps them. Raises
        StreamError when the file is in use, unreadable or of another format."""
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: set[threading.Event] = set()
        self._file = LogFile(path, partitions=partitions)
        self._retired_s = clock.monotonic_s()
        self._topics = {
            topic: tuple(place for place in self._file.parts if place.topic is topic)
            for topic in Topic
        }

    def append(self, records: Sequence[Outgoing]) -> None:
        """Append all or nothing. Raises BadInput, before anything is written, for a payload that
        could not be read back."""
        rows = []
        for record in records:
            encoded = encode(record.payload)
            place = target(record, self._topics[record.topic])
            rows.append(Row(place, record.key, encoded.headers, encoded.value))
        self._file.insert(rows, append_s=self._clock.now_s())
        with self._lock:
            for event in self._waiting:
                event.set()
        self._retire()

    def partitions(self, topic: Topic) -> tuple[TopicPartition, ...]:
        """The partitions of a topic."""
        return self._topics[topic]

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
    ) -> list[RawRecord]:
        """Records from these offsets on; partitions with much to read share `limit` equally."""
        woken = threading.Event()
        with self._lock:
            self._waiting.add(woken)
        try:
            deadline_s = self._clock.monotonic_s() + wait_s
            while True:
                records = self._file.select(positions, _shares(self._backlog(positions), limit))
                left_s = deadline_s - self._clock.monotonic_s()
                if records or left_s <= 0:
                    return records
                self._clock.wait(woken, left_s)
                woken.clear()
        finally:
            with self._lock:
                self._waiting.discard(woken)

    def begin(self, partition: TopicPartition) -> int:
        """The first offset that retention has left."""
        self._known(partition)
        return self._file.parts[partition].first

    def end(self, partition: TopicPartition) -> int:
        """One past the last offset."""
        self._known(partition)
        return self._file.parts[partition].next

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        self._file.close()

    def _backlog(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """How many records each partition has to give; only those that have some."""
        backlog: dict[TopicPartition, int] = {}
        for place, offset in positions.items():
            if not self.begin(place) <= offset <= self.end(place):
                raise OffsetsLost(f"offset {offset} is not in the log", where=str(place))
            if self.end(place) > offset:
                backlog[place] = self.end(place) - offset
        return backlog

    def _retire(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._retired_s >= _RETIRE_EVERY_S:
            self._retired_s = now_s
            self._file.retire(self._clock.now_s())

    def _known(self, place: TopicPartition) -> None:
        if place not in self._file.parts:
            raise StreamError(f"no partition {place}", where=self._path)


def _shares(backlog: Mapping[TopicPartition, int], limit: int) -> dict[TopicPartition, int]:
    """Who may give how many of `limit` records: the short ones all they have, the rest equally."""
    shares: dict[TopicPartition, int] = {}
    left = limit
    waiting = sorted(backlog.items(), key=lambda item: item[1])
    for index, (place, size) in enumerate(waiting):
        share = min(size, -(-left // (len(waiting) - index)))
        if share > 0:
            shares[place] = share
            left -= share
    return shares
