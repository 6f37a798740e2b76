"""The simulated fleet as the rest of the platform meets it: event time in, observations out, ports.

The composition root builds one `Fleet`, advances it with its clock, publishes what it observes, and
hands its ports to remediation, alerting and the console.
"""

from collections import deque
from dataclasses import dataclass

from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.simulator import SimulatorSettings
from simulator.cluster import SimulatedCluster
from simulator.controls import CollectingNotifier, SimulatedEngines, SimulatedTraffic
from simulator.exposure import SLOW_PERIOD_S
from simulator.injector import SimulatedInjector
from simulator.layout import Layout
from simulator.probes import Probes
from simulator.telemetry import Telemetry
from simulator.topology import whole_topology
from simulator.truth import TrueFault
from simulator.world import World

START_S = 1_767_247_200.0
"""Default start: 2026-01-01 06:00 UTC, when the load is at its daily mean and rises."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Requests since the start; arrived = running + waiting + done + aborted + refused."""

    arrived: int
    running: int
    waiting: int
    done: int
    aborted: int
    """Taken in, but never answered."""
    refused: int
    """Never taken in: no engine answered."""


class Fleet:
    """A fleet that behaves. Thread-safe: one lock guards the model and all ports.

    The same settings, seed and calls give the same observations, byte for byte.
    """

    def __init__(self, settings: SimulatorSettings, seed: int, *, start_s: float = START_S) -> None:
        first_s = float(int(start_s))
        self._world = World(settings, seed, start_s=first_s - settings.settle_s)
        self._telemetry = Telemetry(self._world.layout, self._world.workload)
        self._probes = Probes(self._world)
        self._next_s = first_s - settings.settle_s
        self._first_s = first_s
        self._batches: deque[list[SampleBatch]] = deque(maxlen=settings.backlog_s)
        self._events: deque[list[Event]] = deque(maxlen=settings.backlog_s)
        self.dropped_s = 0
        """Seconds of observations lost because nobody took them."""
        self.advance_to(first_s - 1)
        self._topology = whole_topology(self._world.layout, self._world.workload, first_s)
        self._world.aftermath.topology.clear()

    @property
    def now_s(self) -> float:
        """The last second simulated, Unix seconds."""
        return self._next_s - 1

    @property
    def layout(self) -> Layout:
        """Names and places."""
        return self._world.layout

    @property
    def cluster(self) -> SimulatedCluster:
        """The `Cluster` port."""
        return self._world.cluster

    @property
    def traffic(self) -> SimulatedTraffic:
        """The `Traffic` port."""
        return self._world.traffic

    @property
    def engines(self) -> SimulatedEngines:
        """The `EngineControl` port."""
        return self._world.engines

    @property
    def faults(self) -> SimulatedInjector:
        """The `FaultInjector` port."""
        return self._world.injector

    @property
    def notifier(self) -> CollectingNotifier:
        """The `Notifier` port."""
        return self._world.notifier

    def advance_to(self, at_s: float) -> None:
        """Simulate every whole second up to `at_s`; a moment in the past changes nothing."""
        while self._next_s <= at_s:
            with self._world.lock:
                self._second(self._next_s)
                self._next_s += 1

    def topology(self) -> list[TopologyChange]:
        """The whole fleet at the first call, what has changed since at later ones."""
        with self._world.lock:
            changes = self._topology + self._world.aftermath.topology
            self._topology = []
            self._world.aftermath.topology = []
            return changes

    def observe(self) -> tuple[list[SampleBatch], list[Event]]:
        """What has been seen since the last call, oldest first; one batch per pool and second."""
        with self._world.lock:
            batches = [batch for second in self._batches for batch in second]
            events = [event for second in self._events for event in second]
            self._batches.clear()
            self._events.clear()
            return batches, events

    def truth(self) -> list[TrueFault]:
        """What was done to this fleet. For scoring only."""
        with self._world.lock:
            return self._world.outbreak.truth()

    def totals(self) -> Totals:
        """Requests since the start."""
        with self._world.lock:
            queues, router = self._world.queues, self._world.router
            return Totals(
                arrived=int(self._world.load.arrived),
                running=int(queues.running.sum()),
                waiting=int(queues.waiting.sum()),
                done=int(queues.finished.sum()),
                aborted=int(queues.aborted.sum()),
                refused=int(router.refused.sum()),
            )

    def _second(self, at_s: float) -> None:
        shown = at_s >= self._first_s
        quiet_s = self._world.layout.settings.faults.quiet_s
        second = self._world.second(at_s, scheduled=at_s >= self._first_s + quiet_s)
        slow = at_s % SLOW_PERIOD_S == 0 or at_s == self._first_s
        seen = self._world.show(at_s, second, slow=slow)
        batches = self._telemetry.batches(at_s, seen)
        self._probes.step(at_s, seen, second)
        events = self._world.journal.take()
        if not shown:
            return
        self.dropped_s += len(self._batches) == self._batches.maxlen
        self._batches.append(batches)
        self._events.append(events)
