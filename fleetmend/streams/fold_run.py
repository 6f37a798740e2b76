"""One life of a fold: from where it started until it ends or has to start anew.

Made by `fleetmend.streams.runner` alone. The order of what is written here is what makes a crash
harmless; see there.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fleetmend.clock import Clock
from fleetmend.errors import StoreError, StreamError
from fleetmend.model.findings import FindingState
from fleetmend.model.ticks import Cut, Mark
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.ports.snapshots import Snapshot, SnapshotStore
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.deadletter import dead_letter
from fleetmend.streams.fence import FRESH_S, Fence
from fleetmend.streams.lane import Arrival, LaneState
from fleetmend.streams.lost import offsets_lost
from fleetmend.streams.merge import Merge
from fleetmend.streams.port import Log, Outgoing, Record, TopicPartition
from fleetmend.streams.reader import Fetched, Reader
from fleetmend.streams.recovery import FoldTopics, Place, Start, place_json
from fleetmend.streams.snapshot import pack
from fleetmend.streams.split import without_future
from fleetmend.streams.stage import Stage
from fleetmend.streams.topics import Topic

TICKS_PER_STEP = 50
"""Ticks folded in one step: during a catch-up new records are still looked at in between."""


@dataclass(slots=True)
class RunnerStats:
    """Counters since the runner was made; what it repeats after a restart counts again."""

    records: int = 0
    ticks: int = 0
    late: int = 0
    """Records (or parts of batches) that came after their tick had closed."""
    future: int = 0
    """Samples and records refused because their time lies in the future."""
    dead: int = 0
    """Records that could not be decoded."""
    snapshots: int = 0
    snapshots_failed: int = 0
    rebuilds: int = 0
    """Times that offsets were lost."""


@dataclass(frozen=True, slots=True)
class FoldPorts:
    """What a fold stands on."""

    log: Log
    snapshots: SnapshotStore
    dead_letters: DeadLetters
    clock: Clock
    ticks: TickSettings
    fence: Fence


class FoldRun:
    """Reads, closes ticks, folds, publishes, saves; an attempt that failed is made again first."""

    def __init__(
        self, stage: Stage, topics: FoldTopics, start: Start, ports: FoldPorts, stats: RunnerStats
    ) -> None:
        self._stage = stage
        self._topics = topics
        self._ports = ports
        self._stats = stats
        self._merge = _merge(stage.name, start, ports)
        self._reader = Reader(
            ports.log, self._merge.fetched, dead_letters=ports.dead_letters, clock=ports.clock
        )
        self._cuts = deque(start.cuts)
        self._last = start.last
        self._last_s = start.last_s
        self._live = False
        self._published = start.published
        self._lost_tick = start.lost_tick
        self._old_ends = start.targets
        self._targets = start.targets
        self._cuts_from = 0 if start.place is None else start.place.cuts_from
        self._outputs_from = {} if start.place is None else dict(start.place.outputs_from)
        # A first snapshot soon: without one, a restart cannot tell a young fold from lost offsets.
        self._unsaved = ports.ticks.snapshot_every if start.place is None else 0
        self._shown_before = _shown_before(self._merge, self._last)
        self._unshown: deque[tuple[TopicPartition, Arrival]] = deque()
        self._cut_due: Cut | None = None
        """Decided, not yet known to be in the log."""
        self._cut_written: Cut | None = None
        """In the log, not yet known to count: another runner may have claimed the fold before."""
        self._due: list[Outgoing] = []
        """Outputs, not yet known to be in the log."""
        self._folded: Cut | None = None
        """Folded; its outputs, its mark or its snapshot may still be due."""
        self._busy = True
        if self._lost_tick is not None and start.place is None:
            self._due.append(self._lost(FindingState.OPEN, self._lost_tick, self._end_s()))
        self._check_caught_up(self._merge.positions)

    @property
    def catching_up(self) -> bool:
        """See `StageRunner.catching_up`."""
        return bool(self._targets)

    @property
    def reached_s(self) -> float:
        """Event time reached by the last tick."""
        return self._merge.reached_s

    def caught_up(self) -> bool:
        """See `StageRunner.caught_up`."""
        return self._live and self._reader.at_end()

    def work(self, wait_s: float) -> int:
        """One step: what was left over, new records, ticks, and when there is nothing of all that,
        silence."""
        self._flush()
        done = self._fetch(0.0 if self._busy else wait_s)
        done += self._close_ticks()
        if not done:
            done = self._find_silence() + self._close_ticks()
        self._busy = bool(done)
        return done

    def _fetch(self, wait_s: float) -> int:
        hungry = self._merge.hungry()
        if not hungry:
            return 0
        count = 0
        for fetched in self._reader.poll(wait_s=wait_s, only=hungry):
            count += 1
            self._stats.records += 1
            record = self._plausible(fetched)
            arrival = Arrival(fetched.raw.offset, fetched.raw.append_s, record)
            old = arrival.offset < self._old_ends[fetched.place]
            heard_s = _moment(arrival.append_s, self._ports) if old else self._now_s()
            self._merge.offer(fetched.place, arrival, heard_s=heard_s)
            if self._live:
                self._unshown.append((fetched.place, arrival))
                self._show()
        return count

    def _plausible(self, fetched: Fetched) -> Record | None:
        """The record without what the future holds.

        Measured against the moment at which the log took it: whenever it is read, the answer is
        the same.
        """
        if fetched.record is None:
            self._stats.dead += 1
            return None
        raw, record = fetched.raw, fetched.record
        horizon_s = raw.append_s + self._ports.ticks.future_s
        payload, removed = without_future(record.payload, horizon_s)
        if not removed:
            return record
        self._stats.future += removed
        error = f"{removed} of its times lie more than {self._ports.ticks.future_s:g} s ahead"
        self._ports.dead_letters.put(dead_letter(raw, error, at_s=self._ports.clock.now_s()))
        if payload is None:
            return None
        return Record(record.topic, record.partition, record.offset, payload)

    def _show(self) -> None:
        """The express lane: show the stage what has come, before its tick, and publish at once."""
        while self._unshown:
            self._ports.fence.check(older_than_s=FRESH_S)
            place, arrival = self._unshown.popleft()
            record = arrival.record
            if record is None or isinstance(record.payload, Mark):
                continue
            if arrival.offset >= self._shown_before[place]:
                self._due.extend(self._stage.arrive(record))
                self._flush()

    def _close_ticks(self) -> int:
        closed = 0
        while closed < TICKS_PER_STEP and self._close_one():
            closed += 1
        return closed

    def _close_one(self) -> bool:
        """Repeat the next logged cut, or make a new one; false when more has to be fetched."""
        if self._cuts:
            logged = self._cuts[0]
            if not self._merge.reach(logged.cut.positions):
                return False
            self._cuts.popleft()
            self._cuts_from = logged.offset + 1
            self._fold(logged.cut)
            self._flush()
            return True
        if not self._live:
            if not self._merge.complete():
                return False
            self._go_live()
        self._show()
        cut = self._merge.next_cut(self._now_s())
        if cut is None:
            return False
        self._cut_due = replace(cut, runner=self._ports.fence.runner)
        self._flush()
        return True

    def _go_live(self) -> None:
        """All logged cuts are repeated. What was fetched beyond them is shown to the stage now,
        with the state that it would have had."""
        self._live = True
        silent = () if self._last is None else self._last.idle
        for place, offset in self._merge.fetched.items():
            if str(place) in silent and self._ports.log.end(place) <= offset:
                self._merge.set_idle(place)
        if self._merge.all_idle() and len(silent) == len(self._topics.inputs):
            self._merge.set_silent(since_s=_moment(self._last_s, self._ports))
        self._unshown.extend(self._merge.waiting())

    def _flush(self) -> None:
        """Bring into the log what is due, in the order that makes a crash harmless. Whatever fails
        stays due."""
        log = self._ports.log
        if self._due:
            log.append(self._due)
            self._due = []
        if self._cut_due is not None:
            log.append([Outgoing(Topic.TICKS, self._stage.name, self._cut_due)])
            self._cut_written, self._cut_due = self._cut_due, None
        if self._cut_written is not None:
            self._ports.fence.confirm(self._cut_written)
            cut, self._cut_written = self._cut_written, None
            self._fold(cut)
            if self._due:
                log.append(self._due)
                self._due = []
        if self._folded is not None:
            if self._folded.tick > self._published:
                log.append(self._marks(self._folded.tick))
                self._published = self._folded.tick
            done, self._folded = self._folded, None
            self._unsaved += 1
            if self._unsaved >= self._ports.ticks.snapshot_every:
                self._save(done)

    def _fold(self, cut: Cut) -> None:
        tick = self._merge.collect(cut)
        outputs = self._stage.fold(tick)
        # Ids follow from content: sending again harms nobody, and after a loss the rebuilt state
        # may differ from what was published before.
        if cut.tick > self._published or self._lost_tick is not None:
            self._due.extend(outputs)
        self._folded = self._last = cut
        self._stats.ticks += 1
        self._stats.late += len(tick.late)
        self._check_caught_up(
            {place: cut.positions.get(str(place), 0) for place in self._topics.inputs}
        )

    def _marks(self, tick: int) -> list[Outgoing]:
        mark = Mark(self._stage.name, (tick + 1) * self._ports.ticks.period_s, tick)
        return [
            Outgoing(place.topic, self._stage.name, mark, place.partition)
            for place in self._topics.outputs
        ]

    def _save(self, cut: Cut) -> None:
        """Keep a snapshot. A store that is down costs the next restart time, not this fold."""
        self._unsaved = 0
        log = self._ports.log
        try:
            if self._live:
                self._cuts_from = self._ports.fence.position
                self._outputs_from = {str(p): log.end(p) for p in self._topics.outputs}
            place = Place(
                cut=cut,
                cut_s=self._ports.clock.now_s(),
                lanes={str(p): state for p, state in self._merge.states().items()},
                cuts_from=self._cuts_from,
                outputs_from=self._outputs_from,
                lost_tick=self._lost_tick,
            )
            blob = pack(place_json(place), self._stage.snapshot())
            self._ports.snapshots.save(Snapshot(self._stage.name, cut.tick, blob))
            self._stats.snapshots += 1
        except (StreamError, StoreError):
            self._stats.snapshots_failed += 1

    def _find_silence(self) -> int:
        """Partitions that were silent for long and are at their end are waited for no more; how
        many those are."""
        if not self._live:
            return 0
        found = 0
        for place in self._merge.silent(self._now_s()):
            if self._ports.log.end(place) <= self._reader.positions[place]:
                self._merge.set_idle(place)
                found += 1
        return found

    def _check_caught_up(self, positions: Mapping[TopicPartition, int]) -> None:
        """Strike off the partitions whose end at the start has been passed."""
        self._targets = {p: end for p, end in self._targets.items() if positions.get(p, 0) < end}
        if self._lost_tick is not None and self._last is not None and not self._targets:
            self._due.append(
                self._lost(FindingState.CLOSED, self._last.tick, self._merge.reached_s)
            )
            self._lost_tick = None

    def _lost(self, state: FindingState, tick: int, at_s: float) -> Outgoing:
        lost_tick = 0 if self._lost_tick is None else self._lost_tick
        return offsets_lost(
            self._stage.name,
            state,
            lost_tick=lost_tick,
            tick=tick,
            lost_s=self._end_s(),
            at_s=at_s,
        )

    def _now_s(self) -> float:
        return self._ports.clock.monotonic_s()

    def _end_s(self) -> float:
        """Event time at which offsets were lost."""
        return ((self._lost_tick or 0) + 1) * self._ports.ticks.period_s


def _merge(fold: str, start: Start, ports: FoldPorts) -> Merge:
    merge = Merge(fold, ports.ticks)
    for place, lane in start.lanes.items():
        heard_s = ports.clock.monotonic_s()
        if isinstance(lane, LaneState) and math.isfinite(lane.newest_append_s):
            heard_s = _moment(lane.newest_append_s, ports)
        merge.add(place, lane, heard_s=heard_s)
    if start.place is not None:
        merge.resume(start.place.cut)
    elif start.last is not None and not start.cuts:
        merge.resume(start.last)
    return merge


def _moment(append_s: float, ports: FoldPorts) -> float:
    """The monotonic time of something that the log took before this run: so that silence goes on
    counting over a restart. The clocks involved are believed no further than `future_s`."""
    age_s = ports.clock.now_s() - append_s
    return ports.clock.monotonic_s() - min(max(0.0, age_s), ports.ticks.future_s)


def _shown_before(merge: Merge, last: Cut | None) -> dict[TopicPartition, int]:
    """The offsets below which an earlier run has shown every record to the stage: a cut is written
    after all that it has read."""
    logged: Mapping[str, int] = {} if last is None else last.positions
    return {
        place: max(position, logged.get(str(place), 0))
        for place, position in merge.positions.items()
    }
