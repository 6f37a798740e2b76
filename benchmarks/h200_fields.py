"""What each figure of NVML costs by itself: fields one by one, a GPM sample and its metrics, beside
whatever load there is. A part of `benchmarks.h200`; it says why `collectors.nvml.rates` is as it
is."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import pynvml

from collectors.nvml import rates
from collectors.nvml.gpm import GpmMetrics

FIELDS = (
    *rates.FAST_FIELDS,
    *rates.SLOW_FIELDS,
    *rates.ENERGY_FIELDS,
    *rates.THROTTLE_FIELDS,
    *rates.PCIE_ERROR_FIELDS,
)
TRIES = 7
APART_S = 0.05
"""Between two tries: a driver that is asked again at once answers from what it has just worked out,
and so does the processor's cache."""


def cost(work: Callable[[], Any]) -> dict[str, float]:
    """Medians in microseconds: processor time of this thread, and time that passed."""
    cpu_us, wall_us = [], []
    for _ in range(TRIES):
        time.sleep(APART_S)
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        work()
        cpu_us.append((time.thread_time_ns() - cpu) / 1e3)
        wall_us.append((time.perf_counter_ns() - wall) / 1e3)
    return {"cpu_us": round(median(cpu_us), 1), "wall_us": round(median(wall_us), 1)}


def measured() -> dict[str, Any]:
    """Of the first GPU; the library is loaded already. What the GPU does not have is left out."""
    pynvml.nvmlInit()
    board = pynvml.nvmlDeviceGetHandleByIndex(0)
    costs: dict[str, Any] = {"nothing": cost(lambda: None)}
    for field in FIELDS:
        costs[f"field.{field}"] = cost(partial(pynvml.nvmlDeviceGetFieldValues, board, [field]))
    older, newer = pynvml.nvmlGpmSampleAlloc(), pynvml.nvmlGpmSampleAlloc()
    pynvml.nvmlGpmSampleGet(board, older)
    costs["gpm_sample"] = cost(lambda: pynvml.nvmlGpmSampleGet(board, newer))
    for name, wanted in {
        "gpm_metrics": rates.GPM_METRICS,
        **{f"gpm.{metric}": (metric,) for metric in rates.GPM_DEAR_METRICS},
    }.items():
        metrics = GpmMetrics(wanted)
        costs[name] = cost(partial(metrics.between, older, newer, None))
    return costs
