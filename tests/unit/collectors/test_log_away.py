"""The log goes away while collectors run: they go on where they stopped, and nothing is lost."""

import threading
from pathlib import Path

import pytest

from collectors.kmsg import Boot, kernel_log
from collectors.kube_feeds import Resource
from collectors.kube_watch import KubernetesCollector
from collectors.prometheus import PrometheusCollector
from fleetmend.clock import ManualClock, SystemClock
from fleetmend.errors import StreamError
from fleetmend.model.entities import EntityKind, TopologyChange, entity_id
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.collectors import (
    CollectorsSettings,
    KernelLogSettings,
    TargetSettings,
)
from tests.unit.collectors.fakes import HeldExecutor, ListLetters, ListSink, Pages, page_of
from tests.unit.collectors.kube_world import SETTINGS, FakeApi, node, pod

XID = "NVRM: Xid (PCI:0000:00:06): 79, GPU has fallen off the bus."
GPU = entity_id("c", EntityKind.GPU, "GPU-1")
MARKS = 5


class AwaySink(ListSink):
    """Keeps what it is given and raises, as a producer does whose log is away; sets `stop` after
    some marks."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self.stop = stop
        self.away = False

    def samples(self, batch: SampleBatch, node: str) -> None:
        super().samples(batch, node)
        self._raise()

    def event(self, event: Event) -> None:
        super().event(event)
        self._raise()

    def topology(self, change: TopologyChange) -> None:
        super().topology(change)
        self._raise()

    def mark(self, at_s: float) -> None:
        self._raise()
        super().mark(at_s)
        if len(self.marks) >= MARKS:
            self.stop.set()

    def _raise(self) -> None:
        if self.away:
            raise StreamError("no broker answers")


def test_a_log_follower_loses_no_line(tmp_path: Path) -> None:
    stop, clock = threading.Event(), ManualClock(1000.0)
    sink, path = AwaySink(stop), tmp_path / "kmsg"
    path.touch()
    follower = kernel_log(
        KernelLogSettings(node="n", path=str(path)),
        cluster="c",
        sink=sink,
        clock=clock,
        resolve=lambda _: GPU,
        boot=Boot("b", 900.0),
        per_minute_max=100,
    )
    follower.poll()
    path.write_text("".join(f"4,{n},99500000,-;{XID}\n" for n in range(5)))
    sink.away = True
    with pytest.raises(StreamError):
        follower.run(stop)
    with pytest.raises(StreamError):
        follower.poll()
    sink.away = False

    follower.run(stop)

    xids = [event.id for event in sink.events if event.type is EventType.XID]
    assert len(xids) == len(set(xids)) == 5


def test_a_scraper_goes_on_scraping() -> None:
    stop, clock = threading.Event(), ManualClock(1000.0)
    sink = AwaySink(stop)
    target = TargetSettings(url="http://e:8000/metrics", kind="engine", engine="e", node="n")
    scraper = PrometheusCollector(
        CollectorsSettings(targets=(target,)),
        cluster="c",
        sink=sink,
        clock=clock,
        dead_letters=ListLetters(),
        fetcher=Pages(page_of("vllm:num_requests_running 3\n")),
        executor=HeldExecutor(),
    )
    sink.away = True
    for _ in range(3):
        with pytest.raises(StreamError):
            scraper.run(stop)
    sink.away = False

    scraper.run(stop)

    assert sink.values("engine.requests_running")


def test_the_cluster_is_watched_by_one_thread_for_each_resource_and_all_is_told() -> None:
    stop, api = threading.Event(), FakeApi()
    sink = AwaySink(stop)
    api.lists[Resource.NODES] = [([node()], "7")]
    api.lists[Resource.PODS] = [([pod()], "7")]
    watch = KubernetesCollector(SETTINGS, cluster="c", sink=sink, clock=SystemClock(), api=api)
    watch.poll()
    sink.away = True
    threads = set(threading.enumerate())
    for _ in range(3):
        with pytest.raises(StreamError):
            watch.run(stop)
    sink.away = False

    watch.run(stop)

    assert not set(threading.enumerate()) - threads
    assert {"c/node/n1", "c/engine/uid-llama-0"} <= {change.entity for change in sink.changes}
