"""What the GPUs do for the work in hand: activity of their parts, memory, links.

Called once a second by `simulator.world`, after the queues; `simulator.electrics` turns activity
into power and heat. Constants marked "recorded" were fitted to the H200 recordings.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.electrics import Activity, ElectricModel, Electrics
from simulator.layout import Layout
from simulator.pace import Pace
from simulator.pressure import Pressure
from simulator.queues import Served
from simulator.workload import NOWHERE, Phase, Workload

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

MEMORY_BYTES = 143_771.0 * 2**20
"""Frame buffer that an H200 shows. Recorded."""
IDLE_BYTES = 615.0 * 2**20
"""Frame buffer in use on an empty GPU. Recorded."""
ENGINE_BYTES = 0.8 * MEMORY_BYTES
"""What an engine takes at its start. Invented; vLLM's default is 0.9 of the frame buffer."""
STARTING_BYTES = 0.45 * MEMORY_BYTES
"""What it holds on average while it loads its weights. Invented."""
SPIN_SM = 0.19
"""SM activity of a rank that waits in NCCL. Recorded 0.18-0.19."""
STILL_UTILIZATION, STILL_SM = 0.002, 0.003
"""A GPU whose engine has nothing to do or is stopped. Recorded."""
NVLINK_BPS, NVLINK_PREFILL_BPS = 44e9, 60e9
"""NVLink bytes a second of back-to-back decode steps (recorded) and of prefill (invented)."""
PCIE_RX_BPS, PCIE_TX_BPS, PCIE_LOADING_BPS = 110e6, 17e6, 2e9
"""PCIe bytes a second of back-to-back steps (recorded) and of loading weights (invented)."""


@dataclass(frozen=True, slots=True)
class GpuState:
    """What exporters would read now; every array has shape (GPUs,)."""

    utilization: Floats
    activity: Activity
    electrics: Electrics
    memory_used: Floats
    nvlink_bps: Floats
    pcie_rx_bps: Floats
    pcie_tx_bps: Floats


