"""Names that people know in place of UUIDs: `GPU-92934e2e-47eb-...` -> `node-003/gpu:5`.

Entities are known by GPU UUID and pod UID everywhere; a reader looks for a node, a slot, a pod.
Every text that a page shows passes here (the `line` filter), so builders know no topology.
What the topology does not know keeps the first block of its UUID. The API keeps whole ids.
"""

import re

from console.deps import FleetProvider
from console.words import NAME_CHARS_MAX, shorten
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, key_of, kind_of
from fleetmend.views.topology import TopologyView

FRESH_S = 10.0
"""How long the book is used before it is written anew, when nothing seems to have changed."""

_UUID = re.compile(
    r"(?:GPU-|MIG-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE
)
_NAMED = frozenset({EntityKind.GPU, EntityKind.MIG, EntityKind.ENGINE, EntityKind.POD})


class NameBook:
    """Knows the current names; without a fleet it only shortens."""

    def __init__(self, fleet: FleetProvider | None, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self._entities: dict[str, EntityId] = {}
        self._size = 0
        self._until_s = 0.0

    def in_text(self, text: str) -> str:
        """`text` with a name for every UUID in it."""
        if _UUID.search(text) is None:
            return text
        topology = self._fleet.topology() if self._fleet is not None else TopologyView()
        self._refresh(topology)
        return _UUID.sub(lambda found: self._name(found[0], topology), text)

    def _name(self, token: str, topology: TopologyView) -> str:
        entity = self._entities.get(token)
        return short_uuid(token) if entity is None else name_in(topology, entity)

    def _refresh(self, topology: TopologyView) -> None:
        now_s = self._clock.monotonic_s()
        if len(topology.attributes) == self._size and now_s < self._until_s:
            return
        self._entities = {key_of(e): e for e in list(topology.attributes) if kind_of(e) in _NAMED}
        self._size, self._until_s = len(topology.attributes), now_s + FRESH_S


def name_in(topology: TopologyView, entity: EntityId) -> str:
    """What the topology calls an entity: a GPU by node and slot, an engine by its pod."""
    known = topology.attributes.get(entity, {})
    for attribute in ("name", "pod"):
        if known.get(attribute):
            return shorten(known[attribute], NAME_CHARS_MAX)
    nodes = topology.targets(entity, RelationKind.PART_OF)
    if nodes and known.get("index"):
        return shorten(f"{key_of(nodes[0])}/gpu:{known['index']}", NAME_CHARS_MAX)
    return short_uuid(key_of(entity))


def short_uuid(key: str) -> str:
    """The first block of a UUID with its prefix; other keys stay as they are."""
    if _UUID.fullmatch(key) is None:
        return key
    prefix, dash, rest = key.partition("-")
    return f"{prefix}-{rest.split('-')[0]}" if prefix in ("GPU", "MIG") and dash else prefix
