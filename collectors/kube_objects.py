"""What a node or a pod object of the cluster's API says: facts, conditions, container exits.

Pure: from the API's JSON to plain data. `collectors.kube_fleet` compares it with what it knew.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from collectors.kube_json import (
    Object,
    at,
    identity,
    items,
    labels_of,
    mapping,
    name_of,
    namespace_of,
    text,
)
from collectors.kube_node import attributes_of
from collectors.kube_roles import Role, role_of
from collectors.naming import pod_alias
from collectors.relations import Fact
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyOp,
    entity_id,
)
from fleetmend.settings.collectors import KubernetesSettings

SESSION = "fleetmend.io/session"
"""The annotation by which our own executor marks a node that it holds."""
_MESSAGE_MAX = 300
_CONDITIONS_MAX = 64
_GPU = "nvidia.com/"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a node."""

    kind: str
    status: str
    reason: str
    since: str
    """Time of the last transition, as the API writes it."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of a container of an engine."""

    container: str
    identity: str
    """The runtime's id of the container that ended."""
    reason: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class Described:
    """What is known of one object."""

    entity: EntityId
    node: str
    """Partition key of its events."""
    facts: frozenset[Fact]
    conditions: tuple[Condition, ...] = ()
    exits: tuple[Exit, ...] = ()
    owner: str = ""
    """Who makes pods like this one, `Deployment llm/llama`."""
    session: str = ""
    """Our session that holds the node."""
    name: str = ""
    """`namespace/name` of a pod."""

    @property
    def attributes(self) -> dict[str, str]:
        """What is stated of the entity itself."""
        for fact in self.facts:
            if fact.op is TopologyOp.ENTITY and fact.entity == self.entity:
                return dict(fact.attributes)
        return {}


@dataclass(frozen=True, slots=True)
class Part:
    """The pod by which an operator keeps a part of the driver's stack on one node."""

    node: str
    role: Role
    owner: str
    image: str


def describe_node(obj: Object, cluster: str, settings: KubernetesSettings) -> Described | None:
    """A node, its place and its pool; None for an object without a name."""
    name = name_of(obj)
    if not name:
        return None
    node = entity_id(cluster, EntityKind.NODE, name)
    attributes = attributes_of(obj, settings)
    facts = {_stated(node, attributes), *_member(node, cluster, attributes["pool"])}
    chain = [node]
    for kind in (EntityKind.RACK, EntityKind.ZONE):
        if key := attributes.get(kind.value):
            chain.append(entity_id(cluster, kind, key))
    for part, whole in pairwise(chain):
        facts |= {_stated(whole), _related(part, RelationKind.PART_OF, whole)}
    return Described(
        node,
        name,
        frozenset(facts),
        conditions=tuple(_conditions(obj)),
        session=text(obj, "metadata", "annotations", SESSION),
    )


def describe_pod(
    obj: Object, cluster: str, settings: KubernetesSettings
) -> Described | Part | None:
    """An engine, another pod that asks for GPUs, or a part of the driver's stack; None for pods
    that are none of these."""
    namespace, name = namespace_of(obj), name_of(obj)
    if not name or not identity(obj):
        return None
    node = text(obj, "spec", "nodeName")
    whole_name = f"{namespace}/{name}"
    is_engine = claims_engine(obj, settings) and namespace in settings.engine_namespaces
    if is_engine:
        entity = entity_id(cluster, EntityKind.ENGINE, text(obj, "metadata", "uid"))
        facts = _engine_facts(obj, entity, cluster, settings)
    elif _asks_for_gpus(obj):
        entity = entity_id(cluster, EntityKind.POD, whole_name)
        facts = {_stated(entity, {"namespace": namespace, "pod": name})}
    else:
        return _part(obj, namespace, node, settings)
    if node:
        place = entity_id(cluster, EntityKind.NODE, node)
        facts.add(_related(entity, RelationKind.RUNS_ON, place))
    return Described(
        entity,
        node,
        frozenset(facts),
        exits=tuple(_exits(obj)) if is_engine else (),
        owner=owner_of(obj) if is_engine else "",
        name=whole_name,
    )


def claims_engine(obj: Object, settings: KubernetesSettings) -> bool:
    """Whether a pod, or a template of pods, bears the label of engines, wherever it is."""
    labels = labels_of(obj)
    key, _, wanted = settings.engine_label.partition("=")
    return labels.get(key) == wanted if wanted else key in labels


