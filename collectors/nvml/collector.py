"""The GPUs of one node, once a second: rounds under a deadline, samples, and what does not answer.

`fleetmend agent` runs one. A GPU that hangs, is lost or lacks a call is named in an event, counted,
and touches no other; a node without a driver or without a GPU says so and is looked at again later.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from collectors.announce import observed
from collectors.batches import merge_batches
from collectors.naming import Names
from collectors.normalise import Normaliser
from collectors.nvml.device import GpuRounds, Round
from collectors.nvml.labels import GpuReadings
from collectors.nvml.port import Gpu, GpuReader, NvmlError, NvmlFailure
from collectors.nvml.rates import Rate
from collectors.nvml.reports import NvmlReports
from collectors.nvml.watch import Watch
from collectors.pods import Pods
from collectors.sink import Sink
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.agent import NvmlSettings
from fleetmend.signals.catalogue import Catalogue, catalogue

logger = logging.getLogger(__name__)

_DRIVER = "driver"
_REPORT_S = 60.0
"""Seconds between two events about a GPU with which all is as it was."""
_EARLY_S = 0.05
"""Rounds do not begin at the same millisecond."""
Learn = Callable[[Sequence[Gpu]], None]
"""Told of the GPUs whenever they were counted, also where there are none: PCI addresses become
names, or nobody waits for them any more."""


@dataclass(slots=True)
class _Kept:
    """Samples that wait to be sent, and from when the oldest is."""

    batches: list[SampleBatch]
    since_s: float | None = None


class NvmlCollector:
    """Reads the GPUs of one node. `run` in its own thread."""

    def __init__(
        self,
        settings: NvmlSettings,
        *,
        cluster: str,
        node: str,
        reader: GpuReader,
        pods: Pods,
        sink: Sink,
        clock: Clock,
        learn: Learn,
        signals: Catalogue | None = None,
    ) -> None:
        self.calls_failed = 0
        """Calls that gave nothing and should have."""
        self.gpus_found = 0
        """As last counted."""
        self.found = threading.Event()
        """Set while the driver is loaded and has a GPU."""
        self._settings = settings
        self._cluster = cluster
        self._node = node
        self._reader = reader
        self._sink = sink
        self._clock = clock
        self._learn = learn
        self._entity = entity_id(cluster, EntityKind.NODE, node)
        self._watch = Watch(deadline_s=settings.deadline_s)
        self._normaliser = Normaliser(Names(cluster=cluster, node=node), signals or catalogue())
        self._readings = GpuReadings(node=node, pods=pods)
        self._reports = NvmlReports(cluster=cluster, node=node, report_s=_REPORT_S)
        self._gpus: dict[str, GpuRounds] = {}
        self._driver = ""
        self._inventory_at_s = float("-inf")
        self._kept = _Kept([])

    def run(self, stop: threading.Event) -> None:
        """Read until `stop` is set. Raises StreamError when the sink does; the next run goes on
        where this one ended."""
        at_s = self._clock.now_s()
        for change in observed(self._cluster, f"nvml-{self._node}", [self._entity], at_s):
            self._sink.topology(change)
        next_s = self._clock.monotonic_s()
        while not stop.is_set():
            self.poll()
            period_s = self._settings.period_s if self._gpus else self._settings.send_s
            now_s = self._clock.monotonic_s()
            # A round that took longer than its period is followed by the next whole one.
            next_s = max(next_s + period_s, now_s) if next_s + period_s > now_s else now_s
            self._clock.wait(stop, next_s - now_s)
        self._send()
        self._watch.close()

    def gpus_of(self, pid: int) -> list[EntityId]:
        """The GPUs on which the driver sees a process; from any thread."""
        return [
            entity_id(self._cluster, EntityKind.GPU, uuid)
            for uuid, rounds in list(self._gpus.items())
            if any(process.pid == pid for process in rounds.processes)
        ]

    def pids(self) -> frozenset[int] | None:
        """Every process that the driver sees on a GPU; None while there is no driver to ask. From
        any thread."""
        if not self.found.is_set():
            return None
        rounds = list(self._gpus.values())
        return frozenset(process.pid for each in rounds for process in each.processes)

    def poll(self) -> None:
        """One round: count what is due to be counted, read, report, send now and then."""
        at_s, now_s = self._clock.now_s(), self._clock.monotonic_s()
        if now_s >= self._inventory_at_s:
            self._inventory_at_s = now_s + self._settings.inventory_s
            self._count(at_s)
        if self._gpus:
            self._read(at_s, now_s)
        oldest_s, period_s = self._kept.since_s, self._settings.period_s
        # Sent now where the next round would be too late.
        if oldest_s is not None and at_s + period_s - oldest_s >= self._settings.send_s - _EARLY_S:
            self._send()
        # Also while samples wait: a producer that is not heard is not waited for.
        self._sink.mark(at_s if self._kept.since_s is None else self._kept.since_s)

    def _count(self, at_s: float) -> None:
        """Look for the driver and its GPUs."""
        try:
            if not self._driver:
                self._driver = self._watch.call(_DRIVER, self._reader.start)
            found = self._watch.call(_DRIVER, self._reader.gpus)
            failure = None if found else NvmlFailure.NO_GPU
            text = "" if found else "the driver has no GPU"
        except NvmlError as error:
            # What was counted before is still read: one GPU that is gone must not end the others.
            found, failure, text = (), error.failure, str(error)
        # A GPU that no longer answers to its name is still asked, so that it is named.
        self._gpus |= {gpu.uuid: self._rounds_of(gpu) for gpu in found}
        self._learn([rounds.gpu for rounds in self._gpus.values()])
        if found:
            self.found.set()
        elif not self._gpus:
            self.found.clear()
        for event in self._reports.driver(failure, text, len(found), at_s):
            if failure is not None:
                why = f"{failure.value}: {text}"[:200]
                logger.warning("NVML shows no GPU", extra={"why": why})
            self._sink.event(event)
        self.gpus_found = len(found)
        count = (at_s, self._entity, "node.gpus_found", float(self.gpus_found))
        self._keep(SampleBatch.from_rows([count]), at_s)

    def _rounds_of(self, gpu: Gpu) -> GpuRounds:
        known = self._gpus.get(gpu.uuid)
        if known is None:
            settings = self._settings
            periods_s = {
                Rate.FAST: settings.period_s,
                Rate.PROCESSES: settings.processes_s,
                Rate.SLOW: settings.slow_s,
                Rate.DEAR: settings.dear_s,
                Rate.STATIC: settings.static_s,
                Rate.RARE: settings.rare_s,
            }
            return GpuRounds(gpu, periods_s=periods_s)
        known.forget(gpu)
        return known

    def _read(self, at_s: float, now_s: float) -> None:
        seen: list[tuple[Gpu, Round]] = []
        rounds_of = {
            uuid: partial(rounds.round, self._reader, now_s) for uuid, rounds in self._gpus.items()
        }
        for uuid, got in self._watch.each(rounds_of).items():
            failure: NvmlFailure | None
            if isinstance(got, NvmlError):
                failure, failed = got.failure, {}
            else:
                seen.append((self._gpus[uuid].gpu, got))
                failure, failed = got.fatal, dict(got.failed)
            self.calls_failed += len(failed) + (failure is not None)
            for event in self._reports.gpu(uuid, failure, failed, self._gpus[uuid].lacking, at_s):
                self._sink.event(event)
        observation = self._normaliser.observe(self._readings.reading(seen, self._driver), at_s)
        for change in observation.changes:
            self._sink.topology(change)
        took_s = self._clock.monotonic_s() - now_s
        own = SampleBatch.from_rows(
            [
                (at_s, self._entity, "node.gpu_scrape_up", 1.0 if seen else 0.0),
                (at_s, self._entity, "node.gpu_scrape_time", took_s),
            ]
        )
        self._keep(merge_batches([observation.batch, own]), at_s)

    def _keep(self, batch: SampleBatch, at_s: float) -> None:
        self._kept.batches.append(batch)
        if self._kept.since_s is None:
            self._kept.since_s = at_s

    def _send(self) -> None:
        kept, self._kept = self._kept, _Kept([])
        if kept.batches:
            self._sink.samples(merge_batches(kept.batches), self._node)