class Gpus:
    """All GPUs."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        self._rng = rng
        self._count = len(layout.gpu_ids)
        pool = layout.engine_pool
        self._slots = np.array([p.slots for p in layout.pools])[pool]
        self._wide = layout.pool_width[pool] > 1
        self._electrics = ElectricModel(self._count, rng)
        self.leaked = np.zeros(self._count)
        """Bytes that the engine now running has allocated and never freed."""

    @property
    def clock_ratio(self) -> Floats:
        """SM clock of the last second as a share of the full one, shape (GPUs,)."""
        return self._electrics.clock_ratio

    @property
    def exhausted(self) -> Flags:
        """GPUs on which a leak has reached the end of memory, shape (GPUs,)."""
        return self.leaked >= MEMORY_BYTES - ENGINE_BYTES - IDLE_BYTES

    def step(
        self,
        workload: Workload,
        pace: Pace,
        served: Served,
        running: NDArray[np.int64],
        pressure: Pressure,
    ) -> GpuState:
        """The second that has just been served. `running` (engines,): requests in the batch."""
        on = workload.gpu_engine
        used = on != NOWHERE
        phase = np.where(used, workload.phase[on], np.int8(Phase.PENDING))
        loaded = used & (phase == Phase.SERVING) & ~pressure.gpu_vacated
        stuck = stuck_engines(workload, pressure)
        hung = stuck | pressure.engine_hung
        active = loaded & (running > 0)[on] & ~hung[on]
        spins = loaded & stuck[on] & ~pressure.gpu_stopped & ~pressure.gpu_lost
        noise = self._rng.normal(1, 0.04, (3, self._count))
        read = np.where(active, served.prefill[on], 0.0)
        decode = np.where(active, 1 - read, 0.0)
        step_s = pace.step_s[on]
        # The same work in a longer step is less activity, whoever made the step longer; only
        # slower kernels and lower clocks keep the parts busy for longer.
        share = pace.normal_s[on] / step_s * pressure.engine_slow[on] / np.sqrt(self.clock_ratio)
        fill = (running / self._slots)[on]
        wait = np.clip(1 - (pace.own_s + pace.host_s[on]) / step_s, 0, 1) * decode
        wait = np.where(spins, 1.0, np.where(active, wait, 0.0))
        busy = pressure.engine_busy[on]
        sm = (decode * ((0.22 + 0.40 * fill) * share + busy) + read * 0.62) * noise[0]
        tensor = (decode * (0.015 + 0.08 * fill) * share + read * 0.25) * noise[1]
        dram = (decode * ((0.26 + 0.26 * fill) * share + 0.4 * busy) + read * 0.2) * noise[2]
        still = loaded & ~active & ~spins
        spin = SPIN_SM * wait * noise[0]
        sm = sm + spin + np.where(still, STILL_SM, 0.0)
        utilization = np.clip((decode * (1 - pace.host_s[on] / step_s) + read) * noise[0], 0, 1)
        utilization = np.where(spins, 1.0, np.where(still, STILL_UTILIZATION, utilization))
        sm, tensor, dram, utilization = self._strangers(sm, tensor, dram, utilization, pressure)
        activity = Activity(sm=sm, spin=spin, tensor=tensor, dram=dram, loaded=loaded)
        starts = used & (phase == Phase.STARTING)
        steps = decode * pace.normal_s[on] / step_s
        flow = NVLINK_BPS * steps + NVLINK_PREFILL_BPS * read
        return GpuState(
            utilization=np.where(starts, self._rng.uniform(0, 0.1, self._count), utilization),
            activity=activity,
            electrics=self._electrics.step(activity, pressure),
            memory_used=self._memory(loaded, starts, workload, pressure),
            nvlink_bps=np.where(self._wide[on], flow * noise[0], 0.0) + pressure.link_foreign,
            pcie_rx_bps=(PCIE_RX_BPS * (steps + read) + 1e6) * noise[1]
            + np.where(starts, PCIE_LOADING_BPS, 0.0)
            + pressure.pcie_foreign,
            pcie_tx_bps=(PCIE_TX_BPS * (steps + read) + 2e5) * noise[2] + pressure.pcie_foreign,
        )

    def _strangers(
        self, sm: Floats, tensor: Floats, dram: Floats, utilization: Floats, pressure: Pressure
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Add work that is not the engine's."""
        jitter = self._rng.normal(1, 0.02, self._count)
        sm = np.clip(sm + (pressure.foreign_sm + 0.5 * pressure.hidden_work) * jitter, 0, 0.99)
        tensor = np.clip(tensor + pressure.foreign_tensor * jitter, 0, 0.99)
        dram = np.clip(dram + pressure.foreign_dram * jitter, 0, 0.99)
        # Recorded: 89 % with a neighbour that computes, 89-98 % with one that fills the bus.
        taken = (pressure.foreign_sm + pressure.hidden_work > 0.1) | (pressure.pcie_foreign > 1e9)
        floor = np.clip(0.95 * jitter, 0, 1)
        return sm, tensor, dram, np.where(taken, np.maximum(utilization, floor), utilization)

    def _memory(
        self, loaded: Flags, starts: Flags, workload: Workload, pressure: Pressure
    ) -> Floats:
        on = workload.gpu_engine
        self.leaked = np.where(loaded, self.leaked + pressure.leak_rate[on], 0.0)
        held = np.where(loaded, ENGINE_BYTES, np.where(starts, STARTING_BYTES, 0.0))
        return np.minimum(IDLE_BYTES + held + self.leaked + pressure.foreign_bytes, MEMORY_BYTES)


def stuck_engines(workload: Workload, pressure: Pressure) -> Flags:
    """Engines of which a rank stands still or is gone, shape (engines,): the others wait for it."""
    stuck = np.zeros(len(workload.phase), np.bool_)
    broken = (workload.gpu_engine != NOWHERE) & (pressure.gpu_stopped | pressure.gpu_lost)
    stuck[workload.gpu_engine[broken]] = True
    return stuck
