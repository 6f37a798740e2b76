"""The `Cluster` port on a real Kubernetes API. Wired by the composition root.

A quarantine is one JSON patch that first tests the resourceVersion: flag, taint and annotations
come together or not at all, and never over somebody else's change. The annotations name our
session, so that after a crash the node itself says whether the write has happened.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from fleetmend.errors import PortError, PortRefused
from fleetmend.ports.cluster import EvictionOutcome, NodeState, PodState, Taint
from remediation.kubernetes_rest import JSON_PATCH, Object, Rest, checked

SESSION = "fleetmend.io/session"
INCIDENT = "fleetmend.io/incident"
WAS_UNSCHEDULABLE = "fleetmend.io/was-unschedulable"
QUARANTINE = "fleetmend.io/quarantine"
MARKS = (SESSION, INCIDENT, WAS_UNSCHEDULABLE)

FINISHED = frozenset({"Succeeded", "Failed"})
"""Phases of pods that do no work any more: nothing to move."""

MIRROR = "kubernetes.io/config.mirror"
NODES_REMEMBERED = 50_000
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a patch must know of an object besides its state: JSON patch names places exactly."""

    resource_version: str
    annotations: frozenset[str] | None
    """Keys; None when the object has no annotations at all."""
    taints: tuple[Object, ...]


class KubernetesCluster:
    """Implements `fleetmend.ports.cluster.Cluster`."""

    def __init__(self, rest: Rest, *, foreign_owners: Iterable[str]) -> None:
        """`foreign_owners`: prefixes of keys by which other tools own a node."""
        self._rest = rest
        self._foreign = tuple(foreign_owners)
        self._shapes: dict[str, _Shape] = {}

    def node(self, name: str) -> NodeState | None:
        """The node's state now; None also for what no node can be called."""
        if not _NAME.fullmatch(name):
            return None
        found = self._rest.get(f"/api/v1/nodes/{name}")
        return None if found is None else self._state(found)

    def held_nodes(self) -> tuple[NodeState, ...]:
        """All nodes that carry a session of ours."""
        states = [self._state(node) for node in self._rest.list("/api/v1/nodes")]
        return tuple(state for state in states if state.session)

    def quarantine(self, node: NodeState, *, session: str, reason: str) -> NodeState:
        """Flag, taint and annotations in one write. Raises PortRefused when the node has changed
        since it was read."""
        shape = self._shape(node)
        marks = {
            SESSION: session,
            INCIDENT: reason,
            WAS_UNSCHEDULABLE: "true" if node.unschedulable else "false",
        }
        taint = {"key": QUARANTINE, "value": _label(reason), "effect": "NoSchedule"}
        kept = [t for t in shape.taints if t.get("key") != QUARANTINE]
        patch = [
            _test(node),
            _add("/spec/unschedulable", True),
            _add("/spec/taints", [*kept, taint]),
        ]
        if shape.annotations is None:
            patch.append(_add("/metadata/annotations", marks))
        else:
            patch += [_add(_annotation(key), value) for key, value in marks.items()]
        return self._patch(node, patch)

    def release(self, node: NodeState, *, session: str) -> NodeState:
        """Our taint and annotations away, in one write; schedulable again unless it was not so
        before us. A node that a person has made schedulable meanwhile stays that way."""
        if node.session != session:
            raise PortRefused(f"is held by {node.session or 'nobody'}", where=node.name)
        shape = self._shape(node)
        kept = [t for t in shape.taints if t.get("key") != QUARANTINE]
        patch = [_test(node)]
        if len(kept) != len(shape.taints):
            patch.append(_add("/spec/taints", kept) if kept else _remove("/spec/taints"))
        present = shape.annotations or frozenset()
        patch += [_remove(_annotation(key)) for key in MARKS if key in present]
        if node.unschedulable and not node.was_unschedulable:
            patch.append(_remove("/spec/unschedulable"))
        return self._patch(node, patch)

    def pods_on(self, node: str) -> tuple[PodState, ...]:
        """Pods bound to a node, without those that have finished."""
        pods = self._rest.list("/api/v1/pods", fieldSelector=f"spec.nodeName={_name(node)}")
        with _understood("pod"):
            return tuple(
                _pod(pod) for pod in pods if (pod.get("status") or {}).get("phase") not in FINISHED
            )

    def evict(self, pod: PodState, *, session: str) -> EvictionOutcome:
        """Ask for the eviction of exactly this pod: another one of the same name is not meant."""
        place = f"/api/v1/namespaces/{_name(pod.namespace)}/pods/{_name(pod.name)}/eviction"
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        answer = self._rest.call("POST", place, body=body)
        if answer.status in (404, 409):
            return EvictionOutcome.GONE
        if answer.status == 429 and "DisruptionBudget" in answer.causes:
            return EvictionOutcome.BLOCKED
        checked(answer, place)
        return EvictionOutcome.ACCEPTED

    def _patch(self, node: NodeState, patch: list[Object]) -> NodeState:
        path = f"/api/v1/nodes/{_name(node.name)}"
        return self._state(self._rest.patch(path, patch, content_type=JSON_PATCH))

    def _state(self, node: Object) -> NodeState:
        """The state. Raises PortError for an answer that is no node: a proxy's, say."""
        with _understood("node"):
            return self._read(node)

    def _read(self, node: Object) -> NodeState:
        """The state, and what a later patch must know remembered."""
        metadata, spec = node.get("metadata") or {}, node.get("spec") or {}
        annotations: Mapping[str, str] | None = metadata.get("annotations")
        labels: Mapping[str, str] = metadata.get("labels") or {}
        taints = tuple(spec.get("taints") or ())
        name, version = str(metadata["name"]), str(metadata["resourceVersion"])
        if len(self._shapes) >= NODES_REMEMBERED:
            self._shapes.clear()
        keys = None if annotations is None else frozenset(annotations)
        self._shapes[name] = _Shape(version, keys, taints)
        marks = annotations or {}
        session = marks.get(SESSION, "")
        conditions = (node.get("status") or {}).get("conditions") or ()
        return NodeState(
            name=name,
            resource_version=version,
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
            unschedulable=bool(spec.get("unschedulable")),
            taints=tuple(Taint(t["key"], t.get("value", ""), t["effect"]) for t in taints),
            owner=session or self._foreign_owner({**labels, **marks}, taints),
            session=session,
            was_unschedulable=marks.get(WAS_UNSCHEDULABLE) == "true",
        )

    def _foreign_owner(self, words: Mapping[str, str], taints: Iterable[Object]) -> str:
        """The key by which another tool owns the node; a label that says `false` disowns it."""
        keys = [key for key, value in words.items() if value != "false"]
        keys += [str(taint["key"]) for taint in taints]
        return next((key for key in sorted(keys) if key.startswith(self._foreign)), "")

    def _shape(self, node: NodeState) -> _Shape:
        """The shape of the very version that the caller read."""
        known = self._shapes.get(node.name)
        if known is None or known.resource_version != node.resource_version:
            self.node(node.name)
            known = self._shapes.get(node.name)
        if known is None or known.resource_version != node.resource_version:
            raise PortRefused("changed since it was read", where=node.name, fix="Read it again.")
        return known


