"""When ticks close, what they hold, and that the log alone decides it."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Cut, Mark
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.lane import Arrival
from fleetmend.streams.merge import Merge
from fleetmend.streams.port import Payload, Record, TickInput, TopicPartition
from fleetmend.streams.topics import Topic
from tests.unit.streams.payloads import GPU

EVENTS = TopicPartition(Topic.EVENTS, 0)
SAMPLES = TopicPartition(Topic.SAMPLES, 0)
OTHER = TopicPartition(Topic.SAMPLES, 1)
SETTINGS = TickSettings(
    period_s=1.0, lateness_s=2.0, idle_after_s=5.0, future_s=60.0, gap_s=600.0, snapshot_every=30
)


def event(at_s: float, name: str = "") -> Event:
    return Event(name or f"e{at_s}", "test", EventType.CHANGE, at_s, GPU)


def batch(*times_s: float) -> SampleBatch:
    return SampleBatch.from_rows([(t, "a", "x", t) for t in times_s])


class Fold:
    """A merge with its partitions; records are offered by partition, ticks are collected."""

    def __init__(self, *places: TopicPartition, settings: TickSettings = SETTINGS) -> None:
        self.merge = Merge("fold", settings)
        self.offsets: dict[TopicPartition, int] = {}
        for place in places:
            self.merge.add(place, 0, heard_s=0.0)
            self.offsets[place] = 0

    def offer(
        self, place: TopicPartition, *payloads: Payload, now_s: float = 0.0, append_s: float = 0.0
    ) -> None:
        for payload in payloads:
            offset = self.offsets[place]
            self.offsets[place] = offset + 1
            record = Record(place.topic, place.partition, offset, payload)
            self.merge.offer(place, Arrival(offset, append_s, record), heard_s=now_s)

    def ticks(self, now_s: float = 0.0) -> list[tuple[Cut, TickInput]]:
        """Every tick that can close now."""
        found = []
        while (cut := self.merge.next_cut(now_s)) is not None:
            found.append((cut, self.merge.collect(cut)))
        return found

    def closed(self, now_s: float = 0.0) -> list[int]:
        return [cut.tick for cut, _ in self.ticks(now_s)]


def names(records: Sequence[Record]) -> list[str]:
    return [r.payload.id for r in records if isinstance(r.payload, Event)]


class TestWatermarks:
    def test_without_marks_a_tick_waits_for_the_lateness(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(100.0), event(102.9))
        assert fold.closed() == []
        fold.offer(EVENTS, event(103.0))
        assert fold.closed() == [100]

    def test_a_mark_is_a_promise_and_needs_no_lateness(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(100.5), Mark("p", 101.0))
        assert fold.closed() == [100]

    def test_a_tick_waits_for_the_slowest_partition(self) -> None:
        fold = Fold(EVENTS, SAMPLES)
        fold.offer(EVENTS, event(100.5), Mark("p", 110.0))
        assert fold.closed() == []
        fold.offer(SAMPLES, Mark("p", 102.0))
        assert fold.closed() == [100, 101]

    def test_a_tick_waits_for_the_slowest_live_producer(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, Mark("slow", 100.0), event(100.5), Mark("fast", 104.0))
        assert fold.closed() == []
        fold.offer(EVENTS, Mark("slow", 103.0))
        assert fold.closed() == [100, 101, 102]

    def test_a_producer_that_fell_silent_is_not_waited_for(self) -> None:
        """Measured by when the log took the records, so that a slow reader silences nobody."""
        fold = Fold(EVENTS)
        fold.offer(EVENTS, Mark("dead", 100.0), Mark("alive", 101.0), append_s=50.0)
        fold.offer(EVENTS, Mark("alive", 104.0), append_s=54.9)
        assert fold.closed() == []
        fold.offer(EVENTS, Mark("alive", 105.0), append_s=55.1)
        assert fold.closed() == [100, 101, 102, 103, 104]

    def test_a_silent_producer_is_waited_for_again_once_it_marks(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, Mark("a", 100.0), Mark("b", 100.0), append_s=50.0)
        fold.offer(EVENTS, Mark("b", 106.0), append_s=56.0)
        assert fold.closed() == [100, 101, 102, 103, 104, 105]
        fold.offer(EVENTS, Mark("a", 107.0), Mark("b", 109.0), append_s=57.0)
        assert fold.closed() == [106]

    def test_a_producer_whose_clock_is_far_behind_holds_nobody_up(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, Mark("good", 1000.0), Mark("slow clock", 800.0))
        assert fold.closed() == []
        fold.offer(EVENTS, Mark("slow clock", 801.0), Mark("good", 1001.0))
        assert fold.closed() == [1000]

    def test_where_producers_mark_a_fast_clock_makes_nobody_late(self) -> None:
        """One node's samples may lie almost `future_s` ahead; the others must not suffer."""
        fold = Fold(EVENTS)
        fold.offer(EVENTS, Mark("p", 100.0), event(155.0, "fast"), event(100.2, "good"))
        fold.offer(EVENTS, Mark("p", 101.0))
        [(cut, tick)] = fold.ticks()
        assert (cut.tick, names(tick.records), names(tick.late)) == (100, ["good"], [])

    def test_a_provisional_output_does_not_run_ahead_of_its_stage(self) -> None:
        """Findings of the express lane carry later times than those of the ticks still open."""
        fold = Fold(EVENTS)
        fold.offer(EVENTS, Mark("detection", 100.0, tick=99), event(109.0, "provisional"))
        fold.offer(EVENTS, event(100.5, "confirmed"), Mark("detection", 101.0, tick=100))
        [(_, tick)] = fold.ticks()
        assert (names(tick.records), names(tick.late)) == (["confirmed"], [])

    def test_a_mark_that_goes_back_takes_nothing_back(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(100.5), Mark("p", 101.0), Mark("p", 50.0))
        assert fold.closed() == [100]


