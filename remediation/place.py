"""Where something is in the fleet: its node, its engines, its rack and pool, by the topology.

Used by `remediation.plan` to find targets and by `remediation.gather` to count units.
"""

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, key_of, kind_of
from fleetmend.views.topology import TopologyView
from remediation.runbook import TargetKind


def node_of(topology: TopologyView, entity: EntityId) -> EntityId | None:
    """The node that an entity is, is part of, or runs on."""
    return topology.ancestor(topology.resolve(entity) or entity, EntityKind.NODE)


def engines_of(topology: TopologyView, entity: EntityId) -> tuple[EntityId, ...]:
    """The engine that `entity` is, or those that run on it: on a GPU, or on a node's GPUs."""
    entity = topology.resolve(entity) or entity
    if kind_of(entity) is EntityKind.ENGINE:
        return (entity,)
    parts = [entity, *topology.sources(entity, RelationKind.PART_OF)]
    parts += [inner for part in parts[1:] for inner in topology.sources(part, RelationKind.PART_OF)]
    users = {user for part in parts for user in topology.sources(part, RelationKind.RUNS_ON)}
    return tuple(sorted(user for user in users if kind_of(user) is EntityKind.ENGINE))


def pool_of(topology: TopologyView, entity: EntityId) -> EntityId | None:
    """The pool that an entity, or the node under it, is a member of."""
    for member in (entity, node_of(topology, entity)):
        if member is None:
            continue
        for group in topology.targets(member, RelationKind.MEMBER_OF):
            if kind_of(group) is EntityKind.POOL:
                return group
    return None


class Place:
    """Where a cause is in the fleet."""

    def __init__(self, topology: TopologyView, entity: EntityId) -> None:
        self.entity = topology.resolve(entity) or entity
        self.node = node_of(topology, entity)
        self.engines = engines_of(topology, entity)
        self.rack = topology.ancestor(self.entity, EntityKind.RACK)
        self.pool_id = pool_of(topology, self.entity)
        self.pool = key_of(self.pool_id) if self.pool_id is not None else ""

    def targets(self, kind: TargetKind) -> tuple[EntityId, ...]:
        """What a step works on. Where there is no such thing it is the entity itself: admission
        refuses that by name, and people see it."""
        match kind:
            case "node":
                return (self.node or self.entity,)
            case "engine":
                return self.engines or (self.entity,)
            case "entity":
                return (self.entity,)
