"""The collector on this kernel: what a process does arrives as samples and events of its GPU."""

import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.ebpf.collector import EbpfCollector
from collectors.ebpf.layout import PROCESS_EXIT, XID, Record
from collectors.ebpf.listener import Listener, Ring
from collectors.ebpf.probes import Probes
from fleetmend.clock import SystemClock
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType
from fleetmend.settings.ebpf import EbpfSettings
from tests.contract.ebpf.conftest import Libraries
from tests.contract.ebpf.stand_in import Worker
from tests.unit.collectors.fakes import ListSink

GPU = EntityId("c/gpu/GPU-1")
MIB = 1 << 20


@pytest.fixture
def sink() -> ListSink:
    return ListSink()


@pytest.fixture
def collector(libraries: Libraries, worker: Worker, sink: ListSink) -> Iterator[EbpfCollector]:
    settings = EbpfSettings(libraries=(str(libraries.cuda),), scan_s=0.5, wait_stuck_s=1)
    made = EbpfCollector(
        settings,
        cluster="c",
        node="n",
        sink=sink,
        clock=SystemClock(),
        gpus_of=lambda pid: (GPU,) if pid == worker.pid else (),
    )
    made.open()
    yield made
    assert made.close() == 0


def told(sink: ListSink, what: str, pid: int) -> list[Event]:
    return [e for e in sink.events if e.data.get("what") == what and e.data.get("pid") == pid]


def newest(sink: ListSink, signal: str) -> float:
    return sink.values(signal)[-1][1]


def test_a_process_is_heard_from_its_first_allocation_to_its_end(
    collector: EbpfCollector, worker: Worker, sink: ListSink
) -> None:
    worker.out("cuMemAlloc_v2", "out", 3 * MIB)
    collector.poll()
    held = newest(sink, "gpu.memory_outstanding")
    worker("cuMemAlloc_v2", "out", 1 << 40)
    collector.poll()
    worker.kill()
    collector.poll()

    assert held == 3 * MIB
    assert newest(sink, "gpu.memory_outstanding") == 0
    assert newest(sink, "gpu.memory_allocated") == 3 * MIB
    assert newest(sink, "gpu.allocation_failures") == 1
    (failed,) = told(sink, "allocation_failed", worker.pid)
    (ended,) = told(sink, "exit", worker.pid)
    assert (failed.subject, failed.data["bytes"], failed.data["code"]) == (GPU, 1 << 40, 2)
    assert (ended.type, ended.data["signal"]) == (EventType.PROCESS, 9)
    assert str(ended.data["process"]).startswith("python")


def test_a_process_that_ended_bears_its_own_name_and_not_its_last_thread_s(
    collector: EbpfCollector, worker: Worker, sink: ListSink
) -> None:
    """As the CUDA driver's threads do: they name themselves, and one of them often goes last."""
    worker.out("cuMemAlloc_v2", "out", MIB)
    own = Path(f"/proc/{worker.pid}/comm").read_text().strip()
    worker.outlived_by("cuda-EvtHandlr")
    collector.poll()

    (ended,) = told(sink, "exit", worker.pid)
    assert (ended.data["process"], ended.data["status"]) == (own, 3)
    assert own.startswith("python")


def test_no_event_lies_before_what_was_promised(
    collector: EbpfCollector, worker: Worker, sink: ListSink
) -> None:
    collector.poll()
    worker.out("cuMemAlloc_v2", "out", MIB)
    worker.kill()
    collector.poll()

    (ended,) = told(sink, "exit", worker.pid)
    assert sink.marks[0] <= ended.time_s <= sink.marks[1]
    assert newest(sink, "node.ebpf_available") == 1


def test_the_heartbeat_says_what_is_loaded_and_what_the_kernel_has_not(
    collector: EbpfCollector, sink: ListSink
) -> None:
    collector.poll()

    (beat,) = (event for event in sink.events if event.type is EventType.HEARTBEAT)
    assert beat.data["available"] is True
    assert "memory" in str(beat.data["groups"]).split()
    assert "launches" not in str(beat.data["groups"]).split()
    assert int(beat.data["libraries"]) >= 1


class ExitsAsReports:
    """The kernel's ring, in which the end of a process counts as a report of the driver."""

    def __init__(self, ring: Ring) -> None:
        self.fd = ring.fd
        self._ring = ring

    def take(self) -> list[Record]:
        taken = self._ring.take()
        for record in taken:
            record.kind = XID if record.kind == PROCESS_EXIT else record.kind
        return taken


def test_the_kernel_wakes_who_listens_within_a_tenth_of_a_second(libraries: Libraries) -> None:
    """From the kernel's own time of the record to the report; the best of some tries."""
    probes = Probes.start(EbpfSettings(libraries=(str(libraries.cuda),)))
    assert isinstance(probes, Probes)
    clock, late_s = SystemClock(), queue.SimpleQueue[tuple[int, float]]()

    def report(record: Record) -> None:
        late_s.put((record.pid, clock.monotonic_s() - record.at_ns * 1e-9))

    listener = Listener(ExitsAsReports(probes.ring), report=report)
    took_s = []
    for _ in range(5):
        with Worker(libraries.cuda) as worker:
            worker.out("cuMemAlloc_v2", "out", MIB)
            worker.kill()
            pid, after_s = late_s.get(timeout=10)
            assert pid == worker.pid
            took_s.append(after_s)
    listener.close()
    probes.close()

    assert min(took_s) < 0.1, took_s
