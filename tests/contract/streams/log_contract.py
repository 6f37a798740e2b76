"""What every log must do. Each engine's tests inherit `LogContract` and say how it is opened."""

import threading
from collections.abc import Callable, Iterator

import pytest

from fleetmend.errors import BadInput, OffsetsLost, StreamError
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.streams.codec import RECORD_BYTES_MAX, decode
from fleetmend.streams.port import Log, Outgoing, RawRecord, TopicPartition
from fleetmend.streams.topics import Topic
from tests.unit.streams.payloads import FIXED, same_batch

Opener = Callable[[], Log]
WAIT_S = 30.0
"""Long enough for a loaded machine; nothing here waits that long when it works."""


def mark(number: int, partition: int | None = 0, topic: Topic = Topic.EVENTS) -> Outgoing:
    return Outgoing(topic, "key", Mark("test", float(number)), partition)


def place(partition: int = 0, topic: Topic = Topic.EVENTS) -> TopicPartition:
    return TopicPartition(topic, partition)


def number(record: RawRecord) -> int:
    payload = decode(record).payload
    assert isinstance(payload, Mark)
    return int(payload.at_s)


def drain(log: Log, positions: dict[TopicPartition, int], *, limit: int = 1000) -> list[RawRecord]:
    """Read until every partition's end, moving `positions`."""
    found: list[RawRecord] = []
    while any(offset < log.end(where) for where, offset in positions.items()):
        records = log.read(positions, limit=limit, wait_s=WAIT_S)
        assert len(records) <= limit
        for record in records:
            where = TopicPartition(record.topic, record.partition)
            assert record.offset == positions[where], "offsets follow each other"
            positions[where] += 1
        found.extend(records)
    return found


