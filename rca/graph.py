"""The fleet as a graph, and how faults travel in it.

A networkx multigraph holds every relation twice: along it (`>runs_on`) and against it (`<runs_on`),
so that a fault class can say by which steps it spreads. Used by `rca.hypotheses` and `rca.explain`;
kept up to date by `rca.stage` from the topology log. Nothing outside this module names networkx.
"""

from collections.abc import Set

import networkx as nx

from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    kind_of,
)
from fleetmend.views.topology import TopologyView
from rca.knowledge.model import PEER, SELF, FaultClass, Step

HOSTS = (Step(RelationKind.RUNS_ON, True), Step(RelationKind.PART_OF, True))
"""From an engine to its GPUs, from a GPU to its node."""


class FleetGraph:
    """Entities and steps between them. Answers are cached until the topology changes."""

    def __init__(self) -> None:
        self._graph: nx.MultiDiGraph[EntityId] = nx.MultiDiGraph()
        self._reached: dict[tuple[EntityId, tuple[Step, ...], int], tuple[EntityId, ...]] = {}
        self._places: dict[tuple[EntityId, str, str], tuple[EntityId, ...]] = {}
        self._kinds: dict[EntityId, EntityKind] = {}
        self._beside: dict[tuple[Step, ...], dict[EntityId, list[EntityId]]] = {}
        self._roots: dict[tuple[EntityId, str], tuple[EntityId, ...]] = {}
        self._members: dict[tuple[EntityId, str, str], frozenset[EntityId]] = {}

    @classmethod
    def of(cls, view: TopologyView) -> "FleetGraph":
        """The graph of a whole view."""
        fleet = cls()
        fleet._graph.add_nodes_from(sorted(view.attributes))
        for source, relation, target in view.relations():
            fleet._link(source, relation.value, target)
        return fleet

    def apply(self, change: TopologyChange) -> None:
        """Take in a change that the view has taken in."""
        match change.op:
            case TopologyOp.ENTITY:
                # New attributes move nothing here: what was found out stays true.
                if change.entity in self._graph:
                    return
                self._graph.add_node(change.entity)
            case TopologyOp.ENTITY_GONE:
                if change.entity in self._graph:
                    self._graph.remove_node(change.entity)
                self._kinds.pop(change.entity, None)
            case TopologyOp.RELATION | TopologyOp.RELATION_GONE if change.relation is not None:
                target = EntityId(change.target)
                if change.op is TopologyOp.RELATION:
                    self._link(change.entity, change.relation.value, target)
                else:
                    self._unlink(change.entity, change.relation.value, target)
            case _:
                return
        self._reached.clear()
        self._places.clear()
        self._beside.clear()
        self._roots.clear()
        self._members.clear()

    def reached(
        self, entity: EntityId, steps: tuple[Step, ...], depth: int
    ) -> tuple[EntityId, ...]:
        """Every other entity within `depth` of these steps, nearest first, then in order of id."""
        key = (entity, steps, depth)
        if key not in self._reached:
            self._reached[key] = self._search(entity, steps, depth)
        return self._reached[key]

    def places(self, entity: EntityId, fault: FaultClass, on: str) -> tuple[EntityId, ...]:
        """Where a sign of a fault on `entity` is looked for: `self`, `peer` or a kind."""
        if on == SELF:
            return (entity,)
        key = (entity, fault.name, on)
        if key not in self._places:
            kind = kind_of(entity).value if on == PEER else on
            self._places[key] = tuple(
                other
                for other in self.reached(entity, fault.spreads, fault.depth)
                if self._kind(other).value == kind
            )
        return self._places[key]

    def is_place(self, entity: EntityId, root: EntityId, fault: FaultClass, on: str) -> bool:
        """Whether a sign of a fault on `root` is looked for on `entity`, among thousands at times:
        the same as membership of `places`."""
        return entity == root if on == SELF else entity in self.members(root, fault, on)

    def members(self, root: EntityId, fault: FaultClass, on: str) -> frozenset[EntityId]:
        """`places` as a set."""
        key = (root, fault.name, on)
        if key not in self._members:
            self._members[key] = frozenset(self.places(root, fault, on))
        return self._members[key]

    def roots(self, entity: EntityId, fault: FaultClass) -> tuple[EntityId, ...]:
        """Every entity on which a fault of this class would reach `entity`; itself included."""
        key = (entity, fault.name)
        if key not in self._roots:
            back = tuple(Step(step.relation, not step.forward) for step in fault.spreads)
            found = (entity, *self.reached(entity, back, fault.depth))
            self._roots[key] = tuple(root for root in found if self._kind(root) in fault.kinds)
        return self._roots[key]

    def path(self, root: EntityId, target: EntityId, steps: tuple[Step, ...]) -> list[EntityId]:
        """The shortest way by which a fault on `root` reaches `target`; the first by id of equals.
        Only the two ends when there is none."""
        if root == target:
            return [root]
        allowed = {str(step) for step in steps}
        before: dict[EntityId, EntityId] = {root: root}
        front = [root]
        while front and target not in before:
            following: list[EntityId] = []
            for entity in front:
                for other in self._neighbours(entity, allowed):
                    if other not in before:
                        before[other] = entity
                        following.append(other)
            front = following
        if target not in before:
            return [root, target]
        way = [target]
        while way[-1] != root:
            way.append(before[way[-1]])
        return way[::-1]

    def _kind(self, entity: EntityId) -> EntityKind:
        if entity not in self._kinds:  # cut from the id, a hundred thousand times in a storm
            self._kinds[entity] = kind_of(entity)
        return self._kinds[entity]

    def edges(self) -> list[tuple[EntityId, EntityId, str]]:
        """Every step there is, sorted."""
        return sorted(self._graph.edges(keys=True))

    def _search(
        self, entity: EntityId, steps: tuple[Step, ...], depth: int
    ) -> tuple[EntityId, ...]:
        seen, front, found = {entity}, [entity], []
        known = self._beside.setdefault(steps, {})
        allowed = {str(step) for step in steps}
        for _ in range(depth):
            for e in front:
                if e not in known:  # a rack is passed on the way from each of its GPUs
                    known[e] = self._neighbours(e, allowed)
            following = sorted({other for e in front for other in known[e]} - seen)
            seen.update(following)
            found.extend(following)
            front = following
        return tuple(found)

    def _neighbours(self, entity: EntityId, allowed: Set[str]) -> list[EntityId]:
        if entity not in self._graph:
            return []
        beside = self._graph.adj[entity].items()
        return sorted(other for other, ways in beside if not allowed.isdisjoint(ways))

    def _link(self, source: EntityId, relation: str, target: EntityId) -> None:
        self._graph.add_edge(source, target, f">{relation}")
        self._graph.add_edge(target, source, f"<{relation}")

    def _unlink(self, source: EntityId, relation: str, target: EntityId) -> None:
        for edge in ((source, target, f">{relation}"), (target, source, f"<{relation}")):
            if self._graph.has_edge(*edge):
                self._graph.remove_edge(*edge)
