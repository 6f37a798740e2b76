"""Names that people know in place of UUIDs: `GPU-92934e2e-47eb-...` -> `node-003/gpu:5`.

Entities are known by GPU UUID and pod UID everywhere; a reader looks for a node, a slot, a pod.
Used by the console for every text that a page shows and by alerting for what it sends, so that
neither builds names of its own. What the topology never knew keeps the first block of its UUID.
"""

import re
from collections.abc import Callable

from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, key_of, kind_of
from fleetmend.views.topology import TopologyView

FRESH_S = 10.0
"""How long names are used before they are looked up anew, when nothing seems to have changed."""
NAME_CHARS_MAX = 120
REMEMBERED_MAX = 50_000
"""Names of pods and engines that are gone: incidents outlive them. The oldest are forgotten."""

_UUID = re.compile(
    r"(?:GPU-|MIG-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
)
_NAMED = frozenset({EntityKind.GPU, EntityKind.MIG, EntityKind.ENGINE, EntityKind.POD})
_PASSING = frozenset({EntityKind.ENGINE, EntityKind.POD})
"""Kinds whose entities are gone as soon as they are replaced."""


class Names:
    """Knows the current names, and those of what is gone since this process began."""

    def __init__(self, topology: Callable[[], TopologyView], clock: Clock) -> None:
        """`topology` is asked at each text that holds a UUID, so it must cost nothing."""
        self._topology = topology
        self._clock = clock
        self._entities: dict[str, EntityId] = {}
        self._gone: dict[str, str] = {}
        self._size = -1
        self._until_s = 0.0

    def in_text(self, text: str) -> str:
        """`text` with a name for every UUID in it."""
        if _UUID.search(text) is None:
            return text
        topology = self._topology()
        self._refresh(topology)
        return _UUID.sub(lambda found: self._name(found[0], topology), text)

    def place_of(self, entity: EntityId) -> str:
        """What to tell somebody who has only this line: the name, and the pool where one is
        known: `node-003/gpu:5, pool chat`."""
        name = self.in_text(key_of(entity))
        pool = pool_of(self._topology(), entity)
        return f"{name}, pool {pool}" if pool and pool != name else name

    def _name(self, token: str, topology: TopologyView) -> str:
        entity = self._entities.get(token)
        if entity is not None:
            return name_in(topology, entity)
        return self._gone.get(token) or short_uuid(token)

    def _refresh(self, topology: TopologyView) -> None:
        now_s = self._clock.monotonic_s()
        if len(topology.attributes) == self._size and now_s < self._until_s:
            return
        known = {key_of(e): e for e in list(topology.attributes) if kind_of(e) in _NAMED}
        for key, entity in known.items():
            if kind_of(entity) in _PASSING:
                self._gone.pop(key, None)  # the newest stand last
                self._gone[key] = name_in(topology, entity)
        while len(self._gone) > REMEMBERED_MAX:
            del self._gone[next(iter(self._gone))]
        self._entities = known
        self._size, self._until_s = len(topology.attributes), now_s + FRESH_S


def name_in(topology: TopologyView, entity: EntityId) -> str:
    """What the topology calls an entity: a GPU by node and slot, an engine by its pod."""
    known = topology.attributes.get(entity, {})
    for attribute in ("name", "pod"):
        if known.get(attribute):
            return known[attribute][:NAME_CHARS_MAX]
    nodes = topology.targets(entity, RelationKind.PART_OF)
    if nodes and known.get("index"):
        return f"{key_of(nodes[0])}/gpu:{known['index']}"[:NAME_CHARS_MAX]
    return short_uuid(key_of(entity))


def pool_of(topology: TopologyView, entity: EntityId) -> str:
    """The pool of an entity or of the node that it is part of; empty when none is known."""
    for place in (entity, *topology.targets(entity, RelationKind.PART_OF)):
        pools = topology.targets(place, RelationKind.MEMBER_OF)
        if pools:
            return key_of(pools[0])[:NAME_CHARS_MAX]
        if pool := topology.attributes.get(place, {}).get("pool", ""):
            return pool[:NAME_CHARS_MAX]
    return ""


def short_uuid(key: str) -> str:
    """The first block of a UUID with its prefix; other keys stay as they are."""
    if _UUID.fullmatch(key) is None:
        return key
    prefix, dash, rest = key.partition("-")
    return f"{prefix}-{rest.split('-')[0]}" if prefix in ("GPU", "MIG") and dash else prefix
