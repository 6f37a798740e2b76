"""What labels say about the fleet: which GPU lies where, and whose pod runs on it.

Facts are compared between readings, so that only what is new, or gone, becomes a change.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from collectors.naming import Names, first_label, gpu_label
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    key_of,
)
from fleetmend.signals.records import Partition

_ATTRIBUTES = {
    "model": ("modelName", "model_name", "hw.model", "hw_model"),
    "driver": ("DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION", "hw.driver_version"),
    "serial": ("DCGM_FI_DEV_SERIAL", "DCGM_FI_DEV_BOARD_SERIAL", "hw.serial_number"),
    "index": ("gpu",),
}
"""Attributes of a GPU and the labels that give them."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A topology change without its time."""

    op: TopologyOp
    entity: EntityId
    target: str = ""
    relation: RelationKind | None = None
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What the fact is about: a later fact with the same key replaces it."""
        match self.op:
            case TopologyOp.ENTITY:
                return self.op.value, self.entity, ""
            case TopologyOp.ALIAS:
                return self.op.value, self.target, ""
            case _:
                return f"{self.op.value} {self.relation}", self.entity, self.target

    def change(self, at_s: float) -> TopologyChange:
        """The change that states this fact."""
        return TopologyChange(
            at_s, self.op, self.entity, self.target, self.relation, dict(self.attributes)
        )

    def end(self, at_s: float) -> TopologyChange:
        """The change that states that this relation is over."""
        return TopologyChange(
            at_s, TopologyOp.RELATION_GONE, self.entity, self.target, self.relation
        )


@dataclass(frozen=True, slots=True)
class Claims:
    """Everything that the labels of one reading say."""

    facts: frozenset[Fact]
    tenancy: frozenset[EntityId]
    """GPUs and instances of which the reading says whose pod uses them, if any."""


def claims_of(
    described: Iterable[Mapping[str, str]], tenancy: Iterable[Mapping[str, str]], names: Names
) -> Claims:
    """The claims in the labels of a reading's series; only those of `tenancy` say who uses a
    GPU."""
    attributes: dict[EntityId, dict[str, str]] = {}
    facts: set[Fact] = set()
    shown: set[EntityId] = set()
    for labels in described:
        facts |= _facts_of(labels, names, attributes)
    for labels in tenancy:
        facts |= _facts_of(labels, names, attributes)
        place = names.entity(EntityKind.GPU, labels, Partition.INSTANCE)
        tenant = names.tenant_pod(labels)
        if place is not None:
            shown.add(place)
            if tenant is not None:
                facts.add(Fact(TopologyOp.RELATION, tenant, place, RelationKind.RUNS_ON))
    # One series knows the driver, another the model: an entity is stated once, with all of it.
    for entity, known in attributes.items():
        facts.add(Fact(TopologyOp.ENTITY, entity, attributes=tuple(sorted(known.items()))))
    return Claims(frozenset(facts), frozenset(shown))


def _facts_of(
    labels: Mapping[str, str], names: Names, attributes: dict[EntityId, dict[str, str]]
) -> set[Fact]:
    """Relations and aliases in the labels of one series; attributes are added to `attributes`."""
    gpu = names.gpu(labels)
    if gpu is not None:
        return _gpu_facts(gpu, labels, names, attributes)
    facts: set[Fact] = set()
    if gpu_label(labels):  # of a GPU that is one too many: no series of an engine
        return facts
    engine = names.entity(EntityKind.ENGINE, labels, None)
    if engine is not None:
        attributes.setdefault(engine, {})
        model = names.model(labels)
        if model is not None:
            attributes.setdefault(model, {})
            facts.add(Fact(TopologyOp.RELATION, engine, model, RelationKind.SERVES))
    return facts


def _gpu_facts(
    gpu: EntityId,
    labels: Mapping[str, str],
    names: Names,
    attributes: dict[EntityId, dict[str, str]],
) -> set[Fact]:
    facts: set[Fact] = set()
    known = attributes.setdefault(gpu, {})
    for name, given in _ATTRIBUTES.items():
        value = first_label(labels, given)
        if value:
            known[name] = value
    node = names.node_entity(labels)
    if node is not None:
        facts.add(Fact(TopologyOp.RELATION, gpu, node, RelationKind.PART_OF))
        for alias in names.gpu_aliases(labels, key_of(node)):
            facts.add(Fact(TopologyOp.ALIAS, gpu, alias))
    instance = names.instance(labels)
    if instance is not None:
        attributes[instance] = {"profile": first_label(labels, ("GPU_I_PROFILE",))}
        facts.add(Fact(TopologyOp.RELATION, instance, gpu, RelationKind.PART_OF))
    return facts


class LabelTopology:
    """What one source's labels have stated so far."""

    def __init__(self, known: Collection[EntityId] = ()) -> None:
        """`known`: entities that another source describes better; their attributes are left
        alone."""
        self._known = frozenset(known)
        self._stated: dict[tuple[str, str, str], Fact] = {}

    def changes(self, claims: Claims, at_s: float) -> list[TopologyChange]:
        """What a reading states anew, and which pods have left the GPUs that it shows."""
        changes: list[TopologyChange] = []
        for key, fact in list(self._stated.items()):
            left = fact.relation is RelationKind.RUNS_ON and fact.target in claims.tenancy
            if left and fact not in claims.facts:
                changes.append(fact.end(at_s))
                del self._stated[key]
        # An entity comes before what speaks of it; the rest is in a stable order.
        for fact in sorted(claims.facts, key=lambda f: (f.op is not TopologyOp.ENTITY, repr(f))):
            described = fact.op is TopologyOp.ENTITY and fact.entity in self._known
            if self._stated.get(fact.key) != fact and not described:
                self._stated[fact.key] = fact
                changes.append(fact.change(at_s))
        return changes
