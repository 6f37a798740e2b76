"""In which order the partitions are read, and when a tick closes. Pure: no I/O, no clock.

Driven by `fleetmend.streams.runner`: it offers what it has fetched and asks for the next cut. The
partition with the lowest watermark is always taken from next, so the same log gives the same cuts
however it was fetched. Only silence depends on the clock, and the cuts in the log say what was
decided then.
"""

import math
from collections.abc import Iterator, Mapping

from fleetmend.model.ticks import Cut, Mark, tick_of
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.lane import Arrival, Lane, LaneState
from fleetmend.streams.port import Record, TickInput, TopicPartition
from fleetmend.streams.split import by_tick
from fleetmend.streams.topics import SPECS

HELD_MAX = 2_000_000
"""Samples fetched ahead of their turn, over all partitions (about 24 bytes each)."""
_LANE_HELD_MIN = 20_000


class Merge:
    """What one fold has read: the partitions, the records of open ticks, the next tick."""

    def __init__(self, fold: str, settings: TickSettings) -> None:
        self._fold = fold
        self._settings = settings
        self._lanes: dict[TopicPartition, Lane] = {}
        self._open: dict[int, list[Record]] = {}
        """Taken records by tick, those of closed ticks (late) among them."""
        self._next: int | None = None
        """The tick after the last cut; None before the first."""
        self._start: int | None = None
        """Where ticks begin, at first or after a gap, unless something older comes before that."""
        self._reached_s = -math.inf
        self._silence: tuple[float, float] | None = None
        """Since when all partitions are idle (clock), and the event time reached then."""

    def add(self, place: TopicPartition, start: int | LaneState, *, heard_s: float) -> None:
        """Read this partition from an offset, or go on as a snapshot says. It counts as last heard
        at `heard_s`, monotonic time."""
        offset = start if isinstance(start, int) else start.position
        lane = Lane(place, self._settings, position=offset, fetched=offset, heard_s=heard_s)
        if not isinstance(start, int):
            lane.restore(start)
        self._lanes[place] = lane

    @property
    def fetched(self) -> dict[TopicPartition, int]:
        """The next offset to fetch of each partition."""
        return {lane.place: lane.fetched for lane in self._lanes.values()}

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """The next offset to take of each partition."""
        return {lane.place: lane.position for lane in self._lanes.values()}

    def complete(self) -> bool:
        """False while a restart has not read all open records again."""
        return all(lane.fetched >= lane.position for lane in self._lanes.values())

    def all_idle(self) -> bool:
        """True when no partition is waited for."""
        return all(lane.idle for lane in self._lanes.values())

    @property
    def reached_s(self) -> float:
        """The event time that the last cut had reached."""
        return self._reached_s

    def hungry(self) -> dict[TopicPartition, int]:
        """Where to fetch next: partitions that hold less than their share."""
        share = max(_LANE_HELD_MIN, HELD_MAX // max(1, len(self._lanes)))
        return {lane.place: lane.fetched for lane in self._lanes.values() if lane.held < share}

    def offer(self, place: TopicPartition, arrival: Arrival, *, heard_s: float) -> None:
        """A record was fetched, written at `heard_s` of monotonic time or little before. One that
        was taken before (it is read again after a restart) only brings back what its open ticks
        still need."""
        lane = self._lanes[place]
        lane.fetched = arrival.offset + 1
        lane.heard_s = heard_s
        lane.idle = False
        self._silence = None
        if arrival.offset >= lane.position:
            lane.hold(arrival)
        elif arrival.record is not None and not isinstance(arrival.record.payload, Mark):
            self._keep(arrival.record, folded=True)

    def silent(self, now_s: float) -> list[TopicPartition]:
        """Partitions that nothing came from for long: idle, if the log has no more of them."""
        limit_s = now_s - self._settings.idle_after_s
        return [
            lane.place
            for lane in self._lanes.values()
            if not lane.idle and not lane.waiting and lane.heard_s <= limit_s
        ]

    def set_idle(self, place: TopicPartition) -> None:
        """This partition is at its end and silent: it is not waited for until something comes.
        One that holds records is not silent, and stays."""
        self._lanes[place].idle = not self._lanes[place].waiting
        if self.all_idle():
            heard_s = max(lane.heard_s for lane in self._lanes.values())
            self.set_silent(since_s=heard_s + self._settings.idle_after_s)

    def set_silent(self, *, since_s: float) -> None:
        """All partitions are idle: from `since_s` (monotonic) on, event time follows the clock."""
        self._silence = (since_s, self._reached_s)

    def next_cut(self, now_s: float) -> Cut | None:
        """Take records until a tick can close; None when more has to be fetched first.

        `now_s` is monotonic time; it matters only when every partition is idle.
        """
        while True:
            if not self.complete():
                return None
            cut = self._cut(self._low_s(now_s))
            if cut is not None:
                return cut
            lane = min(
                (lane for lane in self._lanes.values() if not lane.idle),
                key=lambda lane: (lane.watermark_s, lane.rank),
                default=None,
            )
            if lane is None or not lane.waiting:
                return None
            self._take(lane)

    def reach(self, positions: Mapping[str, int]) -> bool:
        """Take exactly up to a logged cut's positions; false when more has to be fetched first."""
        complete = True
        for lane in self._lanes.values():
            goal = positions.get(str(lane.place), lane.position)
            while lane.position < goal and lane.waiting:
                self._take(lane)
            complete = complete and lane.position >= goal and lane.fetched >= lane.position
        return complete

    def collect(self, cut: Cut) -> TickInput:
        """What the cut's tick folds; the next tick follows it."""
        late = [
            record for tick in sorted(self._open) if tick < cut.tick for record in self._open[tick]
        ]
        records = self._open.get(cut.tick, [])
        self._open = {tick: held for tick, held in self._open.items() if tick > cut.tick}
        self._next, self._start = cut.tick + 1, None
        self._reached_s = cut.reached_s
        period_s = self._settings.period_s
        return TickInput(
            tick=cut.tick,
            start_s=cut.tick * period_s,
            end_s=(cut.tick + 1) * period_s,
            reached_s=self._reached_s,
            records=tuple(sorted(records, key=_order)),
            late=tuple(sorted(late, key=_order)),
            idle=cut.idle,
        )

    def resume(self, cut: Cut) -> None:
        """Go on after a cut that was folded before."""
        self._next, self._reached_s = cut.tick + 1, cut.reached_s

    def states(self) -> dict[TopicPartition, LaneState]:
        """For a snapshot: every partition with the first offset that a restart reads again."""
        unfolded = {lane.place: lane.position for lane in self._lanes.values()}
        for records in self._open.values():
            for record in records:
                place = TopicPartition(record.topic, record.partition)
                unfolded[place] = min(unfolded[place], record.offset)
        return {lane.place: lane.state(unfolded[lane.place]) for lane in self._lanes.values()}

    def waiting(self) -> Iterator[tuple[TopicPartition, Arrival]]:
        """Everything fetched and not taken, in offset order per partition."""
        for lane in self._lanes.values():
            for arrival in lane.waiting:
                yield lane.place, arrival

    def _low_s(self, now_s: float) -> float:
        """How far the fold as a whole may go: the lowest watermark of those that are waited for,
        and never back.

        When all are silent, event time goes on as fast as the clock, from where it stood: silence
        has a time, and whoever wakes up later is ahead of it.
        """
        low_s = min(
            (lane.watermark_s for lane in self._lanes.values() if not lane.idle), default=-math.inf
        )
        if self._silence is not None:
            since_s, reached_s = self._silence
            low_s = reached_s + max(0.0, now_s - since_s)
        return max(low_s, self._reached_s)

    def _cut(self, low_s: float) -> Cut | None:
        if low_s == -math.inf:
            return None
        tick = self._candidate(low_s)
        if low_s < (tick + 1) * self._settings.period_s:
            return None
        return Cut(
            fold=self._fold,
            tick=tick,
            positions={str(lane.place): lane.position for lane in self._lanes.values()},
            reached_s=low_s,
            idle=tuple(str(lane.place) for lane in self._lanes.values() if lane.idle),
        )

    def _candidate(self, low_s: float) -> int:
        """The tick that closes next: the one after the last, or the first with anything in it when
        there was nothing for longer than the gap."""
        here = tick_of(low_s, self._settings.period_s)
        oldest = min(self._open, default=here)
        if self._next is None:
            goal = oldest
        else:
            goal = min(here, oldest)
            if (goal - self._next) * self._settings.period_s <= self._settings.gap_s:
                return self._next
        # Kept, because `here` moves on while the tick that it began with waits to be closed.
        self._start = goal if self._start is None else min(self._start, goal)
        return self._start

    def _take(self, lane: Lane) -> None:
        record = lane.take()
        if record is not None:
            self._keep(record, folded=False)

    def _keep(self, record: Record, *, folded: bool) -> None:
        """Put a record's parts to their ticks; with `folded`, parts of closed ticks are done."""
        for tick, part in by_tick(record, self._settings.period_s, first=self._next):
            if not (folded and self._next is not None and tick < self._next):
                self._open.setdefault(tick, []).append(part)


def _order(record: Record) -> tuple[int, int, int]:
    return SPECS[record.topic].rank, record.partition, record.offset
