"""A reader of GPUs that plays back what `benchmarks.h200` recorded (`nvml.jsonl.gz`), and the same
form made of a recording that holds the driver's figures under dcgm-exporter's names."""

import gzip
import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from collectors.nvml.port import (
    Answer,
    DriverXid,
    Gpu,
    GpuProcess,
    MigInstance,
    NvmlError,
    NvmlFailure,
    Row,
)

Line = Mapping[str, Any]
MIB = 1_048_576.0
RAW = {
    "DCGM_FI_DEV_POWER_USAGE": ("fast_fields", "nvml.field.186", 1000.0),
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": ("energy", "nvml.field.83", 1.0),
    "DCGM_FI_DEV_MEMORY_TEMP": ("fast_fields", "nvml.field.82", 1.0),
    "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": ("slow_fields", "nvml.field.3", 1.0),
    "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL": ("slow_fields", "nvml.field.4", 1.0),
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": ("pcie_errors", "nvml.field.94", 1.0),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": ("gpm_dear", "nvml.gpm.1", 100.0),
    "DCGM_FI_PROF_SM_ACTIVE": ("gpm", "nvml.gpm.2", 100.0),
    "DCGM_FI_PROF_SM_OCCUPANCY": ("gpm", "nvml.gpm.3", 100.0),
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": ("gpm", "nvml.gpm.5", 100.0),
    "DCGM_FI_PROF_DRAM_ACTIVE": ("gpm", "nvml.gpm.10", 100.0),
    "DCGM_FI_PROF_PIPE_FP64_ACTIVE": ("gpm", "nvml.gpm.11", 100.0),
    "DCGM_FI_PROF_PIPE_FP32_ACTIVE": ("gpm", "nvml.gpm.12", 100.0),
    "DCGM_FI_PROF_PIPE_FP16_ACTIVE": ("gpm", "nvml.gpm.13", 100.0),
    "DCGM_FI_PROF_PCIE_TX_BYTES": ("gpm", "nvml.gpm.20", 1 / MIB),
    "DCGM_FI_PROF_PCIE_RX_BYTES": ("gpm", "nvml.gpm.21", 1 / MIB),
    "DCGM_FI_PROF_NVLINK_RX_BYTES": ("gpm", "nvml.gpm.60", 1 / MIB),
    "DCGM_FI_PROF_NVLINK_TX_BYTES": ("gpm", "nvml.gpm.61", 1 / MIB),
    "DCGM_FI_DEV_GPU_UTIL": ("utilization", "DCGM_FI_DEV_GPU_UTIL", 1.0),
    "DCGM_FI_DEV_MEM_COPY_UTIL": ("utilization", "DCGM_FI_DEV_MEM_COPY_UTIL", 1.0),
    "DCGM_FI_DEV_FB_USED": ("memory", "DCGM_FI_DEV_FB_USED", 1.0),
    "DCGM_FI_DEV_FB_FREE": ("memory", "DCGM_FI_DEV_FB_FREE", 1.0),
    "DCGM_FI_DEV_SM_CLOCK": ("clock_sm", "DCGM_FI_DEV_SM_CLOCK", 1.0),
    "DCGM_FI_DEV_MEM_CLOCK": ("clock_memory", "DCGM_FI_DEV_MEM_CLOCK", 1.0),
    "DCGM_FI_DEV_GPU_TEMP": ("temperature", "DCGM_FI_DEV_GPU_TEMP", 1.0),
    "DCGM_FI_DEV_CLOCKS_EVENT_REASONS": (
        "clock_event_reasons",
        "DCGM_FI_DEV_CLOCKS_EVENT_REASONS",
        1.0,
    ),
    "DCGM_FI_DEV_PSTATE": ("performance_state", "DCGM_FI_DEV_PSTATE", 1.0),
    "DCGM_FI_DEV_PCIE_LINK_GEN": ("pcie_link", "DCGM_FI_DEV_PCIE_LINK_GEN", 1.0),
}
"""dcgm-exporter's name, the driver call that gives the figure, its name there and its scale there:
the driver counts in milliwatts, per cent and MiB/s (NVML's documentation)."""


