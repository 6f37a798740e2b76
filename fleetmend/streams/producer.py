"""How collectors put what they see into the log, and promise how far they have come.

One producer for each collector: its name stands in its marks, and ticks wait for every live
producer. Samples are gathered into batches of a useful size; events and topology go at once.
"""

import threading
from collections.abc import Iterable

from fleetmend.clock import Clock
from fleetmend.errors import BadInput, StreamError
from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.streams.partition import partition_of
from fleetmend.streams.port import Log, Outgoing
from fleetmend.streams.rebatch import check, joined, pieces
from fleetmend.streams.topics import Topic

ROWS_MIN = 5_000
"""Rows that a batch should have. Below, decoding costs several times more a sample."""
HOLD_S = 1.0
"""Seconds that samples wait for company at most."""
KEPT_BYTES_MAX = 64 * 1024 * 1024
"""Bytes kept while the log cannot be reached: some minutes of a full node's samples. Then samples
go, the oldest first, and events and the topology only where no samples are left to go."""
WAITING_MAX = 2_000
"""Events and changes that wait at most, where they are not urgent."""
MARKED = (Topic.TOPOLOGY, Topic.EVENTS, Topic.SAMPLES)
"""The topics that collectors write and therefore mark."""
DROPPED_FIRST = (Topic.SAMPLES, Topic.EVENTS, Topic.TOPOLOGY)
"""New samples come every second; an event is said once, and the fleet is what all else hangs on."""
_RECORD_BYTES = 512
"""What a record takes beside its content: ids, names, Python's own objects."""


class Producer:
    """Appends for one collector; safe for several threads.

    When the log cannot be reached, every call raises StreamError and keeps what it was given, up
    to `kept_bytes`; the next call tries again in the same order.
    """

    def __init__(
        self,
        log: Log,
        *,
        name: str,
        clock: Clock,
        rows_min: int = ROWS_MIN,
        hold_s: float = HOLD_S,
        kept_bytes: int = KEPT_BYTES_MAX,
        urgent: bool = True,
    ) -> None:
        """`name` is unique among the producers of a fleet: `collector/kmsg/node-3`. Where events
        and topology are not `urgent` they wait for samples or the next mark: thousands of them then
        make one write and not thousands."""
        self.name = name
        self.dropped: dict[Topic, int] = dict.fromkeys(MARKED, 0)
        """Records lost, because the log was away too long or they could not be encoded."""
        self._log = log
        self._clock = clock
        self._rows_min = rows_min
        self._hold_s = hold_s
        self._kept_bytes = kept_bytes
        self._urgent = urgent
        self._lock = threading.RLock()
        self._held: dict[int, list[SampleBatch]] = {}
        """Samples that wait for company, by partition."""
        self._held_since_s = 0.0
        self._ready: list[Outgoing] = []

    def samples(self, key: str, batch: SampleBatch) -> None:
        """Samples of one node or pool (`key`), in order of arrival. An empty batch is nothing.
        Raises BadInput for columns that do not fit together."""
        check(batch)
        if not len(batch):
            return
        with self._lock:
            if not self._held:
                self._held_since_s = self._clock.monotonic_s()
            partition = partition_of(key, len(self._log.partitions(Topic.SAMPLES)))
            self._held.setdefault(partition, []).append(batch)
            if sum(len(held) for held in self._held[partition]) >= self._rows_min:
                self._release(partition)
            elif self._clock.monotonic_s() - self._held_since_s >= self._hold_s:
                self._release_all()
            elif not self._urgent:
                return
            self._send()

    def events(self, events: Iterable[Event], *, urgent: bool = True) -> None:
        """Events, at once where they and the producer are `urgent`, else with what goes next; those
        of one node keep their order."""
        with self._lock:
            self._ready.extend(Outgoing(Topic.EVENTS, e.node or e.source, e) for e in events)
            if urgent:
                self._send_soon()

    def topology(self, changes: Iterable[TopologyChange]) -> None:
        """Changes of the fleet, in order, at once where they are urgent."""
        with self._lock:
            self._ready.extend(
                Outgoing(Topic.TOPOLOGY, change.entity.partition("/")[0], change)
                for change in changes
            )
            self._send_soon()

    def mark(self, at_s: float) -> None:
        """Promise: nothing older than `at_s` (Unix seconds) follows from this producer. Whatever
        waits is sent first."""
        with self._lock:
            self.flush()
            mark = Mark(self.name, at_s)
            self._log.append(
                [
                    Outgoing(topic, self.name, mark, place.partition)
                    for topic in MARKED
                    for place in self._log.partitions(topic)
                ]
            )

    def flush(self) -> None:
        """Send everything that waits."""
        with self._lock:
            self._release_all()
            self._send()

    def _release_all(self) -> None:
        for partition in sorted(self._held):
            self._release(partition)

    def _release(self, partition: int) -> None:
        batch = joined(self._held.pop(partition))
        self._ready.extend(
            Outgoing(Topic.SAMPLES, self.name, piece, partition) for piece in pieces(batch)
        )

    def _send_soon(self) -> None:
        if self._urgent or len(self._ready) >= WAITING_MAX:
            self._send()

    def _send(self) -> None:
        if not self._ready:
            return
        try:
            self._log.append(self._ready)
        except BadInput:
            self._send_one_by_one()
        except StreamError:
            self._drop_excess()
            raise
        self._ready = []

    def _send_one_by_one(self) -> None:
        """One record that cannot be encoded must not hold up the others."""
        while self._ready:
            try:
                self._log.append(self._ready[:1])
            except BadInput:
                self.dropped[self._ready[0].topic] += 1
            del self._ready[:1]

    def _drop_excess(self) -> None:
        """Give up what does not fit, in the order of `DROPPED_FIRST`, the oldest first."""
        excess = sum(map(_size, self._ready)) - self._kept_bytes
        if excess <= 0:
            return
        given_up: set[int] = set()
        for topic in DROPPED_FIRST:
            for place, record in enumerate(self._ready):
                if excess > 0 and record.topic is topic:
                    excess -= _size(record)
                    given_up.add(place)
                    self.dropped[topic] += 1
        self._ready = [r for place, r in enumerate(self._ready) if place not in given_up]


def _size(record: Outgoing) -> int:
    """Bytes that a record takes here, roughly."""
    match record.payload:
        case SampleBatch() as batch:
            columns = (batch.time_s, batch.entity, batch.signal, batch.value)
            names = sum(map(len, batch.entities)) + sum(map(len, batch.signals))
            return _RECORD_BYTES + names + sum(column.nbytes for column in columns)
        case Event() as event:
            return _RECORD_BYTES + sum(len(str(value)) for value in event.data.values())
        case TopologyChange() as change:
            return _RECORD_BYTES + sum(map(len, change.attributes.values()))
        case _:
            return _RECORD_BYTES
