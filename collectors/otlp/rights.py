"""What a sender may speak of. `collectors.otlp.intake` drops everything else and counts it.

A sender is who its token says it is. What its messages say about themselves (host, pod, instance)
only tells the things apart that it may speak of anyway.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from collectors.naming import Resolve, pod_alias
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
    key_of,
    kind_of,
)
from fleetmend.settings.otlp import OtlpSenderSettings

NodeOf = Callable[[EntityId], EntityId | None]
"""The node on which something is, as the fleet knows it; None when nobody has said."""

_PLACED = frozenset({EntityKind.GPU, EntityKind.MIG})
_RUNNING = frozenset({EntityKind.ENGINE, EntityKind.POD})


@dataclass(frozen=True, slots=True)
class Rights:
    """The rights of one sender."""

    settings: OtlpSenderSettings
    cluster: str
    node_of: NodeOf

    @property
    def subject(self) -> EntityId:
        """What the sender stands for."""
        match self.settings.speaks_for:
            case "node":
                return entity_id(self.cluster, EntityKind.NODE, self.settings.node)
            case "engine":
                return entity_id(self.cluster, EntityKind.ENGINE, self.settings.engine)
            case _:
                return entity_id(self.cluster, EntityKind.COLLECTOR, f"otlp-{self.settings.name}")

    def engine_in(self, attributes: Mapping[str, str], resolve: Resolve) -> EntityId | None:
        """The engine that a resource with these attributes is, if the fleet knows it."""
        if self.settings.speaks_for == "engine":
            return self.subject
        for name in ("k8s.pod.uid", "service.instance.id"):
            key = attributes.get(name)
            if key:
                engine = resolve(entity_id(self.cluster, EntityKind.ENGINE, key))
                if engine is not None:
                    return engine
        pod = attributes.get("k8s.pod.name")
        return resolve(pod_alias(attributes.get("k8s.namespace.name", ""), pod)) if pod else None

    def may_measure(self, entity: EntityId) -> bool:
        """Whether numbers and events about this are believed from it."""
        if self.settings.speaks_for == "cluster":
            return True
        if self.settings.speaks_for == "engine":
            return entity == self.subject
        kind = kind_of(entity)
        if self.settings.speaks_for == "feedback":
            own = self.settings.tenant
            # Of these two kinds nothing but thumbs is told.
            return kind is EntityKind.MODEL or (
                kind is EntityKind.TENANT and own in ("", key_of(entity))
            )
        if kind in _PLACED:
            # One that nobody knows yet may be measured; where it is, others say.
            return self.node_of(entity) in (None, self.subject)
        if kind in _RUNNING:
            return self.node_of(entity) == self.subject
        if kind is EntityKind.SWITCH:
            own = entity_id(self.cluster, EntityKind.SWITCH, f"{self.settings.node}/")
            return entity.startswith(own)
        return entity == self.subject

    def _is_its_own(self, part: EntityId) -> bool:
        """Whether something is known to be on the sender's node, or named after it: a claim to what
        nobody has placed yet would take a GPU from the node whose agent starts later."""
        named = entity_id(self.cluster, kind_of(part), f"{self.settings.node}/")
        return part.startswith(named) or self.node_of(part) == self.subject

    @property
    def may_vote(self) -> bool:
        """Whether thumbs of people are believed from it."""
        return self.settings.speaks_for in ("cluster", "feedback")

    def may_state(self, change: TopologyChange) -> bool:
        """Whether a statement about the fleet is believed from it."""
        match self.settings.speaks_for:
            case "cluster":
                return True
            case "engine":
                serves = change.relation is RelationKind.SERVES and change.entity == self.subject
                return serves or (
                    change.op is TopologyOp.ENTITY and kind_of(change.entity) is EntityKind.MODEL
                )
            case "feedback":
                return False
            case _:
                # Who runs where is the business of the cluster, of a node's agent and of scrapes.
                if change.relation is RelationKind.RUNS_ON:
                    return False
                if change.relation is RelationKind.PART_OF and not self._is_its_own(change.entity):
                    return False
                if kind_of(change.entity) is EntityKind.MODEL:
                    return change.op is TopologyOp.ENTITY
                return self.may_measure(change.entity)
