"""A collector that runs against a real API server, with a sink that lets a test wait."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from collectors.kube_feeds import Feed
from collectors.kube_reader import KubeSource, Page, WatchEvent
from collectors.kube_watch import KubernetesCollector
from collectors.kubernetes import KubeApi
from fleetmend.clock import SystemClock
from fleetmend.errors import PortError
from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event, EventType
from fleetmend.settings.collectors import KubernetesSettings
from fleetmend.views.topology import TopologyView
from tests.unit.collectors.fakes import ListSink


class WaitingSink(ListSink):
    """Lets a test wait for what comes."""

    def __init__(self) -> None:
        super().__init__()
        self._came = threading.Condition()

    def event(self, event: Event) -> None:
        with self._came:
            super().event(event)
            self._came.notify_all()

    def topology(self, change: TopologyChange) -> None:
        with self._came:
            super().topology(change)
            self._came.notify_all()

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait until it is true; fails after a minute."""
        with self._came:
            assert self._came.wait_for(until, timeout=60)

    def changes_of(self, *kinds: str) -> list[Event]:
        """What was told of changes of these kinds."""
        return [
            event
            for event in self.events
            if event.type is EventType.CHANGE and event.data["change"] in kinds
        ]

    def view(self) -> TopologyView:
        """The topology that was told."""
        view = TopologyView()
        for change in self.changes:
            view.apply(change)
        return view


class Gate:
    """The API behind a gate: while it is closed nothing can be listed or watched."""

    def __init__(self, source: KubeSource) -> None:
        self._source = source
        self._closed = threading.Event()

    def close(self) -> None:
        """End what is open, and let nothing through."""
        self._closed.set()
        self._source.stop()

    def open(self) -> None:
        """Let everything through again."""
        self._closed.clear()

    def pages(self, feed: Feed) -> Iterator[Page]:
        """Those of the API."""
        for page in self._source.pages(feed):
            self._check()
            yield page

    def watch(self, feed: Feed, since: str, seconds: float) -> Iterator[WatchEvent]:
        """That of the API; what arrives at a closed gate is lost."""
        self._check()
        for event in self._source.watch(feed, since, seconds):
            self._check()
            yield event

    def stop(self) -> None:
        """End the watches."""
        self._source.stop()

    def _check(self) -> None:
        if self._closed.is_set():
            raise PortError("the gate is closed")


@contextmanager
def watched(
    kubeconfig: Path, *, engines: str, operators: str = "gpu-operator"
) -> Iterator[tuple[WaitingSink, Gate, KubernetesCollector]]:
    """A collector that runs with a kubeconfig's rights."""
    settings = KubernetesSettings(
        enabled=True,
        kubeconfig=str(kubeconfig),
        engine_namespaces=(engines,),
        operator_namespaces=(operators,),
    )
    sink, stop, gate = WaitingSink(), threading.Event(), Gate(KubeApi(settings))
    made = KubernetesCollector(settings, cluster="c", sink=sink, clock=SystemClock(), api=gate)
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    try:
        yield sink, gate, made
    finally:
        stop.set()
        thread.join(timeout=60)
    assert not thread.is_alive()
