"""The broker dies and comes back: nothing is lost, and order holds."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.parts.kafka import KafkaBroker
from fleetmend.errors import StreamError
from fleetmend.streams.kafka import KafkaLog
from fleetmend.streams.port import RawRecord
from tests.contract.streams.log_contract import drain, mark, number, place

pytestmark = pytest.mark.kafka

RECORDS = 200
DEATH_AT = 60
ATTEMPTS_MAX = 50


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker of this test's own, to be killed."""
    broker = KafkaBroker(tmp_path / "broker", heap_mb=256)
    yield broker
    broker.stop()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("refusals")
def test_nothing_is_lost_when_the_broker_is_killed(broker: KafkaBroker) -> None:
    log = KafkaLog(broker.bootstrap, prefix="t.", partitions=1, replication=1)
    followed: list[RawRecord] = []
    done = threading.Event()
    reader = threading.Thread(target=follow, args=(broker.bootstrap, followed, done))
    reader.start()
    revival: threading.Thread | None = None
    for n in range(RECORDS):
        if n == DEATH_AT:
            broker.kill()
            revival = threading.Thread(target=broker.restart)
            revival.start()
        append(log, n)
    assert revival is not None
    revival.join()
    done.set()
    reader.join()

    numbers = [number(record) for record in drain(log, {place(): 0})]
    log.close()
    assert sorted(set(numbers)) == list(range(RECORDS))
    first = list(dict.fromkeys(numbers))
    assert first == sorted(first), "a record that was tried again may come twice, never earlier"
    assert [number(record) for record in followed] == numbers


def append(log: KafkaLog, n: int) -> None:
    """What every caller does: try again."""
    for _ in range(ATTEMPTS_MAX):
        try:
            log.append([mark(n)])
            return
        except StreamError:
            continue
    raise AssertionError(f"record {n} was never taken")


def follow(bootstrap: str, followed: list[RawRecord], done: threading.Event) -> None:
    """Read through the death of the broker until the end, with a log of its own."""
    log = KafkaLog(bootstrap, prefix="t.", partitions=1, replication=1)
    while True:
        try:
            found = log.read({place(): len(followed)}, limit=50, wait_s=0.5)
            if not found and done.is_set() and log.end(place()) == len(followed):
                break
        except StreamError:
            continue
        followed.extend(found)
    log.close()
