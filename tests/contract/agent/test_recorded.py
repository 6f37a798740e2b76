"""What real H200s told, read by the agent: each figure in its signal and unit, an Xid told once."""

import gzip
import json
import random
from collections.abc import Mapping
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path

import numpy as np
import pytest

from benchmarks.agent_calls import Measured
from collectors.kmsg import Boot, kernel_log
from collectors.nvml.collector import NvmlCollector
from collectors.nvml.library import NvmlLibrary
from collectors.nvml.port import NvmlError
from collectors.nvml.rates import CALLS
from collectors.pods import Pods
from collectors.tail import Tail
from collectors.xid_desk import KernelDoor, XidDesk
from collectors.xid_merge import XidSighting, XidWitness
from fleetmend.clock import ManualClock
from fleetmend.model.events import EventType
from fleetmend.settings.agent import NvmlSettings, PodsSettings
from fleetmend.settings.collectors import KernelLogSettings
from tests.contract.agent.played import MIB, PlayedReader, dcgm_figures, of_recording, recorded
from tests.unit.collectors.fakes import ListSink

DATA = Path(__file__).parents[2] / "data"
SINGLE, PAIR = (DATA / "recordings" / f"h200-{name}" for name in ("single-a", "tp2-a"))
SECONDS = 40
XIDS = "h200-xid31-events.jsonl"
CANONICAL: Mapping[str, tuple[str, float]] = {
    "gpu.utilization": ("DCGM_FI_DEV_GPU_UTIL", 0.01),
    "gpu.memory_busy": ("DCGM_FI_DEV_MEM_COPY_UTIL", 0.01),
    "gpu.temperature": ("DCGM_FI_DEV_GPU_TEMP", 1),
    "gpu.memory_temperature": ("DCGM_FI_DEV_MEMORY_TEMP", 1),
    "gpu.sm_clock": ("DCGM_FI_DEV_SM_CLOCK", 1),
    "gpu.memory_clock": ("DCGM_FI_DEV_MEM_CLOCK", 1),
    "gpu.clock_event_reasons": ("DCGM_FI_DEV_CLOCKS_EVENT_REASONS", 1),
    "gpu.energy": ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 0.001),
    "gpu.power": ("DCGM_FI_DEV_POWER_USAGE", 1),
    "gpu.memory_used": ("DCGM_FI_DEV_FB_USED", MIB),
    "gpu.memory_free": ("DCGM_FI_DEV_FB_FREE", MIB),
    "gpu.performance_state": ("DCGM_FI_DEV_PSTATE", 1),
    "gpu.engine_active": ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1),
    "gpu.sm_active": ("DCGM_FI_PROF_SM_ACTIVE", 1),
    "gpu.sm_occupancy": ("DCGM_FI_PROF_SM_OCCUPANCY", 1),
    "gpu.tensor_active": ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 1),
    "gpu.dram_active": ("DCGM_FI_PROF_DRAM_ACTIVE", 1),
    "gpu.fp32_active": ("DCGM_FI_PROF_PIPE_FP32_ACTIVE", 1),
    "gpu.pcie_tx": ("DCGM_FI_PROF_PCIE_TX_BYTES", 1),
    "gpu.pcie_rx": ("DCGM_FI_PROF_PCIE_RX_BYTES", 1),
    "gpu.nvlink_tx": ("DCGM_FI_PROF_NVLINK_TX_BYTES", 1),
    "gpu.nvlink_rx": ("DCGM_FI_PROF_NVLINK_RX_BYTES", 1),
}
"""Signal, what dcgm-exporter calls it, and what one of its units is in ours; by hand."""
TRACEPOINT = (
    "Xid (PCI:0000:00:06.0): 31, channel 0x0000000a, intr 00000000. MMU Fault: ENGINE GRAPHICS "
    "FAULT_PDE ACCESS_TYPE_VIRT_WRITE"
)