class TestWhatATickHolds:
    def test_the_order_is_topic_rank_then_partition_then_offset(self) -> None:
        fold = Fold(OTHER, SAMPLES, EVENTS)
        for place in (OTHER, SAMPLES, EVENTS):
            fold.offer(place, event(100.1, f"{place}a"), event(100.0, f"{place}b"), Mark("p", 101))
        [(_, tick)] = fold.ticks()
        assert names(tick.records) == [
            "events/0a",
            "events/0b",
            "samples/0a",
            "samples/0b",
            "samples/1a",
            "samples/1b",
        ]

    def test_its_span_and_the_time_reached(self) -> None:
        fold = Fold(EVENTS, SAMPLES)
        fold.offer(EVENTS, event(100.5), Mark("p", 101.7))
        fold.offer(SAMPLES, Mark("p", 101.2))
        [(cut, tick)] = fold.ticks()
        assert (tick.start_s, tick.end_s, tick.reached_s) == (100.0, 101.0, 101.2)
        assert cut.positions == {"events/0": 2, "samples/0": 1}

    def test_a_batch_is_parted_among_its_ticks(self) -> None:
        fold = Fold(SAMPLES)
        fold.offer(SAMPLES, batch(100.0, 100.9, 101.0, 102.5), Mark("p", 103.0))
        times = {
            cut.tick: [
                r.payload.time_s.tolist()
                for r in tick.records
                if isinstance(r.payload, SampleBatch)
            ]
            for cut, tick in fold.ticks()
        }
        assert times == {100: [[100.0, 100.9]], 101: [[101.0]], 102: [[102.5]]}

    def test_a_batch_out_of_order_is_parted_as_well(self) -> None:
        fold = Fold(SAMPLES)
        fold.offer(SAMPLES, batch(101.0, 100.0, 101.5, 100.5), Mark("p", 102.0))
        times = [
            r.payload.time_s.tolist()
            for _, tick in fold.ticks()
            for r in tick.records
            if isinstance(r.payload, SampleBatch)
        ]
        assert times == [[100.0, 100.5], [101.0, 101.5]]

    def test_what_comes_after_its_tick_is_late(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(100.5), Mark("p", 102.0), event(101.5, "tardy"), Mark("p", 103.0))
        late = {cut.tick: names(tick.late) for cut, tick in fold.ticks()}
        assert late == {100: [], 101: [], 102: ["tardy"]}

    def test_only_the_late_samples_of_a_batch_are_late(self) -> None:
        fold = Fold(SAMPLES)
        fold.offer(SAMPLES, Mark("p", 100.0), Mark("p", 101.0))
        assert fold.closed() == [100]
        fold.offer(SAMPLES, batch(99.0, 100.5, 101.5), Mark("p", 102.0))
        [(_, tick)] = fold.ticks()
        [late], [due] = tick.late, tick.records
        assert isinstance(late.payload, SampleBatch)
        assert isinstance(due.payload, SampleBatch)
        assert late.payload.time_s.tolist() == [99.0, 100.5]
        assert due.payload.time_s.tolist() == [101.5]

    def test_a_batch_of_ancient_samples_is_one_late_part(self) -> None:
        """A million old samples must not become a million records."""
        fold = Fold(SAMPLES)
        fold.offer(SAMPLES, batch(1e6), Mark("p", 1e6 + 1))
        fold.closed()
        fold.offer(SAMPLES, batch(*range(5000)), Mark("p", 1e6 + 2))
        [(_, tick)] = fold.ticks()
        assert len(tick.late) == 1

    def test_ticks_of_other_periods_hold_what_tick_of_says(self) -> None:
        fold = Fold(SAMPLES, settings=SETTINGS.model_copy(update={"period_s": 0.25}))
        fold.offer(SAMPLES, batch(10.0, 10.25, 10.3), Mark("p", 10.5))
        assert [(cut.tick, len(tick.records)) for cut, tick in fold.ticks()] == [(40, 1), (41, 1)]


