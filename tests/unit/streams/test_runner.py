"""What the runner writes and in which order, and what it does when something goes wrong."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from fleetmend.clock import ManualClock
from fleetmend.errors import StoreError, StreamError
from fleetmend.model.events import Event, EventType
from fleetmend.model.findings import Finding, FindingState
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Cut, Mark
from fleetmend.ports.snapshots import Snapshot
from fleetmend.services import Service, settle
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.codec import decode
from fleetmend.streams.port import (
    Encoded,
    Log,
    Outgoing,
    Payload,
    RawRecord,
    Record,
    TickInput,
    TopicPartition,
)
from fleetmend.streams.runner import StageRunner
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.stage import State
from fleetmend.streams.topics import SPECS, Topic
from fleetmend.testing import MemoryDeadLetters, MemorySnapshots
from tests.unit.streams.payloads import GPU
from tests.unit.streams.toy import ToyStage, finding

START_S = 1_800_000_000.0
START = int(START_S)
SETTINGS = TickSettings(
    period_s=1.0, lateness_s=2.0, idle_after_s=5.0, future_s=60.0, gap_s=600.0, snapshot_every=3
)


class Watched:
    """A log that remembers what was appended in which order, and fails when told to."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.appended: list[Payload | Encoded] = []
        self.fail_on: type[object] | None = None
        self.waits_s: list[float] = []

    def append(self, records: Sequence[Outgoing]) -> None:
        if self.fail_on and any(isinstance(r.payload, self.fail_on) for r in records):
            raise StreamError("no broker")
        self.appended.extend(record.payload for record in records)
        self.log.append(records)

    def partitions(self, topic: Topic) -> tuple[TopicPartition, ...]:
        return self.log.partitions(topic)

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
    ) -> list[RawRecord]:
        self.waits_s.append(wait_s)
        return self.log.read(positions, limit=limit, wait_s=wait_s)

    def begin(self, partition: TopicPartition) -> int:
        return self.log.begin(partition)

    def end(self, partition: TopicPartition) -> int:
        return self.log.end(partition)

    def close(self) -> None:
        self.log.close()


@dataclass
class Recorder:
    """A stage that remembers its ticks, says one thing for each event, and can be made to fail."""

    name: str = "recorder"
    inputs: tuple[Topic, ...] = (Topic.EVENTS,)
    ticks: list[TickInput] = field(default_factory=list)
    arrived: list[str] = field(default_factory=list)
    fail: Callable[[TickInput], None] = lambda tick: None

    def arrive(self, record: Record) -> list[Outgoing]:
        assert isinstance(record.payload, Event)
        self.arrived.append(record.payload.id)
        if record.payload.type is not EventType.XID:
            return []
        said = finding(GPU, 0, 1.0, state=FindingState.PROVISIONAL, detail=record.payload.id)
        return [Outgoing(Topic.FINDINGS, "lab", said)]

    def fold(self, tick: TickInput) -> list[Outgoing]:
        self.fail(tick)
        self.ticks.append(tick)
        return [
            Outgoing(
                Topic.FINDINGS,
                "lab",
                finding(GPU, tick.tick, tick.reached_s, state=FindingState.OPEN, detail=p.id),
            )
            for record in tick.records
            if isinstance(p := record.payload, Event)
        ]

    def snapshot(self) -> State:
        return {"ticks": len(self.ticks)}

    def restore(self, state: State) -> None:
        del self.ticks[int(str(state["ticks"])) :]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_S)


@pytest.fixture
def log(clock: ManualClock) -> Iterator[Watched]:
    log = SqliteLog(":memory:", clock=clock, partitions=1)
    yield Watched(log)
    log.close()


