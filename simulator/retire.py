"""Pods that their controller ends in peace: no new request, what they have is finished, then gone.

Used by `simulator.rollouts`, `simulator.autoscale` and `simulator.maintenance`; stepped once a
second by `simulator.world`. An eviction (`Workload.evict`) is harder: streams are cut.
"""

import numpy as np
from numpy.typing import NDArray

from simulator.layout import Layout
from simulator.queues import Queues
from simulator.workload import Phase, Workload

EXIT_S = 2.0
"""Seconds from the end of the engine's process until its pod is gone from the API. Recorded: vLLM
takes 1.3 s on SIGTERM."""


class Retirement:
    """Engines on their way out."""

    def __init__(self, layout: Layout, workload: Workload, queues: Queues) -> None:
        self._drain_s = layout.settings.lawful.drain_s
        self._workload = workload
        self._queues = queues
        self._drains: NDArray[np.bool_] = np.zeros(len(layout.engine_names), np.bool_)

    def begin(self, engine: int, at_s: float) -> None:
        """The pod is deleted; a second call changes nothing."""
        if not self._workload.leaving[engine]:
            self._workload.leave_at(engine, at_s + self._drain_s + EXIT_S)
            self._drains[engine] = True

    def step(self, at_s: float) -> None:
        """Who has nothing left in hand, or no time, ends its process."""
        workload, queues = self._workload, self._queues
        self._drains &= workload.leaving
        empty = queues.running + queues.waiting == 0
        late = workload.leaving_s - at_s <= EXIT_S
        for engine in np.flatnonzero(self._drains & (empty | late)).tolist():
            self._drains[engine] = False
            if workload.phase[engine] == Phase.SERVING:
                queues.drop(np.array([engine]))
                workload.fell[engine] = False
                workload.hold(engine, at_s)
            workload.leave_at(engine, at_s + EXIT_S)