class TestSilence:
    def test_a_partition_that_is_idle_is_not_waited_for_and_the_cut_names_it(self) -> None:
        fold = Fold(EVENTS, SAMPLES)
        fold.offer(EVENTS, event(100.5), Mark("p", 101.0))
        assert fold.merge.silent(now_s=4.9) == []
        assert fold.merge.silent(now_s=5.0) == [SAMPLES]
        fold.merge.set_idle(SAMPLES)
        [(cut, tick)] = fold.ticks()
        assert cut.idle == tick.idle == ("samples/0",)

    def test_it_is_waited_for_again_when_something_comes(self) -> None:
        fold = Fold(EVENTS, SAMPLES)
        fold.merge.set_idle(SAMPLES)
        fold.offer(EVENTS, event(100.5), Mark("p", 101.0))
        assert fold.closed() == [100]
        fold.offer(SAMPLES, Mark("p", 100.0), now_s=6.0)
        fold.offer(EVENTS, Mark("p", 105.0))
        assert fold.closed() == []
        assert fold.merge.silent(now_s=10.9) == []

    def test_a_partition_with_unread_records_is_not_silent(self) -> None:
        fold = Fold(EVENTS, SAMPLES)
        fold.offer(EVENTS, Mark("p", 100.0), Mark("p", 101.0))
        fold.closed()
        assert fold.merge.silent(now_s=99.0) == [SAMPLES]

    def test_when_all_are_silent_event_time_follows_the_clock(self) -> None:
        """Silence has a time: that everything stopped must be found without anything coming."""
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(100.5), Mark("p", 101.0))
        assert fold.closed() == [100]
        fold.merge.set_idle(EVENTS)
        assert fold.closed(now_s=5.9) == []
        assert fold.closed(now_s=6.5) == [101]
        assert fold.closed(now_s=8.0) == [102, 103]

    def test_whoever_wakes_up_after_the_silence_is_on_time(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(100.5), Mark("p", 101.0), now_s=1.0)
        fold.closed()
        fold.merge.set_idle(EVENTS)
        fold.closed(now_s=10.0)
        fold.offer(EVENTS, event(110.5, "awake"), Mark("p", 111.0), now_s=11.0)
        held = {cut.tick: (names(t.records), names(t.late)) for cut, t in fold.ticks(now_s=11.0)}
        assert held[110] == (["awake"], [])

    def test_before_anything_was_heard_no_tick_closes(self) -> None:
        fold = Fold(EVENTS)
        fold.merge.set_idle(EVENTS)
        assert fold.closed(now_s=1e9) == []