@dataclass
class Rig:
    """A runner with everything around it; `again` is the same after a restart."""

    log: Watched
    clock: ManualClock
    stage: Recorder = field(default_factory=Recorder)
    snapshots: MemorySnapshots = field(default_factory=MemorySnapshots)
    letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)

    def __post_init__(self) -> None:
        self.runner = StageRunner(
            self.stage,
            self.log,
            output=Topic.FINDINGS,
            snapshots=self.snapshots,
            dead_letters=self.letters,
            clock=self.clock,
            ticks=SETTINGS,
        )

    def again(self) -> "Rig":
        self.log.appended.clear()
        return Rig(self.log, self.clock, Recorder(), self.snapshots, self.letters)

    def feed(self, *payloads: Payload) -> None:
        self.log.log.append([Outgoing(Topic.EVENTS, "", payload, 0) for payload in payloads])

    def settle(self) -> None:
        settle([Service("toy", self.runner.step)])

    def folded(self) -> list[tuple[int, list[str]]]:
        return [
            (
                tick.tick - START,
                [r.payload.id for r in tick.records if isinstance(r.payload, Event)],
            )
            for tick in self.stage.ticks
        ]

    def said(self) -> list[str]:
        """What was appended by the runner, in short."""
        short = []
        for payload in self.log.appended:
            match payload:
                case Cut():
                    short.append(f"cut {payload.tick - START}")
                case Mark():
                    short.append(f"mark {payload.tick - START}")
                case Finding():
                    short.append(f"{payload.state} {payload.detail}")
        return short

    def findings(self) -> list[Finding]:
        return [p for p in self.log.appended if isinstance(p, Finding)]


@pytest.fixture
def rig(log: Watched, clock: ManualClock) -> Rig:
    return Rig(log, clock)


def event(at_s: float, name: str, kind: EventType = EventType.CHANGE) -> Event:
    return Event(name, "test", kind, START_S + at_s, GPU)


def mark(at_s: float, producer: str = "p") -> Mark:
    return Mark(producer, START_S + at_s)


class TestOrder:
    def test_the_cut_comes_first_then_outputs_then_the_mark(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), event(1.2, "b"), mark(2.0))
        rig.settle()
        assert rig.said() == ["cut 0", "open a", "mark 0", "cut 1", "open b", "mark 1"]
        assert rig.folded() == [(0, ["a"]), (1, ["b"])]

    def test_a_mark_promises_the_end_of_its_tick(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), mark(1.0))
        rig.settle()
        [promise] = [p for p in rig.log.appended if isinstance(p, Mark)]
        assert promise == Mark("recorder", START_S + 1, START)

    def test_the_cut_names_what_was_read(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), mark(1.5))
        rig.settle()
        [cut] = [p for p in rig.log.appended if isinstance(p, Cut)]
        assert cut == Cut("recorder", START, {"events/0": 2}, START_S + 1.5)

    def test_nothing_is_folded_at_the_end_of_the_input(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), mark(1.0), event(1.5, "b"))
        rig.settle()
        assert rig.folded() == [(0, ["a"])]

    def test_two_stages_go_on_together(self, rig: Rig) -> None:
        """The findings of one are the input of the other, under the same rules of time."""
        second = Recorder(name="second", inputs=(Topic.EVENTS, Topic.FINDINGS))
        second.arrive = lambda record: []  # type: ignore[method-assign]
        follower = StageRunner(
            second,
            rig.log,
            output=Topic.INCIDENTS,
            snapshots=rig.snapshots,
            dead_letters=rig.letters,
            clock=rig.clock,
            ticks=SETTINGS,
        )
        rig.feed(event(0.1, "a"), mark(1.0), mark(2.0), mark(3.0))
        settle([Service("toy", rig.runner.step), Service("second", follower.step)])
        found = [
            (tick.tick - START, r.payload.detail)
            for tick in second.ticks
            for r in tick.records
            if isinstance(r.payload, Finding)
        ]
        # Said when time 1.0 had been reached, which lies in the tick that begins there.
        assert found == [(1, "a")]
        assert [tick.tick - START for tick in second.ticks] == [0, 1, 2]


