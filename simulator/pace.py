"""How long a decode step of each engine takes, and where its time goes on each GPU.

A step is kernels, then collectives, then host work. All ranks wait for the slowest one, so one slow
GPU slows its engine, and the healthy ranks spend the difference spinning in collectives: that is
what the two-GPU recording shows (`h200-tp2-a`). Read by `simulator.queues` and `simulator.gpus`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.layout import Layout
from simulator.pressure import Pressure
from simulator.workload import NOWHERE, Workload

Floats = NDArray[np.float64]

COLLECTIVE_SHARE = 0.18
"""Share of a healthy step spent in collectives. Invented: a bare all-reduce loop has 0.48."""
SHARED_SLOWDOWN = 1.6
"""How much kernels stretch when somebody else wants all of the GPU. Recorded: own compute 1.35 to
3.3 ms beside a process that keeps the SMs 68 % active."""
CLOCK_EXPONENT = 0.7
"""Decoding is bound by memory, so time grows slower than the clock falls. Invented."""
PCIE_FULL = 26e9
"""Bytes a second of a saturated PCIe 5 x16 link, one way. Recorded."""
PCIE_HOST_SLOWDOWN = 0.6
"""How much host work stretches on a saturated link. Recorded: TPOT 48 to 64 ms with one GPU, no
change with two; this lies between."""
LINK_FULL = 300e9
"""NVLink bytes a second at which foreign traffic would double collectives. Recorded: 147 GB/s of
contention stretched them from 1.3 to 1.6 ms."""


@dataclass(frozen=True, slots=True)
class Pace:
    """One second's step times."""

    step_s: Floats
    """Shape (engines,): wall time of a decode step."""
    normal_s: Floats
    """Shape (engines,): kernels and collectives of the same step in a healthy engine."""
    host_s: Floats
    """Shape (engines,)."""
    own_s: Floats
    """Shape (GPUs,): time in this rank's own kernels; 0 where no engine runs."""


class PaceModel:
    """Holds what does not change; `measure` gives a second's pace."""

    def __init__(self, layout: Layout) -> None:
        pools = layout.pools
        pool = layout.engine_pool
        self._count = len(layout.engine_names)
        self._gpu_node = np.repeat(np.arange(len(layout.nodes)), 8)
        self._token_s = np.array([p.token_ms for p in pools])[pool] / 1_000
        self._request_s = np.array([p.token_ms_per_request for p in pools])[pool] / 1_000
        self._host_s = np.array([p.host_ms for p in pools])[pool] / 1_000
        self._collective = np.where(layout.pool_width[pool] > 1, COLLECTIVE_SHARE, 0.0)

    def measure(
        self,
        running: NDArray[np.int64],
        clock_ratio: Floats,
        workload: Workload,
        pressure: Pressure,
    ) -> Pace:
        """`clock_ratio` (GPUs,): SM clock of the last second over the normal one."""
        normal = self._token_s + self._request_s * running
        on = workload.gpu_engine
        used = on != NOWHERE
        slow = (1 + SHARED_SLOWDOWN * (pressure.foreign_sm + pressure.hidden_work)) * (
            np.maximum(clock_ratio, 0.2) ** -CLOCK_EXPONENT
        )
        link = pressure.link_slow + pressure.link_foreign / LINK_FULL
        kernels = normal * (1 - self._collective) * pressure.engine_slow
        own = np.where(used, kernels[on] * slow, 0.0)
        slowest = np.zeros(self._count)
        np.maximum.at(slowest, on[used], own[used])
        collective = np.ones(self._count)
        np.maximum.at(collective, on[used], link[used])
        bus = np.zeros(self._count)
        np.maximum.at(bus, on[used], pressure.pcie_foreign[used] / PCIE_FULL)
        host = self._host_s * (1 + PCIE_HOST_SLOWDOWN * bus)
        placed = workload.node != NOWHERE
        host = np.where(placed, host * pressure.host_slow[workload.node], host)
        step = slowest + normal * self._collective * collective + host
        return Pace(step_s=step, normal_s=normal, host_s=host, own_s=own)
