"""The fleet before anything moves: nodes, GPUs, racks, pools, engines and their names.

Built once by `simulator.world` from the settings; everything else indexes into it. GPU g sits on
node g // 8 in slot g % 8, so an array over GPUs reshapes to (nodes, 8).
"""

import uuid
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetmend.errors import SettingsError
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.settings.simulator import SimulatedPool, SimulatorSettings

GPUS_PER_NODE = 8
PCI_BUSES = ("18", "2a", "3a", "5d", "9a", "ab", "ba", "db")
"""PCI buses of the eight GPUs of a common 8-GPU board."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Layout:
    """Names and places that never change; arrays hold indices."""

    settings: SimulatorSettings
    nodes: tuple[str, ...]
    node_ids: tuple[EntityId, ...]
    rack_ids: tuple[EntityId, ...]
    zone_ids: tuple[EntityId, ...]
    pool_ids: tuple[EntityId, ...]
    node_rack: Ints
    node_pool: Ints
    gpu_ids: tuple[EntityId, ...]
    gpu_serials: tuple[str, ...]
    engine_names: tuple[str, ...]
    """What Kubernetes calls the pod of each replica; its uid changes, the name does not."""
    engine_pool: Ints
    engine_home: Ints
    """Shape (engines, 2): node and group of slots at the start."""
    pool_width: Ints
    """Shape (pools,): GPUs of an engine."""

    @property
    def pools(self) -> tuple[SimulatedPool, ...]:
        """The pools' settings, in index order."""
        return self.settings.pools

    def gpu_id(self, node: int, slot: int) -> EntityId:
        """The GPU in a slot of a node."""
        return self.gpu_ids[node * GPUS_PER_NODE + slot]

    def entity(self, kind: EntityKind, key: str) -> EntityId:
        """An id in this fleet's cluster."""
        return entity_id(self.settings.cluster, kind, key)

    def gpus_of(self, node: int, group: int) -> Ints:
        """Indices of the GPUs in one group of slots, in rank order."""
        width = int(self.pool_width[self.node_pool[node]])
        first = node * GPUS_PER_NODE + group * width
        return np.arange(first, first + width)


def build_layout(settings: SimulatorSettings, rng: np.random.Generator) -> Layout:
    """Deal nodes to racks, zones and pools. Raises SettingsError when the parts do not fit."""
    if settings.gpus % GPUS_PER_NODE:
        raise SettingsError(f"gpus = {settings.gpus}", fix=f"Use a multiple of {GPUS_PER_NODE}.")
    count = settings.gpus // GPUS_PER_NODE
    if count < len(settings.pools):
        raise SettingsError(f"{count} nodes for {len(settings.pools)} pools", fix="Use more GPUs.")
    node_pool = _deal_pools(count, [pool.share for pool in settings.pools])
    node_rack = np.arange(count) // settings.nodes_per_rack
    racks = int(node_rack[-1]) + 1
    width = np.array([pool.tensor_parallel for pool in settings.pools])
    names, pools, homes = _deal_engines(settings, node_pool, width)
    nodes = tuple(f"node-{index:03d}" for index in range(count))
    uuids = tuple(f"GPU-{_uuid(rng)}" for _ in range(settings.gpus))

    def ids(kind: EntityKind, keys: tuple[str, ...]) -> tuple[EntityId, ...]:
        return tuple(entity_id(settings.cluster, kind, key) for key in keys)

    return Layout(
        settings=settings,
        nodes=nodes,
        node_ids=ids(EntityKind.NODE, nodes),
        rack_ids=ids(EntityKind.RACK, tuple(f"rack-{index:02d}" for index in range(racks))),
        zone_ids=ids(EntityKind.ZONE, tuple(f"zone-{i}" for i in range(settings.zones))),
        pool_ids=ids(EntityKind.POOL, tuple(pool.name for pool in settings.pools)),
        node_rack=node_rack,
        node_pool=node_pool,
        gpu_ids=ids(EntityKind.GPU, uuids),
        gpu_serials=tuple(str(s) for s in rng.integers(10**12, 2 * 10**12, settings.gpus)),
        engine_names=names,
        engine_pool=pools,
        engine_home=homes,
        pool_width=width,
    )


def workload_name(layout: Layout, pool: int) -> str:
    """The Kubernetes object that keeps a pool's engines, as changes name it."""
    return f"Deployment inference/{layout.pools[pool].model}"


def new_pod_uid(rng: np.random.Generator) -> str:
    """A pod uid as Kubernetes writes it."""
    return _uuid(rng)


def _uuid(rng: np.random.Generator) -> str:
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))


def _deal_pools(count: int, shares: list[float]) -> Ints:
    """A pool for each node, interleaved, so that a rack holds nodes of every pool."""
    wanted = np.array(shares) / sum(shares)
    given = np.zeros(len(shares))
    dealt = []
    for index in range(count):
        # The pool that is furthest behind its share gets the next node.
        pool = int(np.argmax(wanted * (index + 1) - given))
        given[pool] += 1
        dealt.append(pool)
    return np.array(dealt)


def _deal_engines(
    settings: SimulatorSettings, node_pool: Ints, width: Ints
) -> tuple[tuple[str, ...], Ints, Ints]:
    names: list[str] = []
    pools: list[int] = []
    homes: list[tuple[int, int]] = []
    for index, pool in enumerate(settings.pools):
        nodes = np.flatnonzero(node_pool == index)
        spare = max(1, round(len(nodes) * settings.spare_share)) if len(nodes) > 1 else 0
        for node in nodes[: len(nodes) - spare]:
            for group in range(GPUS_PER_NODE // int(width[index])):
                names.append(f"{pool.model}-{len(names):03d}")
                pools.append(index)
                homes.append((int(node), group))
    return tuple(names), np.array(pools), np.array(homes).reshape(-1, 2)
