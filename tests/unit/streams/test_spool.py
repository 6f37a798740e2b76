"""The spool keeps what is appended, sends it in order, and drops in the order that it promises."""

import errno
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fleetmend.clock import ManualClock
from fleetmend.errors import BadInput, StreamError
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.streams.codec import decode
from fleetmend.streams.partition import target
from fleetmend.streams.port import Encoded, Outgoing, Payload, RawRecord, TopicPartition
from fleetmend.streams.producer import Producer
from fleetmend.streams.segments import Amount
from fleetmend.streams.spool import SpooledLog
from fleetmend.streams.topics import Topic

NODE = entity_id("c", EntityKind.NODE, "n1")


class FlakyLog:
    """A log in memory that can be away, and remembers what it took in."""

    def __init__(self, partitions: int = 4) -> None:
        self.away = False
        self.count = partitions
        self.taken: list[Outgoing] = []

    def append(self, records: Sequence[Outgoing]) -> None:
        if self.away:
            raise StreamError("no broker")
        read = [replace(record, payload=payload_of(record)) for record in records]
        for record in read:
            target(record, self.partitions(record.topic))
            if isinstance(record.payload, Event) and record.payload.source == "refused":
                raise BadInput("refused")
        self.taken += read

    def partitions(self, topic: Topic) -> tuple[TopicPartition, ...]:
        return tuple(TopicPartition(topic, n) for n in range(self.count))

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
    ) -> list[RawRecord]:
        return []

    def begin(self, partition: TopicPartition) -> int:
        return 0

    def end(self, partition: TopicPartition) -> int:
        return 0

    def close(self) -> None:
        self.away = True


def payload_of(record: Outgoing) -> Payload:
    """What a reader of the log would find."""
    assert isinstance(record.payload, Encoded)
    headers, value = record.payload.headers, record.payload.value
    return decode(RawRecord(record.topic, 0, 0, record.key, headers, value, 0.0)).payload


def event(number: int, source: str = "s") -> Outgoing:
    made = Event(f"id-{number}", source, EventType.CHANGE, 1e9 + number, NODE, node="n1")
    return Outgoing(Topic.EVENTS, "n1", made)


def batch(number: int, rows: int = 400) -> Outgoing:
    values = SampleBatch.from_rows(
        (1e9 + number, "c/gpu/a", "gpu.power", float(number * 1000 + row)) for row in range(rows)
    )
    return Outgoing(Topic.SAMPLES, "n1", values, 1)


_living: dict[Path, weakref.ref[SpooledLog]] = {}


def spool(
    folder: Path,
    log: FlakyLog,
    clock: ManualClock | None = None,
    *,
    bytes_max: int = 1 << 22,
    segment_bytes: int = 4096,
) -> SpooledLog:
    """One of a process that takes the place of the last one on this folder, if there was one: that
    one died where it stood, and the kernel took its lock."""
    before = _living.get(folder, lambda: None)()
    if before is not None:
        before._unlock()
    made = SpooledLog(
        folder,
        open_log=lambda: _opened(log),
        clock=clock or ManualClock(),
        partitions=4,
        bytes_max=bytes_max,
        segment_bytes=segment_bytes,
        retry_s=2.0,
    )
    _living[folder] = weakref.ref(made)
    return made


def _opened(log: FlakyLog) -> FlakyLog:
    if log.away:
        raise StreamError("no broker")
    return log


def drained(spooled: SpooledLog, clock: ManualClock) -> None:
    while spooled.behind:
        spooled.drain()
        clock.advance_to(clock.now_s() + 2)


def order(taken: Sequence[Outgoing]) -> list[str]:
    found = []
    for record in taken:
        match record.payload:
            case Event() as told:
                found.append(told.id)
            case SampleBatch() as samples:
                found.append(f"batch-{samples.value[0]:.0f}")
            case Mark() as mark:
                found.append(f"mark-{mark.at_s:.0f}")
    return found


