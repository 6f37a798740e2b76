"""The fleet as it is now (in event time): entities, relations and aliases, folded from the
topology log.

Used by detection (cohorts, pools), root cause (propagation), remediation (domains) and the console.
Root cause builds its networkx graph from this; the view itself is plain dictionaries.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from pydantic import TypeAdapter

from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    kind_of,
)
from fleetmend.streams.stage import Json


@dataclass(slots=True)
class SavedTopology:
    """The form in which the view is kept in snapshots."""

    attributes: dict[EntityId, dict[str, str]]
    relations: list[tuple[EntityId, RelationKind, EntityId]]
    aliases: dict[str, EntityId]
    changed_s: dict[str, float]


_SAVED = TypeAdapter(SavedTopology)


@dataclass(slots=True)
class TopologyView:
    """Applying a change twice, or an older change after a newer one of the same fact, changes
    nothing."""

    attributes: dict[EntityId, dict[str, str]] = field(default_factory=dict)
    _out: dict[EntityId, dict[RelationKind, set[EntityId]]] = field(default_factory=dict)
    _in: dict[EntityId, dict[RelationKind, set[EntityId]]] = field(default_factory=dict)
    _alias: dict[str, EntityId] = field(default_factory=dict)
    _changed_s: dict[str, float] = field(default_factory=dict)

    def apply(self, change: TopologyChange) -> bool:
        """Take in one change; false when something newer is known already."""
        fact = _fact(change)
        if change.at_s < self._changed_s.get(fact, float("-inf")):
            return False
        self._changed_s[fact] = change.at_s
        match change.op:
            case TopologyOp.ENTITY:
                self.attributes[change.entity] = dict(change.attributes)
            case TopologyOp.ENTITY_GONE:
                self._forget(change.entity)
            case TopologyOp.RELATION:
                self._link(change)
            case TopologyOp.RELATION_GONE:
                self._unlink(change)
            case TopologyOp.ALIAS:
                self._alias[change.target] = change.entity
        return True

    def __contains__(self, entity: EntityId) -> bool:
        return entity in self.attributes

    def of_kind(self, kind: EntityKind) -> Iterator[EntityId]:
        """All entities of a kind, in order of id."""
        return (entity for entity in sorted(self.attributes) if kind_of(entity) is kind)

    def targets(self, entity: EntityId, relation: RelationKind) -> tuple[EntityId, ...]:
        """What `entity` points to by `relation`, in order of id."""
        return tuple(sorted(self._out.get(entity, {}).get(relation, ())))

    def sources(self, entity: EntityId, relation: RelationKind) -> tuple[EntityId, ...]:
        """What points to `entity` by `relation`, in order of id."""
        return tuple(sorted(self._in.get(entity, {}).get(relation, ())))

    def relations(self) -> Iterator[tuple[EntityId, RelationKind, EntityId]]:
        """Every relation once, in a stable order."""
        for entity in sorted(self._out):
            for relation in sorted(self._out[entity]):
                for target in sorted(self._out[entity][relation]):
                    yield entity, relation, target

    def resolve(self, name: str) -> EntityId | None:
        """The entity that `name` (an id or an alias) means now."""
        if name in self.attributes:
            return EntityId(name)
        return self._alias.get(name)

    def aliases_of(self, entity: EntityId) -> tuple[str, ...]:
        """The other names of `entity`, in order."""
        return tuple(sorted(name for name, meant in self._alias.items() if meant == entity))

    def ancestor(self, entity: EntityId, kind: EntityKind) -> EntityId | None:
        """The nearest entity of `kind` reached by part_of, runs_on and member_of; itself
        included."""
        seen, front = {entity}, [entity]
        while front:
            for found in front:
                if kind_of(found) is kind:
                    return found
            up = (RelationKind.PART_OF, RelationKind.RUNS_ON, RelationKind.MEMBER_OF)
            reached = {t for e in front for relation in up for t in self.targets(e, relation)}
            front = sorted(reached - seen)
            seen.update(front)
        return None

    def changes(self, at_s: float) -> Iterator[TopologyChange]:
        """Changes at `at_s` that give another view what this one knows: entities, aliases,
        relations."""
        for entity, attributes in sorted(self.attributes.items()):
            yield TopologyChange(at_s, TopologyOp.ENTITY, entity, attributes=dict(attributes))
        for name, entity in sorted(self._alias.items()):
            yield TopologyChange(at_s, TopologyOp.ALIAS, entity, name)
        for source, relation, target in self.relations():
            yield TopologyChange(at_s, TopologyOp.RELATION, source, target, relation)

    def copy(self) -> "TopologyView":
        """Another view that knows the same and shares nothing that changes."""
        return TopologyView(
            dict(self.attributes),  # what is said of an entity is replaced, never changed
            {entity: {r: set(t) for r, t in by.items()} for entity, by in self._out.items()},
            {entity: {r: set(t) for r, t in by.items()} for entity, by in self._in.items()},
            dict(self._alias),
            dict(self._changed_s),
        )

    def snapshot(self) -> Json:
        """The view as JSON."""
        saved = SavedTopology(
            attributes={entity: dict(a) for entity, a in sorted(self.attributes.items())},
            relations=list(self.relations()),
            aliases=dict(sorted(self._alias.items())),
            changed_s=dict(sorted(self._changed_s.items())),
        )
        return cast(Json, _SAVED.dump_python(saved, mode="json"))

    def restore(self, state: Json) -> None:
        """Become what `snapshot` saved."""
        saved = _SAVED.validate_python(state)
        self.attributes = saved.attributes
        self._out, self._in = {}, {}
        for source, relation, target in saved.relations:
            self._add(source, relation, target)
        self._alias, self._changed_s = saved.aliases, saved.changed_s

    def _link(self, change: TopologyChange) -> None:
        if change.relation is not None:
            self._add(change.entity, change.relation, EntityId(change.target))

    def _add(self, source: EntityId, relation: RelationKind, target: EntityId) -> None:
        self._out.setdefault(source, {}).setdefault(relation, set()).add(target)
        self._in.setdefault(target, {}).setdefault(relation, set()).add(source)

    def _unlink(self, change: TopologyChange) -> None:
        if change.relation is None:
            return
        target = EntityId(change.target)
        self._out.get(change.entity, {}).get(change.relation, set()).discard(target)
        self._in.get(target, {}).get(change.relation, set()).discard(change.entity)

    def _forget(self, entity: EntityId) -> None:
        self.attributes.pop(entity, None)
        for relation, targets in self._out.pop(entity, {}).items():
            for target in targets:
                self._in[target][relation].discard(entity)
        for relation, sources in self._in.pop(entity, {}).items():
            for source in sources:
                self._out[source][relation].discard(entity)


def _fact(change: TopologyChange) -> str:
    """What a change is about: only changes of the same fact compete in time."""
    match change.op:
        case TopologyOp.ENTITY | TopologyOp.ENTITY_GONE:
            return f"entity {change.entity}"
        case TopologyOp.RELATION | TopologyOp.RELATION_GONE:
            return f"relation {change.entity} {change.relation} {change.target}"
        case TopologyOp.ALIAS:
            return f"alias {change.target}"