class TestExpressLane:
    def test_an_event_is_shown_to_the_stage_before_its_tick_closes(self, rig: Rig) -> None:
        rig.feed(event(0.1, "xid", EventType.XID))
        rig.runner.step()
        assert rig.said() == ["provisional xid"]

    def test_each_record_is_shown_once_even_over_a_restart(self, rig: Rig) -> None:
        """A cut is written after all that it has read, so what lies before it was shown."""
        rig.feed(event(0.1, "a", EventType.XID), mark(1.0), event(1.5, "b", EventType.XID))
        rig.settle()
        again = rig.again()
        again.feed(event(1.6, "c", EventType.XID), mark(2.0))
        again.settle()
        assert rig.stage.arrived == ["a", "b"]
        assert again.stage.arrived == ["b", "c"]  # b lies behind the last cut: nobody can know

    def test_marks_are_not_shown(self, rig: Rig) -> None:
        rig.feed(mark(1.0))
        rig.settle()
        assert rig.stage.arrived == []

    def test_it_is_not_held_up_by_a_partition_that_lags(self, rig: Rig) -> None:
        rig.stage.inputs = (Topic.EVENTS, Topic.SAMPLES)
        both = Rig(rig.log, rig.clock, rig.stage)
        both.feed(*(event(n, str(n), EventType.XID) for n in range(20)))
        both.settle()
        assert both.folded() == []
        assert len(both.findings()) == 20


class TestWaiting:
    def test_it_waits_only_when_there_is_nothing_to_do(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), mark(1.0))
        before_s = rig.clock.now_s()
        while rig.runner.step(wait_s=3.0):
            assert rig.clock.now_s() == before_s
        rig.runner.step(wait_s=3.0)
        assert rig.clock.now_s() == before_s + 3.0

    def test_a_long_backlog_is_folded_in_bounded_steps(self, rig: Rig) -> None:
        rig.clock.sleep(500.0)
        rig.feed(event(0.1, "a"), mark(400.0))
        rig.runner.step()
        assert 0 < len(rig.stage.ticks) <= 50
        rig.settle()
        assert len(rig.stage.ticks) == 400


class TestSilence:
    def test_ticks_close_by_the_clock_when_everything_is_silent(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), mark(1.0))
        rig.settle()
        rig.clock.sleep(4.9)
        rig.settle()
        assert len(rig.stage.ticks) == 1
        rig.clock.sleep(3.2)
        rig.settle()
        assert [tick.tick - START for tick in rig.stage.ticks] == [0, 1, 2, 3]
        assert rig.stage.ticks[-1].idle == ("events/0",)

    def test_silence_goes_on_counting_over_a_restart(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), mark(1.0))
        rig.settle()
        rig.clock.sleep(4.0)
        rig.settle()
        again = rig.again()
        again.settle()
        rig.clock.sleep(3.0)
        again.settle()
        assert [tick.tick - START for tick in again.stage.ticks[-2:]] == [1, 2]


class TestBadRecords:
    def test_bytes_that_nobody_can_read_are_kept_counted_and_skipped(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.feed(event(0.1, "a"), event(0.2, "broken"), event(0.3, "b"), mark(1.0))
        read = rig.log.log.read

        def damaged(
            positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
        ) -> list[RawRecord]:
            return [
                RawRecord(r.topic, r.partition, r.offset, r.key, r.headers, b"{" * 9000, r.append_s)
                if r.offset == 1 and r.topic is Topic.EVENTS
                else r
                for r in read(positions, limit=limit, wait_s=wait_s)
            ]

        monkeypatch.setattr(rig.log.log, "read", damaged)
        rig.settle()
        assert rig.folded() == [(0, ["a", "b"])]
        [letter] = rig.letters.letters
        assert (letter.source, letter.where) == ("stream", "events/0 offset 1")
        assert len(letter.payload) == 4096
        assert rig.runner.stats.dead == 1

    def test_a_time_too_far_ahead_is_a_dead_letter_and_moves_nothing(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), event(61.0, "future"), mark(500.0, "mad"), mark(1.0))
        rig.settle()
        assert rig.folded() == [(0, ["a"])]
        assert rig.runner.stats.future == 2
        assert {letter.where for letter in rig.letters.letters} == {
            "events/0 offset 1",
            "events/0 offset 2",
        }

    def test_a_time_a_little_ahead_waits_for_its_tick(self, rig: Rig) -> None:
        rig.feed(event(3.1, "soon"), mark(0.0), mark(4.0))
        rig.settle()
        assert rig.folded()[-1] == (3, ["soon"])

    def test_only_the_future_samples_of_a_batch_are_refused(
        self, log: Watched, clock: ManualClock
    ) -> None:
        stage = Recorder(inputs=(Topic.SAMPLES,))
        stage.arrive = lambda record: []  # type: ignore[method-assign]
        rig = Rig(log, clock, stage)
        rows = [(START_S + t, "c/gpu/a", "x", t) for t in (0.5, 900.0, 0.7)]
        log.log.append(
            [
                Outgoing(Topic.SAMPLES, "", SampleBatch.from_rows(rows), 0),
                Outgoing(Topic.SAMPLES, "", mark(1.0), 0),
            ]
        )
        rig.settle()
        [tick] = stage.ticks
        [record] = tick.records
        assert isinstance(record.payload, SampleBatch)
        assert record.payload.value.tolist() == [0.5, 0.7]
        assert rig.runner.stats.future == 1

    def test_whether_a_time_lies_ahead_does_not_depend_on_when_it_is_read(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), event(61.0, "future"), mark(1.0))
        rig.settle()
        rig.clock.sleep(100.0)
        again = Rig(rig.log, rig.clock)
        again.feed(mark(99.0))
        again.settle()
        assert [name for _, names in again.folded() for name in names] == ["a"]

    def test_late_records_are_counted_and_handed_over(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), mark(1.0), event(0.2, "late"), mark(2.0))
        rig.settle()
        assert [len(tick.late) for tick in rig.stage.ticks] == [0, 1]
        assert rig.runner.stats.late == 1


