"""Small adapters between those who observe and the producer that writes to the log."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fleetmend.clock import Clock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import (
    EntityId,
    RelationKind,
    TopologyChange,
    TopologyOp,
    key_of,
)
from fleetmend.model.events import Event, EventType, event_id
from fleetmend.model.samples import SampleBatch
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.streams.producer import Producer

if TYPE_CHECKING:
    from simulator.fleet import Fleet

logger = logging.getLogger(__name__)
LOGGED_CHARS_MAX = 200
"""Of each text of a dead letter: telemetry is hostile, and a node's own log is small."""


RESTATE_S = 86_400.0
"""Seconds of event time after which a collector states its part of the fleet again. A day: the log
keeps topology for thirty, and whoever starts from its oldest record must find the whole fleet."""

HEARTBEAT_S = 10.0
"""Seconds of event time between two heartbeats of a collector: detection misses it after three."""

Fact = tuple[TopologyOp, EntityId, RelationKind | None, str]
"""What a change is about, without its time and attributes."""


class ProducerSink:
    """Implements `collectors.sink.Sink`. One thread at a time."""

    def __init__(
        self, producer: Producer, fleet: FleetFollower, *, beats_as: EntityId | None = None
    ) -> None:
        """`fleet` tells what holds now: what another collector has withdrawn is not stated
        again. `beats_as`: the collector that is heard to live by its marks; None: it beats
        itself, or nobody waits for it."""
        self._beats_as = beats_as
        self._beat_s = -math.inf
        self._producer = producer
        self._fleet = fleet
        self._stated: set[Fact] = set()
        """What this collector has said and not taken back."""
        self._restate_at_s: float | None = None

    def samples(self, batch: SampleBatch, node: str) -> None:
        """Samples of one node."""
        self._producer.samples(node, batch)

    def event(self, event: Event) -> None:
        """One event, at once."""
        self._producer.events((event,))

    def topology(self, change: TopologyChange) -> None:
        """One change of the fleet."""
        self._note(change)
        self._producer.topology((change,))

    def mark(self, at_s: float) -> None:
        """Send what waits, then promise that nothing older follows."""
        if self._restate_at_s is None:
            self._restate_at_s = at_s + RESTATE_S
        if at_s >= self._restate_at_s and self._fleet.caught_up:
            self._restate_at_s = at_s + RESTATE_S
            self._restate(at_s)
        if self._beats_as is not None and at_s - self._beat_s >= HEARTBEAT_S:
            self._beat_s = at_s
            self._producer.events((_beat(self._beats_as, at_s),))
        self._producer.mark(at_s)

    def _restate(self, at_s: float) -> None:
        """Say again what holds of what this collector has said, as the whole fleet knows it: for
        everybody who knows it, nothing changes."""
        again = [c for c in self._fleet.view.changes(at_s) if _fact(c) in self._stated]
        self._stated = {_fact(change) for change in again}
        self._producer.topology(again)

    def _note(self, change: TopologyChange) -> None:
        match change.op:
            case TopologyOp.ENTITY | TopologyOp.RELATION | TopologyOp.ALIAS:
                self._stated.add(_fact(change))
            case TopologyOp.RELATION_GONE:
                self._stated.discard(_fact(replace(change, op=TopologyOp.RELATION)))
            case TopologyOp.ENTITY_GONE:
                # Its relations are not in the fleet's view any more, which the next round sees.
                self._stated.discard(_fact(replace(change, op=TopologyOp.ENTITY)))


def _beat(collector: EntityId, at_s: float) -> Event:
    source = f"collector/{key_of(collector)}"
    return Event(event_id(source, repr(at_s)), source, EventType.HEARTBEAT, at_s, collector)


def _fact(change: TopologyChange) -> Fact:
    return change.op, change.entity, change.relation, change.target


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
