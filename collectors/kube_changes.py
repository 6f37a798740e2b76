"""Workloads and ConfigMaps as the cluster's API told them: what somebody changed, as events.

Used by `kube_fold`. A ConfigMap's change counts when the template of a workload that is followed
refers to it.
"""

from collections import defaultdict
from collections.abc import Iterable

from collectors.kube_configs import Config, beginning_of, difference, end_of
from collectors.kube_feeds import WORKLOADS, Feed, Resource
from collectors.kube_register import Register
from collectors.kube_sight import Sighting
from collectors.kube_tell import Changed, News, Subject, made
from collectors.kube_workloads import Workload, beginning, differences, end
from fleetmend.model.entities import EntityId
from fleetmend.model.events import EventType

CHANGING = (*WORKLOADS, Resource.CONFIGMAPS)
"""Resources that are folded here."""


class KubeChanges:
    """What is known of workloads and ConfigMaps."""

    def __init__(self, *, cluster: str) -> None:
        self._cluster = cluster
        self._workloads: defaultdict[Feed, Register[Workload]] = defaultdict(Register)
        self._configs: defaultdict[Feed, Register[Config]] = defaultdict(Register)
        self._listed: set[Feed] = set()
        """Feeds that have been read whole: what is new in them since then has been made since."""

    def listed(self, feed: Feed) -> None:
        """The feed has been read whole."""
        self._listed.add(feed)

    def uids(self, feed: Feed) -> set[str]:
        """Those of a feed that are known now."""
        configs = feed.resource is Resource.CONFIGMAPS
        return self._configs[feed].uids() if configs else self._workloads[feed].uids()

    def workload(self, key: str) -> Workload | None:
        """The workload of this name (`Deployment llm/llama`), if it is followed."""
        for register in self._workloads.values():
            if (found := register.by_key.get(key)) is not None:
                return found
        return None

    def take(self, feed: Feed, sighting: Sighting, at_s: float, news: News) -> None:
        """Take in an object that is there."""
        match sighting.said:
            case Workload() as now:
                before, same = self._workloads[feed].put(sighting.uid, now.key, now)
                changes = self._changes(feed, sighting, before, same, now)
                self._tell([now.subject], changes, sighting, at_s, news)
            case Config() as config:
                self._take_config(feed, sighting, config, at_s, news)
            case _:
                self.forget(feed, sighting.uid, sighting.version, at_s, news)

    def forget(self, feed: Feed, uid: str, version: str, at_s: float, news: News) -> None:
        """Take in that an object is gone."""
        sighting = Sighting(uid, version or "gone", None)
        if feed.resource is Resource.CONFIGMAPS:
            config = self._configs[feed].drop(uid)
            if config is not None:
                users = self._users(config)
                self._tell(_subjects(users), [end_of(config, users)], sighting, at_s, news)
        else:
            workload = self._workloads[feed].drop(uid)
            if workload is not None:
                self._tell([workload.subject], [end(workload)], sighting, at_s, news)

    def _changes(
        self, feed: Feed, sighting: Sighting, before: Workload | None, same: bool, now: Workload
    ) -> list[Changed]:
        if before is None:
            return [beginning(now, sighting.writers)] if feed in self._listed else []
        # A newer server may show more of a specification than before: nobody changed it then.
        if same and now.generation and before.generation == now.generation:
            return []
        return list(differences(before, now, sighting.writers))

    def _take_config(
        self, feed: Feed, sighting: Sighting, now: Config, at_s: float, news: News
    ) -> None:
        before, _ = self._configs[feed].put(sighting.uid, now.key, now)
        users = self._users(now)
        if before is None and feed not in self._listed:
            return
        changed = (
            beginning_of(now, sighting.writers, users)
            if before is None
            else difference(before, now, sighting.writers, users)
        )
        if changed is not None:
            self._tell(_subjects(users), [changed], sighting, at_s, news)

    def _users(self, config: Config) -> list[Workload]:
        """Workloads whose templates refer to it."""
        return [
            workload
            for register in self._workloads.values()
            for workload in register.by_key.values()
            if workload.namespace == config.namespace and config.name in workload.config_maps
        ]

    def _tell(
        self,
        subjects: Iterable[EntityId],
        changes: Iterable[Changed],
        sighting: Sighting,
        at_s: float,
        news: News,
    ) -> None:
        for changed in changes:
            for subject in subjects:
                parts = (sighting.uid, changed.change, sighting.version, subject)
                kind, data = EventType.CHANGE, changed.data()
                about = Subject(subject)
                news.events.append(made(kind, about, at_s, data, self._cluster, *parts))


def _subjects(users: Iterable[Workload]) -> list[EntityId]:
    return sorted({workload.subject for workload in users})
