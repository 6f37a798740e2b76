"""Two runners of one fold on a real broker: the newest claim counts, and the other is told so."""

import random
import uuid
from collections.abc import Iterator

import pytest

from fleetmend.clock import ManualClock
from fleetmend.errors import FenceLost
from fleetmend.model.events import Event, EventType
from fleetmend.model.ticks import Mark
from fleetmend.streams.kafka import KafkaLog
from fleetmend.streams.port import Log, Outgoing
from fleetmend.streams.runner import StageRunner
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters, MemorySnapshots
from tests.contract.streams.kill_anywhere import SETTINGS, told
from tests.contract.streams.two_runners import agree, contested, said_again
from tests.unit.streams.toy import ENTITIES, ToyStage, generate

pytestmark = pytest.mark.kafka

START_S = 1_700_000_000.0


@pytest.fixture
def prefix() -> str:
    """Topics of the test's own on the shared broker."""
    return f"r{uuid.uuid4().hex[:10]}."


@pytest.fixture
def logs(kafka_bootstrap: str, prefix: str) -> Iterator[tuple[Log, Log]]:
    """The same log as two processes open it."""
    first, second = (
        KafkaLog(kafka_bootstrap, prefix=prefix, partitions=1, replication=1) for _ in range(2)
    )
    yield first, second
    first.close()
    second.close()


def runner(log: Log, name: str) -> StageRunner:
    return StageRunner(
        ToyStage(),
        log,
        output=Topic.FINDINGS,
        snapshots=MemorySnapshots(),
        dead_letters=MemoryDeadLetters(),
        clock=ManualClock(START_S),
        ticks=SETTINGS,
        runner=name,
    )


def feed(log: Log, at_s: float, name: str) -> None:
    """An event, and everybody's promise that the second after it is over."""
    event = Event(name, "test", EventType.CHANGE, START_S + at_s, ENTITIES[0])
    log.append([Outgoing(Topic.EVENTS, "", event, 0)])
    for topic in ToyStage.inputs:
        log.append([Outgoing(topic, "", Mark("p", START_S + at_s + 1), 0)])


def settle(one: StageRunner) -> None:
    while one.step() or not one.caught_up():
        pass


def test_the_runner_that_was_replaced_stops_for_ever_and_adds_nothing(
    logs: tuple[Log, Log],
) -> None:
    log, other = logs
    old = runner(log, "detector-a")
    feed(log, 0.5, "a")
    settle(old)
    new = runner(other, "detector-b")
    settle(new)
    feed(log, 5.5, "b")

    for _ in range(2):
        with pytest.raises(FenceLost, match="fold toy: runner detector-b has taken over"):
            settle(old)
    settle(new)
    before = told(log)
    with pytest.raises(FenceLost):
        old.step()
    settle(runner(log, "detector-c"))

    assert before.confirmed
    assert {cut.runner for cut in before.cuts} == {"detector-a", "detector-b"}
    assert told(log).confirmed == before.confirmed == said_again(log, partitions=1).confirmed


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_says_what_one_alone_says(kafka_bootstrap: str, prefix: str, seed: int) -> None:
    log = KafkaLog(kafka_bootstrap, prefix=prefix, partitions=2, replication=1)
    try:
        feeds = generate(seed, start_s=START_S, moments=8, silence=False)
        crowd = contested(feeds, log, ManualClock(START_S), random.Random(seed))
        got, want = told(log), said_again(log, partitions=2)
    finally:
        log.close()
    assert crowd.fenced
    assert want.confirmed
    assert agree(got, want)
