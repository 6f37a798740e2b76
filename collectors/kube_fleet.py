"""The cluster as its API told it: what is new in an object becomes changes and events.

Fed by `collectors.kubernetes` with lists and watch events, in any mixture and as often as they
come: an object that says nothing new gives nothing, and event ids come from the objects' content.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from collectors.kube_objects import (
    Condition,
    Described,
    Exit,
    Object,
    claims_engine,
    describe_node,
    describe_pod,
    identity,
    manager_of,
    namespace_of,
    version,
)
from collectors.relations import Fact
from fleetmend.model.entities import EntityKind, TopologyChange, TopologyOp, kind_of
from fleetmend.model.events import Event, EventType, Witness, event_id
from fleetmend.settings.collectors import KubernetesSettings

logger = logging.getLogger(__name__)

SOURCE = "collector/kubernetes"
STRANGERS_MAX = 1000
"""Namespaces with engines that are none which are remembered, so that each is reported once."""

_SHARED = frozenset({EntityKind.POOL, EntityKind.RACK, EntityKind.ZONE, EntityKind.MODEL})
"""Entities that many objects name: they outlive each of them."""
_DESCRIBED_CHANGES = {"driver": "driver", "kernel": "kernel", "boot": "boot"}
"""Attributes of a node whose change is an event, and what the event calls it."""


class Resource(StrEnum):
    """The resources that are watched."""

    NODES = "nodes"
    PODS = "pods"


@dataclass(slots=True)
class News:
    """What is to be told."""

    changes: list[TopologyChange] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@dataclass(slots=True)
class _Known:
    described: Described
    conditions: dict[str, Condition]
    exits: set[str]


class KubeFleet:
    """What is known of the cluster's nodes and pods."""

    def __init__(self, settings: KubernetesSettings, *, cluster: str) -> None:
        self._settings = settings
        self._cluster = cluster
        self._known: dict[Resource, dict[str, _Known]] = {resource: {} for resource in Resource}
        self._stated: dict[tuple[str, str, str], Fact] = {}
        self._images: dict[str, str] = {}
        """Image by controller: another one is a rollout."""
        self.strangers: set[str] = set()
        """Namespaces in which pods bear the label of engines and are not believed."""

    def listed(self, resource: Resource, objects: Iterable[Object], at_s: float) -> News:
        """Take in a whole list: what is not in it is gone."""
        news = News()
        present = set()
        for obj in objects:
            present.add(identity(obj))
            self._take(resource, obj, at_s, news)
        for uid in [uid for uid in self._known[resource] if uid not in present]:
            self._forget(resource, uid, at_s, news)
        return news

    def changed(self, resource: Resource, obj: Object, at_s: float) -> News:
        """Take in an object that was added or modified."""
        news = News()
        self._take(resource, obj, at_s, news)
        return news

    def deleted(self, resource: Resource, obj: Object, at_s: float) -> News:
        """Take in that an object is gone."""
        news = News()
        self._forget(resource, identity(obj), at_s, news)
        return news

    def _take(self, resource: Resource, obj: Object, at_s: float, news: News) -> None:
        describe = describe_node if resource is Resource.NODES else describe_pod
        described = describe(obj, self._cluster, self._settings)
        if resource is Resource.PODS:
            self._report_stranger(obj)
        uid = identity(obj)
        if described is None:
            self._forget(resource, uid, at_s, news)
            return
        before = self._known[resource].get(uid)
        self._tell_facts(before, described, at_s, news)
        if before is None:
            before = _Known(described, {}, set())
            self._tell_rollout(obj, described, at_s, news)
        else:
            self._tell_changes(obj, before.described, described, at_s, news)
        self._tell_conditions(uid, before, described, at_s, news)
        self._tell_exits(before, described, at_s, news)
        before.described = described
        self._known[resource][uid] = before

    def _report_stranger(self, obj: Object) -> None:
        """A wrong setting must not look like a fleet without engines."""
        namespace = namespace_of(obj)
        if namespace in self._settings.engine_namespaces or namespace in self.strangers:
            return
        if claims_engine(obj, self._settings) and len(self.strangers) < STRANGERS_MAX:
            self.strangers.add(namespace)
            extra = {"namespace": namespace, "setting": "collectors.kubernetes.engine_namespaces"}
            logger.warning("engines in a namespace that is not believed", extra=extra)

    def _forget(self, resource: Resource, uid: str, at_s: float, news: News) -> None:
        known = self._known[resource].pop(uid, None)
        if known is None:
            return
        entity = known.described.entity
        others = (other.described.entity for other in self._known[resource].values())
        if entity in others:  # a new object has taken the name already
            return
        news.changes.append(TopologyChange(at_s, TopologyOp.ENTITY_GONE, entity))
        for key in [key for key, fact in self._stated.items() if fact.entity == entity]:
            del self._stated[key]

    def _tell_facts(
        self, before: _Known | None, described: Described, at_s: float, news: News
    ) -> None:
        if before is not None:
            for fact in before.described.facts - described.facts:
                if fact.relation is not None and self._stated.pop(fact.key, None) is not None:
                    news.changes.append(fact.end(at_s))
        ordered = sorted(described.facts, key=lambda f: (f.op is not TopologyOp.ENTITY, repr(f)))
        for fact in ordered:
            known = self._stated.get(fact.key)
            shared = fact.op is TopologyOp.ENTITY and kind_of(fact.entity) in _SHARED
            if known == fact or (shared and known is not None):
                continue
            self._stated[fact.key] = fact
            news.changes.append(fact.change(at_s))

    def _tell_conditions(
        self, uid: str, before: _Known, described: Described, at_s: float, news: News
    ) -> None:
        for condition in described.conditions:
            known = before.conditions.get(condition.kind)
            before.conditions[condition.kind] = condition
            if known is not None and (known.status, known.since) == (
                condition.status,
                condition.since,
            ):
                continue  # only a heartbeat
            data: dict[str, str | int | float | bool] = {
                "condition": condition.kind,
                "status": condition.status,
                "reason": condition.reason,
                "since": condition.since,
                "witness": Witness.CLUSTER_API.value,
            }
            parts = (uid, condition.kind, condition.status, condition.since)
            news.events.append(self._event(EventType.NODE_CONDITION, described, at_s, data, *parts))

    def _tell_exits(self, before: _Known, described: Described, at_s: float, news: News) -> None:
        for ended in described.exits:
            if ended.identity in before.exits:
                continue
            before.exits.add(ended.identity)
            data: dict[str, str | int | float | bool] = {
                "signature": "oom_kill" if ended.reason == "OOMKilled" else "container_exit",
                "container": ended.container,
                "reason": ended.reason,
                "exit_code": ended.exit_code,
                "line": _line(ended),
                "witness": Witness.CLUSTER_API.value,
            }
            news.events.append(
                self._event(EventType.LOG_SIGNATURE, described, at_s, data, ended.identity)
            )
        before.exits &= {ended.identity for ended in described.exits}

    def _tell_changes(
        self, obj: Object, before: Described, described: Described, at_s: float, news: News
    ) -> None:
        """Cordons and new drivers of a node that was known before."""
        was, now = before.attributes, described.attributes
        told = []
        if was.get("unschedulable") != now.get("unschedulable"):
            cordon = "cordon" if now.get("unschedulable") else "uncordon"
            told.append((cordon, described.node, manager_of(obj, "unschedulable")))
        for attribute, change in _DESCRIBED_CHANGES.items():
            if was.get(attribute) != now.get(attribute):
                told.append((change, now.get(attribute, ""), ""))
        for change, what, who in told:
            self._tell_change(obj, described, (change, what, who), at_s, news)

    def _tell_rollout(self, obj: Object, described: Described, at_s: float, news: News) -> None:
        """An engine pod with another image than its controller's pods had before."""
        image = described.attributes.get("image", "")
        if not described.owner:
            return
        known = self._images.get(described.owner)
        self._images[described.owner] = image
        if known is not None and known != image:
            self._tell_change(obj, described, ("rollout", image, described.owner), at_s, news)

    def _tell_change(
        self,
        obj: Object,
        described: Described,
        told: tuple[str, str, str],
        at_s: float,
        news: News,
    ) -> None:
        change, what, who = told
        data: dict[str, str | int | float | bool] = {
            "change": change,
            "what": what,
            "who": who,
            "witness": Witness.CLUSTER_API.value,
        }
        parts = (identity(obj), change, version(obj))
        news.events.append(self._event(EventType.CHANGE, described, at_s, data, *parts))

    def _event(
        self,
        kind: EventType,
        described: Described,
        at_s: float,
        data: dict[str, str | int | float | bool],
        *parts: str,
    ) -> Event:
        return Event(
            id=event_id(SOURCE, self._cluster, kind, *parts),
            source=SOURCE,
            type=kind,
            time_s=at_s,
            subject=described.entity,
            node=described.node,
            data=data,
        )


def _line(ended: Exit) -> str:
    return f"container {ended.container} ended: {ended.reason}, exit code {ended.exit_code}"
