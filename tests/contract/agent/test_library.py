"""NVML and GPM read through the vendor's binding from a library whose values are known."""

import os
import threading
from collections.abc import Iterator
from ctypes import CDLL
from pathlib import Path

import numpy as np
import pytest

from collectors.nvml.collector import NvmlCollector
from collectors.nvml.library import NvmlLibrary
from collectors.nvml.port import DriverXid, NvmlError, NvmlFailure
from collectors.nvml.rates import CALLS
from collectors.nvml.watch import Watch
from collectors.nvml.xids import NvmlXids
from collectors.pod_resources import Holders, PodRef
from collectors.pods import Pods
from collectors.xid_desk import XidDesk
from fleetmend.clock import ManualClock, SystemClock
from fleetmend.model.entities import RelationKind, TopologyOp
from fleetmend.model.events import EventType
from fleetmend.settings.agent import NvmlSettings, PodsSettings
from tests.unit.collectors.fakes import ListSink

START_S = 1_700_000_000.0
MIB = 1_048_576
GPU0, GPU1 = "c/gpu/GPU-00000000", "c/gpu/GPU-00000001"
EXPECTED = {
    "gpu.utilization": 0.97,
    "gpu.memory_busy": 0.40,
    "gpu.sm_clock": 1980,
    "gpu.memory_clock": 3201,
    "gpu.temperature": 50,
    "gpu.memory_temperature": 820,
    "gpu.power": 698.5,
    "gpu.power_limit": 1.9,
    "gpu.energy": 5_000_000,
    "gpu.throttle_thermal": 750e-9,
    "gpu.clock_event_reasons": 4,
    "gpu.performance_state": 0,
    "gpu.recovery_action": 0,
    "gpu.memory_used": 10_240 * MIB,
    "gpu.memory_reserved": 600 * MIB,
    "gpu.memory_total": 143_771 * MIB,
    "gpu.engine_active": 0.01 * 2 * 60,  # the stand-in's samples of both GPUs in a minute
    "gpu.sm_active": 0.02,
    "gpu.sm_occupancy": 0.03,
    "gpu.tensor_active": 0.05,
    "gpu.dram_active": 0.10,
    "gpu.fp64_active": 0.11,
    "gpu.fp16_active": 0.13,
    "gpu.pcie_tx": 20 * MIB,
    "gpu.pcie_rx": 21 * MIB,
    "gpu.nvlink_rx": 60 * MIB,
    "gpu.nvlink_tx": 61 * MIB,
    "gpu.nvlink_tx_bytes": 1380 * 1024,
    "gpu.nvlink_replays": 161 + 162,
    "gpu.nvlink_recoveries": 162 + 163,
    "gpu.nvlink_crc_data_errors": 163 + 164,
    "gpu.ecc_sbe": 30,
    "gpu.ecc_dbe": 40,
    "gpu.ecc_sbe_lifetime": 50,
    "gpu.ecc_dbe_lifetime": 60,
    "gpu.remapped_rows_correctable": 7,
    "gpu.row_remap_pending": 0,
    "gpu.remap_banks_exhausted": 1,
    "gpu.pcie_replays": 940,
    "gpu.pcie_link_gen": 5,
    "gpu.pcie_link_width_max": 16,
    "gpu.decoder_busy": 0.03,
    "gpu.temperature_shutdown": 80,
    "gpu.temperature_slowdown": 81,
}


DEAR = ("gpu.engine_active", "gpu.throttle_thermal", "gpu.pcie_replays")


class Kubelet(Pods):
    """Pods whose word is given."""

    def __init__(self, holders: Holders | None, proc: Path) -> None:
        super().__init__(PodsSettings(), clock=ManualClock(), proc=proc)
        self._holders = holders


class Node:
    """An agent's GPU part on a stand-in, moved by hand."""

    def __init__(self, path: Path, pods: Pods, deadline_s: float = 5.0) -> None:
        self.clock, self.sink = ManualClock(START_S), ListSink()
        self.learnt: dict[str, str] = {}
        self.reader = NvmlLibrary(str(path))
        self.collector = NvmlCollector(
            NvmlSettings(deadline_s=deadline_s),
            cluster="c",
            node="n1",
            reader=self.reader,
            pods=pods,
            sink=self.sink,
            clock=self.clock,
            learn=lambda gpus: self.learnt.update({gpu.pci: gpu.uuid for gpu in gpus}),
        )

    def seconds(self, count: int) -> None:
        for _ in range(count):
            self.collector.poll()
            self.clock.sleep(1.0)

    def latest(self, entity: str) -> dict[str, float]:
        found: dict[str, float] = {}
        for _, batch in self.sink.batches:
            for row in np.flatnonzero(np.array(batch.entities)[batch.entity] == entity):
                found[batch.signals[batch.signal[row]]] = float(batch.value[row])
        return found

    def outcomes(self, target: str) -> list[str]:
        told = [e for e in self.sink.events if e.data.get("target") == target]
        return [str(event.data["outcome"]) for event in told]