class TestGaps:
    def test_a_long_stretch_without_anything_is_jumped_over(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(100.5), Mark("p", 101.0))
        fold.offer(EVENTS, event(5000.5), Mark("p", 5001.0))
        assert fold.closed() == [100, 5000]

    def test_a_short_one_is_ticked_through(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(100.5), Mark("p", 101.0), event(700.5), Mark("p", 701.0))
        assert len(fold.closed()) == 601

    def test_marks_alone_jump_as_well(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, Mark("p", 100.0), Mark("p", 101.0), Mark("p", 9000.0), Mark("p", 9001.0))
        assert fold.closed() == [100, 9000]

    def test_the_first_tick_is_that_of_the_oldest_record(self) -> None:
        fold = Fold(EVENTS, SAMPLES)
        fold.offer(EVENTS, Mark("p", 105.0))
        fold.offer(SAMPLES, batch(103.5), Mark("p", 104.0))
        assert fold.closed() == [103]

    def test_one_record_from_1970_costs_one_tick(self) -> None:
        """The two empty ticks before the next record are its lateness."""
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(5.0), event(1_800_000_000.5), Mark("p", 1_800_000_001.0))
        assert fold.closed() == [5, 1_799_999_998, 1_799_999_999, 1_800_000_000]


class TestRestart:
    """Cuts of the log are repeated, and what a snapshot had folded is not folded again."""

    def test_a_repeated_cut_holds_exactly_what_it_held(self) -> None:
        first, again = Fold(EVENTS, SAMPLES), Fold(EVENTS, SAMPLES)
        for fold in (first, again):
            fold.offer(EVENTS, event(100.1), Mark("p", 101.0))
        first.merge.set_idle(SAMPLES)
        [(cut, tick)] = first.ticks()
        # Now the samples come, too late for the first; the second sees them before it repeats.
        for fold in (first, again):
            fold.offer(SAMPLES, batch(100.2), Mark("p", 101.0))

        assert again.merge.reach(cut.positions)
        assert again.merge.collect(cut) == tick
        assert [len(t.late) for _, t in first.ticks()] == [len(t.late) for _, t in again.ticks()]

    def test_a_cut_is_not_reached_before_everything_was_fetched(self) -> None:
        fold = Fold(EVENTS, SAMPLES)
        fold.offer(EVENTS, event(100.1), event(100.2))
        assert not fold.merge.reach({"events/0": 2, "samples/0": 1})
        fold.offer(SAMPLES, batch(100.0))
        assert fold.merge.reach({"events/0": 2, "samples/0": 1})

    def test_no_tick_closes_before_open_records_were_read_again(self) -> None:
        fold = Fold(EVENTS)
        fold.offer(EVENTS, event(100.5), event(103.5, "open"), Mark("p", 101.0))
        [(cut, _)] = fold.ticks()
        state = fold.merge.states()[EVENTS]
        assert (state.position, state.unfolded) == (3, 1)

        merge = Merge("fold", SETTINGS)
        merge.add(EVENTS, state, heard_s=0.0)
        merge.resume(cut)
        assert merge.next_cut(0.0) is None
        again = Fold()
        again.merge, again.offsets = merge, {EVENTS: 1}
        again.offer(EVENTS, event(103.5, "open"), Mark("p", 101.0), event(100.9, "new"))
        again.offer(EVENTS, Mark("p", 104.0))
        held = {cut.tick: (names(t.records), names(t.late)) for cut, t in again.ticks()}
        assert held == {101: ([], ["new"]), 102: ([], []), 103: (["open"], [])}


@st.composite
def logs(draw: st.DrawFn) -> dict[TopicPartition, list[Payload]]:
    """Three partitions with events, batches and marks, more or less in order of time."""
    found: dict[TopicPartition, list[Payload]] = {}
    for place in (EVENTS, SAMPLES, OTHER):
        now_s = 100.0
        payloads: list[Payload] = [Mark("p", 99.0)]
        for kind in draw(st.lists(st.sampled_from("emmb"), max_size=12)):
            now_s += draw(st.floats(0, 3))
            back_s = draw(st.floats(0, 4))
            if kind == "e":
                payloads.append(event(now_s - back_s, f"{place}#{len(payloads)}"))
            elif kind == "b":
                payloads.append(batch(now_s - back_s, now_s))
            else:
                payloads.append(Mark(draw(st.sampled_from("pq")), now_s - 1))
        found[place] = [*payloads, Mark("p", 200.0), Mark("q", 200.0)]
    return found


