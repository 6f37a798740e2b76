"""Who is reached by what hits an entity: the GPUs, engines and nodes below and above it.

Used by `simulator.outbreak` and `simulator.world`. Answers change while pods move.
"""

import numpy as np
from numpy.typing import NDArray

from fleetmend.model.entities import EntityId, EntityKind
from simulator.layout import GPUS_PER_NODE, Layout
from simulator.topology import engine_id
from simulator.workload import NOWHERE, Workload

Ints = NDArray[np.int64]


class Reach:
    """Looks along the relations of a fleet; `index` counts within the kind."""

    def __init__(self, layout: Layout, workload: Workload) -> None:
        self._layout = layout
        self._workload = workload

    def nodes(self, kind: EntityKind, index: int) -> Ints:
        """Nodes reached."""
        match kind:
            case EntityKind.GPU:
                return np.array([index // GPUS_PER_NODE])
            case EntityKind.NODE:
                return np.array([index])
            case EntityKind.RACK:
                return np.flatnonzero(self._layout.node_rack == index)
            case EntityKind.ENGINE if self._workload.node[index] != NOWHERE:
                return self._workload.node[[index]]
            case _:
                return np.empty(0, np.int64)

    def gpus(self, kind: EntityKind, index: int) -> Ints:
        """GPUs reached."""
        match kind:
            case EntityKind.GPU:
                return np.array([index])
            case EntityKind.ENGINE:
                return self._workload.gpus(index)
            case _:
                slots = np.arange(GPUS_PER_NODE)
                return (self.nodes(kind, index)[:, None] * GPUS_PER_NODE + slots).ravel()

    def ranks(self, kind: EntityKind, index: int) -> Ints:
        """All GPUs of the engines reached; the GPUs reached where no engine runs."""
        engines = self.engines(kind, index)
        if not len(engines):
            return self.gpus(kind, index)
        return np.concatenate([self._workload.gpus(int(engine)) for engine in engines])

    def engines(self, kind: EntityKind, index: int) -> Ints:
        """Engines reached."""
        match kind:
            case EntityKind.ENGINE:
                return np.array([index])
            case EntityKind.POOL:
                return np.flatnonzero(self._layout.engine_pool == index)
            case _:
                on = self._workload.gpu_engine[self.gpus(kind, index)]
                return np.unique(on[on != NOWHERE])

    def entities(self, kind: EntityKind, index: int) -> tuple[EntityId, ...]:
        """All of them by name, with the pool, its model and its router where a pool is hit."""
        layout = self._layout
        found = [layout.gpu_ids[g] for g in self.gpus(kind, index)]
        found += [engine_id(layout, self._workload.uid[e]) for e in self.engines(kind, index)]
        found += [layout.node_ids[n] for n in self.nodes(kind, index)]
        if kind is EntityKind.RACK:
            found.append(layout.rack_ids[index])
        if kind is EntityKind.POOL:
            pool = layout.pools[index]
            found.append(layout.pool_ids[index])
            found.append(layout.entity(EntityKind.MODEL, pool.model))
            found.append(layout.entity(EntityKind.ROUTER, pool.name))
        return tuple(found)
