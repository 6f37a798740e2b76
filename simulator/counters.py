"""Counters: figures that only rise, until the thing that counts is started anew.

GPU counters live with the driver (a repair clears them), engine counters with the engine's process
(a restart clears them), node counters with the host. Called once a second by `simulator.world`.
"""

import numpy as np
from numpy.typing import NDArray

from simulator.electrics import HW_THERMAL, POWER_CAP, SW_THERMAL
from simulator.gpus import GpuState
from simulator.hosts import HostState
from simulator.layout import Layout
from simulator.pressure import Pressure
from simulator.queues import Served

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WEAK_SHARE = 0.045
"""Share of GPUs that see corrected ECC errors at all. Published: 4.5-5 % of GPUs carry all."""
WEAK_PER_S = 2.83 / 86_400
"""Corrected errors a second on such a GPU. Published: 2.83 per GPU-day, read as of these GPUs."""
BURST_SIZE = 4.0
"""Mean errors of a burst: 94 % of gaps are under an hour, so they come together. Invented."""
REPLAYS_PER_S = 1e-7
"""PCIe replays a second of a healthy GPU. Recorded: one in the life of two GPUs."""
CRC_SHARE, RECOVERY_SHARE = 0.6, 0.05
"""NVLink CRC errors and recoveries for each replay. Invented."""

GPU_COUNTERS = (
    "energy",
    "throttle_power",
    "throttle_thermal",
    "pcie_replays",
    "nvlink_replays",
    "nvlink_crc_data_errors",
    "nvlink_recoveries",
    "ecc_sbe",
    "ecc_dbe",
    "remapped_rows_uncorrectable",
)
ENGINE_COUNTERS = (
    "requests_done",
    "requests_failed",
    "requests_first_token",
    "prompt_tokens",
    "generation_tokens",
    "preemptions",
    "iterations",
    "process_cpu",
)


class Counters:
    """Counters and sticky states by name, each an array over GPUs, engines or nodes."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        gpus, engines = len(layout.gpu_ids), len(layout.engine_names)
        self._rng = rng
        self._weak = rng.random(gpus) < WEAK_SHARE
        self.gpu = {name: np.zeros(gpus) for name in GPU_COUNTERS}
        self.gpu["energy"] += rng.uniform(1e7, 1e9, gpus)
        self.gpu["ecc_sbe"] += np.where(self._weak, rng.poisson(20, gpus), 0)
        self.engine = {name: np.zeros(engines) for name in ENGINE_COUNTERS}
        self.switches = rng.uniform(1e6, 1e9, len(layout.nodes)).round()
        self.oom_kills = np.zeros(len(layout.nodes))
        self.xid_last = np.zeros(gpus)
        self.recovery_action = np.zeros(gpus)
        self.row_remap_pending = np.zeros(gpus)

    def step(
        self, gpu: GpuState, host: HostState, served: Served, step_s: Floats, pressure: Pressure
    ) -> None:
        """Count one second."""
        count = self.gpu
        reasons = gpu.electrics.reasons
        count["energy"] += gpu.electrics.power_w
        count["throttle_power"] += np.where(reasons & POWER_CAP, 0.4, 0.0)
        count["throttle_thermal"] += np.where(reasons & (SW_THERMAL | HW_THERMAL), 1.0, 0.0)
        count["pcie_replays"] += self._rng.poisson(REPLAYS_PER_S + pressure.pcie_replays)
        errors = self._rng.poisson(pressure.link_errors)
        count["nvlink_replays"] += errors
        count["nvlink_crc_data_errors"] += self._rng.binomial(errors, CRC_SHARE)
        count["nvlink_recoveries"] += self._rng.binomial(errors, RECOVERY_SHARE)
        bursts = self._weak & (self._rng.random(len(self._weak)) < WEAK_PER_S / BURST_SIZE)
        count["ecc_sbe"] += np.where(bursts, self._rng.poisson(BURST_SIZE, len(bursts)), 0)
        count["ecc_sbe"] += self._rng.poisson(pressure.ecc_corrected)
        self.switches += host.switches
        engine = self.engine
        engine["requests_done"] += served.done
        engine["requests_first_token"] += served.admitted
        engine["prompt_tokens"] += served.prompt_tokens
        engine["generation_tokens"] += np.floor(served.generated)
        engine["preemptions"] += served.preempted
        engine["iterations"] += np.where(served.generated > 0, np.floor(1 / step_s), 0)
        engine["process_cpu"] += 0.15 + 0.7 * (served.generated > 0)

    def forget_engines(self, engines: Ints) -> None:
        """These engines' processes were started anew."""
        for values in self.engine.values():
            values[engines] = 0

    def forget_gpus(self, gpus: Ints) -> None:
        """These GPUs were reset or replaced."""
        for name, values in self.gpu.items():
            if name != "energy":
                values[gpus] = 0
        for values in (self.xid_last, self.recovery_action, self.row_remap_pending):
            values[gpus] = 0
