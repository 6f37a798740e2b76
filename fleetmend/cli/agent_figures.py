"""What the agent costs and what waits in its spool: as figures of its page, and as samples.

`fleetmend agent` puts them on `/metrics` beside those of every role, and `fleetmend.cli.agent_beat`
sends them with each heartbeat, so that a node whose page nobody scrapes is still seen to fall
behind.
"""

import math
import os
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, EntityKind, kind_of
from fleetmend.streams.spool import SpoolFigures

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class OwnUse:
    """What this process has used."""

    cpu_s: float
    """Of all its threads, user and system, since it started."""
    memory_bytes: int
    """Resident now; the most that it ever was where the kernel does not tell."""


def own_use(statm: Path = _STATM) -> OwnUse:
    """Of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    try:
        memory_bytes = int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        memory_bytes = used.ru_maxrss * 1024
    return OwnUse(used.ru_utime + used.ru_stime, memory_bytes)


def own_rows(
    at_s: float, node: EntityId, use: OwnUse, spool: SpoolFigures
) -> list[tuple[float, str, str, float]]:
    """The same as samples of the node. `at_s`: Unix seconds."""
    waiting_s = max(0.0, at_s - spool.oldest_s) if math.isfinite(spool.oldest_s) else 0.0
    values: dict[str, float] = {
        "node.agent_cpu_time": use.cpu_s,
        "node.agent_memory": use.memory_bytes,
        "node.spool_records": spool.waiting.records,
        "node.spool_bytes": spool.waiting.size,
        "node.spool_oldest_age": waiting_s,
        "node.spool_drained": spool.drained.records,
        "node.spool_dropped": sum(spool.dropped.values()),
    }
    return [(at_s, node, name, float(value)) for name, value in values.items()]


OTEL_NAMES = {
    "memory_allocated": "gpu_cuda_memory_allocations_bytes",
    "memory_freed": "gpu_cuda_memory_free_bytes",
    "graph_launches": "gpu_cuda_graph_launch_calls",
    "kernel_launches": "gpu_cuda_kernel_launch_calls",
}
"""What OpenTelemetry's eBPF instrumentation calls the same counts, as Prometheus writes them."""


@dataclass(slots=True, eq=False)
class KernelFigures(Collector):
    """Counts of the kernel's programs under the names of others, for who scrapes the agent and
    knows those. Read when the page is asked for."""

    totals: Callable[[], Mapping[tuple[EntityId, str], int]]

    def collect(self) -> list[Metric]:
        """One figure for each GPU; processes whose GPU is not known are left out."""
        meaning = "As OpenTelemetry's eBPF instrumentation counts it"
        families = {
            what: CounterMetricFamily(name, meaning, labels=["UUID"])
            for what, name in OTEL_NAMES.items()
        }
        for (entity, what), count in self.totals().items():
            if what in families and kind_of(entity) is EntityKind.GPU:
                families[what].add_metric([entity.rpartition("/")[2]], count)
        return list(families.values())


@dataclass(slots=True, eq=False)
class SourceFigures(Collector):
    """Which sources of the node answer now. Read when the page is asked for."""

    gpus: Callable[[], int]
    """How many GPUs the driver showed when they were last counted."""
    programs: Callable[[], bool]
    """Whether programs in the kernel run."""

    def collect(self) -> list[Metric]:
        """A figure each; 0 where a source is switched off, too."""
        return [
            GaugeMetricFamily(
                "fleetmend_agent_gpus", "GPUs that NVML shows, as last counted", value=self.gpus()
            ),
            GaugeMetricFamily(
                "fleetmend_agent_ebpf_available",
                "1 while programs in the kernel run",
                value=float(self.programs()),
            ),
        ]


@dataclass(slots=True, eq=False)
class AgentFigures(Collector):
    """Read when the page is asked for."""

    clock: Clock
    spool: Callable[[], SpoolFigures]

    def collect(self) -> list[Metric]:
        """The spool, and the process."""
        use, spool = own_use(), self.spool()
        oldest_s = self.clock.now_s() - spool.oldest_s
        dropped = CounterMetricFamily(
            "fleetmend_spool_dropped",
            "Records given up for want of room, or because they could not be read any more",
            labels=["kind"],
        )
        for kind, count in spool.dropped.items():
            dropped.add_metric([kind], count)
        return [
            GaugeMetricFamily(
                "fleetmend_spool_records", "Records that wait", value=spool.waiting.records
            ),
            GaugeMetricFamily("fleetmend_spool_bytes", "Their bytes", value=spool.waiting.size),
            GaugeMetricFamily(
                "fleetmend_spool_disk_bytes",
                "Bytes of the spool's files, with what was sent and not deleted yet",
                value=spool.disk_bytes,
            ),
            GaugeMetricFamily(
                "fleetmend_spool_oldest_age_seconds",
                "Age of the oldest record that waits, 0 when none does",
                value=max(0.0, oldest_s) if math.isfinite(oldest_s) else 0.0,
            ),
            GaugeMetricFamily(
                "fleetmend_spool_log_away",
                "1 while the log does not answer",
                value=float(bool(spool.away)),
            ),
            CounterMetricFamily(
                "fleetmend_spool_drained", "Records sent", value=spool.drained.records
            ),
            CounterMetricFamily(
                "fleetmend_spool_drained_bytes", "Their bytes", value=spool.drained.size
            ),
            CounterMetricFamily(
                "fleetmend_spool_torn_bytes",
                "Bytes cut off: written when the process was killed, or unreadable",
                value=spool.torn_bytes,
            ),
            dropped,
            CounterMetricFamily(
                "fleetmend_agent_cpu_seconds", "Processor time of this process", value=use.cpu_s
            ),
            GaugeMetricFamily(
                "fleetmend_agent_memory_bytes", "Resident memory now", value=use.memory_bytes
            ),
        ]