@pytest.fixture
def nobody(tmp_path: Path) -> Pods:
    return Kubelet(None, tmp_path)


@pytest.fixture
def node(standin: CDLL, standin_path: Path, nobody: Pods) -> Iterator[Node]:
    made = Node(standin_path, nobody)
    yield made
    made.reader.close()


def test_every_value_arrives_in_its_signal_and_unit(node: Node) -> None:
    node.seconds(65)

    seen = node.latest(GPU0)
    assert {name: seen.get(name) for name in EXPECTED} == pytest.approx(EXPECTED)
    assert node.latest(GPU1)["gpu.temperature"] == 51
    own = node.latest("c/node/n1")
    assert own["node.gpu_scrape_up"] == 1
    assert own["node.gpus_found"] == 2


def test_what_is_cheap_is_read_each_second_and_the_dearest_each_five_minutes(node: Node) -> None:
    node.seconds(305)

    told = ("gpu.clock_event_reasons", "gpu.power", "gpu.sm_active", "gpu.ecc_dbe", "gpu.energy")
    signals = (*told, *DEAR)
    moments = {
        signal: sorted({at_s - START_S for at_s, _ in node.sink.values(signal)})
        for signal in signals
    }
    each_second = [float(second) for second in range(305)]
    assert moments["gpu.clock_event_reasons"] == moments["gpu.power"] == each_second
    assert moments["gpu.sm_active"] == each_second[1:]
    assert moments["gpu.ecc_dbe"] == each_second[::10]
    minutes = [60.0, 120.0, 180.0, 240.0, 300.0]
    assert moments["gpu.engine_active"] == minutes, "over two samples a minute apart"
    for signal in DEAR[1:]:
        assert moments[signal] == [0.0, *minutes], signal
    assert moments["gpu.energy"] == [0.0, 300.0]


def test_what_a_gpu_does_not_have_is_no_failure_and_is_told_as_often_as_the_rest(
    node: Node,
) -> None:
    """Also after the inventory at which all is asked again, and after a minute of no news."""
    node.seconds(400)

    seen = node.latest(GPU0)
    assert "gpu.fp32_active" not in seen
    assert "gpu.encoder_busy" not in seen
    assert "gpu.pcie_correctable_errors" not in seen
    told = [e for e in node.sink.events if e.data.get("target") == "nvml/GPU-00000000"]
    names = [str(event.data["calls_unknown"]).split() for event in told]
    lacking = ["encoder", "field.173", "gpm.12", "gpu_max_op_temp"]
    assert names[0] == ["encoder", "field.173", "gpu_max_op_temp"], "one sample is no stretch yet"
    assert names[1:] == [lacking] * (len(names) - 1)
    assert [round(e.time_s - START_S) for e in told] == [0, 1, 61, 121, 181, 241, 301, 361]
    assert {event.data["outcome"] for event in told} == {"ok"}
    assert node.collector.calls_failed == 0


def test_samples_go_every_five_seconds_and_marks_never_pass_them(node: Node) -> None:
    node.seconds(11)

    sent = [float(batch.time_s.max()) - START_S for _, batch in node.sink.batches]
    assert sent == [4.0, 9.0]
    assert node.sink.marks[0] <= START_S
    times = node.sink.batches[0][1].time_s
    assert sorted(set((times - START_S).tolist())) == [0, 1, 2, 3, 4]
    for at, mark in enumerate(node.sink.marks[:4]):
        assert mark <= START_S, f"after {at} s the first sample has not been sent"


