"""Faults on purpose and by chance: the `FaultInjector` port, and targets for the schedule.

The demonstration's button and game days call the port from any thread; `simulator.schedule` asks
for targets. Never wired to a real fleet.
"""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fleetmend.clock import Clock
from fleetmend.errors import PortRefused
from fleetmend.model.entities import EntityId, EntityKind, key_of
from fleetmend.ports.faults import FaultOffer, InjectedFault
from simulator.catalogue import CATALOGUE
from simulator.faults import FaultSpec
from simulator.layout import GPUS_PER_NODE, Layout
from simulator.nodes import NodeBook
from simulator.outbreak import OpenFault, Outbreak
from simulator.reach import Reach
from simulator.topology import engine_id
from simulator.workload import NOWHERE, Workload

Floats = NDArray[np.float64]


class Targets:
    """Who can be hit, and by which name."""

    def __init__(
        self,
        layout: Layout,
        workload: Workload,
        book: NodeBook,
        outbreak: Outbreak,
        reach: Reach,
        rng: np.random.Generator,
    ) -> None:
        self._layout = layout
        self._workload = workload
        self._book = book
        self._outbreak = outbreak
        self._reach = reach
        self._rng = rng

    def entity(self, kind: EntityKind, index: int) -> EntityId:
        """The entity at an index."""
        if kind is EntityKind.ENGINE:
            return engine_id(self._layout, self._workload.uid[index])
        return self._ids(kind)[index]

    def index(self, kind: EntityKind, target: EntityId) -> int | None:
        """The index of an entity; None when there is no such one of this kind."""
        if kind is EntityKind.ENGINE:
            uid = key_of(target)
            return self._workload.uid.index(uid) if uid in self._workload.uid else None
        ids = self._ids(kind)
        return ids.index(target) if target in ids else None

    def choose(self, kind: EntityKind, node_weight: Floats | None = None) -> int | None:
        """One that serves, stands on no cordoned node and has no open fault; by chance, weighted by
        `node_weight` (nodes,). None when there is none left."""
        layout, busy = self._layout, np.zeros(len(self._layout.nodes), np.bool_)
        for fault in self._outbreak.open:
            busy[self._reach.nodes(fault.spec.target, fault.index)] = True
        busy |= self._book.cordoned
        free = ~busy * (np.ones(len(busy)) if node_weight is None else node_weight)
        match kind:
            case EntityKind.GPU:
                serves = self._engine_serves(self._workload.gpu_engine)
                weights = np.repeat(free, GPUS_PER_NODE) * serves
            case EntityKind.ENGINE:
                on = self._workload.node
                weights = np.where(on == NOWHERE, 0, free[on]) * self._workload.serving
            case EntityKind.NODE:
                serves = self._engine_serves(self._workload.gpu_engine)
                weights = free * serves.reshape(-1, GPUS_PER_NODE).any(axis=1)
            case EntityKind.RACK:
                racks = layout.node_rack
                weights = np.bincount(racks, free) * (np.bincount(racks, busy) == 0)
            case _:
                pools = [f.index for f in self._outbreak.open if f.spec.target is EntityKind.POOL]
                weights = np.ones(len(layout.pools))
                weights[pools] = 0
        total = weights.sum()
        return int(self._rng.choice(len(weights), p=weights / total)) if total else None

    def _engine_serves(self, on: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray((on != NOWHERE) & self._workload.serving[on])

    def _ids(self, kind: EntityKind) -> Sequence[EntityId]:
        return {
            EntityKind.GPU: self._layout.gpu_ids,
            EntityKind.NODE: self._layout.node_ids,
            EntityKind.RACK: self._layout.rack_ids,
        }.get(kind, self._layout.pool_ids)


class SimulatedInjector:
    """Implements `fleetmend.ports.faults.FaultInjector`."""

    def __init__(
        self, outbreak: Outbreak, targets: Targets, *, clock: Clock, lock: threading.RLock
    ) -> None:
        self._outbreak = outbreak
        self._targets = targets
        self._clock = clock
        self._lock = lock

    def offers(self) -> tuple[FaultOffer, ...]:
        """Every fault of the catalogue."""
        return tuple(
            FaultOffer(spec.name, spec.title, spec.target.value) for spec in CATALOGUE.values()
        )

    def inject(self, name: str, target: EntityId | None = None) -> InjectedFault:
        """Begin the fault with the next second, without its early warning."""
        spec = CATALOGUE.get(name)
        if spec is None:
            raise PortRefused(f"no fault is called {name!r}", fix="See offers().")
        with self._lock:
            index = self._pick(spec, target)
            return self.begin(spec, index, warned=False).record

    def begin(self, spec: FaultSpec, index: int, *, warned: bool) -> OpenFault:
        """Begin a fault on the target at `index`, now."""
        with self._lock:
            entity = self._targets.entity(spec.target, index)
            return self._outbreak.begin(
                spec, index, entity, at_s=self._clock.now_s(), warned=warned
            )

    def _pick(self, spec: FaultSpec, target: EntityId | None) -> int:
        if target is None:
            index = self._targets.choose(spec.target)
            if index is None:
                raise PortRefused(f"no {spec.target.value} is free for {spec.name}")
            return index
        index = self._targets.index(spec.target, target)
        if index is None:
            raise PortRefused(f"{target} is no {spec.target.value} of this fleet")
        return index
