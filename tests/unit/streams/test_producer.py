"""Collectors' side: useful batches, promises that hold, nothing lost while the log is away."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.clock import ManualClock
from fleetmend.errors import BadInput, StreamError
from fleetmend.model.entities import EntityId, TopologyChange, TopologyOp
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.streams.codec import decode
from fleetmend.streams.port import Outgoing, Payload, RawRecord, TopicPartition
from fleetmend.streams.producer import WAITING_MAX, Producer
from fleetmend.streams.rebatch import ROWS_MAX, joined, pieces
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from tests.unit.streams.payloads import GPU, batches, same_batch


class UnsteadyLog:
    """A log that can be away."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self.away = False
        self.writes: list[int] = []
        """Records of each write."""

    def append(self, records: Sequence[Outgoing]) -> None:
        if self.away:
            raise StreamError("no broker")
        self.writes.append(len(records))
        self._log.append(records)

    def partitions(self, topic: Topic) -> tuple[TopicPartition, ...]:
        return self._log.partitions(topic)

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
    ) -> list[RawRecord]:
        return self._log.read(positions, limit=limit, wait_s=wait_s)

    def begin(self, partition: TopicPartition) -> int:
        return self._log.begin(partition)

    def end(self, partition: TopicPartition) -> int:
        return self._log.end(partition)

    def close(self) -> None:
        self._log.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000.0)


@pytest.fixture
def log(clock: ManualClock) -> Iterator[UnsteadyLog]:
    log = UnsteadyLog(SqliteLog(":memory:", clock=clock, partitions=2))
    yield log
    log.close()


@pytest.fixture
def producer(log: UnsteadyLog, clock: ManualClock) -> Producer:
    return Producer(log, name="collector/test", clock=clock, rows_min=10, hold_s=2.0)


def payloads(log: UnsteadyLog, topic: Topic) -> list[Payload]:
    positions = {place: 0 for place in log.partitions(topic)}
    return [decode(raw).payload for raw in log.read(positions, limit=10_000)]


def batch(count: int, at_s: float = 1.0) -> SampleBatch:
    return SampleBatch.from_rows([(at_s, "c/gpu/a", "x", float(n)) for n in range(count)])


def sizes(log: UnsteadyLog) -> list[int]:
    return [len(p) for p in payloads(log, Topic.SAMPLES) if isinstance(p, SampleBatch)]


def event(name: str, node: str = "n") -> Event:
    return Event(name, "s", EventType.CHANGE, 1.0, GPU, node)


def test_small_batches_wait_until_they_are_worth_a_record(
    producer: Producer, log: UnsteadyLog
) -> None:
    producer.samples("n", batch(4))
    producer.samples("n", batch(4))
    assert sizes(log) == []
    producer.samples("n", batch(4))
    assert sizes(log) == [12]


def test_they_wait_no_longer_than_they_may(
    producer: Producer, log: UnsteadyLog, clock: ManualClock
) -> None:
    producer.samples("n", batch(4))
    clock.sleep(2.0)
    producer.samples("n", batch(1))
    assert sizes(log) == [5]


def test_a_mark_comes_after_everything_it_promises(producer: Producer, log: UnsteadyLog) -> None:
    producer.samples("n", batch(3))
    producer.mark(5.0)
    for topic in (Topic.TOPOLOGY, Topic.EVENTS, Topic.SAMPLES):
        for place in log.partitions(topic):
            [*_, last] = log.read({place: 0}, limit=100)
            assert decode(last).payload == Mark("collector/test", 5.0)
    assert sizes(log) == [3]


def test_what_is_not_urgent_waits_for_the_next_mark_and_goes_in_one_write(
    log: UnsteadyLog, clock: ManualClock
) -> None:
    producer = Producer(log, name="collector/test", clock=clock, rows_min=10, urgent=False)
    for n in range(5):
        producer.topology((TopologyChange(1.0, TopologyOp.ENTITY, GPU),))
        producer.events((event(str(n)),))
        producer.samples("n", batch(1))
    assert payloads(log, Topic.EVENTS) == []
    producer.mark(5.0)
    assert log.writes == [11, 5]  # what waited with one batch, and the marks of five partitions
    events = [p.id for p in payloads(log, Topic.EVENTS) if isinstance(p, Event)]
    assert events == ["0", "1", "2", "3", "4"]


def test_what_is_not_urgent_does_not_pile_up(log: UnsteadyLog, clock: ManualClock) -> None:
    producer = Producer(log, name="collector/test", clock=clock, urgent=False)
    producer.events(event(str(n)) for n in range(WAITING_MAX - 1))
    assert payloads(log, Topic.EVENTS) == []
    producer.events((event("last"),))
    assert len(payloads(log, Topic.EVENTS)) == WAITING_MAX


def test_a_promise_is_not_given_while_older_records_could_not_be_sent(
    producer: Producer, log: UnsteadyLog
) -> None:
    producer.samples("n", batch(3))
    log.away = True
    with pytest.raises(StreamError):
        producer.mark(5.0)
    log.away = False
    producer.flush()
    assert not any(isinstance(p, Mark) for p in payloads(log, Topic.SAMPLES))
    assert sizes(log) == [3]


