"""The model's state under the names and units of the signal catalogue.

Called by `simulator.fleet`; `simulator.telemetry` turns the tables into batches. A test checks that
every name here is in the catalogue.
"""

import numpy as np
from numpy.typing import NDArray

from simulator.counters import Counters
from simulator.electrics import POWER_LIMIT_W, SLOWDOWN_C
from simulator.gpus import ENGINE_BYTES, IDLE_BYTES, MEMORY_BYTES, GpuState
from simulator.hosts import MEMORY_BYTES as HOST_BYTES
from simulator.hosts import HostState
from simulator.layout import Layout
from simulator.pressure import Pressure
from simulator.queues import Queues, Served
from simulator.telemetry import Table
from simulator.workload import NOWHERE, Workload

Floats = NDArray[np.float64]

SLOW_PERIOD_S = 60
"""Seconds between samples of what hardly ever changes, as in the catalogue."""
OUTPUT_P50, OUTPUT_P95 = 0.69, 3.0
"""Median and 95 % quantile of geometric answer lengths, in means."""
MEMORY_BUSY = 1.27
"""NVML's memory utilisation for a DRAM activity of 1. Recorded: 9.07 % beside 0.071."""
JITTER = 0.04
"""Spread of latencies between two seconds. Recorded: TPOT 48 +- 3 ms."""


def gpu_table(state: GpuState, counters: Counters, pressure: Pressure, *, slow: bool) -> Table:
    """All GPUs; `slow` adds what is read once a minute."""
    electrics, activity = state.electrics, state.activity
    table: dict[str, Floats] = {
        "gpu.utilization": np.minimum(state.utilization, 1.0).round(2),
        "gpu.memory_busy": np.minimum(activity.dram * MEMORY_BUSY, 1.0).round(2),
        "gpu.sm_active": np.round(activity.sm, 5),
        "gpu.tensor_active": np.round(activity.tensor, 5),
        "gpu.dram_active": np.round(activity.dram, 5),
        "gpu.power": np.round(electrics.power_w, 3),
        "gpu.sm_clock": electrics.clock_mhz,
        "gpu.temperature": electrics.temperature_c,
        "gpu.memory_temperature": electrics.memory_temperature_c,
        "gpu.clock_event_reasons": electrics.reasons.astype(np.float64),
        "gpu.memory_used": np.round(state.memory_used),
        "gpu.memory_free": np.round(MEMORY_BYTES - state.memory_used),
        "gpu.memory_foreign": np.round(pressure.foreign_bytes),
        "gpu.processes_foreign": pressure.foreign_processes.round(),
        "gpu.nvlink_tx": np.round(state.nvlink_bps),
        "gpu.nvlink_rx": np.round(state.nvlink_bps * 1.0001),
        "gpu.pcie_tx": np.round(state.pcie_tx_bps),
        "gpu.pcie_rx": np.round(state.pcie_rx_bps),
        "gpu.xid_last": counters.xid_last,
        "gpu.recovery_action": counters.recovery_action,
        "gpu.row_remap_pending": counters.row_remap_pending,
    }
    table |= {f"gpu.{name}": values.copy() for name, values in counters.gpu.items()}
    if slow:
        every = np.ones(len(electrics.power_w))
        table["gpu.power_limit"] = every * POWER_LIMIT_W
        table["gpu.memory_total"] = every * MEMORY_BYTES
        table["gpu.temperature_slowdown"] = every * SLOWDOWN_C
    return table