class LogContract:
    """Inherit, and override `opener` and `forget_all`."""

    @pytest.fixture
    def opener(self) -> Opener:
        """Opens the test's own log; every call opens the same one."""
        raise NotImplementedError

    def forget_all(self, log: Log, where: TopicPartition) -> None:
        """Make retention delete everything that lies in a partition now."""
        raise NotImplementedError

    @pytest.fixture
    def log(self, opener: Opener) -> Iterator[Log]:
        log = opener()
        yield log
        log.close()

    @pytest.mark.parametrize("name", sorted(FIXED))
    def test_every_kind_of_payload_comes_back(self, log: Log, name: str) -> None:
        payload = FIXED[name]
        log.append([Outgoing(Topic.EVENTS, "node-3", payload, 2)])

        [record] = log.read({place(2): 0}, limit=10, wait_s=WAIT_S)

        assert (record.topic, record.partition, record.offset) == (Topic.EVENTS, 2, 0)
        assert record.key == "node-3"
        assert record.headers["kind"] == type(payload).__name__
        assert float(record.headers["time_max"]) > 1_700_000_000
        back = decode(record).payload
        if isinstance(payload, SampleBatch):
            assert isinstance(back, SampleBatch)
            assert same_batch(payload, back)
        else:
            assert back == payload

    def test_records_come_in_the_order_in_which_they_were_appended(self, log: Log) -> None:
        log.append([mark(n) for n in range(50)])
        log.append([mark(n) for n in range(50, 120)])

        records = drain(log, {place(): 0}, limit=30)

        assert [number(record) for record in records] == list(range(120))

    def test_the_key_decides_the_partition_and_both_engines_agree(self, log: Log) -> None:
        """These are the partitions that Kafka's own clients choose."""
        keys = ["node-0", "node-1", "node-2", "pool-a", "", "ü"]
        log.append([Outgoing(Topic.SAMPLES, key, Mark("test", 1.0)) for key in keys])

        records = drain(log, {where: 0 for where in log.partitions(Topic.SAMPLES)})

        assert {record.key: record.partition for record in records} == {
            "node-0": 3,
            "node-1": 2,
            "node-2": 1,
            "pool-a": 2,
            "": 1,
            "ü": 2,
        }

    def test_a_partition_that_is_not_there_is_refused(self, log: Log) -> None:
        with pytest.raises(StreamError):
            log.append([mark(1, partition=9)])
        with pytest.raises(StreamError):
            log.read({place(9): 0}, limit=1)
        with pytest.raises(StreamError):
            log.end(place(9))

    def test_the_topics_have_the_partitions_they_were_given(self, log: Log) -> None:
        assert log.partitions(Topic.SAMPLES) == tuple(
            TopicPartition(Topic.SAMPLES, n) for n in range(4)
        )
        assert log.partitions(Topic.TICKS) == (TopicPartition(Topic.TICKS, 0),)

    def test_an_empty_log_gives_nothing_and_says_so(self, log: Log) -> None:
        assert log.read({place(): 0}, limit=5) == []
        assert (log.begin(place()), log.end(place())) == (0, 0)
        log.append([])
        assert log.end(place()) == 0

    def test_reading_starts_anywhere_and_goes_back(self, log: Log) -> None:
        log.append([mark(n) for n in range(20)])
        positions = {place(): 0}
        drain(log, positions)

        assert positions == {place(): 20}
        for start in (13, 2, 19, 0):
            records = drain(log, {place(): start})
            assert [number(record) for record in records] == list(range(start, 20))

    def test_readers_at_different_places_do_not_disturb_each_other(self, log: Log) -> None:
        log.append([mark(n) for n in range(40)])
        log.append([mark(n, partition=1) for n in range(100, 140)])
        near, far = {place(): 0, place(1): 0}, {place(): 30, place(1): 0}
        seen: list[list[int]] = [[], []]
        while any(at < 40 for at in (*near.values(), *far.values())):
            for positions, numbers in zip((near, far), seen, strict=True):
                for record in log.read(positions, limit=7, wait_s=0.05):
                    positions[TopicPartition(record.topic, record.partition)] += 1
                    numbers.append(number(record))

        assert sorted(seen[0]) == [*range(40), *range(100, 140)]
        assert sorted(seen[1]) == [*range(30, 40), *range(100, 140)]

    def test_a_partition_left_out_for_a_while_goes_on_where_it_stood(self, log: Log) -> None:
        log.append([mark(n, partition=p) for n in range(10) for p in (0, 1)])
        positions = {place(): 0, place(1): 0}
        for record in log.read(positions, limit=4, wait_s=WAIT_S):
            positions[TopicPartition(record.topic, record.partition)] += 1
        kept = positions[place(1)]
        only = {place(): positions[place()]}
        drain(log, only)
        positions.update(only)

        rest = drain(log, positions)

        assert [number(record) for record in rest] == list(range(kept, 10))

    def test_no_partition_starves_another(self, log: Log) -> None:
        log.append([mark(n) for n in range(500)])
        log.append([mark(7, partition=3)])
        positions = {place(n): 0 for n in range(4)}
        found: list[int] = []
        for _ in range(20):
            for record in log.read(positions, limit=40, wait_s=1.0):
                positions[TopicPartition(record.topic, record.partition)] += 1
                found.append(record.partition)
            if 3 in found:
                break

        assert 3 in found

    def test_a_waiting_reader_is_woken_by_an_append_of_another_thread(self, log: Log) -> None:
        found: list[RawRecord] = []
        reader = threading.Thread(
            target=lambda: found.extend(log.read({place(): 0}, limit=5, wait_s=WAIT_S))
        )
        reader.start()
        log.append([mark(5, partition=1)])  # not for this reader
        log.append([mark(6)])
        reader.join(WAIT_S)

        assert [number(record) for record in found] == [6]

    def test_threads_may_append_at_once_and_each_keeps_its_order(self, log: Log) -> None:
        def produce(thread: int) -> None:
            for n in range(20):
                log.append([mark(thread * 100 + n)])

        threads = [threading.Thread(target=produce, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        numbers = [number(record) for record in drain(log, {place(): 0})]
        assert len(numbers) == 80
        for thread_number in range(4):
            own = [n for n in numbers if n // 100 == thread_number]
            assert own == [thread_number * 100 + n for n in range(20)]

    def test_a_batch_with_one_bad_payload_is_refused_whole(self, log: Log) -> None:
        bad = Outgoing(Topic.EVENTS, "key", Mark("test", float("nan")), 0)
        with pytest.raises(BadInput):
            log.append([mark(1), bad])

        assert log.end(place()) == 0

    def test_a_megabyte_goes_through_and_too_much_is_refused(self, log: Log) -> None:
        log.append([Outgoing(Topic.EVENTS, "key", Mark("x" * 3_900_000, 1.0), 0)])
        with pytest.raises(BadInput):
            log.append([Outgoing(Topic.EVENTS, "key", Mark("x" * RECORD_BYTES_MAX, 1.0), 0)])

        [record] = log.read({place(): 0}, limit=5, wait_s=WAIT_S)
        assert len(record.value) > 3_900_000

    def test_what_was_appended_is_there_after_opening_again(self, opener: Opener) -> None:
        log = opener()
        log.append([mark(n) for n in range(5)])
        log.close()

        again = opener()
        again.append([mark(5)])
        numbers = [number(record) for record in drain(again, {place(): 0})]
        again.close()

        assert numbers == list(range(6))

    def test_offsets_that_retention_took_are_lost_by_name(self, log: Log) -> None:
        log.append([mark(n) for n in range(6)])
        self.forget_all(log, place())
        log.append([mark(n) for n in range(6, 10)])

        assert (log.begin(place()), log.end(place())) == (6, 10)
        with pytest.raises(OffsetsLost, match="events/0"):
            log.read({place(): 3}, limit=5, wait_s=WAIT_S)
        assert [number(record) for record in drain(log, {place(): 6})] == [6, 7, 8, 9]

    def test_offsets_beyond_the_end_are_lost_as_well(self, log: Log) -> None:
        """A log that was made anew knows less than the reader's snapshot."""
        log.append([mark(1)])
        with pytest.raises(OffsetsLost):
            log.read({place(): 7}, limit=5, wait_s=WAIT_S)

    def test_a_closed_log_says_that_it_is_closed(self, opener: Opener) -> None:
        log = opener()
        log.close()
        log.close()
        with pytest.raises(StreamError):
            log.append([mark(1)])
        with pytest.raises(StreamError):
            log.read({place(): 0}, limit=1)