def stranger(obj: Object, settings: KubernetesSettings) -> str:
    """The namespace of a pod that bears the label of engines where it is not believed."""
    namespace = namespace_of(obj)
    if namespace in settings.engine_namespaces or not claims_engine(obj, settings):
        return ""
    return namespace


def owner_of(obj: Object) -> str:
    """The controller of a pod as `Kind namespace/name`: for the ReplicaSet of a Deployment the
    Deployment, whose name is the stem; for a pod of its own, itself."""
    kind, name = "Pod", name_of(obj)
    for reference in items(obj, "metadata", "ownerReferences"):
        if at(reference, "controller"):
            kind, name = text(reference, "kind"), text(reference, "name")
            generation = str(labels_of(obj).get("pod-template-hash", ""))
            if kind == "ReplicaSet" and generation and name.endswith(f"-{generation}"):
                kind, name = "Deployment", name.removesuffix(f"-{generation}")
    return f"{kind} {namespace_of(obj)}/{name}"


def images_of(containers: list[Any]) -> str:
    """The images of containers, one after another."""
    return " ".join(text(one, "image") for one in containers)[:_MESSAGE_MAX]


def _engine_facts(
    obj: Object, entity: EntityId, cluster: str, settings: KubernetesSettings
) -> set[Fact]:
    labels, namespace, name = labels_of(obj), namespace_of(obj), name_of(obj)
    pool = str(labels.get(settings.pool_label) or "default")
    attributes = {
        "namespace": namespace,
        "pod": name,
        "pool": pool,
        "image": images_of(items(obj, "spec", "containers")),
    }
    if text(obj, "metadata", "deletionTimestamp"):
        attributes["terminating"] = "true"
    facts = {_stated(entity, attributes), *_member(entity, cluster, pool)}
    facts.add(Fact(TopologyOp.ALIAS, entity, pod_alias(namespace, name)))
    model = str(labels.get(settings.model_label, ""))
    if model:
        served = entity_id(cluster, EntityKind.MODEL, model)
        facts |= {_stated(served), _related(entity, RelationKind.SERVES, served)}
    return facts


def _part(obj: Object, namespace: str, node: str, settings: KubernetesSettings) -> Part | None:
    """Operators make one pod of a DaemonSet for each node."""
    if namespace not in settings.operator_namespaces or not node:
        return None
    owner = owner_of(obj)
    kind, _, whole_name = owner.partition(" ")
    role = role_of(whole_name.partition("/")[2], labels_of(obj))
    if kind != "DaemonSet" or role is Role.OTHER:
        return None
    return Part(node, role, owner, images_of(items(obj, "spec", "containers")))


def _conditions(obj: Object) -> Iterator[Condition]:
    """Kinds, states and reasons are few words for thousands of nodes: each is kept once."""
    for one in items(obj, "status", "conditions")[:_CONDITIONS_MAX]:
        yield Condition(
            sys.intern(text(one, "type")),
            sys.intern(text(one, "status")),
            sys.intern(text(one, "reason")),
            text(one, "lastTransitionTime"),
            text(one, "message", most=_MESSAGE_MAX),
        )


def _exits(obj: Object) -> Iterator[Exit]:
    for status in items(obj, "status", "containerStatuses"):
        for state in ("lastState", "state"):
            ended = mapping(status, state, "terminated")
            if ended:
                code = ended.get("exitCode")
                yield Exit(
                    text(status, "name"),
                    text(ended, "containerID") or text(ended, "finishedAt"),
                    text(ended, "reason"),
                    code if isinstance(code, int) else -1,
                )


def _asks_for_gpus(obj: Object) -> bool:
    """Whole GPUs or MIG instances."""
    return any(
        str(resource).startswith((f"{_GPU}gpu", f"{_GPU}mig-"))
        for container in items(obj, "spec", "containers")
        for resource in mapping(container, "resources", "limits")
    )


def _member(entity: EntityId, cluster: str, pool: str) -> set[Fact]:
    whole = entity_id(cluster, EntityKind.POOL, pool)
    return {_stated(whole), _related(entity, RelationKind.MEMBER_OF, whole)}


def _stated(entity: EntityId, attributes: Mapping[str, str] | None = None) -> Fact:
    return Fact(TopologyOp.ENTITY, entity, attributes=tuple(sorted((attributes or {}).items())))


def _related(entity: EntityId, relation: RelationKind, target: EntityId) -> Fact:
    return Fact(TopologyOp.RELATION, entity, target, relation)
