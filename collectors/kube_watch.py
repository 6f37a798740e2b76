"""The cluster's API as a source: what its readers bring goes into one fold and out to one sink.

The composition root runs one `KubernetesCollector` in the role `collector`, over
`collectors.kubernetes.KubeApi`. Each feed has a thread that reads; one thread folds and alone uses
the sink. Between them wait at most so many deliveries: while the sink is away, readers wait, the
server ends their watches, and what happened meanwhile comes with the next watch or list.
"""

import contextlib
import queue
import threading
from collections import deque

from collectors.announce import observed
from collectors.kube_feeds import feeds
from collectors.kube_fold import KubeFold
from collectors.kube_reader import (
    Delivery,
    FeedReader,
    FeedState,
    Gone,
    KubeSource,
    ListStep,
)
from collectors.kube_sight import Sight
from collectors.kube_tell import Data, News, Subject, made
from collectors.promise import Promise
from collectors.sink import Sink
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityKind, TopologyChange, entity_id
from fleetmend.model.events import Event, EventType
from fleetmend.settings.collectors import KubernetesSettings

_NAP_S = 0.25
_JOIN_S = 5.0
_MARK_S = 0.5
"""Event time between marks while much is to be told: others wait for them."""
_HEARTBEAT_S = 10.0
_WAITING_MAX = 256
"""Deliveries that wait: an event of a watch is one, a page of a list is one."""


class KubernetesCollector:
    """Watches what `feeds` names."""

    def __init__(
        self,
        settings: KubernetesSettings,
        *,
        cluster: str,
        sink: Sink,
        clock: Clock,
        api: KubeSource,
    ) -> None:
        self._cluster = cluster
        self._sink = sink
        self._clock = clock
        self._api = api
        self.fold = KubeFold(settings, cluster=cluster)
        self._queue: queue.Queue[Delivery] = queue.Queue(_WAITING_MAX)
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._promise = Promise(clock, cluster=cluster, name="kubernetes", tell=sink.event)
        self._beat_s = float("-inf")
        self._states: tuple[FeedState, ...] = ()
        self._threads: list[threading.Thread] = []
        self._news: deque[TopologyChange | Event] = deque()
        """What was taken from objects and not told yet."""
        sight = Sight(settings, cluster=cluster)
        self.readers = tuple(
            FeedReader(
                self._api, feed, sight=sight, watch_s=settings.watch_s, deliver=self._deliver
            )
            for feed in feeds(settings)
        )

    def run(self, stop: threading.Event) -> None:
        """Watch until `stop` is set. Raises StreamError when the sink does; the watches go on
        meanwhile, and the next run tells what has come."""
        self._stop = stop
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
        self._tell()
        while True:
            try:
                delivery = self._queue.get_nowait()
            except queue.Empty:
                break
            self._take(delivery)
        self._beat()
        self._mark(at_least_s=0.0)

    def _now_s(self) -> float:
        """A time that no mark has promised away."""
        return self._promise.now_s()

    def _take(self, delivery: Delivery) -> None:
        """Fold and tell one delivery, object by object, so that marks are never far behind."""
        feed, what = delivery.feed, delivery.what
        match what:
            case ListStep.BEGIN:
                self.fold.begin(feed)
            case ListStep.END:
                self._note(self.fold.end(feed, self._now_s()))
            case Gone(uid, version):
                self._note(self.fold.gone(feed, uid, version, self._now_s()))
            case _:
                for sighting in what:
                    # Noted first and told then: a sink that raises loses none of them.
                    self._note(self.fold.take(feed, sighting, self._now_s()))
        self._tell()

    def _note(self, news: News) -> None:
        self._news.extend((*news.changes, *news.events))

    def _tell(self) -> None:
        while self._news:
            # Taken before it is sent: a sink that raises has kept what it was given.
            told = self._news.popleft()
            if isinstance(told, Event):
                self._sink.event(told)
            else:
                self._sink.topology(told)
        self._mark(at_least_s=_MARK_S)

    def _mark(self, *, at_least_s: float) -> None:
        at_s = self._now_s()
        if at_s > self._promise.marked_s and at_s - self._promise.marked_s >= at_least_s:
            self._promise.marked_s = at_s
            self._sink.mark(at_s)

    def _beat(self) -> None:
        """How the feeds stand: when one of them turns, and every ten seconds."""
        at_s, states = self._now_s(), tuple(reader.state for reader in self.readers)
        if states == self._states and 0 <= at_s - self._beat_s < _HEARTBEAT_S:
            return
        self._beat_s, self._states = at_s, states
        subject = Subject(entity_id(self._cluster, EntityKind.COLLECTOR, "kubernetes"))
        kind, data = EventType.HEARTBEAT, self._figures()
        self._sink.event(made(kind, subject, at_s, data, self._cluster, repr(at_s)))

    def _figures(self) -> Data:
        readers = self.readers
        figures: Data = {
            state.value: " ".join(str(one.feed) for one in readers if one.state is state)
            for state in FeedState
        }
        reasons = [f"{one.feed}: {one.reason}" for one in readers if one.state is FeedState.FAILING]
        figures |= {
            "reasons": "; ".join(reasons)[:500],
            "lists": sum(one.lists for one in readers),
            "expired": sum(one.expired for one in readers),
            "repeated": sum(one.cursor.repeated for one in readers),
            "failures": sum(one.failures.total() for one in readers),
            "dropped": self.fold.dropped,
        }
        for reader in readers:
            resource = reader.feed.resource.value
            figures[resource] = int(figures.get(resource, 0)) + self.fold.count(reader.feed)
        return figures

    def _deliver(self, delivery: Delivery) -> None:
        while not self._stop.is_set():
            self._wake.set()
            with contextlib.suppress(queue.Full):
                self._queue.put(delivery, timeout=_NAP_S)
                self._wake.set()
                return
