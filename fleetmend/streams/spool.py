"""The log of a node agent: what is appended lies on disk first and goes on in order.

`fleetmend agent` puts it between its producers and the real log. `append` never waits for a broker,
so a broker that is away costs no sample; `drain` sends what lies there, oldest first, and what is
appended meanwhile lies behind it.

What holds when:

- A process that is killed at any byte loses nothing that `append` returned for: the bytes are the
  kernel's. What it was sending may come twice; events and findings have ids.
- A node that loses power may lose what its kernel had not written yet: a file is given to the disk
  when it is full, and events each time while the log does not answer.
- Beyond `bytes_max` the oldest samples and marks go first, whole files at a time, events and
  topology only where no samples are left. Everything dropped is counted by topic class.
"""

import errno
import json
import logging
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetmend.clock import Clock
from fleetmend.errors import BadInput, StreamError
from fleetmend.model.ticks import Mark
from fleetmend.streams.partition import partition_count
from fleetmend.streams.port import Log, Outgoing, RawRecord, TopicPartition
from fleetmend.streams.segments import Amount, Chain, Stored
from fleetmend.streams.spool_disk import Cursor, locked
from fleetmend.streams.spool_records import (
    NEVER_S,
    Kept,
    is_mark,
    kept_in,
    packed,
    time_of,
    unpacked,
)
from fleetmend.streams.topics import Topic

logger = logging.getLogger(__name__)

