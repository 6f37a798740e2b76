"""Following topics: nothing lost when a caller stops early, nothing stopped by a bad record."""

from collections.abc import Iterator
from itertools import islice

import pytest

from fleetmend.clock import ManualClock
from fleetmend.model.ticks import Mark
from fleetmend.streams.port import Outgoing, TopicPartition
from fleetmend.streams.reader import Reader
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters

EVENTS = TopicPartition(Topic.EVENTS, 0)
INCIDENTS = TopicPartition(Topic.INCIDENTS, 0)
TOPOLOGY = TopicPartition(Topic.TOPOLOGY, 0)


@pytest.fixture
def log() -> Iterator[SqliteLog]:
    log = SqliteLog(":memory:", clock=ManualClock(1000.0), partitions=1)
    for topic in (Topic.INCIDENTS, Topic.EVENTS, Topic.TOPOLOGY):
        log.append([Outgoing(topic, "", Mark("p", float(n))) for n in range(3)])
    yield log
    log.close()


def reader(log: SqliteLog) -> Reader:
    return Reader(
        log,
        {INCIDENTS: 0, EVENTS: 0, TOPOLOGY: 0},
        dead_letters=MemoryDeadLetters(),
        clock=ManualClock(1000.0),
    )


def test_topology_comes_before_events_and_events_before_incidents(log: SqliteLog) -> None:
    found = [(fetched.place, fetched.raw.offset) for fetched in reader(log).poll()]
    assert found == [(p, n) for p in (TOPOLOGY, EVENTS, INCIDENTS) for n in range(3)]


def test_a_caller_that_stops_early_loses_nothing(log: SqliteLog) -> None:
    following = reader(log)
    first = list(islice(following.poll(), 4))
    assert following.positions == {TOPOLOGY: 3, EVENTS: 1, INCIDENTS: 0}
    rest = list(following.poll())
    assert len(first) + len(rest) == 9
    assert following.at_end()


def test_partitions_can_be_left_out_for_a_while(log: SqliteLog) -> None:
    following = reader(log)
    assert {fetched.place for fetched in following.poll(only=[EVENTS])} == {EVENTS}
    assert not following.at_end()
    assert {fetched.place for fetched in following.poll()} == {TOPOLOGY, INCIDENTS}