def test_the_gpu_is_named_placed_and_known_by_its_address(node: Node) -> None:
    node.seconds(1)

    stated = {(c.op, c.entity, c.target) for c in node.sink.changes}
    assert (TopologyOp.RELATION, GPU0, "c/node/n1") in stated
    assert (TopologyOp.ALIAS, GPU0, "n1/pci:0000:30:00") in stated
    [described] = [c for c in node.sink.changes if c.op is TopologyOp.ENTITY and c.entity == GPU1]
    assert described.attributes == {
        "driver": "580.159.04",
        "index": "1",
        "model": "NVIDIA H200",
        "serial": "165001",
    }
    assert node.learnt["00000000:31:00.0"] == "GPU-00000001"


def test_a_lost_gpu_is_named_and_the_other_is_read_on(node: Node, standin: CDLL) -> None:
    node.seconds(6)
    standin.standin_lose(0)
    node.seconds(12)

    assert node.outcomes("nvml/GPU-00000000")[-1] == "gpu_is_lost"
    gone = [e for e in node.sink.events if e.type is EventType.LOG_SIGNATURE]
    assert [(e.subject, e.data["signature"], e.data["witness"]) for e in gone] == [
        (GPU0, "gpu_lost", "driver_event")
    ]
    late = node.sink.batches[-1][1]
    assert GPU1 in late.entities
    assert GPU0 not in late.entities
    assert node.collector.calls_failed > 0


def test_a_gpu_that_hangs_costs_the_other_one_deadline(
    standin: CDLL, standin_path: Path, nobody: Pods
) -> None:
    node = Node(standin_path, nobody, deadline_s=0.3)
    node.seconds(1)
    standin.standin_hang(0, 1)
    began_s = SystemClock().monotonic_s()
    node.seconds(8)
    took_s = SystemClock().monotonic_s() - began_s
    assert 0.3 <= took_s < 0.3 * 6, "it is not asked again while its call has not come back"
    assert node.outcomes("nvml/GPU-00000000")[-1] == "hung"
    assert set(node.outcomes("nvml/GPU-00000001")) == {"ok"}
    times = node.sink.batches[-1][1].time_s
    codes = node.sink.batches[-1][1].entities.index(GPU1)
    assert len(set(times[node.sink.batches[-1][1].entity == codes].tolist())) >= 5

    standin.standin_hang(0, 0)
    assert node.collector._watch.hung["GPU-00000000"].wait(5)
    node.seconds(2)
    assert node.outcomes("nvml/GPU-00000000")[-1] == "ok"
    node.reader.close()


@pytest.mark.parametrize(
    ("code", "outcome"), [(9, "driver_absent"), (18, "mismatch"), (12, "library_absent")]
)
def test_a_node_without_a_driver_says_why_and_goes_on(
    standin: CDLL, standin_path: Path, nobody: Pods, code: int, outcome: str
) -> None:
    standin.standin_init_code(code)
    node = Node(standin_path, nobody)
    node.seconds(10)

    assert node.outcomes("nvml") == [outcome]
    assert node.latest("c/node/n1") == {"node.gpus_found": 0}
    assert node.sink.marks[-1] >= START_S
    standin.standin_init_code(0)
    node.seconds(400)
    assert node.outcomes("nvml")[-1] == "ok", "a driver that comes later is found"
    node.reader.close()


def test_a_driver_without_a_gpu_says_so(standin: CDLL, standin_path: Path, nobody: Pods) -> None:
    standin.standin_reset(0)
    node = Node(standin_path, nobody)
    node.seconds(2)

    assert node.outcomes("nvml") == ["no_gpu"]
    node.reader.close()


def test_a_library_that_is_not_there_is_named(nobody: Pods, tmp_path: Path) -> None:
    node = Node(tmp_path / "none.so", nobody)
    node.seconds(1)

    assert node.outcomes("nvml") == ["library_absent"]


def test_mig_instances_are_children_with_figures_of_their_own(
    standin: CDLL, standin_path: Path, tmp_path: Path
) -> None:
    standin.standin_mig(1)
    holders: Holders = {"MIG-00000001-2": (PodRef("team", "slice", "engine"),)}
    node = Node(standin_path, Kubelet(holders, tmp_path))
    node.seconds(7)

    one, two = "c/mig/GPU-00000001/1", "c/mig/GPU-00000001/2"
    assert node.latest(one)["gpu.memory_total"] == 71_000 * MIB
    assert node.latest(two)["gpu.sm_active"] == pytest.approx(0.02)
    assert "gpu.sm_active" not in node.latest(GPU1)
    assert node.latest(GPU1)["gpu.temperature"] == 51
    relations = {(c.entity, c.relation, c.target) for c in node.sink.changes if c.relation}
    assert (two, RelationKind.PART_OF, GPU1) in relations
    assert ("c/pod/team/slice", RelationKind.RUNS_ON, two) in relations
    assert not any(to == one and how is RelationKind.RUNS_ON for _, how, to in relations)
    node.reader.close()


