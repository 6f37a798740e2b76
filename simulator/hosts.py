"""What the hosts show: CPU, memory, load. Levels follow the recorded host (7 % busy beside one
working engine, context switches by the thousand); sizes of a 2 TiB node are invented.

Called once a second by `simulator.world`.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.layout import Layout
from simulator.pressure import Pressure
from simulator.workload import NOWHERE, Workload

Floats = NDArray[np.float64]

MEMORY_BYTES = 2.0 * 2**40
BASE_BYTES, ENGINE_BYTES = 60e9, 90e9
"""Host memory in use on an empty node, and of each engine. Invented."""
IDLE_BUSY, ENGINE_BUSY, SYSTEM_BUSY = 0.004, 0.06, 0.004
"""Shares of CPU time: empty host, eight GPUs at work, kernel. Recorded: 0.3 to 6.6 %."""
LOAD_PER_GPU = 0.9
"""Load average that a GPU at work adds. Recorded: 0.8 to 1.1 with one or two."""
LOAD_S = 60.0
"""Time constant of the one-minute load average."""
SWITCHES_PER_GPU = 250.0
"""Context switches a second that a GPU at work brings. Recorded: 118 to 427."""


@dataclass(frozen=True, slots=True)
class HostState:
    """What a node exporter would read now; every array has shape (nodes,)."""

    cpu_user: Floats
    cpu_system: Floats
    memory_used: Floats
    load1: Floats
    switches: Floats
    """Context switches in this second."""


class Hosts:
    """All hosts; holds their load averages."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        self._rng = rng
        self._count = len(layout.nodes)
        self._width = layout.pool_width[layout.engine_pool]
        self._load1 = np.full(self._count, LOAD_PER_GPU * 8)
        self._page_cache = rng.uniform(0, 5e9, self._count)

    def step(self, workload: Workload, running: NDArray[np.int64], pressure: Pressure) -> HostState:
        """One second. `running` (engines,): requests in each batch."""
        placed = workload.node != NOWHERE
        at_work = placed & (running > 0) & workload.serving & ~pressure.engine_hung
        gpus = np.bincount(
            workload.node[at_work], weights=self._width[at_work], minlength=self._count
        )
        engines = np.bincount(workload.node[placed], minlength=self._count)
        noise = self._rng.normal(0, 1, (4, self._count))
        user = IDLE_BUSY + ENGINE_BUSY * gpus / 8 + pressure.host_busy
        system = SYSTEM_BUSY * (0.5 + gpus / 16)
        wanted = LOAD_PER_GPU * gpus + pressure.host_load
        pull = 1 - math.exp(-1 / LOAD_S)
        self._load1 = np.maximum(self._load1 + pull * (wanted - self._load1 + noise[0]), 0)
        # The page cache wanders; nothing leaks.
        self._page_cache = np.abs(self._page_cache + 2e7 * noise[1])
        return HostState(
            cpu_user=np.clip(user * (1 + 0.03 * noise[2]), 0, 1),
            cpu_system=np.clip(system * (1 + 0.1 * np.abs(noise[3])), 0, 1),
            memory_used=BASE_BYTES + ENGINE_BYTES * engines + self._page_cache,
            load1=self._load1.copy(),
            switches=np.round(300 + SWITCHES_PER_GPU * gpus * (1 + 0.05 * noise[2])),
        )
