"""The fleet as topology records: everything at the start, then engines as their pods move.

`simulator.fleet` calls this; the records are what `collectors.kubernetes` would send. NVLink is
written between the GPUs that form one engine's group: on these boards all eight reach each other
through switches, but only the pairs of a group exchange data.
"""

from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    key_of,
)
from fleetmend.ports.cluster import NodeState
from simulator.journal import pci_of
from simulator.layout import GPUS_PER_NODE, Layout
from simulator.workload import NOWHERE, Workload

GPU_MODEL = "NVIDIA H200"
OWN_TAINTS = ("fleetmend.io/", "node.kubernetes.io/")
"""Taints of the platform and of the node controller: nobody else's word."""


def engine_id(layout: Layout, uid: str) -> EntityId:
    """The engine in the pod with this uid."""
    return layout.entity(EntityKind.ENGINE, uid)


def tenant_id(layout: Layout, tenant: int) -> EntityId:
    """A tenant; 0 is the largest."""
    return layout.entity(EntityKind.TENANT, f"tenant-{tenant}")


def collector_id(layout: Layout, node: int) -> EntityId:
    """The telemetry agent of a node."""
    return layout.entity(EntityKind.COLLECTOR, layout.nodes[node])


class Recorder:
    """Writes changes at one moment."""

    def __init__(self, layout: Layout, at_s: float) -> None:
        self._layout = layout
        self._at_s = at_s
        self.changes: list[TopologyChange] = []

    def entity(self, entity: EntityId, **attributes: str) -> None:
        """The entity exists."""
        self.changes.append(
            TopologyChange(self._at_s, TopologyOp.ENTITY, entity, attributes=attributes)
        )

    def gone(self, entity: EntityId) -> None:
        """The entity exists no more."""
        self.changes.append(TopologyChange(self._at_s, TopologyOp.ENTITY_GONE, entity))

    def relate(self, source: EntityId, relation: RelationKind, target: EntityId) -> None:
        """`source` depends on `target`."""
        self.changes.append(
            TopologyChange(self._at_s, TopologyOp.RELATION, source, target, relation)
        )

    def alias(self, entity: EntityId, name: str) -> None:
        """`name` means the entity from now on."""
        self.changes.append(TopologyChange(self._at_s, TopologyOp.ALIAS, entity, name))


def whole_topology(layout: Layout, workload: Workload, at_s: float) -> list[TopologyChange]:
    """Everything that exists."""
    write = Recorder(layout, at_s)
    write.entity(layout.entity(EntityKind.CLUSTER, layout.settings.cluster))
    for zone in layout.zone_ids:
        write.entity(zone)
    for index, rack in enumerate(layout.rack_ids):
        write.entity(rack)
        write.relate(rack, RelationKind.PART_OF, layout.zone_ids[index % len(layout.zone_ids)])
    for pool_id, pool in zip(layout.pool_ids, layout.pools, strict=True):
        write.entity(pool_id, model=pool.model, tensor_parallel=str(pool.tensor_parallel))
        write.entity(layout.entity(EntityKind.MODEL, pool.model))
        write.entity(layout.entity(EntityKind.ROUTER, pool.name), pool=pool.name)
    for tenant in range(layout.settings.load.tenants):
        write.entity(tenant_id(layout, tenant))
    for node in range(len(layout.nodes)):
        _node(write, layout, node)
    for engine in range(len(layout.engine_names)):
        write.changes += engine_appears(layout, workload, engine, at_s)
    return write.changes


def engine_appears(
    layout: Layout, workload: Workload, engine: int, at_s: float
) -> list[TopologyChange]:
    """An engine's pod got its node."""
    write = Recorder(layout, at_s)
    if workload.node[engine] == NOWHERE:
        return []
    pool_index = int(layout.engine_pool[engine])
    pool, name = layout.pools[pool_index], layout.engine_names[engine]
    entity = engine_id(layout, workload.uid[engine])
    node = layout.nodes[int(workload.node[engine])]
    told = {"name": name, "model": pool.model, "pool": pool.name, "node": node, "engine": "vllm"}
    if workload.leaving[engine]:
        told["terminating"] = "true"
    write.entity(entity, **told)
    write.alias(entity, name)
    write.relate(entity, RelationKind.MEMBER_OF, layout.pool_ids[pool_index])
    write.relate(entity, RelationKind.SERVES, layout.entity(EntityKind.MODEL, pool.model))
    write.relate(layout.entity(EntityKind.ROUTER, pool.name), RelationKind.ROUTES_TO, entity)
    for gpu in workload.gpus(engine):
        write.relate(entity, RelationKind.RUNS_ON, layout.gpu_ids[int(gpu)])
    return write.changes


def engine_leaves(layout: Layout, uid: str, at_s: float) -> list[TopologyChange]:
    """An engine's pod is gone."""
    write = Recorder(layout, at_s)
    write.gone(engine_id(layout, uid))
    return write.changes


def node_states(layout: Layout, node: int, state: NodeState, at_s: float) -> TopologyChange:
    """A node's object looks different: what the cluster's collector states of it."""
    told = _node_attributes(layout, node)
    theirs = [taint for taint in state.taints if not taint.key.startswith(OWN_TAINTS)]
    if state.unschedulable:
        told["unschedulable"] = "true"
    if theirs:
        told["taints"] = " ".join(f"{t.key}={t.value}:{t.effect}" for t in theirs)
    return TopologyChange(at_s, TopologyOp.ENTITY, layout.node_ids[node], attributes=told)


def _node_attributes(layout: Layout, node: int) -> dict[str, str]:
    rack = layout.rack_ids[int(layout.node_rack[node])]
    pool = layout.pools[int(layout.node_pool[node])].name
    return {"pool": pool, "rack": key_of(rack), "gpus": str(GPUS_PER_NODE)}


def _node(write: Recorder, layout: Layout, node: int) -> None:
    name, entity = layout.nodes[node], layout.node_ids[node]
    rack = layout.rack_ids[int(layout.node_rack[node])]
    pool_index = int(layout.node_pool[node])
    pool = layout.pools[pool_index].name
    write.entity(entity, **_node_attributes(layout, node))
    write.alias(entity, name)
    write.relate(entity, RelationKind.PART_OF, rack)
    write.relate(entity, RelationKind.MEMBER_OF, layout.pool_ids[pool_index])
    agent = collector_id(layout, node)
    write.entity(agent)
    write.relate(agent, RelationKind.OBSERVES, entity)
    width = int(layout.pool_width[pool_index])
    for slot in range(GPUS_PER_NODE):
        gpu = node * GPUS_PER_NODE + slot
        card = layout.gpu_ids[gpu]
        write.entity(
            card,
            model=GPU_MODEL,
            pool=pool,
            rack=key_of(rack),
            serial=layout.gpu_serials[gpu],
            pci=pci_of(gpu),
            index=str(slot),
            node=name,
        )
        write.alias(card, f"{name}/gpu:{slot}")
        write.relate(card, RelationKind.PART_OF, entity)
        for peer in range(slot // width * width, slot // width * width + width):
            if peer != slot:
                write.relate(card, RelationKind.LINKED_TO, layout.gpu_id(node, peer))
