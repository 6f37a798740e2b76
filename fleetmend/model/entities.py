"""Entities and relations: what the fleet consists of, in event time.

An entity id is global and stable, `cluster/kind/key`: a GPU by its UUID, an engine by its pod UID.
Names that change (`gpu:0` of a node, a pod's name) are aliases with a time span. Serial number,
slot
and node are attributes and relations, so that history follows the card, not the place.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

from fleetmend.errors import BadInput

EntityId = NewType("EntityId", str)


class EntityKind(StrEnum):
    """What an entity can be."""

    CLUSTER = "cluster"
    ZONE = "zone"
    RACK = "rack"
    SWITCH = "switch"
    NODE = "node"
    GPU = "gpu"
    MIG = "mig"
    LINK = "link"
    NIC = "nic"
    POOL = "pool"
    MODEL = "model"
    ENGINE = "engine"
    POD = "pod"
    ROUTER = "router"
    TENANT = "tenant"
    COLLECTOR = "collector"


class RelationKind(StrEnum):
    """How a fault or a symptom can travel from `target` to `source` (and what `source` depends
    on)."""

    PART_OF = "part_of"
    """gpu -> node, mig -> gpu, node -> rack, rack -> zone."""
    RUNS_ON = "runs_on"
    """engine -> gpu (one relation per GPU), pod -> node."""
    MEMBER_OF = "member_of"
    """node -> pool, engine -> pool."""
    SERVES = "serves"
    """engine -> model."""
    LINKED_TO = "linked_to"
    """gpu -> gpu over NVLink; both directions are stored."""
    ROUTES_TO = "routes_to"
    """router -> engine."""
    OBSERVES = "observes"
    """collector -> the entity it reports on."""


_KINDS = frozenset(kind.value for kind in EntityKind)
_SHOWN_CHARS = 128
"""Characters of what is no id that an error repeats."""


def entity_id(cluster: str, kind: EntityKind, key: str) -> EntityId:
    """The id of an entity; `key` may itself hold slashes (`node-3/gpu-1`). What cannot be printed
    is escaped: names come from labels, and an id is shown on terminals."""
    return EntityId(printable(f"{cluster}/{kind.value}/{key}"))


def printable(text: str) -> str:
    """The text with all that is no plain character escaped (control characters, line ends, marks
    that turn the direction of writing): what telemetry names must not steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def split_entity_id(entity: EntityId) -> tuple[str, EntityKind, str]:
    """Cluster, kind and key of an id. Raises BadInput when it is no entity id."""
    if not is_entity_id(entity):
        raise BadInput(
            f"{entity[:_SHOWN_CHARS]!r} is no entity id", fix="Expected cluster/kind/key."
        )
    cluster, kind, key = entity.split("/", 2)
    return cluster, EntityKind(kind), key


def is_entity_id(text: str) -> bool:
    """Whether a text has the form of an entity id and can be printed. Every codec of the log asks,
    so that an id that is none is a dead letter where it is read, and nobody's error later."""
    parts = text.split("/", 2)
    return len(parts) == 3 and all(parts) and parts[1] in _KINDS and text.isprintable()


def kind_of(entity: EntityId) -> EntityKind:
    """The kind in an entity id."""
    return split_entity_id(entity)[1]


def key_of(entity: EntityId) -> str:
    """The key in an entity id: what a person calls the thing."""
    return split_entity_id(entity)[2]


class TopologyOp(StrEnum):
    """What a topology change says."""

    ENTITY = "entity"
    """The entity exists with these attributes (an upsert: attributes replace the old ones)."""
    ENTITY_GONE = "entity_gone"
    RELATION = "relation"
    RELATION_GONE = "relation_gone"
    ALIAS = "alias"
    """`target` is another name of `entity` from now on; the same alias given to another entity
    moves it."""


@dataclass(frozen=True, slots=True)
class TopologyChange:
    """One record of the topology log. Applying the same change twice changes nothing."""

    at_s: float
    op: TopologyOp
    entity: EntityId
    target: str = ""
    """The other end of a relation (an entity id), or the alias."""
    relation: RelationKind | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    """For ENTITY: model, pool, rack, serial, pci, slot, replicas ... as words the catalogue
    knows."""