def played(reader: PlayedReader) -> ListSink:
    """What the agent's collector sends while the recording lasts."""
    clock, sink = ManualClock(reader.moments[0]), ListSink()
    collector = NvmlCollector(
        NvmlSettings(dear_s=1.0, rare_s=1.0),  # each moment of the recording is compared
        cluster="c",
        node="node-0",
        reader=reader,
        pods=Pods(PodsSettings(socket=""), clock=clock),
        sink=sink,
        clock=clock,
        learn=lambda _gpus: None,
    )
    for at_s in reader.moments:
        clock.advance_to(at_s)
        collector.poll()
    collector._send()
    return sink


def series(sink: ListSink, entity: str) -> dict[str, dict[float, float]]:
    """Signal, moment, value."""
    found: dict[str, dict[float, float]] = {}
    for _, batch in sink.batches:
        for row in np.flatnonzero(np.array(batch.entities)[batch.entity] == entity):
            signal = batch.signals[batch.signal[row]]
            found.setdefault(signal, {})[float(batch.time_s[row])] = float(batch.value[row])
    return found


@pytest.mark.parametrize(("folder", "first_s"), [(SINGLE, 320.0), (PAIR, 60.0)])
def test_every_figure_of_a_real_gpu_arrives_in_its_signal_and_unit(
    folder: Path, first_s: float
) -> None:
    """Under a load that reaches the power limit, and on two GPUs with NVLink."""
    reader = PlayedReader(of_recording(folder, first_s=first_s, seconds=SECONDS))
    moments, sink = list(reader.moments), played(reader)
    truth = dict(dcgm_figures(folder, from_s=moments[0], until_s=moments[-1] + 1))

    assert len(moments) >= SECONDS - 1
    for uuid in truth[moments[0]]:
        seen = series(sink, f"c/gpu/{uuid}")
        for signal, (name, scale) in CANONICAL.items():
            expected = {at_s: truth[at_s][uuid][name] * scale for at_s in moments}
            assert seen[signal] == pytest.approx(expected, rel=1e-6, abs=1e-9), signal
    assert all(event.data["outcome"] == "ok" for event in sink.events)


@pytest.fixture
def kept(standin: CDLL, standin_path: Path, tmp_path: Path) -> Path:
    """What `benchmarks.h200` keeps of a driver: here of the stand-in."""
    path = tmp_path / "nvml.jsonl.gz"
    with gzip.open(path, "wt") as file:
        reader = Measured(NvmlLibrary(str(standin_path)), file)
        reader.start()
        for gpu in reader.gpus():
            for name in [name for names in CALLS.values() for name in names] * 3:
                with suppress(NvmlError):
                    reader.call(gpu, name)
    return path


@pytest.mark.parametrize("name", ["", *sorted(p.name for p in (DATA / "nvml").glob("*.gz"))])
def test_what_a_driver_answered_is_played_back(kept: Path, name: str) -> None:
    """The stand-in's answers, and those of real drivers that lie in `tests/data/nvml`."""
    reader = PlayedReader(recorded(DATA / "nvml" / name if name else kept))
    seen = series(played(reader), f"c/gpu/{reader.gpus()[0].uuid}")

    assert {"gpu.power", "gpu.sm_active", "gpu.memory_used", "gpu.ecc_dbe", "gpu.nvlink_tx"} <= set(
        seen
    )
    assert len(seen["gpu.power"]) == len(reader.moments)
    assert all(30 < power_w < 1500 for power_w in seen["gpu.power"].values())
    assert all(0 <= share <= 1 for share in seen["gpu.sm_active"].values())
    assert all(0 <= share <= 1 for share in seen["gpu.utilization"].values())


