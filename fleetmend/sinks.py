"""Small adapters between those who observe and the producer that writes to the log."""

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from fleetmend.clock import Clock
from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.streams.producer import Producer

if TYPE_CHECKING:
    from simulator.fleet import Fleet

logger = logging.getLogger(__name__)
LOGGED_CHARS_MAX = 200
"""Of each text of a dead letter: telemetry is hostile, and a node's own log is small."""


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


class LoggedDeadLetters:
    """Implements `fleetmend.ports.deadletters.DeadLetters` where there is no store: a line in the
    log of the process for each letter. The payload's beginning is part of it."""

    def put(self, letter: DeadLetter) -> None:
        """Log it."""
        extra = {
            "source": letter.source[:LOGGED_CHARS_MAX],
            "where": letter.where[:LOGGED_CHARS_MAX],
            "error": letter.error[:LOGGED_CHARS_MAX],
            "payload": repr(letter.payload[:LOGGED_CHARS_MAX]),
        }
        logger.warning("dead letter", extra=extra)


def simulation(fleet: "Fleet", producer: Producer, clock: Clock) -> Callable[[], int]:
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
