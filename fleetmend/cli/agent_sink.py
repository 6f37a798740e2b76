"""The node agent's sinks: one producer for all sources, one mark for all of them.

Each source marks for itself, up to some times a second; what goes into the log is one mark a second
of the whole agent, or a fleet of a thousand nodes would send more marks than samples. Sinks also
state the node's part of the fleet again each day. Unlike `fleetmend.sinks.ProducerSink` they read
nothing of the fleet: a log of all of it does not belong on each node.
"""

import threading
from dataclasses import replace

from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, RelationKind, TopologyChange, TopologyOp
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.producer import Producer

RESTATE_S = 86_400.0
"""Seconds of event time after which all is stated again: the log keeps topology for thirty days."""
Fact = tuple[TopologyOp, EntityId, RelationKind | None, str]


class Promises:
    """How far each source has come; safe for any number of threads."""

    def __init__(self, clock: Clock, *, idle_after_s: float) -> None:
        """A source that has not marked for `idle_after_s` is not waited for: it hangs, and must
        not hold up what the whole fleet waits for."""
        self._clock = clock
        self._idle_after_s = idle_after_s
        self._lock = threading.Lock()
        self._noted: dict[str, tuple[float, float]] = {}

    def note(self, source: str, at_s: float) -> None:
        """Nothing older than `at_s` follows from this source."""
        with self._lock:
            self._noted[source] = (at_s, self._clock.monotonic_s())

    def kept(self) -> float | None:
        """What holds for all live sources; None when there is none."""
        heard_s = self._clock.monotonic_s() - self._idle_after_s
        with self._lock:
            return min((at for at, heard in self._noted.values() if heard >= heard_s), default=None)


class AgentSink:
    """Implements `collectors.sink.Sink` for one source; safe for several threads."""

    def __init__(self, producer: Producer, promises: Promises, source: str) -> None:
        self._producer = producer
        self._promises = promises
        self._source = source
        self._lock = threading.Lock()
        self._stated: dict[Fact, TopologyChange] = {}
        self._restate_at_s: float | None = None

    def samples(self, batch: SampleBatch, node: str) -> None:
        """Samples of the node; the next mark takes them along."""
        self._producer.samples(node, batch)

    def event(self, event: Event) -> None:
        """One event, at once; a heartbeat goes with the next mark, within seconds."""
        self._producer.events((event,), urgent=event.type is not EventType.HEARTBEAT)

    def topology(self, change: TopologyChange) -> None:
        """One change of the fleet."""
        with self._lock:
            self._note(change)
        self._producer.topology((change,))

    def mark(self, at_s: float) -> None:
        """Promise that nothing older follows from this source."""
        if self._restate_at_s is None:
            self._restate_at_s = at_s + RESTATE_S
        if at_s >= self._restate_at_s:
            self._restate_at_s = at_s + RESTATE_S
            with self._lock:
                again = [replace(change, at_s=at_s) for change in self._stated.values()]
            self._producer.topology(again)
        self._promises.note(self._source, at_s)

    def _note(self, change: TopologyChange) -> None:
        match change.op:
            case TopologyOp.ENTITY | TopologyOp.RELATION | TopologyOp.ALIAS:
                self._stated[_fact(change)] = change
            case TopologyOp.RELATION_GONE:
                self._stated.pop(_fact(replace(change, op=TopologyOp.RELATION)), None)
            case TopologyOp.ENTITY_GONE:
                gone = [fact for fact in self._stated if change.entity in (fact[1], fact[3])]
                for fact in gone:
                    del self._stated[fact]


def _fact(change: TopologyChange) -> Fact:
    # An alias moves: what it is given to is no part of what it is.
    entity = EntityId("") if change.op is TopologyOp.ALIAS else change.entity
    return change.op, entity, change.relation, change.target
