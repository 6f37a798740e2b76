"""Nodes and pods as the cluster's API told them: what is new in one becomes changes and events.

Used by `kube_fold`. Fed in any mixture and as often as it comes: an object that says nothing new
gives nothing. Only what is needed to see the next change is kept of an object.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from collectors.kube_feeds import Resource
from collectors.kube_json import Writers
from collectors.kube_node import node_changes
from collectors.kube_objects import Condition, Described, Exit, Part
from collectors.kube_sight import Sighting
from collectors.kube_tell import Changed, Data, News, Subject, made
from collectors.relations import Fact
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import EventType, Witness

logger = logging.getLogger(__name__)

STRANGERS_MAX = 1000
"""Namespaces with engines that are none which are remembered, so that each is reported once."""
GONE = "Removed"
"""Status of a condition that its author has taken off the node."""
_IMAGES_MAX = 10_000


@dataclass(slots=True)
class _Known:
    described: Described
    conditions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Status and time of the last transition by kind."""
    exits: frozenset[str] = frozenset()


class KubeFleet:
    """What is known of the cluster's nodes and pods."""

    def __init__(self, *, cluster: str, followed: Callable[[str], bool]) -> None:
        """`followed`: whether the changes of a workload (`Deployment llm/llama`) are told as its
        own. Of the pods of all other controllers the images are compared."""
        self._cluster = cluster
        self._followed = followed
        self._known: dict[Resource, dict[str, _Known]] = {Resource.NODES: {}, Resource.PODS: {}}
        self._holders: dict[EntityId, str] = {}
        """Who bears a name: a node that is made anew under it goes on as the same entity."""
        self._shared: Counter[Fact] = Counter()
        """How many objects state a fact about something else: pools, racks, zones, models."""
        self._on: defaultdict[str, set[str]] = defaultdict(set)
        """Uids of pods by node."""
        self._cut: set[str] = set()
        """Nodes that went and left pods behind, which topology does not hang on them any more."""
        self._images: dict[str, str] = {}
        """Image by controller that is not followed: another one is a rollout."""
        self._parts: defaultdict[str, dict[str, str]] = defaultdict(dict)
        """By node the image of each part of the driver's stack, by its DaemonSet."""
        self.strangers: set[str] = set()
        """Namespaces in which pods bear the label of engines and are not believed."""

    def uids(self, resource: Resource) -> set[str]:
        """Those that are known now."""
        return set(self._known[resource])

    def place(self, uid: str) -> Subject | None:
        """The pod with this uid, if it is one that is followed."""
        known = self._known[Resource.PODS].get(uid)
        return None if known is None else Subject(known.described.entity, known.described.node)

    def take(self, resource: Resource, sighting: Sighting, at_s: float, news: News) -> None:
        """Take in an object that is there."""
        self._report_stranger(sighting.stranger)
        said = sighting.said
        if isinstance(said, Part):
            self._take_part(sighting, said, at_s, news)
        if not isinstance(said, Described):
            self.forget(resource, sighting.uid, at_s, news)
            return
        known = self._known[resource].get(sighting.uid)
        if known is not None and known.described.entity != said.entity:
            # A pod that was labelled as an engine later is another entity from then on.
            self.forget(resource, sighting.uid, at_s, news)
            known = None
        before = known.described if known is not None else self._predecessor(resource, said)
        self._tell_facts(before, said, at_s, news)
        if known is None:
            self._tell_rollout(sighting, said, at_s, news)
            known = _Known(said)
        else:
            changes = self._node_changes(known.described, said, sighting.writers)
            self._tell(sighting, said, changes, at_s, news)
        self._tell_conditions(sighting.uid, known, said, at_s, news)
        self._tell_exits(known, said, at_s, news)
        self._keep(resource, sighting.uid, known, said)
        if resource is Resource.NODES and said.node in self._cut:
            self._hang_again(said, at_s, news)

    def forget(self, resource: Resource, uid: str, at_s: float, news: News) -> None:
        """Take in that an object is gone."""
        known = self._known[resource].pop(uid, None)
        if known is None:
            return
        described = known.described
        self._release(described.facts, described.entity, at_s, news)
        if resource is Resource.PODS:
            self._leave(described.node, uid)
        del self._holders[described.entity]
        news.changes.append(TopologyChange(at_s, TopologyOp.ENTITY_GONE, described.entity))
        if resource is Resource.NODES:
            self._parts.pop(described.node, None)
            if described.node in self._on:
                self._cut.add(described.node)

    def _report_stranger(self, namespace: str) -> None:
        """A wrong setting must not look like a fleet without engines."""
        if namespace and namespace not in self.strangers and len(self.strangers) < STRANGERS_MAX:
            self.strangers.add(namespace)
            extra = {"namespace": namespace, "setting": "collectors.kubernetes.engine_namespaces"}
            logger.warning("engines in a namespace that is not believed", extra=extra)

    def _predecessor(self, resource: Resource, said: Described) -> Described | None:
        """The object that bore the name until now: its end, which comes later or never, then says
        nothing."""
        holder = self._holders.get(said.entity)
        known = None if holder is None else self._known[resource].pop(holder, None)
        if known is None:
            return None
        if resource is Resource.PODS and holder is not None:
            self._leave(known.described.node, holder)
        return known.described

    def _keep(self, resource: Resource, uid: str, known: _Known, said: Described) -> None:
        if resource is Resource.PODS and known.described.node != said.node:
            self._leave(known.described.node, uid)
        if resource is Resource.PODS and said.node:
            self._on[said.node].add(uid)
        known.described = replace(said, conditions=(), exits=())
        self._known[resource][uid] = known
        self._holders[said.entity] = uid

    def _leave(self, node: str, uid: str) -> None:
        pods = self._on.get(node)
        if pods is not None:
            pods.discard(uid)
            if not pods:
                del self._on[node]
                self._cut.discard(node)

    def _hang_again(self, node: Described, at_s: float, news: News) -> None:
        self._cut.discard(node.node)
        pods = self._known[Resource.PODS]
        for uid in sorted(self._on.get(node.node, ())):
            for fact in pods[uid].described.facts:
                if fact.relation is RelationKind.RUNS_ON and fact.target == node.entity:
                    news.changes.append(fact.change(at_s))

    def _tell_facts(
        self, before: Described | None, said: Described, at_s: float, news: News
    ) -> None:
        old = frozenset[Fact]() if before is None else before.facts
        self._release(old - said.facts, said.entity, at_s, news)
        for fact in old - said.facts:
            if fact.relation is not None and fact.entity == said.entity:
                news.changes.append(fact.end(at_s))
        # An entity comes before what speaks of it; the rest is in a stable order.
        ordered = sorted(said.facts - old, key=lambda f: (f.op is not TopologyOp.ENTITY, repr(f)))
        for fact in ordered:
            if fact.entity == said.entity:
                news.changes.append(fact.change(at_s))
                continue
            if fact not in self._shared:
                news.changes.append(fact.change(at_s))
            self._shared[fact] += 1

    def _release(self, facts: Collection[Fact], entity: EntityId, at_s: float, news: News) -> None:
        """Facts about other things that an object states no more. Pools, racks and the like outlive
        whoever named them; how they hang together does not."""
        for fact in facts:
            if fact.entity == entity:
                continue
            self._shared[fact] -= 1
            if not self._shared[fact] and fact.relation is not None:
                del self._shared[fact]
                news.changes.append(fact.end(at_s))

    def _node_changes(self, before: Described, said: Described, writers: Writers) -> list[Changed]:
        if before.facts == said.facts and before.session == said.session:
            return []
        if said.name:  # a pod: what is changed of it is changed in its controller
            return []
        sessions = (before.session, said.session)
        return list(node_changes(before.attributes, said.attributes, writers, sessions=sessions))

    def _tell_conditions(
        self, uid: str, known: _Known, said: Described, at_s: float, news: News
    ) -> None:
        now = {condition.kind: condition for condition in said.conditions}
        gone = [
            Condition(kind, GONE, "", since)
            for kind, (_, since) in known.conditions.items()
            if kind not in now
        ]
        for condition in (*now.values(), *gone):
            state = condition.status, condition.since
            if known.conditions.get(condition.kind) == state:
                continue  # only a heartbeat
            data: Data = {
                "condition": condition.kind,
                "status": condition.status,
                "reason": condition.reason,
                "since": condition.since,
                "witness": Witness.CLUSTER_API.value,
            }
            if condition.message:
                data["message"] = condition.message
            kind, parts = EventType.NODE_CONDITION, (uid, condition.kind, *state)
            subject = Subject(said.entity, said.node)
            news.events.append(made(kind, subject, at_s, data, self._cluster, *parts))
        known.conditions = {kind: (one.status, one.since) for kind, one in now.items()}

    def _tell_exits(self, known: _Known, said: Described, at_s: float, news: News) -> None:
        told = known.exits
        for ended in said.exits:
            if ended.identity in told:
                continue
            told |= {ended.identity}
            data: Data = {
                "signature": "oom_kill" if ended.reason == "OOMKilled" else "container_exit",
                "container": ended.container,
                "reason": ended.reason,
                "exit_code": ended.exit_code,
                "line": _line(ended),
                "witness": Witness.CLUSTER_API.value,
            }
            kind, subject = EventType.LOG_SIGNATURE, Subject(said.entity, said.node)
            news.events.append(made(kind, subject, at_s, data, self._cluster, ended.identity))
        known.exits = told & {ended.identity for ended in said.exits}

    def _tell_rollout(self, sighting: Sighting, said: Described, at_s: float, news: News) -> None:
        """An engine pod with another image than its controller's pods had before, where nobody
        follows the controller."""
        if not said.owner or self._followed(said.owner):
            return
        image = said.attributes.get("image", "")
        known = self._images.pop(said.owner, None)
        self._images[said.owner] = image
        if len(self._images) > _IMAGES_MAX:
            del self._images[next(iter(self._images))]
        if known is not None and known != image:
            rollout = Changed("rollout", known, image, said.owner, object=f"Pod {said.name}")
            self._tell(sighting, said, [rollout], at_s, news)

    def _take_part(self, sighting: Sighting, part: Part, at_s: float, news: News) -> None:
        """An operator's update reaches a node when its pod there is replaced."""
        images = self._parts[part.node]
        before, images[part.owner] = images.get(part.owner), part.image
        if before is None or before == part.image:
            return
        changed = Changed(part.role.value, before, part.image, part.owner)
        subject = Subject(entity_id(self._cluster, EntityKind.NODE, part.node), part.node)
        self._tell(sighting, subject, [changed], at_s, news)

    def _tell(
        self,
        sighting: Sighting,
        about: Described | Subject,
        changes: list[Changed],
        at_s: float,
        news: News,
    ) -> None:
        for changed in changes:
            subject = Subject(about.entity, about.node)
            parts = (sighting.uid, changed.change, sighting.version)
            kind, data = EventType.CHANGE, changed.data()
            news.events.append(made(kind, subject, at_s, data, self._cluster, *parts))


def _line(ended: Exit) -> str:
    return f"container {ended.container} ended: {ended.reason}, exit code {ended.exit_code}"