class TestFailures:
    @pytest.mark.parametrize("failing", [Cut, Finding, Mark])
    def test_after_a_failed_append_it_goes_on_where_it_stopped(
        self, rig: Rig, failing: type[object]
    ) -> None:
        rig.feed(event(0.1, "a"), event(1.1, "b"), mark(2.0))
        rig.log.fail_on = failing
        for _ in range(3):
            with pytest.raises(StreamError):
                rig.runner.step()
        rig.log.fail_on = None
        rig.settle()
        assert rig.said() == ["cut 0", "open a", "mark 0", "cut 1", "open b", "mark 1"]
        assert rig.folded() == [(0, ["a"]), (1, ["b"])]

    def test_a_provisional_output_that_failed_is_sent_again(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a", EventType.XID), event(0.2, "b", EventType.XID), mark(1.0))
        rig.log.fail_on = Finding
        with pytest.raises(StreamError):
            rig.runner.step()
        rig.log.fail_on = None
        rig.settle()
        assert rig.said()[:3] == ["provisional a", "provisional b", "cut 0"]

    def test_a_log_that_cannot_be_reached_is_not_silence(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A broker that is down gives no records either; ticks must not close for that."""

        def away(partition: TopicPartition) -> int:
            raise StreamError("no broker")

        rig.feed(event(0.1, "a"), mark(1.0))
        rig.settle()
        monkeypatch.setattr(rig.log.log, "end", away)
        rig.clock.sleep(100.0)
        with pytest.raises(StreamError):
            rig.runner.step()
        assert len(rig.stage.ticks) == 1

    def test_an_error_of_the_stage_is_passed_on_and_the_next_step_starts_again(
        self, rig: Rig
    ) -> None:
        def fail(tick: TickInput) -> None:
            raise ZeroDivisionError

        rig.feed(event(0.1, "a"), mark(1.0), event(1.1, "b"), mark(2.0))
        rig.stage.fail = fail
        with pytest.raises(ZeroDivisionError):
            rig.settle()
        rig.stage.fail = lambda tick: None
        rig.settle()
        assert rig.folded() == [(0, ["a"]), (1, ["b"])]
        assert rig.said().count("cut 0") == 1

    def test_a_store_that_is_down_stops_no_fold(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def down(snapshot: Snapshot) -> None:
            raise StoreError("no database")

        monkeypatch.setattr(rig.snapshots, "save", down)
        rig.feed(event(0.1, "a"), mark(9.0))
        rig.settle()
        assert len(rig.stage.ticks) == 9
        assert rig.runner.stats.snapshots == 0
        assert rig.runner.stats.snapshots_failed == 3


class TestRestart:
    def test_ticks_that_are_published_are_not_published_again(self, rig: Rig) -> None:
        rig.feed(*(event(n + 0.1, f"e{n}") for n in range(5)), mark(5.0))
        rig.settle()
        again = rig.again()
        again.feed(event(5.1, "new"), mark(6.0))
        again.settle()
        assert again.said() == ["cut 5", "open new", "mark 5"]

    def test_without_a_snapshot_everything_is_folded_again_from_the_log(self, rig: Rig) -> None:
        rig.feed(*(event(n + 0.1, f"e{n}") for n in range(5)), mark(5.0))
        rig.settle()
        again = Rig(rig.log, rig.clock)
        again.settle()
        assert again.folded() == rig.folded()
        assert rig.runner.stats.rebuilds == again.runner.stats.rebuilds == 0

    def test_a_damaged_snapshot_is_as_good_as_none(self, rig: Rig) -> None:
        rig.feed(*(event(n + 0.1, f"e{n}") for n in range(5)), mark(5.0))
        rig.settle()
        rig.snapshots.save(Snapshot("recorder", START + 4, b"FMSNAP 1 but damaged"))
        again = rig.again()
        again.settle()
        assert again.folded() == rig.folded()
        assert again.said() == []

    def test_it_is_catching_up_until_it_has_passed_what_the_log_held(self, rig: Rig) -> None:
        assert rig.runner.catching_up
        rig.feed(event(0.1, "a"), mark(1.0), event(1.5, "open"))
        rig.settle()
        assert rig.runner.catching_up, "the last record is in no closed tick"
        rig.feed(mark(2.0))
        rig.settle()
        assert not rig.runner.catching_up

    def test_with_an_empty_log_there_is_nothing_to_catch_up_with(self, rig: Rig) -> None:
        rig.settle()
        assert not rig.runner.catching_up

    def test_a_cut_that_was_logged_twice_is_folded_once(self, rig: Rig) -> None:
        rig.feed(event(0.1, "a"), mark(1.0))
        rig.settle()
        [cut] = [p for p in rig.log.appended if isinstance(p, Cut)]
        other = Cut(cut.fold, cut.tick, {"events/0": 0}, cut.reached_s)
        rig.log.log.append([Outgoing(Topic.TICKS, "x", cut), Outgoing(Topic.TICKS, "x", other)])
        again = Rig(rig.log, rig.clock)
        again.settle()
        assert again.folded() == [(0, ["a"])]

    def test_cuts_and_marks_of_other_folds_are_not_ours(self, rig: Rig) -> None:
        rig.log.log.append(
            [
                Outgoing(Topic.TICKS, "x", Cut("other", START, {"events/0": 0}, START_S + 1)),
                Outgoing(Topic.FINDINGS, "x", Mark("other", START_S + 50, START + 49)),
            ]
        )
        rig.feed(event(0.1, "a"), mark(1.0))
        rig.settle()
        assert rig.said() == ["cut 0", "open a", "mark 0"]


class TestLostOffsets:
    """Retention was faster than we: never skip to now, say so, and hold everything back."""

    def retire(self, rig: Rig) -> None:
        rig.clock.sleep(SPECS[Topic.EVENTS].retention_s + 61)
        rig.log.log.append([Outgoing(Topic.ACTIONS, "x", mark(0.0))])

    def fold_some_and_lose_more(self, rig: Rig) -> Rig:
        """Five ticks were folded; then more came that nobody has read before it was deleted."""
        rig.feed(*(event(n + 0.1, f"e{n}") for n in range(5)), mark(5.0))
        rig.settle()
        rig.feed(event(5.1, "never seen"), mark(6.0))
        self.retire(rig)
        return rig.again()

    def test_it_rebuilds_from_the_oldest_record_says_so_and_says_when_it_is_over(
        self, rig: Rig
    ) -> None:
        again = self.fold_some_and_lose_more(rig)
        at_s = rig.clock.now_s() - START_S
        again.feed(event(at_s, "next"), mark(at_s + 1), event(at_s + 1.5, "open"))
        again.settle()
        assert again.runner.catching_up
        [opened] = [f for f in again.findings() if f.detector == "coverage"]
        assert (opened.state, opened.reason) == (FindingState.OPEN, "offsets_lost")
        assert opened.entity == "fleetmend/collector/recorder"

        again.feed(mark(at_s + 2))
        again.settle()
        assert not again.runner.catching_up
        [_, closed] = [f for f in again.findings() if f.detector == "coverage"]
        assert (closed.state, closed.id) == (FindingState.CLOSED, opened.id)
        assert closed.at_s > opened.at_s
        assert [name for _, names in again.folded() for name in names] == ["next", "open"]

    def test_losing_them_while_it_runs_is_the_same(self, rig: Rig) -> None:
        rig.feed(*(event(n + 0.1, f"e{n}") for n in range(5)), mark(5.0))
        rig.settle()
        rig.feed(event(5.1, "never seen"), mark(6.0))
        self.retire(rig)
        rig.settle()
        assert rig.runner.stats.rebuilds == 1
        at_s = rig.clock.now_s() - START_S
        rig.feed(event(at_s, "next"), mark(at_s + 1))
        rig.settle()
        assert not rig.runner.catching_up
        states = [f.state for f in rig.findings() if f.detector == "coverage"]
        assert states == [FindingState.OPEN, FindingState.CLOSED]

    def test_a_restart_in_the_middle_keeps_the_alarm_and_ends_it(self, rig: Rig) -> None:
        again = self.fold_some_and_lose_more(rig)
        at_s = rig.clock.now_s() - START_S
        again.feed(event(at_s, "next"), mark(at_s + 1), event(at_s + 1.5, "open"))
        again.settle()
        third = again.again()
        third.feed(mark(at_s + 2), mark(at_s + 3))
        third.settle()
        states = [f.state for f in third.findings() if f.detector == "coverage"]
        assert states[-1] is FindingState.CLOSED

    def test_a_log_that_was_made_anew_is_a_loss_as_well(self, rig: Rig) -> None:
        rig.feed(*(event(n + 0.1, f"e{n}") for n in range(5)), mark(5.0))
        rig.settle()
        fresh = SqliteLog(":memory:", clock=rig.clock, partitions=1)
        again = Rig(Watched(fresh), rig.clock, Recorder(), rig.snapshots)
        again.feed(event(7.1, "new"), mark(8.0), mark(9.0))
        again.settle()
        states = [f.state for f in again.findings() if f.detector == "coverage"]
        assert states == [FindingState.OPEN, FindingState.CLOSED]
        assert ("new" in again.folded()[0][1], again.runner.catching_up) == (True, False)
        fresh.close()

    def test_a_young_fold_on_an_old_log_has_lost_nothing(self, rig: Rig) -> None:
        """Retention had deleted the beginning before this fold existed."""
        rig.feed(event(0.1, "old"))
        self.retire(rig)
        at_s = rig.clock.now_s() - START_S
        rig.feed(event(at_s, "a"), mark(at_s + 1))
        rig.settle()
        again = rig.again()
        again.settle()
        assert rig.runner.stats.rebuilds == again.runner.stats.rebuilds == 0
        assert [f for f in again.findings() if f.detector == "coverage"] == []


def test_the_toy_stage_of_the_other_tests_is_a_stage(log: Watched, clock: ManualClock) -> None:
    stage = ToyStage()
    stage.restore(stage.snapshot())
    runner = StageRunner(
        stage,
        log,
        output=Topic.FINDINGS,
        snapshots=MemorySnapshots(),
        dead_letters=MemoryDeadLetters(),
        clock=clock,
        ticks=SETTINGS,
    )
    assert runner.step() == 0
    assert runner.caught_up()


def test_decoding_what_the_runner_wrote_gives_what_it_said(rig: Rig) -> None:
    rig.feed(event(0.1, "a"), mark(1.0))
    rig.settle()
    [place] = rig.log.partitions(Topic.FINDINGS)
    found = [decode(raw).payload for raw in rig.log.log.read({place: 0}, limit=10)]
    assert found == [p for p in rig.log.appended if not isinstance(p, Cut)]
