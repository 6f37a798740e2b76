"""`fleetmend agent`: what a node knows of itself, with the base install alone.

GPUs through NVML, the kernel log, the kernel's programs, who owns which process; all of it into a
spool on disk, and from there into the log. The composition root of the agent: nothing is decided
here.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from collectors.ebpf.collector import EbpfCollector, Start
from collectors.ebpf.probes import Probes
from collectors.kernel_source import KernelSource
from collectors.nvml.collector import NvmlCollector
from collectors.nvml.library import NvmlLibrary
from collectors.nvml.port import Gpu, GpuReader
from collectors.nvml.xids import NvmlXids
from collectors.pods import Pods
from collectors.sink import Sink
from collectors.xid_desk import XidDesk
from collectors.xid_merge import XidWitness
from fleetmend.cli.agent_sink import AgentSink, Promises
from fleetmend.cli.app import app, say
from fleetmend.cli.settings import ConfigOption, load
from fleetmend.clock import Clock, SystemClock
from fleetmend.errors import SettingsError
from fleetmend.health import FlowMetrics, HealthPages, ServiceMetrics
from fleetmend.logs import configure
from fleetmend.model.entities import EntityKind, RelationKind, TopologyChange, TopologyOp, entity_id
from fleetmend.model.events import Event, EventType, event_id
from fleetmend.services import Loop, Service, ServiceThreads
from fleetmend.settings import Settings
from fleetmend.settings.collectors import KernelLogSettings
from fleetmend.streams.engines import open_log
from fleetmend.streams.producer import Producer
from fleetmend.streams.spool import SpooledLog

HEARTBEAT_S = 10.0
MARK_S = 1.0
"""Seconds between two marks: ticks are of a second."""
_HOLD_S = 0.5
"""Samples are gathered by the collectors already."""


@app.command("agent")
def agent(config: ConfigOption = None) -> None:
    """Run the node agent until it is stopped."""
    settings = load(config).settings
    if settings.streams.engine == "embedded":
        raise SettingsError(
            "the embedded log serves one process, and an agent is another",
            where="streams.engine",
            fix='Set streams.engine = "kafka".',
        )
    configure(role="agent")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    parts = make(settings, SystemClock(), reader=NvmlLibrary(settings.agent.nvml.library))
    say.print(f"agent of node {parts.node}", markup=False)
    run(parts, settings, stop)


@dataclass(frozen=True, slots=True)
class AgentParts:
    """What an agent is made of."""

    node: str
    clock: Clock
    spool: SpooledLog
    desk: XidDesk
    services: tuple[Service | Loop, ...]
    producer: Producer


def make(
    settings: Settings, clock: Clock, *, reader: GpuReader, start: Start = Probes.start
) -> AgentParts:
    """Every service of an agent. `start` loads the kernel's programs. Raises StreamError for a
    spool that cannot be used."""
    agent, cluster = settings.agent, settings.cluster
    node = agent.node or os.environ.get("NODE_NAME", "") or socket.gethostname()
    spool = SpooledLog(
        Path(agent.spool.path),
        open_log=partial(open_log, settings.streams, clock),
        clock=clock,
        partitions=settings.streams.partitions,
        bytes_max=agent.spool.bytes_max,
        segment_bytes=agent.spool.segment_bytes,
        retry_s=agent.spool.retry_s,
    )
    producer = Producer(spool, name=f"collector/agent-{node}", clock=clock, hold_s=_HOLD_S)
    promises = Promises(clock, idle_after_s=settings.ticks.idle_after_s)

    def sink(source: str) -> Sink:
        return AgentSink(producer, promises, source)

    per_minute_max = settings.collectors.events_per_minute_max
    desk = XidDesk(
        cluster=cluster,
        node=node,
        hold_s=agent.xid_hold_s,
        per_minute_max=per_minute_max,
        sink=sink("xid"),
        clock=clock,
    )
    pods = Pods(agent.pods, clock=clock)
    found: list[Service | Loop] = [
        Service("spool", spool.drain, 0.0),
        Loop("xid", desk.run),
        Loop("pods", pods.run),
    ]
    if agent.kernel_log:
        kernel = KernelSource(
            KernelLogSettings(node=node, path=agent.kernel_log),
            cluster=cluster,
            sink=sink("kmsg"),
            desk=desk,
            clock=clock,
            per_minute_max=per_minute_max,
        )
        found.append(Loop("kmsg", kernel.run))
    failed: Callable[[], int] = lambda: 0  # noqa: E731  until there are GPUs to be read
    gpus = None
    if agent.nvml.enabled:
        gpus = NvmlCollector(
            agent.nvml,
            cluster=cluster,
            node=node,
            reader=reader,
            pods=pods,
            sink=sink("nvml"),
            clock=clock,
            learn=lambda gpus: desk.learn(_addresses(gpus)),
        )
        xids = NvmlXids(reader, found=gpus.found, desk=desk, clock=clock)
        found += [Loop("nvml", gpus.run), Loop("nvml-xid", xids.run)]
        failed = partial(getattr, gpus, "calls_failed")
    else:
        desk.learn({})  # nobody will ever say which GPU has an address
    if agent.ebpf.enabled:
        programs = EbpfCollector(
            agent.ebpf,
            cluster=cluster,
            node=node,
            sink=sink("ebpf"),
            clock=clock,
            gpus_of=(lambda _pid: ()) if gpus is None else gpus.gpus_of,
            on_xid=desk.take,
            start=start,
            hears=lambda kind, can: desk.alive(XidWitness.TRACEPOINT, kind, can_tell=can),
        )
        found.append(Loop("ebpf", programs.run))
    beat = Heartbeat(
        settings, node=node, spool=spool, desk=desk, pods=pods, failed=failed, sink=sink("agent")
    )
    found.append(Loop("agent", partial(beat.run, clock)))
    found.append(Loop("marks", partial(mark, producer, promises, clock)))
    return AgentParts(node, clock, spool, desk, tuple(found), producer)


def mark(producer: Producer, promises: Promises, clock: Clock, stop: threading.Event) -> None:
    """Put what all sources promise into the log, once a second, until `stop` is set."""
    marked_s = float("-inf")
    while not clock.wait(stop, MARK_S):
        kept_s = promises.kept()
        if kept_s is not None:
            marked_s = max(marked_s, kept_s)  # a source that comes back takes no promise back
            producer.mark(marked_s)


def _addresses(gpus: Sequence[Gpu]) -> dict[str, str]:
    return {gpu.pci: gpu.uuid for gpu in gpus}


class Heartbeat:
    """The agent itself as a collector: that it lives, and what it has lost."""

    def __init__(
        self,
        settings: Settings,
        *,
        node: str,
        spool: SpooledLog,
        desk: XidDesk,
        pods: Pods,
        failed: Callable[[], int],
        sink: Sink,
    ) -> None:
        self._settings = settings
        self._node = node
        self._spool = spool
        self._desk = desk
        self._pods = pods
        self._failed = failed
        self._sink = sink

    def run(self, clock: Clock, stop: threading.Event) -> None:
        """Beat until `stop` is set."""
        at_s = clock.now_s()
        for change in self._stated(at_s):
            self._sink.topology(change)
        while not stop.is_set():
            at_s = max(at_s, clock.now_s())
            self._sink.event(self._beat(at_s))
            clock.wait(stop, HEARTBEAT_S)

    def _stated(self, at_s: float) -> list[TopologyChange]:
        """The agent, and its node and pool where nobody else states them."""
        cluster, agent = self._settings.cluster, self._settings.agent
        own = entity_id(cluster, EntityKind.COLLECTOR, f"agent-{self._node}")
        node = entity_id(cluster, EntityKind.NODE, self._node)
        pool = entity_id(cluster, EntityKind.POOL, agent.pool)
        changes = [
            TopologyChange(at_s, TopologyOp.ENTITY, own),
            TopologyChange(at_s, TopologyOp.RELATION, own, node, RelationKind.OBSERVES),
        ]
        if agent.states_topology:
            changes += [
                TopologyChange(at_s, TopologyOp.ENTITY, pool),
                TopologyChange(at_s, TopologyOp.ENTITY, node, attributes={"pool": agent.pool}),
                TopologyChange(at_s, TopologyOp.RELATION, node, pool, RelationKind.MEMBER_OF),
            ]
        return changes

    def _beat(self, at_s: float) -> Event:
        source = f"collector/agent-{self._node}"
        return Event(
            id=event_id(source, repr(at_s)),
            source=source,
            type=EventType.HEARTBEAT,
            time_s=at_s,
            subject=entity_id(self._settings.cluster, EntityKind.COLLECTOR, f"agent-{self._node}"),
            node=self._node,
            data={
                "spool_bytes": self._spool.waiting_bytes,
                "spool_dropped_samples": self._spool.dropped["samples"],
                "spool_dropped_events": self._spool.dropped["events"],
                "spool_torn_bytes": self._spool.torn_bytes,
                "log_away": self._spool.away,
                "xid_witnesses": " ".join(sorted(self._desk.witnesses(EventType.XID))),
                "xids_late": self._desk.late,
                "xids_dropped": self._desk.dropped,
                "calls_failed": self._failed(),
                "kubelet": self._pods.failing or "ok",
            },
        )


def run(parts: AgentParts, settings: Settings, stop: threading.Event) -> None:
    """Start every service and wait for `stop`; then send what can be sent at once."""
    threads = ServiceThreads(parts.services, parts.clock)
    registry = CollectorRegistry()
    figures = FlowMetrics(parts.clock)
    figures.producers.append(parts.producer)
    registry.register(figures)
    registry.register(ServiceMetrics(threads))
    health = settings.health
    pages = None
    if health.port:
        pages = HealthPages(health.host, health.port, unready=threads.unready, registry=registry)
    threads.start()
    stop.wait()
    threads.stop()
    if pages is not None:
        pages.close()
    parts.spool.close()
