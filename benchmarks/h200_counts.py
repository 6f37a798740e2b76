"""The kernel programs beside a load that keeps its own count: bytes outstanding to the byte, and
what a probe costs a call. A part of `benchmarks.h200`."""

import time
from typing import Any

from benchmarks.cuda_load import Load
from collectors.ebpf.availability import Reason
from collectors.ebpf.probes import Probes
from collectors.ebpf.processes import processes
from fleetmend.settings.ebpf import EbpfSettings


def counted(probes: Probes, pid: int) -> dict[str, int]:
    """What the programs counted of a process, its devices together."""
    uses = [use for use in probes.snapshot().uses if use.pid == pid]
    names = {name for use in uses for name in use.counts}
    return {name: sum(use.counts[name] for use in uses) for name in sorted(names)}


def compared(probes: Probes, run: Load) -> dict[str, Any]:
    """One walk of a load, by its own count and by the programs'."""
    before = counted(probes, run.pid)
    own = run("walk")
    after = counted(probes, run.pid)
    seen = {name: after.get(name, 0) - before.get(name, 0) for name in own}
    return {"own": own, "counted": seen, "exact": own == seen, "whole": after} | {
        "devices": sorted(use.device for use in probes.snapshot().uses if use.pid == run.pid)
    }


def measured(libcuda: str) -> dict[str, Any]:
    """Two processes run the same load: one began before the programs were attached and is found by
    what it has mapped, one afterwards. Where there are no programs the result says why."""
    early = Load(libcuda)
    bare = early("timed")
    started = time.perf_counter()
    probes = Probes.start(EbpfSettings())
    loaded_s = time.perf_counter() - started
    if isinstance(probes, Reason):
        early.end()
        return {"available": False, "reason": probes.why.value, "words": probes.words}
    started = time.perf_counter()
    probes.follow(processes())
    attached_s = time.perf_counter() - started
    state = probes.state
    result: dict[str, Any] = {
        "available": True,
        "load_ms": loaded_s * 1e3,
        "find_and_attach_ms": attached_s * 1e3,
        "groups": list(state.groups),
        "refused": state.refused,
        "absent": list(state.absent),
        "functions_absent": state.functions_absent,
        "cost": {"bare": bare, "probed": early("timed")},
        "began_before": compared(probes, early),
    }
    late = Load(libcuda)
    result["began_after"] = compared(probes, late)
    started = time.perf_counter()
    probes.snapshot()
    result["read_ms"] = (time.perf_counter() - started) * 1e3
    late.end()
    early.end()
    started = time.perf_counter()
    result["links_left"] = probes.close()
    result["detach_s"] = time.perf_counter() - started
    return result
