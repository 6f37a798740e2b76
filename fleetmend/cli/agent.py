"""`fleetmend agent`: what a node knows of itself, with the base install alone.

GPUs through NVML, the kernel log, the kernel's programs, who owns which process; all of it into a
spool on disk, and from there into the log. The composition root of the agent: nothing is decided
here.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
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
from fleetmend.cli.agent_beat import Heartbeat
from fleetmend.cli.agent_figures import AgentFigures, KernelFigures, SourceFigures
from fleetmend.cli.agent_memory import stay_small
from fleetmend.cli.agent_sink import AgentSink, Promises
from fleetmend.cli.app import app
from fleetmend.cli.config import ConfigOption, load
from fleetmend.cli.say import say
from fleetmend.clock import Clock, SystemClock
from fleetmend.errors import SettingsError
from fleetmend.health import FlowMetrics, HealthPages, ServiceMetrics
from fleetmend.logs import configure
from fleetmend.model.entities import EntityId
from fleetmend.services import Loop, Service, ServiceThreads
from fleetmend.settings import Settings
from fleetmend.settings.collectors import KernelLogSettings
from fleetmend.streams.engines import open_log
from fleetmend.streams.producer import Producer
from fleetmend.streams.spool import SpooledLog

MARK_S = 1.0
"""Seconds between two looks at what is promised: ticks are of a second."""
_MARK_LEAP_S = 2.0
"""A promise that moved by as much goes at once: samples that were gathered have gone with it."""
_MARK_AGAIN_S = 2.0
"""Seconds after which it goes whatever it says: a producer that is not heard for
`ticks.idle_after_s` is not waited for. A mark goes to each partition and wakes everything between
here and the log, so one that says little new is left out where it can be."""
_STOP_S = 3.0
"""Seconds that each service has to end. A spool that just asks a broker that is away needs longer,
and is not waited for: what it holds lies on disk."""
_HOLD_S = 5.0
"""Longest wait of samples for company: a mark, which ticks wait for anyway, takes them along."""


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
    stay_small()
    say(f"agent of node {parts.node}")
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
    counted: Callable[[], Mapping[tuple[EntityId, str], int]]
    """What the kernel's programs have counted."""
    sources: SourceFigures
    """Which sources answer."""


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
    counted: Callable[[], Mapping[tuple[EntityId, str], int]] = dict
    sources = SourceFigures(
        gpus=(lambda: 0) if gpus is None else partial(getattr, gpus, "gpus_found"),
        programs=lambda: False,
    )
    if agent.ebpf.enabled:
        programs = EbpfCollector(
            agent.ebpf,
            cluster=cluster,
            node=node,
            sink=sink("ebpf"),
            clock=clock,
            gpus_of=(lambda _pid: ()) if gpus is None else gpus.gpus_of,
            gpu_pids=(lambda: None) if gpus is None else gpus.pids,
            on_xid=desk.take,
            start=start,
            hears=lambda kind, can: desk.alive(XidWitness.TRACEPOINT, kind, can_tell=can),
        )
        found.append(Loop("ebpf", programs.run))
        counted = programs.totals
        sources.programs = partial(getattr, programs, "available")
    beat = Heartbeat(
        settings, node=node, spool=spool, desk=desk, pods=pods, failed=failed, sink=sink("agent")
    )
    found.append(Loop("agent", partial(beat.run, clock)))
    found.append(Loop("marks", partial(mark, producer, promises, clock)))
    return AgentParts(node, clock, spool, desk, tuple(found), producer, counted, sources)


def mark(producer: Producer, promises: Promises, clock: Clock, stop: threading.Event) -> None:
    """Put what all sources promise into the log, with the samples that it is about, until `stop` is
    set; looked at once a second."""
    marked_s = sent_s = float("-inf")
    while not clock.wait(stop, MARK_S):
        kept_s = promises.kept()
        now_s = clock.monotonic_s()
        # A source that comes back takes no promise back.
        if kept_s is not None and (
            kept_s - marked_s >= _MARK_LEAP_S or now_s - sent_s >= _MARK_AGAIN_S
        ):
            marked_s, sent_s = max(marked_s, kept_s), now_s
            producer.mark(marked_s)


def _addresses(gpus: Sequence[Gpu]) -> dict[str, str]:
    return {gpu.pci: gpu.uuid for gpu in gpus}


def run(parts: AgentParts, settings: Settings, stop: threading.Event) -> None:
    """Start every service and wait for `stop`; then send what can be sent at once."""
    threads = ServiceThreads(parts.services, parts.clock)
    registry = CollectorRegistry()
    figures = FlowMetrics(parts.clock)
    figures.producers.append(parts.producer)
    registry.register(figures)
    registry.register(ServiceMetrics(threads))
    registry.register(AgentFigures(parts.clock, parts.spool.figures))
    registry.register(KernelFigures(parts.counted))
    registry.register(parts.sources)
    health = settings.health
    pages = None
    if health.port:
        pages = HealthPages(health.host, health.port, unready=threads.unready, registry=registry)
    threads.start()
    stop.wait()
    threads.stop(timeout_s=_STOP_S)
    if pages is not None:
        pages.close()
    parts.spool.close()
