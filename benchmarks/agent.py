"""What the node agent costs: the whole process on a node of eight GPUs, and each call it makes.

`python -m benchmarks.agent` starts `fleetmend agent` on a node (`benchmarks.agent_node`) whose
driver, kubelet and engines are stand-ins and whose kernel and broker are real, and reads its
processor time and memory from /proc for a minute. Then it times each call of the GPU reader on the
stand-in, where the driver costs nothing. What a real driver adds is measured by `benchmarks.h200`
on an H200; where `benchmarks/results/h200.json` is there, the sum of both is printed as what it is,
extrapolated from one GPU to eight. It writes `benchmarks/results/agent.json`.
"""

import argparse
import json
import tempfile
import time
from ctypes import CDLL
from pathlib import Path
from typing import Any

from benchmarks.agent_calls import measure
from benchmarks.agent_node import NODE_GPUS, Node, agent, node, nvml_library
from benchmarks.machine import ROOT, described
from benchmarks.process_use import used_over
from collectors.nvml.library import NvmlLibrary

RESULT = ROOT / "benchmarks" / "results" / "agent.json"
DRIVER_RESULT = ROOT / "benchmarks" / "results" / "h200.json"
WARM_S = 30
"""Seconds before counting begins: imports, attaching, the first looks at every process."""


def whole(at: Node, *, warm_s: float, seconds: float) -> dict[str, Any]:
    """The agent as a process."""
    started = agent(at)
    try:
        time.sleep(warm_s)
        figures = used_over(started.pid, seconds)
    finally:
        started.terminate()
        code = started.wait(timeout=60)
    return figures | {"exit_code": code, "ebpf": at.ebpf}


def extrapolated(whole_share: float, own_us: float) -> dict[str, Any]:
    """What eight real GPUs would make of it. `own_us`: of reading one stand-in GPU for a second."""
    if not DRIVER_RESULT.exists():
        return {
            "cpu_share_of_core": None,
            "how": "the driver's own part is not measured yet: `python -m benchmarks.h200` on an "
            "H200, its result to benchmarks/results/h200.json",
        }
    told = json.loads(DRIVER_RESULT.read_text())["calls"]["in_calls_us_per_gpu_second"]
    added = max(0.0, told - own_us) * NODE_GPUS / 1e6
    return {
        "cpu_share_of_core": round(whole_share + added, 5),
        "how": f"the whole process on stand-ins, and {NODE_GPUS} times what the calls of one H200 "
        f"cost beyond the stand-in's ({told} against {own_us} us of a second)",
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=90)
    parser.add_argument("--warm", type=int, default=WARM_S)
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleetmend-agent-") as name:
        folder = Path(name)
        with node(folder) as at:
            process = whole(at, warm_s=given.warm, seconds=given.seconds)
        library = nvml_library(folder)
        CDLL(str(library)).standin_reset(NODE_GPUS)
        calls = measure(NvmlLibrary(str(library)), min(30, given.seconds), None)
    own_us = calls["in_calls_us_per_gpu_second"]
    report = described("agent") | {
        "gpus": NODE_GPUS,
        "stand_ins": "the driver's library, libcuda, libnccl, the kubelet",
        "real": "the kernel with its log and programs, the broker, the agent itself",
        "wanted": {"cpu_share_of_core": 0.01, "memory_mib": 100},
        "whole_process": process,
        "calls": calls | {"library": "stand-in"},
        "extrapolated_to_real_gpus": extrapolated(process["cpu_share_of_core"], own_us),
    }
    given.result.parent.mkdir(parents=True, exist_ok=True)
    given.result.write_text(json.dumps(report, indent=2) + "\n")
    for section in ("whole_process", "extrapolated_to_real_gpus"):
        for figure, value in report[section].items():
            print(f"{section:26} {figure:24} {value}")
    for call, figures in calls["calls"].items():
        print(f"{call:26} " + "  ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