def test_what_was_appended_while_the_log_was_away_goes_first_and_in_order(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    log.away = True
    spooled = spool(tmp_path, log, clock)
    for number in range(30):
        spooled.append([event(number), batch(number)])
        spooled.drain()
    assert spooled.away
    assert log.taken == []
    log.away = False
    spooled.append([event(99)])

    clock.advance_to(clock.now_s() + 2)
    drained(spooled, clock)

    expected = [name for n in range(30) for name in (f"id-{n}", f"batch-{n * 1000}")]
    assert order(log.taken) == [*expected, "id-99"]
    assert spooled.dropped == {"samples": 0, "events": 0}
    assert not spooled.away
    assert spooled.figures().disk_bytes < 4096 * 3, "what was sent is deleted"


def test_a_log_that_is_away_is_not_asked_all_the_time(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    log.away = True
    spooled = spool(tmp_path, log, clock)
    spooled.append([event(1)])
    assert spooled.drain() == 0
    log.away = False

    assert spooled.drain() == 0, "not before the pause is over"
    drained(spooled, clock)
    assert order(log.taken) == ["id-1"]


@given(bound_kib=st.integers(40, 120), count=st.integers(1, 80))
@settings(max_examples=10, deadline=None)
def test_the_bound_holds_and_samples_go_before_events(
    tmp_path_factory: pytest.TempPathFactory, bound_kib: int, count: int
) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    log.away = True
    folder = tmp_path_factory.mktemp("spool")
    spooled = spool(folder, log, clock, bytes_max=bound_kib * 1024)
    for number in range(count):
        spooled.append([event(number), batch(number)])
        assert sum(path.stat().st_size for path in folder.glob("*.seg")) <= bound_kib * 1024
    log.away = False
    drained(spooled, clock)

    told = order(log.taken)
    events = [name for name in told if name.startswith("id-")]
    batches = [name for name in told if name.startswith("batch-")]
    assert events == [f"id-{n}" for n in range(spooled.dropped["events"], count)]
    assert batches == [f"batch-{n * 1000}" for n in range(spooled.dropped["samples"], count)]
    if spooled.dropped["events"]:
        assert spooled.dropped["samples"] >= count - 1, "no event goes while samples could"


def test_events_go_only_where_no_samples_are_left(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    log.away = True
    spooled = spool(tmp_path, log, clock, bytes_max=40 * 1024)
    spooled.append([batch(0)])
    for number in range(1000):
        spooled.append([event(number)])
    log.away = False
    drained(spooled, clock)

    assert spooled.dropped["samples"] == 1
    assert spooled.dropped["events"] > 0
    assert order(log.taken) == [f"id-{n}" for n in range(spooled.dropped["events"], 1000)]


def test_a_restart_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    first = spool(tmp_path, log, clock)
    first.append([event(n) for n in range(300)])
    first.drain()
    sent = len(log.taken)
    assert 0 < sent < 300

    second = spool(tmp_path, log, clock)
    second.append([event(300)])
    drained(second, clock)

    assert order(log.taken) == [f"id-{n}" for n in range(301)]


@given(cut=st.integers(0, 3000))
@settings(max_examples=40, deadline=None)
def test_a_torn_tail_costs_only_what_was_not_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("torn")
    log, clock = FlakyLog(), ManualClock(1e9)
    before = spool(folder, log, clock, segment_bytes=1 << 20)
    ends = [0]
    for number in range(10):
        before.append([event(number)])
        ends.append(before.figures().disk_bytes)
    [path] = folder.glob("events-*.seg")
    cut = min(cut, ends[-1])
    with path.open("r+b") as file:
        file.truncate(cut)

    after = spool(folder, log, clock, segment_bytes=1 << 20)
    after.append([event(99)])
    drained(after, clock)

    whole = sum(end <= cut for end in ends[1:])
    assert order(log.taken) == [*(f"id-{n}" for n in range(whole)), "id-99"]
    assert after.torn_bytes == cut - ends[whole]


def test_a_flipped_byte_ends_its_file_and_no_other(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    spooled = spool(tmp_path, log, clock)
    spooled.append([event(n) for n in range(60)])
    first, *others = sorted(tmp_path.glob("events-*.seg"))
    assert others
    damaged = bytearray(first.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    first.write_bytes(bytes(damaged))

    drained(spooled, clock)

    told = [int(name.removeprefix("id-")) for name in order(log.taken)]
    assert told == sorted(set(told))
    assert told[-1] == 59
    assert 0 < len(told) < 60
    assert spooled.torn_bytes > 0


def test_one_record_that_the_log_refuses_holds_up_no_other(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    spooled = spool(tmp_path, log, clock)
    spooled.append([event(1), event(2, source="refused"), event(3)])
    drained(spooled, clock)

    assert order(log.taken) == ["id-1", "id-3"]
    assert spooled.dropped["events"] == 1


def test_what_could_not_be_read_back_is_refused_at_once(tmp_path: Path) -> None:
    spooled = spool(tmp_path, FlakyLog())
    endless = Event("x", "s", EventType.CHANGE, float("nan"), NODE)
    with pytest.raises(BadInput):
        spooled.append([event(1), Outgoing(Topic.EVENTS, "n1", endless)])
    assert not spooled.behind


def test_partitions_are_known_while_the_log_has_never_answered(tmp_path: Path) -> None:
    log, clock = FlakyLog(partitions=2), ManualClock(1e9)
    log.away = True
    spooled = spool(tmp_path, log, clock)
    assert len(spooled.partitions(Topic.SAMPLES)) == 4
    spooled.append([Outgoing(Topic.SAMPLES, "n1", batch(1).payload, 3)])
    spooled.append([Outgoing(Topic.SAMPLES, "n1", Mark("p", 5.0), 3)])
    log.away = False
    drained(spooled, clock)

    [placed] = log.taken
    assert placed.partition == 1, "a partition that is not there becomes one that is"
    assert len(spool(tmp_path, log, clock).partitions(Topic.SAMPLES)) == 2, "remembered on disk"


def test_marks_do_not_fill_the_spool_while_the_log_is_away(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    log.away = True
    spooled = spool(tmp_path, log, clock)
    spooled.append([event(0)])
    spooled.drain()
    for second in range(60):
        spooled.append([Outgoing(Topic.EVENTS, "p", Mark("p", float(second)), 0)])
    log.away = False
    clock.advance_to(clock.now_s() + 2)
    drained(spooled, clock)
    spooled.append([Outgoing(Topic.EVENTS, "p", Mark("p", 60.0), 0)])
    drained(spooled, clock)

    assert order(log.taken) == ["id-0", *(f"mark-{s}" for s in range(0, 60, 5)), "mark-60"]


def test_producers_work_on_it_as_on_any_log(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    log.away = True
    spooled = spool(tmp_path, log, clock)
    producer = Producer(spooled, name="agent", clock=clock, hold_s=0.0)
    told = event(7).payload
    assert isinstance(told, Event)
    producer.events([told])
    samples = batch(1).payload
    assert isinstance(samples, SampleBatch)
    producer.samples("n1", samples)
    producer.mark(1e9)
    log.away = False
    clock.advance_to(clock.now_s() + 5)
    drained(spooled, clock)

    assert order(log.taken)[:2] == ["id-7", "batch-1000"]
    assert len(log.taken) == 2 + 1 + 4 + 4, "one mark for each partition"
    assert producer.dropped[Topic.EVENTS] == 0


def test_appending_from_several_threads_loses_nothing(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    spooled = spool(tmp_path, log, clock)

    def work(first: int) -> None:
        for number in range(first, first + 50):
            spooled.append([event(number)])

    threads = [threading.Thread(target=work, args=(first,)) for first in (0, 100, 200)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        spooled.drain()
    drained(spooled, clock)

    told = [int(name.removeprefix("id-")) for name in order(log.taken)]
    assert sorted(told) == [*range(50), *range(100, 150), *range(200, 250)]
    for first in (0, 100, 200):
        mine = [n for n in told if first <= n < first + 50]
        assert mine == sorted(mine)


def test_figures_say_what_waits_how_old_it_is_and_what_went(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    log.away = True
    spooled = spool(tmp_path, log, clock)
    spooled.append([event(3), event(4)])
    waiting = spooled.figures()
    reopened = spool(tmp_path, log, clock).figures()
    log.away = False
    drained(spooled, clock)
    after = spooled.figures()

    assert (waiting.waiting.records, waiting.oldest_s) == (2, 1e9 + 3)
    assert waiting.waiting.size > 300
    assert reopened.waiting == waiting.waiting, "also of what an earlier process left"
    assert (after.waiting.records, after.waiting.size) == (0, 0)
    assert after.drained == waiting.waiting
    assert after.oldest_s == float("inf")


@given(steps=st.lists(st.sampled_from(("batch", "event", "drain", "away", "back")), max_size=60))
@example(["batch"] * 40)
@example(["away", *["batch"] * 20, "back", "drain", *["batch"] * 20])
@settings(max_examples=30, deadline=None)
def test_what_was_appended_waits_was_sent_or_was_dropped(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    log, clock = FlakyLog(), ManualClock(1e9)
    spooled = spool(folder, log, clock, bytes_max=20_000, segment_bytes=4096)
    appended = 0
    for number, step in enumerate(steps):
        match step:
            case "batch":
                spooled.append([batch(number)])
            case "event":
                spooled.append([event(number)])
            case "drain":
                spooled.drain()
                clock.advance_to(clock.now_s() + 2)
            case _:
                log.away = step == "away"
        appended += step in ("batch", "event")
    figures = spooled.figures()

    told = figures.waiting.records + figures.drained.records + sum(figures.dropped.values())
    assert told == appended
    assert figures.waiting.size <= figures.disk_bytes
    assert spool(folder, log, clock).figures().waiting == figures.waiting
    spooled.close()


def test_samples_wait_a_moment_for_company_and_events_for_nobody(tmp_path: Path) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    spooled = spool(tmp_path, log, clock)
    spooled.append([batch(1)])
    spooled.drain()
    alone_s = clock.now_s() - 1e9
    spooled.append([event(2)])
    spooled.drain()

    assert 0 < alone_s < 0.25
    assert clock.now_s() == 1e9 + alone_s
    assert order(log.taken) == ["batch-1000", "id-2"]


class FullDisk:
    """A disk with room for so many bytes of segments, on which no new file can be made and none can
    grow once that room is used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, room_bytes: int) -> None:
        self.folder, self.room_bytes = folder, room_bytes
        self._write, self._open = os.write, os.open
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "open", self.open)
        monkeypatch.setattr(Path, "write_text", self.refused)

    @property
    def is_full(self) -> bool:
        return sum(p.stat().st_size for p in self.folder.glob("*.seg")) >= self.room_bytes

    def refused(self, *_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def open(self, path: str | Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and self.is_full and not Path(path).exists():
            self.refused()
        return self._open(path, flags, mode)

    def write(self, file: int, data: bytes) -> int:
        if len(data) > 64 and self.is_full:
            self.refused()
        return self._write(file, data)


def test_a_full_disk_loses_the_oldest_samples_and_drains_when_the_log_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    log.away = True
    spooled = spool(tmp_path, log, clock)
    FullDisk(monkeypatch, tmp_path, 40_000)
    for number in range(60):
        spooled.append([event(number), batch(number)])
    assert spooled.dropped["samples"] > 0
    assert spooled.dropped["events"] == 0
    log.away = False

    for _ in range(200):
        spooled.drain()
        clock.advance_to(clock.now_s() + 2)

    told = [name for name in order(log.taken) if name.startswith("id-")]
    assert told == [f"id-{n}" for n in range(60)]
    assert not spooled.away
    assert spooled.figures().waiting == Amount()
    assert spooled.figures().disk_bytes < 3 * 4096
    assert len(log.taken) + spooled.dropped["samples"] == 120


def test_what_was_sent_is_deleted_even_where_it_could_not_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    spooled = spool(tmp_path, log, clock)
    spooled.append([batch(number) for number in range(20)])
    monkeypatch.setattr(os, "pwrite", FullDisk.refused)
    with pytest.raises(StreamError, match="No space"):
        spooled.drain()
    assert spooled.figures().disk_bytes < 2 * 4096
    assert not spooled.away, "a disk that fails is not a log that is away"


def test_an_append_that_fails_keeps_nothing_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, clock = FlakyLog(), ManualClock(1e9)
    spooled = spool(tmp_path, log, clock)
    spooled.append([event(0), batch(0)])
    records = [record for n in range(1, 8) for record in (event(n), batch(n))]
    whole, left = os.write, [9]

    def write(file: int, data: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.EIO, "Input/output error")
        return whole(file, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StreamError, match="Input/output"):
        spooled.append(records)
    assert spooled.figures().waiting.records == 2
    left[0] = 1000
    spooled.append(records)

    drained(spooled, clock)

    assert order(log.taken) == [n for at in range(8) for n in (f"id-{at}", f"batch-{at * 1000}")]
    assert spooled.figures().waiting == Amount()


def test_a_spool_that_is_in_use_is_refused_and_is_free_once_it_is_closed(tmp_path: Path) -> None:
    first, log, clock = spool(tmp_path, FlakyLog()), FlakyLog(), ManualClock(1e9)
    first.append([event(0)])

    def another() -> SpooledLog:
        return SpooledLog(
            tmp_path,
            open_log=lambda: log,
            clock=clock,
            partitions=4,
            bytes_max=1 << 20,
            segment_bytes=4096,
            retry_s=2.0,
        )

    with pytest.raises(StreamError, match=f"in use by process {os.getpid()}"):
        another()
    first.append([event(1)])
    first.close()

    second = another()
    drained(second, clock)
    assert order(log.taken) == ["id-0", "id-1"]
    second.close()