def test_memory_is_owned_by_pods_or_foreign(
    standin: CDLL, standin_path: Path, tmp_path: Path
) -> None:
    mine = tmp_path / str(os.getpid())
    mine.mkdir()
    (mine / "cgroup").write_text(
        "0::/kubepods/burstable/pod0f3c1f0e-5a52-4f0c-9d39-2f1c0c6a5a11/ab\n"
    )
    standin.standin_processes(0, 3)
    holders: Holders = {"GPU-00000000": (PodRef("inference", "llama-0", "engine"),)}
    pods = Kubelet(holders, tmp_path)
    node = Node(standin_path, pods)
    node.seconds(6)

    seen = node.latest(GPU0)
    assert seen["gpu.memory_pods"] == 1 << 30
    assert seen["gpu.memory_foreign"] == 5 << 30
    assert (seen["gpu.processes_pods"], seen["gpu.processes_foreign"]) == (1, 2)
    runs = ("c/pod/inference/llama-0", RelationKind.RUNS_ON, GPU0)
    assert runs in {(c.entity, c.relation, c.target) for c in node.sink.changes}
    pods._holders = {}
    node.seconds(1)
    gone = [c for c in node.sink.changes if c.op is TopologyOp.RELATION_GONE]
    assert [(c.entity, c.target) for c in gone] == [("c/pod/inference/llama-0", GPU0)]
    node.reader.close()


def test_xids_come_from_the_event_set_as_sightings(node: Node, standin: CDLL) -> None:
    node.seconds(1)
    assert node.reader.wait_xid(0.01) is None
    standin.standin_xid(1, 79)
    assert node.reader.wait_xid(5.0) == DriverXid("GPU-00000001", 79)

    sink = ListSink()
    desk = XidDesk(
        cluster="c", node="n1", hold_s=0.2, per_minute_max=600, sink=sink, clock=node.clock
    )
    desk.learn(node.learnt)
    waiting = NvmlXids(node.reader, found=threading.Event(), desk=desk, clock=node.clock)
    standin.standin_xid(0, 31)
    assert waiting.step(5.0)
    [event] = sink.events
    assert (event.subject, event.data["xid"], event.data["witnesses"]) == (GPU0, 31, "nvml_event")
    assert event.data["pci"] == "0000:30:00"


def test_every_call_is_known_to_the_library(standin: CDLL, standin_path: Path) -> None:
    reader = NvmlLibrary(str(standin_path))
    reader.start()
    gpu = reader.gpus()[0]
    absent = []
    for name in (name for names in CALLS.values() for name in names):
        try:
            reader.call(gpu, name)
        except NvmlError as error:
            absent.append((name, error.failure))
    assert absent == [("encoder", NvmlFailure.NOT_SUPPORTED)]
    reader.close()


def test_who_hangs_is_left_behind_once() -> None:
    held, watch = threading.Event(), Watch(deadline_s=0.05)
    with pytest.raises(NvmlError, match="no answer"):
        watch.call("a", held.wait)
    with pytest.raises(NvmlError, match="has not come back"):
        watch.call("a", lambda: True)
    assert watch.call("b", lambda: 7) == 7
    held.set()
    assert watch.hung["a"].wait(5)
    assert watch.call("a", lambda: 8) == 8
    watch.close()


def test_who_hangs_holds_up_none_of_those_that_wait_behind_it() -> None:
    """All were handed over together; the one in the middle never comes back meanwhile."""
    held, watch = threading.Event(), Watch(deadline_s=0.2)
    began_s = SystemClock().monotonic_s()
    got = watch.each({"a": lambda: 1, "b": lambda: held.wait(30), "c": lambda: 3, "d": lambda: 4})
    took_s = SystemClock().monotonic_s() - began_s

    hung = got.pop("b")
    assert isinstance(hung, NvmlError)
    assert hung.failure is NvmlFailure.HUNG
    assert got == {"a": 1, "c": 3, "d": 4}
    assert 0.2 <= took_s < 5
    assert list(watch.hung) == ["b"]
    held.set()
    watch.close()
