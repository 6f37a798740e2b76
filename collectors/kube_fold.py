"""The cluster as its API told it: lists and watch events, in any mixture and as often as they come,
become topology changes and events.

Fed by `collectors.kube_watch` alone, so that it needs no locks.
"""

from collectors.kube_changes import CHANGING, KubeChanges
from collectors.kube_feeds import Feed, Resource, believed
from collectors.kube_fleet import KubeFleet
from collectors.kube_notes import About, KubeNotes
from collectors.kube_reports import Report
from collectors.kube_sight import Sighting
from collectors.kube_tell import News, Subject
from fleetmend.settings.collectors import KubernetesSettings


class KubeFold:
    """Everything that is known of the cluster."""

    def __init__(self, settings: KubernetesSettings, *, cluster: str) -> None:
        self._changes = KubeChanges(cluster=cluster)
        self.fleet = KubeFleet(
            cluster=cluster, followed=lambda key: self._changes.workload(key) is not None
        )
        about = About(
            cluster=cluster,
            believed=frozenset(believed(settings)),
            pod=self.fleet.place,
            workload=self._place,
        )
        self._notes = KubeNotes(cluster=cluster, find=about)
        self._unseen: dict[Feed, set[str]] = {}
        """While a list is read: what was known and has not come yet."""

    @property
    def dropped(self) -> int:
        """Reports of a storm that were not told."""
        return self._notes.dropped

    def begin(self, feed: Feed) -> None:
        """A list begins; one that broke off is forgotten."""
        self._unseen[feed] = self._uids(feed)

    def take(self, feed: Feed, sighting: Sighting, at_s: float) -> News:
        """Take in an object that is there."""
        news = News()
        self._unseen.get(feed, set()).discard(sighting.uid)
        if feed.resource in CHANGING:
            self._changes.take(feed, sighting, at_s, news)
        elif feed.resource is not Resource.EVENTS:
            self.fleet.take(feed.resource, sighting, at_s, news)
        elif isinstance(sighting.said, Report):
            self._notes.take(sighting.said, at_s, news)
        return news

    def gone(self, feed: Feed, uid: str, version: str, at_s: float) -> News:
        """Take in that an object is gone."""
        news = News()
        if feed.resource in CHANGING:
            self._changes.forget(feed, uid, version, at_s, news)
        elif feed.resource is Resource.EVENTS:
            self._notes.forget(uid)
        else:
            self.fleet.forget(feed.resource, uid, at_s, news)
        return news

    def end(self, feed: Feed, at_s: float) -> News:
        """The list is whole: what has not come is gone."""
        news = News()
        for uid in sorted(self._unseen.pop(feed, set())):
            gone = self.gone(feed, uid, "", at_s)
            news.changes += gone.changes
            news.events += gone.events
        if feed.resource in CHANGING:
            self._changes.listed(feed)
        if feed.resource is Resource.EVENTS:
            self._notes.listed()
        return news

    def count(self, feed: Feed) -> int:
        """How many objects of a feed are followed."""
        return len(self._uids(feed))

    def _uids(self, feed: Feed) -> set[str]:
        if feed.resource in CHANGING:
            return self._changes.uids(feed)
        if feed.resource is Resource.EVENTS:
            return self._notes.uids()
        return self.fleet.uids(feed.resource)

    def _place(self, key: str) -> Subject | None:
        workload = self._changes.workload(key)
        return None if workload is None else Subject(workload.subject)
