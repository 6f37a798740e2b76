"""What the settings say of the fleet, as topology changes: stated once when a collector starts."""

from collections.abc import Iterable

from collectors.target import engine_entity
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.settings.collectors import TargetSettings


def observed(
    cluster: str, collector: str, subjects: Iterable[EntityId], at_s: float
) -> list[TopologyChange]:
    """The collector as an entity, and what it reports on: its own silence is a fact too."""
    entity = entity_id(cluster, EntityKind.COLLECTOR, collector)
    observes = RelationKind.OBSERVES
    return [
        TopologyChange(at_s, TopologyOp.ENTITY, entity),
        *(
            TopologyChange(at_s, TopologyOp.RELATION, entity, subject, observes)
            for subject in dict.fromkeys(subjects)
        ),
    ]


def targets_topology(
    cluster: str, targets: Iterable[TargetSettings], at_s: float
) -> list[TopologyChange]:
    """Nodes, pools and engines of the targets, for fleets without an API that knows them."""
    changes: dict[tuple[EntityId, str, str], TopologyChange] = {}

    def state(entity: EntityId, **attributes: str) -> None:
        changes[entity, "", ""] = TopologyChange(
            at_s, TopologyOp.ENTITY, entity, attributes=attributes
        )

    def relate(entity: EntityId, relation: RelationKind, target: EntityId) -> None:
        change = TopologyChange(at_s, TopologyOp.RELATION, entity, target, relation)
        changes[entity, relation.value, target] = change

    for target in targets:
        pool = entity_id(cluster, EntityKind.POOL, target.pool)
        state(pool)
        engine = engine_entity(cluster, target)
        node = entity_id(cluster, EntityKind.NODE, target.node) if target.node else None
        if node is not None:
            state(node, pool=target.pool)
            relate(node, RelationKind.MEMBER_OF, pool)
        if engine is not None:
            state(engine, pool=target.pool, pod=target.pod, url=target.url)
            relate(engine, RelationKind.MEMBER_OF, pool)
            gpus = [entity_id(cluster, EntityKind.GPU, uuid) for uuid in target.gpus]
            # An engine without GPUs of its own still stands or falls with its node.
            for place in gpus or ([node] if node is not None else []):
                relate(engine, RelationKind.RUNS_ON, place)
    return list(changes.values())