_BATCH_RECORDS = 200
_BATCH_BYTES = 2 * 1024 * 1024
"""Of one append while draining: what a broker takes in well under a second."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LAYOUT = "partitions.json"
_IDLE_S = 1.0
_COMPANY_S = 0.2
"""Seconds that samples and marks wait for others to go with them: each append costs the node and
the broker as much as all of its records. Events go at once, and take along what waits."""
_AWAY_MARK_S = 5.0
"""Event time between two marks of a producer that are kept while the log is away."""


@dataclass(frozen=True, slots=True)
class SpoolFigures:
    """How a spool is doing."""

    waiting: Amount
    """What has not been sent yet."""
    disk_bytes: int
    """Bytes of its files, those included that have been sent and not deleted yet."""
    oldest_s: float
    """Event time of the oldest record that waits, Unix seconds; infinite when none does."""
    drained: Amount
    """What has been sent since the start."""
    dropped: Mapping[Kept, int]
    """Records given up for want of room or because they could not be read any more."""
    torn_bytes: int
    """Bytes cut off because a process was killed while it wrote them, or unreadable."""
    away: str
    """Why nothing goes out just now; empty when it does."""


class SpooledLog:
    """Implements `fleetmend.streams.port.Log`; safe for several threads. `drain` is for one."""

    def __init__(
        self,
        folder: Path,
        *,
        open_log: Callable[[], Log],
        clock: Clock,
        partitions: int,
        bytes_max: int,
        segment_bytes: int,
        retry_s: float,
    ) -> None:
        """`open_log` opens the real log, when it is first needed and again after it could not be.
        `partitions`: what spread topics have where the log has never been reached. Raises
        StreamError for a folder that cannot be used or is in use."""
        self.dropped: dict[Kept, int] = {"samples": 0, "events": 0}
        """Records given up for want of room or because they could not be read any more."""
        self.away = ""
        """Why nothing goes out just now; empty when it does."""
        self._folder = folder
        self._open_log = open_log
        self._clock = clock
        self._bytes_max = bytes_max
        self._retry_s = retry_s
        self._lock = threading.Lock()
        self._opening = threading.Lock()
        self._something = threading.Event()
        self._urgent = threading.Event()
        self._marked_s: dict[str, float] = {}
        self._log: Log | None = None
        self._retry_at_s = float("-inf")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._unlock = weakref.finalize(self, os.close, locked(folder))
            self._cursor = Cursor(folder)
            sent = self._cursor.at
            self._chains: dict[Kept, Chain] = {
                "samples": Chain(folder, "samples", segment_bytes=segment_bytes, sent=sent),
                "events": Chain(folder, "events", segment_bytes=segment_bytes, sent=sent),
            }
            self._counts = self._read_layout(partitions)
        except OSError as error:
            raise StreamError(f"spool: {error}", where=str(folder)) from error
        self._last = max(sent, *(chain.last for chain in self._chains.values()))
        self._waiting = self._chains["samples"].found + self._chains["events"].found
        self._drained = Amount()

    def figures(self) -> SpoolFigures:
        """How it is doing now."""
        with self._lock:
            batch, _ = self._batch()
            chains = self._chains.values()
            return SpoolFigures(
                waiting=self._waiting,
                disk_bytes=sum(chain.size_bytes for chain in chains),
                oldest_s=time_of(batch[0].body) if batch else NEVER_S,
                drained=self._drained,
                dropped=dict(self.dropped),
                torn_bytes=self.torn_bytes,
                away=self.away,
            )

    @property
    def torn_bytes(self) -> int:
        """Bytes cut off because a process was killed while it wrote them, or unreadable."""
        return sum(chain.torn_bytes for chain in self._chains.values())

    @property
    def taken(self) -> int:
        """Number of the last record that was taken; they are numbered from 1."""
        with self._lock:
            return self._last

    @property
    def behind(self) -> bool:
        """Whether something waits to be sent."""
        with self._lock:
            return bool(self._batch()[0])

    def append(self, records: Sequence[Outgoing]) -> None:
        """Keep the records on disk; `drain` sends them. Raises BadInput, before anything is kept,
        for a payload that could not be read back, StreamError when the disk does not take them:
        then none of them is kept, and who tries again sends nothing twice."""
        bodies = packed([record for record in records if self._wanted(record)])
        urgent = any(kept == "events" for kept, _ in bodies)
        with self._lock:
            before = self._last
            try:
                for kept, body in bodies:
                    self._keep(kept, body)
                if self.away and urgent:
                    self._chains["events"].sync()
                self._make_room()
            except OSError as error:
                self._take_back(before)
                raise StreamError(f"spool: {error}", where=str(self._folder)) from error
        if records:
            self._something.set()
        if urgent:
            self._urgent.set()

    def _keep(self, kept: Kept, body: bytes) -> None:
        """Store one record; on a disk that is full, in the room of the oldest ones."""
        self._last += 1
        while True:
            try:
                self._chains[kept].append(self._last, body)
            except OSError as error:
                if error.errno not in _FULL or not self._size_bytes():
                    raise
                self._drop_oldest()
            else:
                self._waiting += Amount.of(body)
                return

    def _take_back(self, before: int) -> None:
        """Undo what one call kept before it failed. Its numbers are not used again."""
        try:
            for chain in self._chains.values():
                self._waiting -= chain.take_back(before)
        except OSError as error:
            logger.warning("spool: sent twice at worst", extra={"error": str(error)[:200]})

    def _wanted(self, record: Outgoing) -> bool:
        """While the log is away, marks of one producer need not be dense: only the last of them
        counts, and they would take half of the room."""
        if not isinstance(record.payload, Mark):
            return True
        place = f"{record.payload.producer} {record.topic} {record.partition}"
        kept_s = self._marked_s.get(place, float("-inf"))
        if self.away and record.payload.at_s - kept_s < _AWAY_MARK_S:
            return False
        self._marked_s[place] = record.payload.at_s
        return True

    def drain(self) -> int:
        """Send what waits, in order; how many records. 0 when nothing waits or the log is away;
        then it returns after a while or as soon as something is appended. Raises StreamError for a
        disk that fails."""
        now_s = self._clock.monotonic_s()
        if now_s < self._retry_at_s:
            self._clock.wait(threading.Event(), min(_IDLE_S, self._retry_at_s - now_s))
            return 0
        batch = self._next()
        if not batch:
            self._clock.wait(self._something, _IDLE_S)
            return 0
        try:
            log = self._reached()
            self._send(log, [stored.body for stored in batch])
        except StreamError as error:
            if not self.away:
                logger.warning("log away, spooling", extra={"error": str(error)[:200]})
            self.away = str(error)[:200] or "away"
            self._retry_at_s = self._clock.monotonic_s() + self._retry_s
            return 0
        if self.away:
            logger.warning("log is back, draining", extra={"bytes": self._waiting.size})
            self.away = ""
        with self._lock:
            try:
                self._gone(batch)
                self._cursor.at = max(self._cursor.at, batch[-1].number)
                self._forget()
            except OSError as error:
                raise StreamError(f"spool: {error}", where=str(self._folder)) from error
        return len(batch)

    def _forget(self) -> None:
        """Delete what was sent, whether or not that could be noted first: where the disk is full,
        deleting is what makes room for the note. Raises OSError when it still cannot be noted."""
        failed = False
        try:
            self._cursor.write()
        except OSError:
            failed = True
        for chain in self._chains.values():
            chain.forget(self._cursor.at)
        if failed:
            self._cursor.write()

    def _next(self) -> list[Stored]:
        """What to send now; what comes within a moment goes with what nobody waits for."""
        self._something.clear()
        self._urgent.clear()
        with self._lock:
            batch, urgent = self._batch()
        if batch and not urgent and len(batch) < _BATCH_RECORDS and not self.away:
            self._clock.wait(self._urgent, _COMPANY_S)
            with self._lock:
                batch, _ = self._batch()
        return batch

    def _gone(self, batch: Sequence[Stored]) -> None:
        """Count what was sent; some of it may have been dropped for room meanwhile."""
        bodies = [stored.body for stored in batch]
        self._drained += Amount.of(*bodies)
        dropped_to = {chain.name: chain.dropped_to for chain in self._chains.values()}
        here = [stored.body for stored in batch if stored.number > dropped_to[stored.chain]]
        self._waiting -= Amount.of(*here)

    def partitions(self, topic: Topic) -> tuple[TopicPartition, ...]:
        """The partitions of a topic, as the log had them when it was last reached."""
        return tuple(TopicPartition(topic, number) for number in range(self._counts[topic]))

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
    ) -> list[RawRecord]:
        """What the log itself holds; what waits here is not in it yet."""
        return self._reached().read(positions, limit=limit, wait_s=wait_s)

    def begin(self, partition: TopicPartition) -> int:
        """Of the log itself."""
        return self._reached().begin(partition)

    def end(self, partition: TopicPartition) -> int:
        """Of the log itself."""
        return self._reached().end(partition)

    def close(self) -> None:
        """Let go of the files and of the log; what waits stays."""
        with self._lock:
            for chain in self._chains.values():
                chain.close()
            log, self._log = self._log, None
            self._unlock()
        if log is not None:
            log.close()

    def _reached(self) -> Log:
        """The log itself, opened at first. Raises StreamError."""
        with self._opening:
            if self._log is None:
                log = self._open_log()
                self._counts = {topic: len(log.partitions(topic)) for topic in Topic}
                self._write_layout()
                self._log = log
            return self._log

    def _batch(self) -> tuple[list[Stored], bool]:
        """The next records of both chains, in the order in which they were appended, and whether
        there are events among what waits."""
        horizon = float("inf")
        found: list[Stored] = []
        urgent = False
        for kept, chain in self._chains.items():
            sent = self._cursor.at
            stored, whole = chain.waiting(sent, records=_BATCH_RECORDS, size=_BATCH_BYTES)
            found += stored
            urgent |= bool(stored) and kept == "events"
            if not whole:  # what follows in this chain may come before what the other has
                horizon = min(horizon, stored[-1].number)
        found.sort(key=lambda stored: stored.number)
        batch = [stored for stored in found[:_BATCH_RECORDS] if stored.number <= horizon]
        return batch, urgent

    def _send(self, log: Log, bodies: Sequence[bytes]) -> None:
        """Append in one go; where one of the records cannot be appended at all, one by one."""
        ready = []
        for body in bodies:
            try:
                ready.append(self._fitted(unpacked(body)))
            except BadInput:
                self.dropped["samples"] += 1
        placed = [record for record in ready if record is not None]
        try:
            log.append(placed)
        except BadInput:
            for record in placed:
                try:
                    log.append([record])
                except BadInput:
                    self.dropped[kept_in(record)] += 1

    def _fitted(self, record: Outgoing) -> Outgoing | None:
        """The record for the partitions that there are: they may be other ones than when it was
        made. None for a mark of a partition that is not there."""
        count = self._counts[record.topic]
        if record.partition is None or record.partition < count:
            return record
        if is_mark(record):
            return None
        return Outgoing(record.topic, record.key, record.payload, record.partition % count)

    def _make_room(self) -> None:
        while self._size_bytes() > self._bytes_max:
            self._drop_oldest()

    def _size_bytes(self) -> int:
        return sum(chain.size_bytes for chain in self._chains.values())

    def _drop_oldest(self) -> None:
        kept: Kept = "samples" if self._chains["samples"].size_bytes else "events"
        dropped = self._chains[kept].drop_oldest(self._cursor.at)
        self.dropped[kept] += dropped.records
        self._waiting -= dropped

    def _read_layout(self, partitions: int) -> dict[Topic, int]:
        counts = {topic: partition_count(topic, partitions) for topic in Topic}
        try:
            told = json.loads((self._folder / _LAYOUT).read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return counts
        known = told if isinstance(told, dict) else {}
        for topic in Topic:
            if isinstance(known.get(topic.value), int) and known[topic.value] > 0:
                counts[topic] = known[topic.value]
        return counts

    def _write_layout(self) -> None:
        """Keep the numbers of partitions, for a start without a log. A disk that does not take them
        is not the log's fault, and no reason to send nothing."""
        new = self._folder / f"{_LAYOUT}.new"
        try:
            text = json.dumps({topic.value: count for topic, count in self._counts.items()})
            new.write_text(text, "utf-8")
            os.replace(new, self._folder / _LAYOUT)
        except OSError as error:
            logger.warning("spool: partitions not kept", extra={"error": str(error)[:200]})
