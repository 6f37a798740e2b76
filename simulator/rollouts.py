"""Rollouts: a pool's pods are replaced by pods with another version, a few at a time.

`simulator.world` steps it once a second. The controller takes an engine off the router, lets it
finish what it has (`simulator.retire`), and a new pod takes its place. A lawful rollout changes
nothing but the version; a bad one brings slower kernels, until a person rolls it back.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.layout import Layout
from simulator.retire import Retirement
from simulator.workload import NOWHERE, Workload

AT_ONCE_SHARE = 0.05
"""Share of a pool's engines that a rollout keeps out at once; at least one. Invented."""
LEAST = 6
"""Engines from which a pool can spare one: nobody rolls out by taking half of a pool away."""


@dataclass(slots=True)
class Running:
    """A rollout on its way."""

    pool: int
    version: int
    slow: float
    left: list[int]


class Rollouts:
    """Versions of all engines."""

    def __init__(self, layout: Layout, workload: Workload, retirement: Retirement) -> None:
        self._layout = layout
        self._workload = workload
        self._retirement = retirement
        self._running: list[Running] = []
        self._versions = [1] * len(layout.pools)
        self.slow: NDArray[np.float64] = np.ones(len(layout.engine_names))
        """Times that a step's kernels take with each engine's version."""
        self._next = self.slow.copy()
        """The same of the version that each engine's next pod will have."""
        self._pods = workload.pods.copy()

    def begin(self, pool: int, *, slow: float) -> tuple[str, str]:
        """Roll a new version out to a pool; what is still on its way there stops. The old and the
        new image."""
        self._versions[pool] += 1
        self._running = [r for r in self._running if r.pool != pool]
        engines = np.flatnonzero(self._layout.engine_pool == pool)
        self._running.append(Running(pool, self._versions[pool], slow, engines.tolist()))
        model, version = self._layout.pools[pool].model, self._versions[pool]
        return f"{model}:v{version - 1}", f"{model}:v{version}"

    def busy(self, pool: int) -> bool:
        """A rollout of this pool is on its way."""
        return any(rollout.pool == pool for rollout in self._running)

    def can(self, pool: int) -> bool:
        """Whether the pool has enough engines to lose one for a while."""
        mine = self._layout.engine_pool == pool
        return int((mine & self._workload.wanted).sum()) >= LEAST and not self.busy(pool)

    def step(self, at_s: float) -> None:
        """Replace as many pods as may be out now; whoever starts anew gets the new version."""
        workload = self._workload
        for rollout in self._running:
            mine = (self._layout.engine_pool == rollout.pool) & workload.wanted
            out = int((mine & (~workload.serving | workload.leaving)).sum())
            most = max(1, int(mine.sum() * AT_ONCE_SHARE))
            while rollout.left and out < most:
                engine = rollout.left.pop(0)
                self._next[engine] = rollout.slow
                if workload.node[engine] != NOWHERE and not workload.leaving[engine]:
                    self._retirement.begin(engine, at_s)
                out += 1
        new = workload.pods != self._pods
        self.slow[new] = self._next[new]
        self._pods = workload.pods.copy()
        self._running = [rollout for rollout in self._running if rollout.left]
