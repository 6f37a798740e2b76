"""How far one input partition has come in event time: its watermark.

Pure; used by `fleetmend.streams.merge` alone. The watermark never falls, and it is a function of
the records alone (their event times, and when the log took them): no clock is asked, so whoever
reads the same log gets the same watermarks.
"""

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.codec import newest_s
from fleetmend.streams.port import Record, TopicPartition
from fleetmend.streams.topics import SPECS

_PLAIN_WEIGHT = 50
"""What a record that is no batch counts for in the bound of what is held, in samples."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A record as it was fetched."""

    offset: int
    append_s: float
    """When the log took it."""
    record: Record | None
    """None when nobody can read or use it."""

    @property
    def weight(self) -> int:
        """Roughly how much memory it holds, in samples."""
        payload = None if self.record is None else self.record.payload
        return len(payload) if isinstance(payload, SampleBatch) else _PLAIN_WEIGHT


@dataclass(frozen=True, slots=True)
class LaneState:
    """What a snapshot keeps of a partition."""

    position: int
    unfolded: int
    """The first offset that has to be read again after a restart."""
    watermark_s: float
    newest_s: float
    newest_append_s: float
    newest_mark_s: float
    promises: dict[str, tuple[float, float]]
    """Newest mark of each live producer and when the log took it, seconds."""


@dataclass(slots=True)
class Lane:
    """One partition: what was fetched and waits, what was taken, and its watermark."""

    place: TopicPartition
    settings: TickSettings
    position: int
    """The next offset to take."""
    fetched: int
    """The next offset to fetch; below `position` while a restart reads again."""
    heard_s: float
    """When something was fetched last, on the clock that does not jump."""
    idle: bool = False
    waiting: deque[Arrival] = field(default_factory=deque)
    held: int = 0
    """Weight of what waits."""
    watermark_s: float = -math.inf
    newest_s: float = -math.inf
    """Newest event time of a record taken, marks apart."""
    newest_append_s: float = -math.inf
    newest_mark_s: float = -math.inf
    promises: dict[str, tuple[float, float]] = field(default_factory=dict)
    _oldest: list[tuple[float, str]] = field(default_factory=list)
    """Heap of (promise, producer); an entry counts only while `promises` holds the same."""

    @property
    def rank(self) -> tuple[int, int]:
        """Order among partitions of the same watermark."""
        return SPECS[self.place.topic].rank, self.place.partition

    def hold(self, arrival: Arrival) -> None:
        """Keep a fetched record until its turn comes."""
        self.waiting.append(arrival)
        self.held += arrival.weight

    def take(self) -> Record | None:
        """The next record in order of offset, its time noted; None for a mark or an unusable
        one."""
        arrival = self.waiting.popleft()
        self.held -= arrival.weight
        self.position = arrival.offset + 1
        self.newest_append_s = max(self.newest_append_s, arrival.append_s)
        record = arrival.record
        if record is not None and isinstance(record.payload, Mark):
            self._promise(record.payload, arrival.append_s)
            record = None
        elif record is not None:
            self.newest_s = max(self.newest_s, newest_s(record.payload))
        self._raise()
        return record

    def state(self, unfolded: int) -> LaneState:
        """For a snapshot."""
        return LaneState(
            self.position,
            unfolded,
            self.watermark_s,
            self.newest_s,
            self.newest_append_s,
            self.newest_mark_s,
            dict(sorted(self.promises.items())),
        )

    def restore(self, state: LaneState) -> None:
        """Become what `state` saved; fetching starts at the first unfolded offset."""
        self.position, self.fetched = state.position, state.unfolded
        self.watermark_s, self.newest_s = state.watermark_s, state.newest_s
        self.newest_append_s, self.newest_mark_s = state.newest_append_s, state.newest_mark_s
        self.promises = dict(state.promises)
        self._oldest = [(at_s, producer) for producer, (at_s, _) in self.promises.items()]
        heapq.heapify(self._oldest)

    def _promise(self, mark: Mark, append_s: float) -> None:
        """A producer will send nothing older than `mark.at_s` any more."""
        known = self.promises.get(mark.producer)
        if known is not None and known[0] >= mark.at_s:
            self.promises[mark.producer] = (known[0], append_s)
            return
        self.promises[mark.producer] = (mark.at_s, append_s)
        self.newest_mark_s = max(self.newest_mark_s, mark.at_s)
        heapq.heappush(self._oldest, (mark.at_s, mark.producer))

    def _raise(self) -> None:
        """Bring the watermark up to what promises allow; without any, to what lateness allows.

        Where there are promises the newest record says nothing: a stage's provisional outputs run
        ahead of its ticks, and one node's fast clock would make everybody else's samples late.
        """
        while self._oldest:
            at_s, producer = self._oldest[0]
            current = self.promises.get(producer)
            if current is not None and current[0] == at_s:
                if self._waited_for(at_s, current[1]):
                    self.watermark_s = max(self.watermark_s, at_s)
                    return
                del self.promises[producer]
            heapq.heappop(self._oldest)
        self.watermark_s = max(self.watermark_s, self.newest_s - self.settings.lateness_s)

    def _waited_for(self, at_s: float, append_s: float) -> bool:
        """False for a producer that has fallen silent, and for one whose clock is far behind: the
        newest mark is at most `future_s` ahead of the truth, so twice that is no honest delay."""
        silent = append_s < self.newest_append_s - self.settings.idle_after_s
        return not silent and at_s >= self.newest_mark_s - 2 * self.settings.future_s
