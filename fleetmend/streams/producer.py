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
KEPT_MAX = 5_000
"""Records kept while the log cannot be reached; then the oldest go."""
MARKED = (Topic.TOPOLOGY, Topic.EVENTS, Topic.SAMPLES)
"""The topics that collectors write and therefore mark."""


class Producer:
    """Appends for one collector; safe for several threads.

    When the log cannot be reached, every call raises StreamError and keeps what it was given, up
    to `KEPT_MAX` records; the next call tries again in the same order.
    """

    def __init__(
        self,
        log: Log,
        *,
        name: str,
        clock: Clock,
        rows_min: int = ROWS_MIN,
        hold_s: float = HOLD_S,
    ) -> None:
        """`name` is unique among the producers of a fleet: `collector/kmsg/node-3`."""
        self.dropped = 0
        """Records lost, because the log was away too long or they could not be encoded."""
        self._log = log
        self._name = name
        self._clock = clock
        self._rows_min = rows_min
        self._hold_s = hold_s
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
            self._send()

    def events(self, events: Iterable[Event]) -> None:
        """Events, at once; those of one node keep their order."""
        with self._lock:
            self._ready.extend(Outgoing(Topic.EVENTS, e.node or e.source, e) for e in events)
            self._send()

    def topology(self, changes: Iterable[TopologyChange]) -> None:
        """Changes of the fleet, at once and in order."""
        with self._lock:
            self._ready.extend(
                Outgoing(Topic.TOPOLOGY, change.entity.partition("/")[0], change)
                for change in changes
            )
            self._send()

    def mark(self, at_s: float) -> None:
        """Promise: nothing older than `at_s` (Unix seconds) follows from this producer. Whatever
        waits is sent first."""
        with self._lock:
            self.flush()
            mark = Mark(self._name, at_s)
            self._log.append(
                [
                    Outgoing(topic, self._name, mark, place.partition)
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
            Outgoing(Topic.SAMPLES, self._name, piece, partition) for piece in pieces(batch)
        )

    def _send(self) -> None:
        if not self._ready:
            return
        try:
            self._log.append(self._ready)
        except BadInput:
            self._send_one_by_one()
        except StreamError:
            excess = max(0, len(self._ready) - KEPT_MAX)
            self.dropped += excess
            del self._ready[:excess]
            raise
        self._ready = []

    def _send_one_by_one(self) -> None:
        """One record that cannot be encoded must not hold up the others."""
        while self._ready:
            try:
                self._log.append(self._ready[:1])
            except BadInput:
                self.dropped += 1
            del self._ready[:1]
