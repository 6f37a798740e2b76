"""Everything that only a real GPU can show, in one run of some minutes: what NVML says and costs,
the whole agent beside a load, the kernel programs' bytes against the load's own count, an Xid 31 of
an illegal access told by three witnesses.

    python3 -m benchmarks.h200 --out FOLDER [--seconds 60] [--standin]

Needs root, a GPU with its driver, BTF and libbpf.so.1; what is missing is named in the result, and
the rest is measured. `benchmarks/h200.sh` brings what a machine without a package registry lacks.
Each part that fails is told with its error, and the result is written after each. `--standin` tries
the whole of it on libraries that are compiled for it: the figures then mean nothing.

FOLDER gets `h200.json` (for benchmarks/results), `nvml.jsonl.gz` (every answer of NVML; the tests
play such a file back), `events.jsonl.gz`, `samples.jsonl.gz` and the agent's own words.
"""

import argparse
import gzip
import json
import os
import platform
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable
from ctypes import CDLL
from pathlib import Path
from typing import Any

from benchmarks import h200_counts, h200_fields
from benchmarks.agent_calls import ManyFromOne, measure
from benchmarks.cuda_load import Load
from benchmarks.h200_agent import Libraries, export, start, xids
from benchmarks.machine import ROOT, today
from benchmarks.process_use import used_over
from collectors.ebpf.availability import BTF, hindrance, object_path
from collectors.nvml.library import NvmlLibrary

TRACING = Path("/sys/kernel/tracing")
NODE_GPUS = 8
WARM_S = 15.0
"""Until the agent has attached and looked at everything once."""
FAULTS = 5
"""Processes that each write where they may not."""
SETTLE_S = 4.0
"""Until the driver, the log and NVML have told of a fault."""


def machine() -> dict[str, Any]:
    """What this was run on."""
    reason = hindrance(path=object_path())
    events = TRACING / "events" / "nvidia" / "nvidia_dev_xid"
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "root": os.geteuid() == 0,
        "btf": BTF.is_file(),
        "ebpf": "available" if reason is None else f"{reason.why.value} {reason.words}",
        "xid_tracepoint": events.is_dir(),
        "kernel_log": os.access("/dev/kmsg", os.R_OK),
        "load_1min": round(os.getloadavg()[0], 1),
    }


def commit() -> str:
    """Of the working tree; empty where there is no git."""
    try:
        command = ["git", "rev-parse", "HEAD"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def mounted() -> None:
    """The kernel's tracepoints, where the machine has not mounted them."""
    if not (TRACING / "events").is_dir():
        subprocess.run(["mount", "-t", "tracefs", "nodev", str(TRACING)], check=False)


class Run:
    """One run and its result so far."""

    def __init__(self, out: Path, *, seconds: float, libraries: Libraries) -> None:
        self._out = out
        self._seconds = seconds
        self._libraries = libraries
        self._cuda = libraries.libcuda or "libcuda.so.1"
        self.result: dict[str, Any] = {
            "benchmark": "h200",
            "measured": today().isoformat(),
            "commit": commit(),
            "machine": machine(),
        }

    def part(self, name: str, work: Callable[[], Any]) -> None:
        """Do a part; one that fails leaves the others be."""
        began_s = time.monotonic()
        try:
            self.result[name] = work()
        except (Exception, SystemExit) as error:  # noqa: BLE001  a machine is lent once
            traceback.print_exc()
            self.result[name] = {"failed": f"{type(error).__name__}: {error}"}
        self.result.setdefault("took_s", {})[name] = round(time.monotonic() - began_s, 1)
        (self._out / "h200.json").write_text(json.dumps(self.result, indent=1) + "\n")
        print(f"== {name}: {json.dumps(self.result[name])[:1500]}", flush=True)

    def counts(self) -> dict[str, Any]:
        """The programs' count beside the load's own."""
        return h200_counts.measured(self._cuda)

    def calls(self) -> dict[str, Any]:
        """Each call of NVML beside a load, recorded."""
        load = Load(self._cuda)
        load.begin("burn", self._seconds + 3)
        with gzip.open(self._out / "nvml.jsonl.gz", "wt") as record:
            figures = measure(NvmlLibrary(self._libraries.nvml), int(self._seconds), record)
        figures["load"] = load.answer()
        load.end()
        return figures

    def calls_of_eight(self) -> dict[str, Any]:
        """The same where one GPU stands for the eight of a node."""
        load = Load(self._cuda)
        load.begin("burn", self._seconds + 3)
        readers = [NvmlLibrary(self._libraries.nvml) for _ in range(NODE_GPUS)]
        figures = measure(ManyFromOne(readers), int(self._seconds), None)
        load.answer()
        load.end()
        return figures

    def fields(self) -> dict[str, Any]:
        """Each figure of NVML by itself, beside a load."""
        NvmlLibrary(self._libraries.nvml).start()
        load = Load(self._cuda)
        load.begin("burn", 30)
        costs = h200_fields.measured()
        load.answer()
        load.end()
        return costs

    def agent(self) -> dict[str, Any]:
        """The whole agent: its cost beside a load, then faults, then what it told."""
        with tempfile.TemporaryDirectory(prefix="fleetmend-h200-") as name:
            folder = Path(name)
            running = start(folder, self._libraries)
            try:
                load = Load(self._cuda)
                load.begin("burn", WARM_S + self._seconds)
                time.sleep(WARM_S)
                used = used_over(running.pid, self._seconds)
                used["load"] = load.answer()
                load.end()
                faults = [self._fault() for _ in range(FAULTS)]
            finally:
                running.terminate()
                code = running.wait(60)
                words = (folder / "agent.log").read_bytes()
                (self._out / "agent.log").write_bytes(words[-1_000_000:])
            with (
                gzip.open(self._out / "events.jsonl.gz", "wt") as events,
                gzip.open(self._out / "samples.jsonl.gz", "wt") as samples,
            ):
                heard = export(folder, events, samples)
            return {
                "whole_process": used,
                "exit_code": code,
                "heard": heard,
                "faults": faults,
                "xids": xids(folder),
            }

    def _fault(self) -> Any:
        """A process that writes where it may not: Xid 31, of the application."""
        load = Load(self._cuda)
        told = load("wild")
        load.end()
        time.sleep(SETTLE_S)
        return told


def stand_ins(folder: Path) -> Libraries:
    """Libraries that are compiled for a try."""
    from benchmarks.agent_node import nvml_library  # noqa: PLC0415  brings what a node has not
    from tests.contract.ebpf.stand_in import compiled  # noqa: PLC0415

    nvml = nvml_library(folder)
    CDLL(str(nvml)).standin_reset(1)
    return Libraries(str(nvml), str(compiled(folder, source="cuda.c", name="libcuda.so.1")))


def main() -> None:
    """Run all parts; the result is in the folder whatever happens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--standin", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    mounted()
    with tempfile.TemporaryDirectory(prefix="fleetmend-standin-") as folder:
        libraries = stand_ins(Path(folder)) if given.standin else Libraries()
        run = Run(given.out, seconds=given.seconds, libraries=libraries)
        run.part("counts", run.counts)
        run.part("calls", run.calls)
        run.part("calls_of_eight", run.calls_of_eight)
        run.part("fields", run.fields)
        run.part("agent", run.agent)


if __name__ == "__main__":
    main()
