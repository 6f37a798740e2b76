"""Collectors state their part of the fleet again each day, and change nothing by it."""

import logging

import pytest

from fleetmend.clock import ManualClock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import (
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import Event, EventType
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.sinks import HEARTBEAT_S, RESTATE_S, LoggedDeadLetters, ProducerSink
from fleetmend.streams.codec import decode
from fleetmend.streams.port import Outgoing
from fleetmend.streams.producer import Producer
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import SPECS, Topic
from fleetmend.testing import MemoryDeadLetters
from tests.unit.root.conftest import START_S

NODE = entity_id("lab", EntityKind.NODE, "node-3")
GPU = entity_id("lab", EntityKind.GPU, "GPU-1")
OTHER = entity_id("lab", EntityKind.GPU, "GPU-2")
PART_OF = RelationKind.PART_OF


class Collector:
    """A sink with the follower of its process."""

    def __init__(self, log: SqliteLog, clock: ManualClock, name: str) -> None:
        self.follower = FleetFollower(log, dead_letters=MemoryDeadLetters(), clock=clock)
        self.sink = ProducerSink(Producer(log, name=name, clock=clock), self.follower)
        self.clock = clock

    def mark(self) -> None:
        while self.follower.step():
            pass
        self.sink.mark(self.clock.now_s())


def entity(name: str, at_s: float = START_S, **attributes: str) -> TopologyChange:
    return TopologyChange(
        at_s, TopologyOp.ENTITY, entity_id("lab", EntityKind.GPU, name), attributes=attributes
    )


def collector(log: SqliteLog, clock: ManualClock) -> Collector:
    """One that has stated a GPU, its name and its node."""
    made = Collector(log, clock, "collector/one")
    made.sink.topology(entity("GPU-1", model="H200"))
    made.sink.topology(TopologyChange(START_S, TopologyOp.ENTITY, NODE))
    made.sink.topology(TopologyChange(START_S, TopologyOp.RELATION, GPU, NODE, PART_OF))
    made.sink.topology(TopologyChange(START_S, TopologyOp.ALIAS, GPU, "node-3/gpu:0"))
    made.mark()
    return made


def stated(log: SqliteLog) -> list[TopologyChange]:
    place = log.partitions(Topic.TOPOLOGY)[0]
    payloads = [decode(raw).payload for raw in log.read({place: log.begin(place)}, limit=10_000)]
    return [payload for payload in payloads if isinstance(payload, TopologyChange)]


def test_who_starts_after_the_retention_still_finds_the_whole_fleet(
    log: SqliteLog, clock: ManualClock
) -> None:
    """Without it, a remediator that restarts after a month knows no node."""
    one = collector(log, clock)
    for _ in range(int(SPECS[Topic.TOPOLOGY].retention_s / RESTATE_S) + 5):
        clock.sleep(RESTATE_S)
        one.mark()

    late = FleetFollower(log, dead_letters=MemoryDeadLetters(), clock=clock)
    assert log.begin(log.partitions(Topic.TOPOLOGY)[0]) > 5, "what was stated first is gone"
    while late.step():
        pass
    assert late.view.attributes == {GPU: {"model": "H200"}, NODE: {}}
    assert late.resolve("node-3/gpu:0") == GPU
    assert late.view.targets(GPU, PART_OF) == (NODE,)


def test_it_is_said_again_once_a_day_at_the_time_of_the_mark(
    log: SqliteLog, clock: ManualClock
) -> None:
    one = collector(log, clock)
    first = len(stated(log))
    clock.sleep(RESTATE_S - 1)
    one.mark()
    assert len(stated(log)) == first
    clock.sleep(1)
    one.mark()
    one.mark()

    again = stated(log)[first:]
    assert len(again) == first
    assert {change.at_s for change in again} == {START_S + RESTATE_S}


def test_what_anybody_has_withdrawn_does_not_come_back(log: SqliteLog, clock: ManualClock) -> None:
    one = collector(log, clock)
    one.sink.topology(entity("GPU-2"))
    one.sink.topology(TopologyChange(START_S + 1, TopologyOp.RELATION_GONE, GPU, NODE, PART_OF))
    gone = TopologyChange(START_S + 1, TopologyOp.ENTITY_GONE, OTHER)
    log.append([Outgoing(Topic.TOPOLOGY, "lab", gone)])
    clock.sleep(RESTATE_S)
    one.mark()
    one.mark()

    while one.follower.step():
        pass
    assert OTHER not in one.follower.view
    assert one.follower.view.targets(GPU, PART_OF) == ()


def test_what_another_says_better_of_the_same_entity_stays(
    log: SqliteLog, clock: ManualClock
) -> None:
    one = collector(log, clock)
    better = entity("GPU-1", START_S + 5, model="H200", pool="chat")
    log.append([Outgoing(Topic.TOPOLOGY, "lab", better)])
    clock.sleep(RESTATE_S)
    one.mark()

    while one.follower.step():
        pass
    assert one.follower.view.attributes[GPU] == {"model": "H200", "pool": "chat"}


def test_it_waits_until_it_knows_what_holds(
    log: SqliteLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = collector(log, clock)
    first = len(stated(log))
    clock.sleep(RESTATE_S)
    monkeypatch.setattr(one.follower, "caught_up", False)
    one.sink.mark(clock.now_s())
    assert len(stated(log)) == first
    one.mark()
    assert len(stated(log)) == 2 * first


def test_without_a_store_a_dead_letter_is_a_line_of_bounded_length(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        LoggedDeadLetters().put(DeadLetter(1.0, "kmsg", "x" * 9999, "e" * 9999, b"\xff\n" * 4096))

    [record] = caplog.records
    assert (record.message, record.__dict__["source"]) == ("dead letter", "kmsg")
    assert len(record.__dict__["where"]) == len(record.__dict__["error"]) == 200
    assert record.__dict__["payload"].startswith(r"b'\xff\n")


def test_a_collector_is_heard_to_live_by_its_marks(log: SqliteLog, clock: ManualClock) -> None:
    """It beats while its loop turns, whether or not it has anything to say."""
    follower = FleetFollower(log, dead_letters=MemoryDeadLetters(), clock=clock)
    own = entity_id("lab", EntityKind.COLLECTOR, "kubernetes")
    producer = Producer(log, name="collector/kubernetes", clock=clock)
    sink = ProducerSink(producer, follower, beats_as=own)
    for second in range(25):
        sink.mark(START_S + second)

    places = {place: 0 for place in log.partitions(Topic.EVENTS)}
    events = [decode(raw).payload for raw in log.read(places, limit=100)]
    beats = [e for e in events if isinstance(e, Event) and e.type is EventType.HEARTBEAT]
    assert [beat.subject for beat in beats] == [own] * 3
    assert [beat.time_s - START_S for beat in beats] == [0.0, HEARTBEAT_S, 2 * HEARTBEAT_S]
