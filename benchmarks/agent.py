"""What the node agent costs: the whole process on a node of eight GPUs, and each call it makes.

`python -m benchmarks.agent` starts `fleetmend agent` on a node (`benchmarks.agent_node`) whose
driver, kubelet and engines are stand-ins and whose kernel and broker are real, and reads its
processor time and memory from /proc for a minute. Then it times each call of the GPU reader on the
stand-in, where the driver costs nothing. What a real driver adds is measured by `benchmarks.h200`
on an H200; where `benchmarks/results/h200.json` is there, the sum of both is printed as what it is,
extrapolated from one GPU to eight (`--again`: from what is kept, when only that file is new). It
writes `benchmarks/results/agent.json`.
"""

import argparse
import json
import tempfile
import time
from ctypes import CDLL
from pathlib import Path
from typing import Any

from benchmarks.agent_calls import every_s, measure
from benchmarks.agent_node import NODE_GPUS, Node, agent, node, nvml_library
from benchmarks.machine import ROOT, described
from benchmarks.process_use import used_over
from collectors.nvml.library import NvmlLibrary
from collectors.nvml.rates import CALLS, Rate

RESULT = ROOT / "benchmarks" / "results" / "agent.json"
_NOTHING = {"cpu_us_mean": 0.0}
"""Of a call that the stand-in has not."""
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


def added_us(told: dict[str, Any], own: dict[str, Any]) -> dict[str, float]:
    """What the calls of one real GPU cost in a second beyond the stand-in's, by rate, microseconds.
    `told`, `own`: figures of each call. Raises KeyError for a call that was not measured."""
    periods_s = every_s()
    return {
        rate.value: round(
            sum(
                max(0.0, told[name]["cpu_us_mean"] - own.get(name, _NOTHING)["cpu_us_mean"])
                for name in CALLS[rate]
            )
            / periods_s[rate],
            1,
        )
        for rate in Rate
    }


def extrapolated(process: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What eight real GPUs would make of it. `own`: what each call costs on the stand-in."""
    try:
        told = json.loads(DRIVER_RESULT.read_text())
        added = added_us(told["calls"]["calls"], own)
    except (FileNotFoundError, KeyError) as missing:
        return {
            "cpu_share_of_core": None,
            "how": f"not measured with these calls yet ({missing}): `benchmarks/h200.sh` on an "
            "H200, its result to benchmarks/results/h200.json",
        }
    apart_us = sum(added.values())
    in_turn = added_us(told["calls_of_eight"]["calls"], own)
    in_turn_us = sum(in_turn.values())
    own_share = process["cpu_share_of_core"]
    beside = told["agent"].get("whole_process", {})
    return {
        "cpu_share_of_core": round(own_share + in_turn_us * NODE_GPUS / 1e6, 5),
        "cpu_share_of_core_at_most": round(own_share + apart_us * NODE_GPUS / 1e6, 5),
        "measured_whole_process_on_stand_ins": own_share,
        "us_per_gpu_second_beyond_stand_in_eight_in_turn": in_turn,
        "us_per_gpu_second_beyond_stand_in_one_a_second": added,
        "how": "measured: the whole process on stand-ins here, and each call on one H200 (mean "
        f"of processor time), asked once a second and as {NODE_GPUS} in turn. Extrapolated: "
        f"{NODE_GPUS} times calls over their periods, less what the same calls cost on the "
        "stand-in, which is in the whole process already. In turn is what an agent does, but one "
        "board answers for all; once a second is a most, for each call then finds cold caches",
        "driver": told["calls"]["driver"],
        "memory_mb_here": process["rss_mb"],
        "memory_mb_on_an_h200_with_one_gpu": beside.get("rss_mb"),
        "memory_how": "measured, both: here eight stand-ins and Kafka's client, there the real "
        "library and a log in a file",
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=90)
    parser.add_argument("--warm", type=int, default=WARM_S)
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--again", action="store_true", help="only extrapolate from what is kept")
    given = parser.parse_args()
    if given.again:
        report = json.loads(given.result.read_text())
    else:
        report = measured(warm_s=given.warm, seconds=given.seconds)
    process, calls = report["whole_process"], report["calls"]
    report["extrapolated_to_real_gpus"] = extrapolated(process, calls["calls"])
    given.result.parent.mkdir(parents=True, exist_ok=True)
    given.result.write_text(json.dumps(report, indent=2) + "\n")
    for section in ("whole_process", "extrapolated_to_real_gpus"):
        for figure, value in report[section].items():
            print(f"{section:26} {figure:24} {value}")
    for call, figures in calls["calls"].items():
        print(f"{call:26} " + "  ".join(f"{key} {value}" for key, value in figures.items()))


def measured(*, warm_s: float, seconds: int) -> dict[str, Any]:
    """The process, then each call."""
    with tempfile.TemporaryDirectory(prefix="fleetmend-agent-") as name:
        folder = Path(name)
        with node(folder) as at:
            process = whole(at, warm_s=warm_s, seconds=seconds)
        library = nvml_library(folder)
        CDLL(str(library)).standin_reset(NODE_GPUS)
        calls = measure(NvmlLibrary(str(library)), min(65, seconds), None)
    return described("agent") | {
        "gpus": NODE_GPUS,
        "stand_ins": "the driver's library, libcuda, libnccl, the kubelet",
        "real": "the kernel with its log and programs, the broker, the agent itself",
        "wanted": {"cpu_share_of_core": 0.01, "memory_mb": 100},
        "whole_process": process,
        "calls": calls | {"library": "stand-in"},
    }


if __name__ == "__main__":
    main()