class EngineExposure:
    """What engines report; latencies are of the requests that got a token or ended this second."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        self._rng = rng
        pool = layout.engine_pool
        self._prefill = np.array([p.prefill_tokens_per_s for p in layout.pools])[pool]
        self._output = np.array([p.output_tokens for p in layout.pools])[pool]
        self._tpot_s = np.full(len(pool), np.nan)

    def table(
        self,
        queues: Queues,
        served: Served,
        counters: Counters,
        leaked: Floats,
        started_s: Floats,
        workload: Workload,
        pressure: Pressure,
    ) -> Table:
        """`leaked` (GPUs,) bytes; `started_s` (engines,) Unix seconds."""
        noise = np.exp(self._rng.normal(0, JITTER, (4, len(started_s))))
        # Requests that end now have lived through the last seconds too.
        known = np.isfinite(self._tpot_s)
        self._tpot_s = np.where(known, 0.6 * self._tpot_s + 0.4 * served.tpot_s, served.tpot_s)
        tpot = np.where(served.done > 0, self._tpot_s * noise[0], np.nan)
        each = np.divide(
            served.prompt_tokens,
            served.admitted,
            out=np.full(len(tpot), np.nan),
            where=served.admitted > 0,
        )
        # Prompts of one second queue behind each other, and a request waits for the running step.
        crowd = 1 + served.prefill / (1 - served.prefill)
        first = each / self._prefill * crowd + 0.5 * served.tpot_s
        ttft_p50 = (served.wait_p50_s + first) * noise[1]
        ttft_p95 = (served.wait_p95_s + 2 * first) * noise[2]
        queue_p95 = served.wait_p95_s + first * noise[3]
        on = workload.gpu_engine
        held = np.zeros(len(tpot))
        np.maximum.at(held, on[on != NOWHERE], leaked[on != NOWHERE])
        ended = served.done > 0
        output = self._output
        allocated = ENGINE_BYTES - IDLE_BYTES + held
        return {
            "engine.requests_running": queues.running.astype(np.float64),
            "engine.requests_waiting": queues.waiting.astype(np.float64),
            "engine.requests_aborted": np.zeros(len(tpot)),
            "engine.kv_usage": queues.kv_usage(pressure),
            "engine.ttft_p50": ttft_p50,
            "engine.ttft_p95": np.maximum(ttft_p95, ttft_p50),
            "engine.tpot_p50": tpot,
            "engine.tpot_p95": tpot * (1.03 + 0.1 * np.abs(noise[3] - 1)),
            "engine.e2e_p50": np.where(ended, first + OUTPUT_P50 * output * tpot, np.nan),
            "engine.e2e_p95": np.where(ended, first + OUTPUT_P95 * output * tpot, np.nan),
            "engine.queue_time_p95": queue_p95,
            "engine.prompt_length_mean": each,
            "engine.memory_allocated": np.round(allocated),
            "engine.memory_reserved": np.round(allocated + 0.5e9),
            "engine.process_start": started_s,
            **{f"engine.{name}": values.copy() for name, values in counters.engine.items()},
        }


def scrape_table(answers: NDArray[np.bool_], health: Floats, noise: Floats) -> Table:
    """What the reader of engines' pages adds. `answers` (engines,): the page can be read; `health`:
    status of a health request, 0 when there is no answer; `noise`: positive, about 1."""
    return {
        "engine.scrape_up": answers.astype(np.float64),
        "engine.scrape_time": np.where(answers, 0.004 * noise, np.nan),
        "engine.probe_status": health,
        "engine.probe_time": np.where(health > 0, 0.002 * noise, np.nan),
    }


def node_table(host: HostState, counters: Counters, noise: Floats, *, slow: bool) -> Table:
    """All nodes; `noise` (nodes,): positive, about 1."""
    every = np.ones(len(host.load1))
    table = {
        "node.scrape_up": every,
        "node.scrape_time": 0.01 * noise,
        "node.gpu_scrape_up": every,
        "node.gpu_scrape_time": 0.05 * noise,
        "node.cpu_busy": host.cpu_user + host.cpu_system,
        "node.cpu_user": host.cpu_user,
        "node.cpu_system": host.cpu_system,
        "node.memory_used": np.round(host.memory_used),
        "node.memory_available": np.round(HOST_BYTES - host.memory_used),
        "node.load1": np.round(host.load1, 2),
        "node.context_switches": counters.switches.copy(),
        "node.oom_kills": counters.oom_kills.copy(),
    }
    if slow:
        table["node.memory_total"] = every * HOST_BYTES
    return table