class PlayedReader:
    """Implements `collectors.nvml.port.GpuReader` on lines that were recorded."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.moments: list[float] = []
        """When each round began, Unix seconds."""
        self._version = ""
        self._gpus: list[Gpu] = []
        self._answers: dict[tuple[str, str], deque[Line]] = defaultdict(deque)
        for line in lines:
            match line["call"]:
                case "start":
                    self._version = line["version"]
                case "gpus":
                    self._gpus = [_gpu(gpu) for gpu in line["gpus"]]
                case _:
                    name, uuid = str(line["call"]), str(line["gpu"])
                    self._answers[uuid, name].append(line)
                    if name == "utilization" and uuid == self._gpus[0].uuid:
                        self.moments.append(line["at_s"])

    def start(self) -> str:
        return self._version

    def gpus(self) -> tuple[Gpu, ...]:
        return tuple(self._gpus)

    def call(self, gpu: Gpu, name: str) -> Answer:
        answers = self._answers[gpu.uuid, name]
        if not answers:
            raise NvmlError(NvmlFailure.NOT_SUPPORTED, call=name)
        line = answers.popleft() if len(answers) > 1 else answers[0]
        if "error" in line:
            raise NvmlError(NvmlFailure(line["error"]), call=name)
        return Answer(
            tuple(Row(**row) for row in line["rows"]),
            tuple(GpuProcess(**process) for process in line["processes"]),
            {part: NvmlFailure(why) for part, why in line["failed"].items()},
        )

    def wait_xid(self, timeout_s: float) -> DriverXid | None:
        return None

    def close(self) -> None:
        return


def _gpu(told: Line) -> Gpu:
    return Gpu(**{**told, "instances": tuple(MigInstance(**i) for i in told["instances"])})


def recorded(path: Path) -> Iterator[Line]:
    """The lines of a file of `benchmarks.h200`."""
    with gzip.open(path, "rt") as file:
        for line in file:
            yield json.loads(line)


def of_recording(folder: Path, *, first_s: float, seconds: int) -> Iterator[Line]:
    """A recording's figures of its GPUs, one a second from `first_s` after its start, as the driver
    gave them."""
    meta = json.loads((folder / "meta.json").read_text())
    [host] = meta["hosts"]
    yield {"call": "start", "version": "580.159.04"}
    gpus = [
        {
            "index": gpu["index"],
            "uuid": gpu["uuid"],
            "pci": f"00000000:00:{6 + gpu['index']:02X}.0",
            "model": gpu["model"],
            "serial": "",
            "instances": [],
        }
        for gpu in host["gpus"]
    ]
    yield {"call": "gpus", "gpus": gpus}
    for at_s, figures in _by_second(folder, meta["start"] + first_s, seconds):
        for uuid, values in figures.items():
            calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
            for name, value in values.items():
                call, raw, scale = RAW[name]
                calls[call].append({"name": raw, "value": value * scale, "instance": None})
            for call, rows in calls.items():
                told = {"at_s": at_s, "call": call, "gpu": uuid, "rows": rows}
                yield told | {"processes": [], "failed": {}}


Figures = dict[str, dict[str, float]]
"""Values by GPU and name."""


def _by_second(folder: Path, from_s: float, seconds: int) -> Iterator[tuple[float, Figures]]:
    wanted = from_s
    for at_s, figures in dcgm_figures(folder, from_s=from_s, until_s=from_s + seconds):
        if at_s >= wanted:
            yield at_s, figures
            wanted += 1


def dcgm_figures(folder: Path, *, from_s: float, until_s: float) -> Iterator[tuple[float, Figures]]:
    """The figures of a recording's GPUs, moment by moment, under dcgm-exporter's names; Unix
    seconds."""
    wanted = [("metric", "in", list(RAW)), ("ts", ">=", from_s), ("ts", "<", until_s)]
    table = pq.read_table(folder / "metrics.parquet", filters=wanted)
    figures: Figures = {}
    moment = -1.0
    rows = zip(*(table[c].to_pylist() for c in ("ts", "metric", "labels", "value")), strict=True)
    for at_s, name, labels, value in rows:
        if at_s != moment and figures:
            yield moment, figures
            figures = {}
        moment = at_s
        figures.setdefault(json.loads(labels)["UUID"], {})[name] = value
    if figures:
        yield moment, figures