def test_what_could_not_be_sent_goes_first_next_time_and_in_order(
    producer: Producer, log: UnsteadyLog
) -> None:
    log.away = True
    for name in "ab":
        with pytest.raises(StreamError):
            producer.events([event(name)])
    log.away = False
    producer.events([event("c")])
    found = payloads(log, Topic.EVENTS)
    assert [p.id for p in found if isinstance(p, Event)] == ["a", "b", "c"]


def test_what_is_kept_is_bounded_in_bytes_and_losses_are_counted(
    log: UnsteadyLog, clock: ManualClock
) -> None:
    """A hundred thousand samples are some megabytes, whatever number of records they are."""
    small = Producer(log, name="collector/small", clock=clock, rows_min=10, kept_bytes=100_000)
    log.away = True
    for second in range(40):
        with pytest.raises(StreamError):
            small.samples("n", batch(1000, at_s=float(second)))
    log.away = False
    small.flush()
    found = [p for p in payloads(log, Topic.SAMPLES) if isinstance(p, SampleBatch)]
    assert small.dropped == {Topic.TOPOLOGY: 0, Topic.EVENTS: 0, Topic.SAMPLES: 40 - len(found)}
    assert 50_000 < sum(24 * len(kept) for kept in found) < 100_000
    assert [kept.time_s[0] for kept in found] == [float(n) for n in range(40 - len(found), 40)]


def test_samples_go_before_any_event_and_events_before_the_topology(
    log: UnsteadyLog, clock: ManualClock
) -> None:
    small = Producer(log, name="collector/small", clock=clock, rows_min=10, kept_bytes=20_000)
    log.away = True
    with pytest.raises(StreamError):
        small.topology([TopologyChange(1.0, TopologyOp.ENTITY, GPU)])
    with pytest.raises(StreamError):
        small.events([event(str(n)) for n in range(20)])
    with pytest.raises(StreamError):
        small.samples("n", batch(1000))
    assert small.dropped == {Topic.TOPOLOGY: 0, Topic.EVENTS: 0, Topic.SAMPLES: 1}
    with pytest.raises(StreamError):
        small.events([event(str(n)) for n in range(20, 60)])
    log.away = False
    small.flush()
    found = [p.id for p in payloads(log, Topic.EVENTS) if isinstance(p, Event)]
    assert found == [str(n) for n in range(60 - len(found), 60)], "the newest are kept, in order"
    assert small.dropped == {Topic.TOPOLOGY: 0, Topic.EVENTS: 60 - len(found), Topic.SAMPLES: 1}
    assert 30 < len(found) < 60


def test_one_event_that_cannot_be_encoded_holds_up_nobody(
    producer: Producer, log: UnsteadyLog
) -> None:
    producer.events([event("a"), replace(event("b"), time_s=float("nan")), event("c")])
    assert [p.id for p in payloads(log, Topic.EVENTS) if isinstance(p, Event)] == ["a", "c"]
    assert producer.dropped[Topic.EVENTS] == 1


def test_a_batch_that_does_not_fit_together_is_refused_at_the_door(producer: Producer) -> None:
    good = batch(3)
    for broken in (
        replace(good, entity=np.array([0, 1, 0], np.int32)),
        replace(good, signal=np.array([0, -1, 0], np.int32)),
        replace(good, value=good.value[:2]),
    ):
        with pytest.raises(BadInput):
            producer.samples("n", broken)


def test_events_of_a_node_share_a_partition_and_topology_its_cluster(
    producer: Producer, log: UnsteadyLog
) -> None:
    producer.events([event(str(n), "node-7") for n in range(6)])
    producer.topology([TopologyChange(1.0, TopologyOp.ENTITY, EntityId("lab/gpu/x"))])
    ends = sorted(log.end(place) for place in log.partitions(Topic.EVENTS))
    assert ends == [0, 6]
    [raw] = log.read({log.partitions(Topic.TOPOLOGY)[0]: 0}, limit=5)
    assert raw.key == "lab"


@given(st.lists(batches(), min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_joining_changes_no_sample(parts: list[SampleBatch]) -> None:
    whole = joined(parts)
    assert len(set(whole.entities)) == len(whole.entities)
    start = 0
    for part in parts:
        piece = replace(
            whole,
            time_s=whole.time_s[start : start + len(part)],
            entity=whole.entity[start : start + len(part)],
            signal=whole.signal[start : start + len(part)],
            value=whole.value[start : start + len(part)],
        )
        assert same_batch(piece, part)
        start += len(part)
    assert start == len(whole)


@pytest.mark.parametrize(("rows", "want"), [(10, [4, 4, 2]), (4, [4]), (0, [])])
def test_pieces_are_no_larger_than_allowed(rows: int, want: list[int]) -> None:
    assert [len(piece) for piece in pieces(batch(rows), 4)] == want


def test_the_largest_piece_fits_into_a_record(log: UnsteadyLog, producer: Producer) -> None:
    """Even when nothing can be compressed."""
    rng = np.random.default_rng(0)
    noise = SampleBatch(
        rng.uniform(1e9, 2e9, ROWS_MAX),
        rng.integers(0, 1000, ROWS_MAX).astype(np.int32),
        rng.integers(0, 1000, ROWS_MAX).astype(np.int32),
        rng.normal(size=ROWS_MAX),
        tuple(f"c/gpu/{n:0100}" for n in range(1000)),
        tuple(f"{n:0100}" for n in range(1000)),
    )
    producer.samples("n", noise)
    assert sizes(log) == [ROWS_MAX]
