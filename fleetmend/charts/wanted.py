"""Which charts an incident wants: which signals of which entities, beside which peers.

Pure; called by the service whenever an incident has changed.
"""

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.model.incidents import Evidence, Incident
from fleetmend.signals.catalogue import catalogue
from fleetmend.signals.records import Shape, Signal
from fleetmend.views.topology import TopologyView

CHARTS_MAX = 6
PEERS_MAX = 32


def charted_signals(incident: Incident) -> list[tuple[EntityId, str]]:
    """The (entity, signal) pairs that the incident's evidence speaks of, strongest first; every
    signal once before any signal twice, since one of two like GPUs tells as much as both."""
    known = catalogue().signals
    strongest: dict[tuple[EntityId, str], Evidence] = {}
    for piece in sorted(incident.evidence, key=lambda e: -e.score):
        if piece.symptom in known:
            strongest.setdefault((piece.entity, piece.symptom), piece)
    seen: set[str] = set()
    first: list[tuple[EntityId, str]] = []
    again: list[tuple[EntityId, str]] = []
    for pair in strongest:
        (again if pair[1] in seen else first).append(pair)
        seen.add(pair[1])
    return [*first, *again][:CHARTS_MAX]


def charted_unit(signal: Signal) -> str:
    """The unit of a signal's chart: counters are shown as rates."""
    return f"{signal.unit}/s" if signal.shape is Shape.COUNTER else signal.unit


def pool_of(entity: EntityId, topology: TopologyView) -> EntityId | None:
    """The pool of an entity, or of the node that it is part of."""
    node = topology.ancestor(entity, EntityKind.NODE)
    for member in (entity, node):
        groups = topology.targets(member, RelationKind.MEMBER_OF) if member is not None else ()
        for group in groups:
            if kind_of(group) is EntityKind.POOL:
                return group
    return None


def peers_of(entity: EntityId, topology: TopologyView) -> tuple[EntityId, ...]:
    """Entities of the same kind in the same pool, without itself; a bounded, stable choice."""
    pool = pool_of(entity, topology)
    if pool is None:
        return ()
    members = topology.sources(pool, RelationKind.MEMBER_OF)
    parts = (part for m in members for part in topology.sources(m, RelationKind.PART_OF))
    same = {e for e in (*members, *parts) if kind_of(e) is kind_of(entity)} - {entity}
    chosen = sorted(same)
    return tuple(chosen[:: max(1, len(chosen) // PEERS_MAX)][:PEERS_MAX])