@pytest.mark.parametrize("seed", range(3))
def test_five_faults_within_seconds_are_five_events_of_three_witnesses_each(seed: int) -> None:
    """The kernel's lines and their times as an H200's agent had them, the witnesses in any order
    and some milliseconds apart: none is taken for another, though only time and pid differ."""
    told = [json.loads(line) for line in (DATA / "nvml" / XIDS).read_text().splitlines()]
    uuid = told[0]["subject"].rpartition("/")[2]
    chance, clock, sink = random.Random(seed), ManualClock(told[0]["time_s"] - 10.0), ListSink()
    desk = XidDesk(
        cluster="c", node="node-0", hold_s=0.08, per_minute_max=100, sink=sink, clock=clock
    )
    desk.learn({"00000000:00:06.0": uuid})
    for witness in (XidWitness.KERNEL_LOG, XidWitness.TRACEPOINT, XidWitness.NVML):
        desk.alive(witness, can_tell=True)
    for event in told:
        at_s, data = event["time_s"], event["data"]
        sightings = [
            XidSighting(data["pci"], 31, at_s, XidWitness.KERNEL_LOG, line=data["line"]),
            XidSighting("0000:00:06.0", 31, at_s, XidWitness.TRACEPOINT, line=TRACEPOINT),
            XidSighting(uuid, 31, at_s, XidWitness.NVML),
        ]
        chance.shuffle(sightings)
        for sighting in sightings:
            clock.advance_to(clock.now_s() + chance.uniform(0.001, 0.02))
            clock.advance_to(max(clock.now_s(), at_s))
            desk.take(sighting)
        clock.advance_to(clock.now_s() + 0.1)

    found = [event for event in sink.events if event.type is EventType.XID]
    assert [event.data["line"] for event in found] == [event["data"]["line"] for event in told]
    assert {event.data["witnesses"] for event in found} == {"kernel_log nvml_event tracepoint"}
    assert {event.subject for event in found} == {f"c/gpu/{uuid}"}
    assert len({event.id for event in found}) == len(told) == 5


class ListTail:
    def __init__(self, *lines: str) -> None:
        self._lines = list(lines)

    def poll(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines

    def wait(self, timeout_s: float) -> bool:
        return False

    def close(self) -> None:
        return


def test_the_recorded_xid_is_one_event_of_its_gpu() -> None:
    """The kernel's line and NVML's event as they were recorded, the tracepoint's text as it was
    seen on the same kind of machine."""
    uuid = json.loads((SINGLE / "meta.json").read_text())["hosts"][0]["gpus"][0]["uuid"]
    logs = map(json.loads, (SINGLE / "logs.jsonl").read_text().splitlines())
    told = {log["channel"]: log for log in logs}
    at_s, line = told["kmsg"]["ts"], told["kmsg"]["line"]
    clock, sink = ManualClock(at_s), ListSink()
    desk = XidDesk(
        cluster="c", node="node-0", hold_s=0.08, per_minute_max=100, sink=sink, clock=clock
    )
    desk.learn({"00000000:00:06.0": uuid})
    for witness in (XidWitness.KERNEL_LOG, XidWitness.TRACEPOINT, XidWitness.NVML):
        desk.alive(witness, can_tell=True)
    tail: Tail = ListTail(f"3,17,5000000,-;{line}")
    follower = kernel_log(
        KernelLogSettings(node="node-0"),
        cluster="c",
        sink=KernelDoor(sink, desk),
        clock=clock,
        resolve=desk.resolve,
        boot=Boot("b", at_s - 5.0),
        per_minute_max=100,
        tail=tail,
    )

    assert told["nvml"]["line"] == f"NVML_EVENT_XID gpu={uuid} xid=31"
    desk.take(XidSighting("0000:00:06.0", 31, at_s, XidWitness.TRACEPOINT, line=TRACEPOINT))
    desk.take(XidSighting(uuid, 31, at_s, XidWitness.NVML))
    follower.poll()

    [event] = [event for event in sink.events if event.type is EventType.XID]
    assert event.subject == f"c/gpu/{uuid}"
    assert event.data["witnesses"] == "kernel_log nvml_event tracepoint"
    assert (event.data["pid"], event.data["process"]) == (1052, "oob")
    assert event.data["line"] == line
