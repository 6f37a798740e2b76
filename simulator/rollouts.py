"""Rollouts: a pool's engines start anew with another version, a few at a time.

`simulator.world` steps it once a second. A lawful rollout changes nothing but the version; a bad
one brings slower kernels, until a person rolls it back.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.layout import Layout
from simulator.queues import Queues
from simulator.workload import Workload

AT_ONCE_SHARE = 0.05
"""Share of a pool's engines that a rollout keeps out at once; at least one. Invented."""


@dataclass(slots=True)
class Running:
    """A rollout on its way."""

    pool: int
    version: int
    slow: float
    left: list[int]


class Rollouts:
    """Versions of all engines."""

    def __init__(self, layout: Layout, workload: Workload, queues: Queues) -> None:
        self._layout = layout
        self._workload = workload
        self._queues = queues
        self._running: list[Running] = []
        self._versions = [1] * len(layout.pools)
        self.slow: NDArray[np.float64] = np.ones(len(layout.engine_names))
        """Times that a step's kernels take with each engine's version."""

    def begin(self, pool: int, *, slow: float) -> str:
        """Roll a new version out to a pool; what is still on its way there stops. Its name."""
        self._versions[pool] += 1
        self._running = [r for r in self._running if r.pool != pool]
        engines = np.flatnonzero(self._layout.engine_pool == pool)
        self._running.append(Running(pool, self._versions[pool], slow, engines.tolist()))
        return f"{self._layout.pools[pool].model}:v{self._versions[pool]}"

    def busy(self, pool: int) -> bool:
        """A rollout of this pool is on its way."""
        return any(rollout.pool == pool for rollout in self._running)

    def step(self, at_s: float) -> None:
        """Restart as many engines as may be out now."""
        for rollout in self._running:
            mine = self._layout.engine_pool == rollout.pool
            out = int((mine & ~self._workload.serving).sum())
            most = max(1, int(mine.sum() * AT_ONCE_SHARE))
            while rollout.left and out < most:
                engine = rollout.left.pop(0)
                self.slow[engine] = rollout.slow
                out += 1
                if self._workload.serving[engine]:
                    self._queues.drop(np.array([engine]))
                    self._workload.restart(engine, at_s)
        self._running = [rollout for rollout in self._running if rollout.left]
