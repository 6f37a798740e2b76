"""Small adapters between those who observe and the producer that writes to the log."""

import math
from collections.abc import Callable

from fleetmend.clock import Clock
from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.producer import Producer
from simulator.fleet import Fleet


class ProducerSink:
    """Implements `collectors.sink.Sink`."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    def samples(self, batch: SampleBatch, node: str) -> None:
        """Samples of one node."""
        self._producer.samples(node, batch)

    def event(self, event: Event) -> None:
        """One event, at once."""
        self._producer.events((event,))

    def topology(self, change: TopologyChange) -> None:
        """One change of the fleet."""
        self._producer.topology((change,))

    def mark(self, at_s: float) -> None:
        """Send what waits, then promise that nothing older follows."""
        self._producer.mark(at_s)


def simulation(fleet: Fleet, producer: Producer, clock: Clock) -> Callable[[], int]:
    """A step that brings the simulated fleet up to now and publishes what it shows."""

    pools = len(fleet.layout.settings.pools)

    def step() -> int:
        second = math.floor(clock.now_s())
        if fleet.now_s >= second:
            return 0
        fleet.advance_to(second)
        producer.topology(fleet.topology())
        batches, events = fleet.observe()
        for number, batch in enumerate(batches):
            producer.samples(f"pool-{number % pools}", batch)
        producer.events(events)
        producer.mark(fleet.now_s + 1)
        return 1

    return step
