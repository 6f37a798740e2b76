"""Following nodes and pods of the cluster's API: lists, watches, and what they tell.

The composition root runs one `KubernetesCollector` in the role `collector`, over
`collectors.kubernetes.KubeApi`. Each resource is listed once and then watched by a thread of its
own, which resumes from the last resource version and lists again when the server has forgotten it
(410). The objects go through a queue to one thread, which alone uses the sink.
"""

import logging
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from collectors.announce import observed
from collectors.kube_fleet import KubeFleet, News, Resource
from collectors.kube_objects import Object, version
from collectors.sink import Sink
from fleetmend.clock import Clock
from fleetmend.errors import PortError
from fleetmend.model.entities import EntityKind, TopologyChange, entity_id
from fleetmend.model.events import Event
from fleetmend.settings.collectors import KubernetesSettings

logger = logging.getLogger(__name__)

_RETRY_S = (1.0, 30.0)
"""First and longest pause after a failure."""
_NAP_S = 0.25
_JOIN_S = 5.0


class WatchType(StrEnum):
    """The types of watch events."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch."""

    type: WatchType
    object: Object


class VersionGone(PortError):
    """The server no longer knows the resource version (410): list again."""


class KubeReader(Protocol):
    """What is needed of the API. Errors: VersionGone, PortRefused, PortError."""

    def list(self, resource: Resource) -> tuple[list[Object], str]:
        """All objects and the resource version of the list."""
        ...

    def watch(self, resource: Resource, since: str, seconds: float) -> Iterator[WatchEvent]:
        """What happens after `since`, for at most about `seconds`."""
        ...

    def stop(self) -> None:
        """End the watches that are open, from another thread."""
        ...


@dataclass(frozen=True, slots=True)
class _Listed:
    resource: Resource
    objects: list[Object]


@dataclass(frozen=True, slots=True)
class _Watched:
    resource: Resource
    event: WatchEvent


class ResourceReader:
    """Lists one resource and follows it; `deliver` gets everything in order."""

    def __init__(
        self,
        api: KubeReader,
        resource: Resource,
        *,
        watch_s: float,
        deliver: Callable[[_Listed | _Watched], None],
    ) -> None:
        self._api = api
        self._resource = resource
        self._watch_s = watch_s
        self._deliver = deliver
        self._since = ""
        self.failures: Counter[str] = Counter()
        """Turns that failed, by the name of the error."""

    def turn(self) -> None:
        """List when nothing is known yet, then watch until the watch ends. Raises PortError; the
        next turn goes on where this one ended."""
        if not self._since:
            objects, since = self._api.list(self._resource)
            self._deliver(_Listed(self._resource, objects))
            self._since = since
        try:
            for event in self._api.watch(self._resource, self._since, self._watch_s):
                if event.type is not WatchType.BOOKMARK:
                    self._deliver(_Watched(self._resource, event))
                self._since = version(event.object) or self._since
        except VersionGone:
            self._since = ""

    def run(self, stop: threading.Event, clock: Clock) -> None:
        """Take turns until `stop` is set, with pauses that grow while the API does not answer."""
        pause_s = _RETRY_S[0]
        while not stop.is_set():
            try:
                self.turn()
                pause_s = _RETRY_S[0]
                continue
            except PortError as error:
                self.failures[type(error).__name__] += 1
            except Exception as error:
                # A thread that ended here would leave a collector that marks and hears nothing.
                self.failures[type(error).__name__] += 1
                what = f"{type(error).__name__}: {error}"
                extra = {"resource": str(self._resource), "error": what}
                logger.exception("watch failed unexpectedly", extra=extra)
                self._since = ""
            clock.wait(stop, pause_s)
            pause_s = min(pause_s * 2, _RETRY_S[1])


class KubernetesCollector:
    """Watches nodes and pods."""

    def __init__(
        self,
        settings: KubernetesSettings,
        *,
        cluster: str,
        sink: Sink,
        clock: Clock,
        api: KubeReader,
    ) -> None:
        self._cluster = cluster
        self._sink = sink
        self._clock = clock
        self._api = api
        self._fleet = KubeFleet(settings, cluster=cluster)
        self._queue: queue.SimpleQueue[_Listed | _Watched] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._marked_s = float("-inf")
        self._threads: list[threading.Thread] = []
        self._news: deque[TopologyChange | Event] = deque()
        """What was taken from objects and not told yet."""
        self.readers = tuple(
            ResourceReader(self._api, resource, watch_s=settings.watch_s, deliver=self._deliver)
            for resource in Resource
        )

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set. Raises StreamError when the sink does; the watches go on
        meanwhile, and the next run tells what has come."""
        whole = entity_id(self._cluster, EntityKind.CLUSTER, self._cluster)
        for change in observed(self._cluster, "kubernetes", [whole], self._clock.now_s()):
            self._sink.topology(change)
        if not self._threads:
            self._threads = [
                threading.Thread(target=reader.run, args=(stop, self._clock), daemon=True)
                for reader in self.readers
            ]
            for thread in self._threads:
                thread.start()
        while not stop.is_set():
            self._wake.clear()
            self.poll()
            self._clock.wait(self._wake, _NAP_S)
        self._api.stop()
        for thread in self._threads:
            thread.join(_JOIN_S)

    def poll(self) -> None:
        """Tell what has come since the last poll, and mark."""
        at_s = max(self._clock.now_s(), self._marked_s)
        while True:
            try:
                delivered = self._queue.get_nowait()
            except queue.Empty:
                break
            news = self._take(delivered, at_s)
            self._news.extend((*news.changes, *news.events))
        while self._news:
            # Taken before it is sent: a sink that raises has kept what it was given.
            told = self._news.popleft()
            if isinstance(told, Event):
                self._sink.event(told)
            else:
                self._sink.topology(told)
        if at_s > self._marked_s:
            self._marked_s = at_s
            self._sink.mark(at_s)

    def _deliver(self, delivered: _Listed | _Watched) -> None:
        self._queue.put(delivered)
        self._wake.set()

    def _take(self, delivered: _Listed | _Watched, at_s: float) -> News:
        if isinstance(delivered, _Listed):
            return self._fleet.listed(delivered.resource, delivered.objects, at_s)
        obj = delivered.event.object
        if delivered.event.type is WatchType.DELETED:
            return self._fleet.deleted(delivered.resource, obj, at_s)
        return self._fleet.changed(delivered.resource, obj, at_s)
