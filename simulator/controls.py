"""The `Traffic`, `EngineControl` and `Notifier` ports over the simulated fleet.

Remediation and alerting call them, from any thread. An engine may be named by its entity id, its
pod's uid or its pod's name.
"""

import threading

import numpy as np

from fleetmend.clock import Clock
from fleetmend.errors import PortError, PortRefused
from fleetmend.model.entities import EntityId
from fleetmend.model.notifications import Delivery, DeliveryState, Notification
from fleetmend.ports.engine import EngineState
from fleetmend.ports.traffic import BackendState
from simulator.layout import Layout
from simulator.queues import Queues
from simulator.routing import WEIGHT_FULL, Router
from simulator.topology import engine_id
from simulator.workload import NOWHERE, Workload


class EngineNames:
    """Finds engines by any of their names."""

    def __init__(self, layout: Layout, workload: Workload) -> None:
        self._layout = layout
        self._workload = workload

    def find(self, name: str) -> int | None:
        """The engine's index; None when there is no such engine now."""
        key = name.split("/", 2)[-1]
        for names in (self._workload.uid, self._layout.engine_names):
            if key in names:
                return names.index(key)
        return None

    def entity(self, engine: int) -> EntityId:
        """The engine's entity now."""
        return engine_id(self._layout, self._workload.uid[engine])

    def node(self, engine: int) -> str:
        """The name of its node, or empty."""
        node = int(self._workload.node[engine])
        return "" if node == NOWHERE else self._layout.nodes[node]


class SimulatedTraffic:
    """Implements `fleetmend.ports.traffic.Traffic`."""

    def __init__(
        self,
        names: EngineNames,
        router: Router,
        *,
        clock: Clock,
        lock: threading.RLock,
    ) -> None:
        self._names = names
        self._router = router
        self._clock = clock
        self._lock = lock

    def backend(self, engine: str) -> BackendState | None:
        """What the router does with an engine now."""
        with self._lock:
            index = self._names.find(engine)
            if index is None:
                return None
            return BackendState(
                engine=engine,
                weight=int(self._router.weight[index]),
                healthy=bool(self._router.healthy[index]),
                operation=self._router.operation[index],
            )

    def set_weight(self, engine: str, weight: int, *, operation: str) -> BackendState:
        """Set the weight; the next second's requests follow it."""
        with self._lock:
            index = self._names.find(engine)
            if index is None:
                raise PortRefused("the router knows no such engine", where=engine)
            if not 0 <= weight <= WEIGHT_FULL:
                raise PortRefused(f"weight {weight}", where=engine, fix="Use 0 to 100.")
            if self._router.weight[index] != weight or self._router.operation[index] != operation:
                self._router.weight[index] = weight
                self._router.operation[index] = operation
            state = self.backend(engine)
            if state is None:
                raise PortError("the engine went away", where=engine)
            return state


class SimulatedEngines:
    """Implements `fleetmend.ports.engine.EngineControl`."""

    def __init__(
        self,
        names: EngineNames,
        workload: Workload,
        queues: Queues,
        *,
        clock: Clock,
        lock: threading.RLock,
    ) -> None:
        self._names = names
        self._workload = workload
        self._queues = queues
        self._clock = clock
        self._lock = lock
        self._operations: dict[str, str] = {}
        """Pod uid -> the operation that last restarted its engine."""

    def state(self, engine: str) -> EngineState | None:
        """State now. A hung engine counts as serving, because its health page says so."""
        with self._lock:
            index = self._names.find(engine)
            if index is None:
                return None
            return EngineState(
                engine=engine,
                generation=int(self._workload.generation[index]),
                serving=bool(self._workload.serving[index]),
                operation=self._operations.get(self._workload.uid[index], ""),
            )

    def restart(self, engine: str, *, operation: str) -> EngineState:
        """Restart once for this operation; requests in hand are lost."""
        with self._lock:
            index = self._names.find(engine)
            if index is None:
                raise PortRefused("there is no such engine", where=engine)
            if self._workload.node[index] == NOWHERE:
                raise PortError("its pod has no node yet", where=engine)
            uid = self._workload.uid[index]
            if self._operations.get(uid) != operation:
                self._operations[uid] = operation
                self._queues.drop(np.array([index]))
                self._workload.restart(index, self._clock.now_s())
            state = self.state(engine)
            if state is None:
                raise PortError("the engine went away", where=engine)
            return state


class CollectingNotifier:
    """Implements `fleetmend.ports.notifier.Notifier`: keeps what it gets."""

    name = "simulator"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[str, Notification] = {}

    @property
    def kept(self) -> tuple[Notification, ...]:
        """Everything delivered, each id once, in order of arrival."""
        with self._lock:
            return tuple(self._kept.values())

    def deliver(self, notification: Notification) -> Delivery:
        """Accept it; the same id again is the same notification."""
        with self._lock:
            known = notification.id in self._kept
            self._kept[notification.id] = notification
        return Delivery(DeliveryState.ACCEPTED, "known already" if known else "kept")