def summary(ticks: list[tuple[Cut, TickInput]]) -> list[tuple[Cut, list[object], list[object]]]:
    """Cuts with what they folded, in a form that can be compared."""

    def told(records: Sequence[Record]) -> list[object]:
        return [
            (r.topic, r.partition, r.offset, r.payload.time_s.tolist())
            if isinstance(r.payload, SampleBatch)
            else r
            for r in records
        ]

    return [(cut, told(tick.records), told(tick.late)) for cut, tick in ticks]


@given(logs(), st.data())
@settings(max_examples=60, deadline=None)
def test_the_cuts_do_not_depend_on_how_the_log_was_fetched(
    log: dict[TopicPartition, list[Payload]], data: st.DataObject
) -> None:
    """Byte-identical replays rest on this: only the log decides, not who came first."""
    at_once = Fold(EVENTS, SAMPLES, OTHER)
    for place, payloads in log.items():
        at_once.offer(place, *payloads)
    want = at_once.ticks()

    bit_by_bit = Fold(EVENTS, SAMPLES, OTHER)
    got: list[tuple[Cut, TickInput]] = []
    left = {place: list(payloads) for place, payloads in log.items()}
    while any(left.values()):
        place = data.draw(st.sampled_from([place for place, rest in left.items() if rest]))
        bit_by_bit.offer(place, left[place].pop(0))
        got.extend(bit_by_bit.ticks())

    assert summary(got) == summary(want)


@given(logs())
@settings(max_examples=60, deadline=None)
def test_every_record_is_folded_once_and_in_its_own_tick_or_late(
    log: dict[TopicPartition, list[Payload]],
) -> None:
    fold = Fold(EVENTS, SAMPLES, OTHER)
    for place, payloads in log.items():
        fold.offer(place, *payloads)
    sampled = {(place, time_s) for place in log for time_s in times(log[place])}
    seen: list[tuple[TopicPartition, float]] = []
    for _, tick in fold.ticks():
        for record in (*tick.records, *tick.late):
            if isinstance(record.payload, SampleBatch):
                place = TopicPartition(record.topic, record.partition)
                seen.extend((place, time_s) for time_s in record.payload.time_s.tolist())
        for record in tick.records:
            if isinstance(record.payload, SampleBatch):
                assert np.all(record.payload.time_s >= tick.start_s)
                assert np.all(record.payload.time_s < tick.end_s)
            elif isinstance(record.payload, Event):
                assert tick.start_s <= record.payload.time_s < tick.end_s
    assert set(seen) == sampled
    assert len(seen) == sum(len(times(payloads)) for payloads in log.values())


def times(payloads: Sequence[Payload]) -> list[float]:
    return [t for p in payloads if isinstance(p, SampleBatch) for t in p.time_s.tolist()]


@given(logs())
@settings(max_examples=40, deadline=None)
def test_ticks_rise_by_one_and_reached_never_falls(
    log: dict[TopicPartition, list[Payload]],
) -> None:
    fold = Fold(EVENTS, SAMPLES, OTHER)
    for place, payloads in log.items():
        fold.offer(place, *payloads)
    cuts = [cut for cut, _ in fold.ticks()]
    assert cuts, "marks at 200 close something"
    reached_s = -math.inf
    for before, cut in zip([None, *cuts], cuts, strict=False):
        assert before is None or cut.tick == before.tick + 1
        assert cut.reached_s >= max(reached_s, cut.tick + 1)
        reached_s = cut.reached_s
    assert cuts[-1].tick == 199


@pytest.mark.parametrize("held", [19_999, 2_000_000])
def test_a_partition_that_holds_enough_is_not_fetched(held: int) -> None:
    fold = Fold(EVENTS, SAMPLES)
    fold.offer(SAMPLES, SampleBatch.from_rows([(1.0, "a", "x", 1.0)]))
    large = SampleBatch(
        np.full(held, 1.0),
        np.zeros(held, np.int32),
        np.zeros(held, np.int32),
        np.zeros(held),
        ("a",),
        ("x",),
    )
    fold.offer(SAMPLES, large)
    assert (SAMPLES in fold.merge.hungry()) == (held < 1_000_000)
    assert EVENTS in fold.merge.hungry()
