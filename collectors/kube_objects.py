"""What a node or a pod object of the cluster's API says: facts, conditions, container exits.

Pure: from the API's JSON to plain data. `collectors.kube_fleet` compares it with what it knew.
Everything in an object is cut to a sane length: names are checked by the API, reasons are not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

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

_TEXT_MAX = 253
_PRODUCT = "nvidia.com/gpu.product"
_DRIVER = "nvidia.com/cuda.driver-version.full"
_GPU = "nvidia.com/gpu"

Object = Mapping[str, Any]
"""A Kubernetes object as the API's JSON; the API's schema is its type."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a node."""

    kind: str
    status: str
    reason: str
    since: str
    """Time of the last transition, as the API writes it."""


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
    attributes: Mapping[str, str]
    conditions: tuple[Condition, ...] = ()
    exits: tuple[Exit, ...] = ()
    owner: str = ""
    """Who makes pods like this one: the controller, so that a rollout is seen across pods."""


def describe_node(obj: Object, cluster: str, settings: KubernetesSettings) -> Described | None:
    """A node, its place and its pool; None for an object without a name."""
    name = _text(obj, "metadata", "name")
    if not name:
        return None
    labels = _map(obj, "metadata", "labels")
    node = entity_id(cluster, EntityKind.NODE, name)
    pool = labels.get(settings.pool_label) or "default"
    place = {
        "pool": pool,
        "zone": labels.get(settings.zone_label, ""),
        "rack": labels.get(settings.rack_label, ""),
        "product": labels.get(_PRODUCT, ""),
        "driver": labels.get(_DRIVER, ""),
        "kernel": _text(obj, "status", "nodeInfo", "kernelVersion"),
        "boot": _text(obj, "status", "nodeInfo", "bootID"),
        "unschedulable": "true" if _at(obj, "spec", "unschedulable") else "",
    }
    attributes = {key: value[:_TEXT_MAX] for key, value in place.items() if value}
    facts = {_stated(node, attributes), *_member(node, cluster, pool)}
    zone = entity_id(cluster, EntityKind.ZONE, place["zone"]) if place["zone"] else None
    rack = entity_id(cluster, EntityKind.RACK, place["rack"]) if place["rack"] else None
    chain = [node, *(part for part in (rack, zone) if part is not None)]
    for part, whole in pairwise(chain):
        facts |= {_stated(whole), _related(part, RelationKind.PART_OF, whole)}
    conditions = tuple(
        Condition(
            _text(one, "type"),
            _text(one, "status"),
            _text(one, "reason"),
            _text(one, "lastTransitionTime"),
        )
        for one in _list(obj, "status", "conditions")
    )
    return Described(node, name, frozenset(facts), attributes, conditions)


def describe_pod(obj: Object, cluster: str, settings: KubernetesSettings) -> Described | None:
    """An engine, or another pod that asks for GPUs; None for pods that are neither."""
    labels = _map(obj, "metadata", "labels")
    namespace, name = namespace_of(obj), _text(obj, "metadata", "name")
    node = _text(obj, "spec", "nodeName")
    if not name or not identity(obj):
        return None
    is_engine = claims_engine(obj, settings) and namespace in settings.engine_namespaces
    facts: set[Fact] = set()
    if is_engine:
        entity = entity_id(cluster, EntityKind.ENGINE, _text(obj, "metadata", "uid"))
        pool = labels.get(settings.pool_label) or "default"
        model = labels.get(settings.model_label, "")
        images = [_text(one, "image") for one in _list(obj, "spec", "containers")]
        attributes = {
            "namespace": namespace,
            "pod": name,
            "pool": pool,
            "image": " ".join(images)[:_TEXT_MAX],
        }
        facts |= {_stated(entity, attributes), *_member(entity, cluster, pool)}
        facts.add(Fact(TopologyOp.ALIAS, entity, pod_alias(namespace, name)))
        if model:
            served = entity_id(cluster, EntityKind.MODEL, model)
            facts |= {_stated(served), _related(entity, RelationKind.SERVES, served)}
    elif _asks_for_gpus(obj):
        entity = entity_id(cluster, EntityKind.POD, f"{namespace}/{name}")
        attributes = {"namespace": namespace, "pod": name}
        facts.add(_stated(entity, attributes))
    else:
        return None
    if node:
        place = entity_id(cluster, EntityKind.NODE, node)
        facts.add(_related(entity, RelationKind.RUNS_ON, place))
    exits = tuple(_exits(obj)) if is_engine else ()
    owner = f"{namespace}/{_owner(obj)}" if is_engine else ""
    return Described(entity, node, frozenset(facts), attributes, exits=exits, owner=owner)


