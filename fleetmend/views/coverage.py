"""What silence means: which states of the ledger count as missing, how findings name them, and how
far the silence of a domain reaches.

Detection says so in findings, admission refuses by them (`remediation.picture`), root cause is
deaf where they hold. The states themselves are in `fleetmend.model.coverage`.
"""

from fleetmend.model.coverage import MISSING, Freshness
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    kind_of,
    split_entity_id,
)
from fleetmend.views.topology import TopologyView

SYMPTOM_OF = {
    Freshness.FROZEN: "telemetry_frozen",
    Freshness.ABSENT: "telemetry_absent",
    Freshness.NEVER: "telemetry_absent",
}
"""What a finding shows of an entity that is missing as a whole. `fresh` and `late` show nothing:
what is late may still come, and refuses nothing."""

PART_MISSING = "telemetry_stale"
"""What a finding shows of an entity that is heard, when some of its signals are missing or come
only after their tick."""

SILENCE_SYMPTOMS = frozenset({*(SYMPTOM_OF[state] for state in MISSING), PART_MISSING})
"""Symptoms that admission refuses by unless the diagnosis explains them: each says that something
expected is missing."""

DOMAINS = frozenset({EntityKind.CLUSTER, EntityKind.COLLECTOR, EntityKind.POOL})
"""Kinds of entity whose silence is that of much else; of a node it is that of what is in it."""


def covered(domain: EntityId, topology: TopologyView) -> frozenset[EntityId]:
    """All that falls silent with `domain`: itself, what it watches or holds, and what is inside."""
    first: tuple[EntityId, ...] = (domain,)
    match kind_of(domain):
        case EntityKind.CLUSTER:
            cluster = split_entity_id(domain)[0]
            return frozenset({domain, *(e for e in topology.attributes if _in(e, cluster))})
        case EntityKind.COLLECTOR:
            first += topology.targets(domain, RelationKind.OBSERVES)
        case EntityKind.POOL:
            first += topology.sources(domain, RelationKind.MEMBER_OF)
    parts = {part for e in first for part in topology.sources(e, RelationKind.PART_OF)}
    slices = {part for e in parts for part in topology.sources(e, RelationKind.PART_OF)}
    hosts = {*first, *parts, *slices}
    users = {user for host in hosts for user in topology.sources(host, RelationKind.RUNS_ON)}
    return frozenset(hosts | users)


def _in(entity: EntityId, cluster: str) -> bool:
    return split_entity_id(entity)[0] == cluster
