"""Reading from Kafka at positions that the callers keep.

Used by `fleetmend.streams.kafka` alone. A Kafka consumer fetches ahead, and a seek throws that
away; so consumers are kept in a small pool and a caller gets the one that stands where it wants to
go on.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition
from kafka.errors import LogTruncationError, OffsetOutOfRangeError

from fleetmend.errors import OffsetsLost, StreamError
from fleetmend.streams.kafka_client import connect, translated
from fleetmend.streams.port import RawRecord, TopicPartition
from fleetmend.streams.topics import Topic

CONSUMERS_MAX = 12
"""Consumers kept at most: a process has a few readers (each stage, the intake), each with one."""
FETCH_WAIT_MS = 100
"""How long the broker holds an empty fetch; it answers at once when a record comes."""
FETCH_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of one fetch response, which bounds what a consumer holds."""

_LOOKUP_TIMEOUT_MS = 10_000


class _Cursor:
    """A consumer and where it stands."""

    def __init__(self, consumer: Any, prefix: str) -> None:
        self.consumer = consumer
        self.next: dict[TopicPartition, int] = {}
        """The next offset of each partition that is assigned to it."""
        self.thread = 0
        """Who used it last."""
        self._prefix = prefix

    def stands_at(self, positions: Mapping[TopicPartition, int]) -> bool:
        """True when reading from `positions` needs no seek."""
        return all(self.next.get(place) == offset for place, offset in positions.items())

    def move_to(self, positions: Mapping[TopicPartition, int]) -> None:
        """Seek to `positions`, forgetting what was fetched ahead."""
        self.consumer.assign([self._theirs(place) for place in positions])
        for place, offset in positions.items():
            self.consumer.seek(self._theirs(place), offset)
        self.next = dict(positions)

    def poll(
        self, wanted: Mapping[TopicPartition, int], *, limit: int, wait_s: float
    ) -> list[RawRecord]:
        """Up to `limit` records of the wanted partitions; the others pause and keep what they
        have."""
        pause = [self._theirs(place) for place in self.next if place not in wanted]
        resume = [self._theirs(place) for place in wanted]
        self.consumer.pause(*pause)
        self.consumer.resume(*resume)
        try:
            found = self.consumer.poll(timeout_ms=max(1, int(wait_s * 1000)), max_records=limit)
        except OffsetOutOfRangeError as error:
            raise self._lost(error.args[0]) from error
        except LogTruncationError as error:
            raise self._lost(error.divergent_offsets) from error
        records: list[RawRecord] = []
        for theirs, messages in found.items():
            place = self._ours(theirs)
            records.extend(_record(place, message) for message in messages)
            self.next[place] = messages[-1].offset + 1
        return records

    def _lost(self, places: Iterable[Any]) -> OffsetsLost:
        ours = sorted(str(self._ours(place)) for place in places)
        return OffsetsLost("the offset to read is not in the log", where=", ".join(ours))

    def _ours(self, theirs: Any) -> TopicPartition:
        return TopicPartition(Topic(theirs.topic.removeprefix(self._prefix)), theirs.partition)

    def _theirs(self, place: TopicPartition) -> Any:
        return KafkaPartition(self._prefix + place.topic.value, place.partition)


class KafkaReaders:
    """The pool; safe for several threads."""

    def __init__(self, bootstrap: Sequence[str], *, prefix: str, bytes_max: int) -> None:
        """`bytes_max` is the largest message."""
        self._bootstrap = list(bootstrap)
        self._where = ",".join(bootstrap)
        self._prefix = prefix
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._idle: list[_Cursor] = []  # the most recently used last
        self._asker: Any = None
        self._ask_lock = threading.Lock()
        self._closed = False

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float
    ) -> list[RawRecord]:
        """See `Log.read`."""
        if not positions:
            return []
        cursor = self._take(positions)
        try:
            with translated(self._where):
                if not cursor.stands_at(positions):
                    cursor.move_to(positions)
                return cursor.poll(positions, limit=limit, wait_s=wait_s)
        except StreamError:
            # Whatever it stands on now, the next reader starts with a seek.
            cursor.next = {}
            raise
        finally:
            self._give_back(cursor)

    def begin(self, place: TopicPartition) -> int:
        """The first offset that the broker has."""
        theirs = KafkaPartition(self._prefix + place.topic.value, place.partition)
        with self._asking() as consumer:
            found = consumer.beginning_offsets([theirs], timeout_ms=_LOOKUP_TIMEOUT_MS)
        return int(found[theirs])

    def end(self, place: TopicPartition) -> int:
        """One past the last offset."""
        theirs = KafkaPartition(self._prefix + place.topic.value, place.partition)
        with self._asking() as consumer:
            found = consumer.end_offsets([theirs], timeout_ms=_LOOKUP_TIMEOUT_MS)
        return int(found[theirs])

    def close(self) -> None:
        """Close what is idle now; what is in use is closed when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for cursor in idle:
            cursor.consumer.close()
        with self._ask_lock:
            if self._asker is not None:
                self._asker.close()
                self._asker = None

    def _take(self, positions: Mapping[TopicPartition, int]) -> _Cursor:
        """The idle consumer that stands at `positions`, else a new one, else the oldest."""
        thread = threading.get_ident()
        with self._lock:
            if self._closed:
                raise StreamError("the log is closed", where=self._where)
            there = [cursor for cursor in self._idle if cursor.stands_at(positions)]
            exact = [cursor for cursor in there if cursor.next.keys() == positions.keys()]
            own = [cursor for cursor in there if cursor.thread == thread]
            # A reader that leaves partitions out for a while keeps its consumer, but it takes away
            # none that stands there for another reader: that one would have to seek.
            for cursor in (*(c for c in exact if c in own), *exact, *own):
                self._idle.remove(cursor)
                cursor.thread = thread
                return cursor
            if len(self._idle) >= CONSUMERS_MAX:
                return self._idle.pop(0)
        cursor = _Cursor(self._connect(), self._prefix)
        cursor.thread = thread
        return cursor

    def _give_back(self, cursor: _Cursor) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(cursor)
                return
        cursor.consumer.close()

    def _connect(self) -> Any:
        with translated(self._where):
            return connect(
                KafkaConsumer,
                bootstrap_servers=self._bootstrap,
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="none",  # lost offsets are an error, never a jump
                fetch_min_bytes=1,
                fetch_max_wait_ms=FETCH_WAIT_MS,
                fetch_max_bytes=FETCH_BYTES_MAX,
                max_partition_fetch_bytes=self._bytes_max,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )

    @contextmanager
    def _asking(self) -> Iterator[Any]:
        """A consumer for looking up offsets, one question at a time."""
        with self._ask_lock:
            if self._closed:
                raise StreamError("the log is closed", where=self._where)
            if self._asker is None:
                self._asker = self._connect()
            with translated(self._where):
                yield self._asker


def _record(place: TopicPartition, message: Any) -> RawRecord:
    """Foreign producers may leave out the key or the value."""
    return RawRecord(
        place.topic,
        place.partition,
        message.offset,
        (message.key or b"").decode(errors="replace"),
        {name: (text or b"").decode(errors="replace") for name, text in message.headers},
        message.value or b"",
        message.timestamp / 1000,
    )
