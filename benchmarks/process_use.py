"""Processor time and memory of another process, from /proc; for benchmarks that start one."""

import os
import time
from pathlib import Path
from typing import Any

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_KIB_IN_MIB = 1024
_LOOK_S = 5.0


def used_over(pid: int, seconds: float) -> dict[str, Any]:
    """What a process uses in so many seconds from now. Resolution of the processor time: 10 ms."""
    proc = Path(f"/proc/{pid}")
    before, began_s = _cpu_s(proc), time.monotonic()
    pss: list[int] = []
    rss: list[int] = []
    while (left_s := began_s + seconds - time.monotonic()) > 0:
        time.sleep(min(_LOOK_S, left_s))
        pss.append(_figure(proc / "smaps_rollup", "Pss"))
        rss.append(_figure(proc / "status", "VmRSS"))
    after, took_s = _cpu_s(proc), time.monotonic() - began_s
    return {
        "seconds": round(took_s, 1),
        "cpu_share_of_core": round((sum(after) - sum(before)) / took_s, 5),
        "of_it_system": round((after[1] - before[1]) / took_s, 5),
        "rss_mib": round(max(rss) / _KIB_IN_MIB, 1),
        "rss_mb": round(max(rss) * 1024 / 1e6, 1),
        "rss_peak_mib": round(_figure(proc / "status", "VmHWM") / _KIB_IN_MIB, 1),
        "pss_mib": round(max(pss) / _KIB_IN_MIB, 1),
        "threads": _figure(proc / "status", "Threads"),
        "processes_of_the_node": sum(name.isdigit() for name in os.listdir("/proc")),
        "load_1min": round(os.getloadavg()[0], 1),
    }


def _cpu_s(proc: Path) -> tuple[float, float]:
    """User and system, of all threads."""
    fields = (proc / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) * _TICK_S, int(fields[12]) * _TICK_S


def _figure(path: Path, name: str) -> int:
    """A number of /proc/<pid>/status or smaps_rollup; kibibytes where it is memory."""
    for line in path.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