@contextmanager
def _understood(kind: str) -> Iterator[None]:
    """Raises PortError for an object that lacks what its kind always has."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        what = f"the answer is no {kind} ({type(error).__name__})"
        raise PortError(what, where="cluster") from error


def _pod(pod: Object) -> PodState:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    owners = metadata.get("ownerReferences") or ()
    of_daemon_set = any(o.get("kind") == "DaemonSet" and o.get("controller") for o in owners)
    conditions = status.get("conditions") or ()
    return PodState(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        node=spec.get("nodeName", ""),
        terminating="deletionTimestamp" in metadata,
        daemon=of_daemon_set or MIRROR in (metadata.get("annotations") or {}),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
    )


def _name(name: str) -> str:
    """A name as a part of a path. Raises PortRefused for what no object can be called: entity ids
    come from telemetry, and a path must not be made of them unseen."""
    if not _NAME.fullmatch(name):
        raise PortRefused(f"{name[:80]!r} is no name of an object")
    return name


def _label(text: str) -> str:
    """Text as a taint's value: at most 63 of the allowed characters, letters or digits outside."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:63].strip("._-")


def _test(node: NodeState) -> Object:
    return {"op": "test", "path": "/metadata/resourceVersion", "value": node.resource_version}


def _add(path: str, value: object) -> Object:
    return {"op": "add", "path": path, "value": value}


def _remove(path: str) -> Object:
    return {"op": "remove", "path": path}


def _annotation(key: str) -> str:
    return "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")
