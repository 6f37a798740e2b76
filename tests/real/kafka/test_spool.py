"""The spool before a real broker that is stopped and started."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from deploy.parts.kafka import KafkaBroker
from fleetmend.clock import SystemClock
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.streams import StreamsSettings
from fleetmend.streams.kafka import KafkaLog
from fleetmend.streams.producer import Producer
from fleetmend.streams.topics import Topic
from tests.contract.streams.spooled import NODE, event_ids, samples_of, spooled

pytestmark = pytest.mark.kafka

EVENTS = 120
STOPPED_AT = 40


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KafkaBroker]:
    """A broker of this test's own."""
    broker = KafkaBroker(tmp_path / "broker", heap_mb=256)
    yield broker
    broker.stop()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("refusals")
def test_every_record_arrives_in_order_though_the_broker_was_away(
    broker: KafkaBroker, tmp_path: Path
) -> None:
    clock = SystemClock()
    streams = StreamsSettings(engine="kafka", bootstrap=broker.bootstrap, prefix="s.", partitions=1)
    log = spooled(tmp_path / "spool", streams)
    producer = Producer(log, name="collector/agent", clock=clock, hold_s=0.0)
    stop = threading.Event()

    def drain() -> None:
        while not stop.is_set() or log.behind:
            log.drain()

    draining = threading.Thread(target=drain)
    draining.start()
    slowest_s = 0.0
    for number in range(EVENTS):
        if number == STOPPED_AT:
            broker.kill()
        began_s = clock.monotonic_s()
        made = Event(f"id-{number}", "s", EventType.CHANGE, 1e9 + number, NODE, node="n1")
        producer.events([made])
        producer.samples("n1", batch(number))
        producer.mark(1e9 + number)
        slowest_s = max(slowest_s, clock.monotonic_s() - began_s)
        clock.sleep(0.02)
    assert log.behind
    broker.restart()
    stop.set()
    draining.join(120)
    assert not draining.is_alive()
    log.close()

    reading = KafkaLog(broker.bootstrap, prefix="s.", partitions=1, replication=1)
    ids = event_ids(reading)
    values = samples_of(reading)
    reading.close()
    assert list(dict.fromkeys(ids)) == [f"id-{n}" for n in range(EVENTS)]
    assert list(dict.fromkeys(values)) == [float(n) for n in range(EVENTS)]
    assert log.dropped == {"samples": 0, "events": 0}
    assert producer.dropped[Topic.SAMPLES] == 0
    assert slowest_s < 5.0, "who reads a GPU is not held up by a broker"


def batch(number: int) -> SampleBatch:
    return SampleBatch(
        np.array([1e9 + number]),
        np.zeros(1, np.int32),
        np.zeros(1, np.int32),
        np.array([float(number)]),
        ("c/gpu/a",),
        ("gpu.power",),
    )