def claims_engine(obj: Object, settings: KubernetesSettings) -> bool:
    """Whether a pod bears the label of engines, wherever it is."""
    labels = _map(obj, "metadata", "labels")
    key, _, wanted = settings.engine_label.partition("=")
    return labels.get(key) == wanted if wanted else key in labels


def namespace_of(obj: Object) -> str:
    """The object's namespace; empty for a node."""
    return _text(obj, "metadata", "namespace")


def identity(obj: Object) -> str:
    """What makes an object itself, also when another one gets its name."""
    return _text(obj, "metadata", "uid") or _text(obj, "metadata", "name")


def version(obj: Object) -> str:
    """The object's resource version."""
    return _text(obj, "metadata", "resourceVersion")


def manager_of(obj: Object, field: str) -> str:
    """Who last wrote a field of the spec, as far as the API's managed fields tell."""
    for entry in reversed(_list(obj, "metadata", "managedFields")):
        if f"f:{field}" in (_at(entry, "fieldsV1", "f:spec") or {}):
            return _text(entry, "manager")
    return ""


def _exits(obj: Object) -> Iterator[Exit]:
    for status in _list(obj, "status", "containerStatuses"):
        for state in ("lastState", "state"):
            ended = _at(status, state, "terminated")
            if ended:
                code = ended.get("exitCode")
                yield Exit(
                    _text(status, "name"),
                    _text(ended, "containerID") or _text(ended, "finishedAt"),
                    _text(ended, "reason"),
                    code if isinstance(code, int) else -1,
                )


def _owner(obj: Object) -> str:
    """The controller of a pod; for a ReplicaSet its Deployment, whose name is the stem."""
    for reference in _list(obj, "metadata", "ownerReferences"):
        if reference.get("controller"):
            name, kind = _text(reference, "name"), _text(reference, "kind")
            return name.rpartition("-")[0] if kind == "ReplicaSet" else name
    return _text(obj, "metadata", "name")


def _asks_for_gpus(obj: Object) -> bool:
    containers = _list(obj, "spec", "containers")
    return any(_GPU in (_at(one, "resources", "limits") or {}) for one in containers)


def _member(entity: EntityId, cluster: str, pool: str) -> set[Fact]:
    whole = entity_id(cluster, EntityKind.POOL, pool)
    return {_stated(whole), _related(entity, RelationKind.MEMBER_OF, whole)}


def _stated(entity: EntityId, attributes: Mapping[str, str] | None = None) -> Fact:
    return Fact(TopologyOp.ENTITY, entity, attributes=tuple(sorted((attributes or {}).items())))


def _related(entity: EntityId, relation: RelationKind, target: EntityId) -> Fact:
    return Fact(TopologyOp.RELATION, entity, target, relation)


def _at(obj: Any, *path: str) -> Any:
    for key in path:
        obj = obj.get(key) if isinstance(obj, Mapping) else None
    return obj


def _text(obj: Any, *path: str) -> str:
    value = _at(obj, *path)
    return str(value)[:_TEXT_MAX] if value is not None else ""


def _map(obj: Any, *path: str) -> Mapping[str, str]:
    value = _at(obj, *path)
    return value if isinstance(value, Mapping) else {}


def _list(obj: Any, *path: str) -> list[Any]:
    value = _at(obj, *path)
    return value if isinstance(value, list) else []
