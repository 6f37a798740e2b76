"""The pods of the engines: where they are, in which phase, and how they come and go.

`simulator.world` steps it once a second; `simulator.cluster` and `simulator.controls` ask for
evictions, restarts and states. Scheduling is the plainest that works: a pod goes to the node of its
pool that has least room left and a free group of answering GPUs.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from simulator.layout import GPUS_PER_NODE, Layout, new_pod_uid

BACKOFF_MAX_S = 300.0
"""Kubernetes' longest wait between restarts of a crashed container."""
BACKOFF_FORGET_S = 600.0
"""Seconds of service after which Kubernetes forgets earlier crashes."""
NOWHERE = -1


class Phase(IntEnum):
    """What an engine is doing."""

    PENDING = 0
    """The pod has no node."""
    STARTING = 1
    """Loads its weights."""
    SERVING = 2
    CRASHED = 3
    """The container is dead and waits for its restart."""


class Workload:
    """One row per replica; a replica keeps its name while its pods change."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        count = len(layout.engine_names)
        self._layout = layout
        self._life = layout.settings.life
        self._rng = rng
        self.node = layout.engine_home[:, 0].copy()
        """Shape (engines,): node index, or NOWHERE."""
        self.group = layout.engine_home[:, 1].copy()
        self.phase: NDArray[np.int8] = np.full(count, Phase.SERVING, np.int8)
        self.until_s = np.zeros(count)
        """When the phase ends by itself."""
        self.since_s = np.zeros(count)
        """When the phase began."""
        self.leaving_s = np.full(count, np.inf)
        """When an evicted pod is gone."""
        self.wanted: NDArray[np.bool_] = np.ones(count, np.bool_)
        """Replicas that their controller wants; a pod of another one is not made anew."""
        self.crashes = np.zeros(count, np.int64)
        self.fell: NDArray[np.bool_] = np.zeros(count, np.bool_)
        """Engines whose last crash was one of a serving engine, not of one that started."""
        self.generation = np.ones(count, np.int64)
        """Starts of this pod's engine."""
        self.pods = np.ones(count, np.int64)
        """Pods that each replica has had."""
        self.uid = [new_pod_uid(rng) for _ in range(count)]
        self.gpu_engine = np.full(len(layout.gpu_ids), NOWHERE)
        """Shape (GPUs,): the engine on each GPU, or NOWHERE."""
        self.moved: list[tuple[int, str]] = []
        """Engines that lost their pod since somebody last looked, with the old pod's uid."""
        for engine in range(count):
            self.gpu_engine[self.gpus(engine)] = engine

    def gpus(self, engine: int) -> NDArray[np.int64]:
        """The GPUs of an engine in rank order; empty while it has no node."""
        if self.node[engine] == NOWHERE:
            return np.empty(0, np.int64)
        return self._layout.gpus_of(int(self.node[engine]), int(self.group[engine]))

    @property
    def serving(self) -> NDArray[np.bool_]:
        """Engines whose API answers."""
        return np.asarray(self.phase == Phase.SERVING)

    @property
    def watched(self) -> NDArray[np.bool_]:
        """Engines that have been ready once: from then on their pages are read."""
        first = (self.phase == Phase.STARTING) & (self.generation == 1)
        return np.asarray((self.node != NOWHERE) & ~first)

    @property
    def leaving(self) -> NDArray[np.bool_]:
        """Engines whose pod is terminating."""
        return np.asarray(np.isfinite(self.leaving_s))

    def step(
        self, at_s: float, *, open_nodes: NDArray[np.bool_], gpu_usable: NDArray[np.bool_]
    ) -> None:
        """One second of Kubernetes. `open_nodes` (nodes,) take new pods; `gpu_usable` (GPUs,)
        answer."""
        for engine in np.flatnonzero(self.leaving_s <= at_s):
            self._leave(int(engine), at_s)
        for engine in np.flatnonzero((self.phase == Phase.PENDING) & self.wanted):
            self._schedule(int(engine), at_s, open_nodes, gpu_usable)
        for engine in self._due(Phase.CRASHED, at_s):
            self._start(int(engine), at_s)
        for engine in self._due(Phase.STARTING, at_s):
            if gpu_usable[self.gpus(int(engine))].all():
                self._enter(int(engine), Phase.SERVING, at_s, np.inf)
            else:
                self.crash(int(engine), at_s)
        calm = self.serving & (at_s - self.since_s > BACKOFF_FORGET_S)
        self.crashes[calm] = 0

    def crash(self, engine: int, at_s: float) -> None:
        """The container dies; Kubernetes restarts it after its back-off."""
        wait_s = min(self._life.backoff_s * 2 ** min(self.crashes[engine], 10), BACKOFF_MAX_S)
        self.crashes[engine] += 1
        self.fell[engine] = self.phase[engine] == Phase.SERVING
        self._enter(engine, Phase.CRASHED, at_s, at_s + wait_s)

    def hold(self, engine: int, at_s: float) -> None:
        """The host has no power: nothing starts until `restart`."""
        self._enter(engine, Phase.CRASHED, at_s, np.inf)

    def restart(self, engine: int, at_s: float) -> None:
        """Start the container again at once, on the same GPUs."""
        self._start(engine, at_s)

    def evict(self, engine: int, at_s: float) -> None:
        """The pod begins to terminate; a second call changes nothing."""
        if not self.leaving[engine]:
            self.leave_at(engine, at_s + self._life.evict_s)

    def leave_at(self, engine: int, gone_s: float) -> None:
        """The pod terminates and is gone at `gone_s`."""
        self.leaving_s[engine] = gone_s

    def _due(self, phase: Phase, at_s: float) -> NDArray[np.int64]:
        """Engines in this phase whose time is up."""
        return np.flatnonzero((self.phase == phase) & (self.until_s <= at_s))

    def _leave(self, engine: int, at_s: float) -> None:
        self.gpu_engine[self.gpus(engine)] = NOWHERE
        self.node[engine] = self.group[engine] = NOWHERE
        self.leaving_s[engine] = np.inf
        self.crashes[engine] = 0
        self.moved.append((engine, self.uid[engine]))
        self.uid[engine] = new_pod_uid(self._rng)
        self.pods[engine] += 1
        self.generation[engine] = 0
        self._enter(engine, Phase.PENDING, at_s, np.inf)

    def _schedule(
        self,
        engine: int,
        at_s: float,
        open_nodes: NDArray[np.bool_],
        gpu_usable: NDArray[np.bool_],
    ) -> None:
        pool = self._layout.engine_pool[engine]
        width = int(self._layout.pool_width[pool])
        free = (self.gpu_engine == NOWHERE) & gpu_usable
        groups = free.reshape(-1, GPUS_PER_NODE // width, width).all(axis=2)
        groups &= (open_nodes & (self._layout.node_pool == pool))[:, None]
        room = groups.sum(axis=1)
        if not room.any():
            return
        node = int(np.argmin(np.where(room > 0, room, GPUS_PER_NODE + 1)))
        self.node[engine], self.group[engine] = node, int(np.argmax(groups[node]))
        self.gpu_engine[self.gpus(engine)] = engine
        self._start(engine, at_s)

    def _start(self, engine: int, at_s: float) -> None:
        self.generation[engine] += 1
        takes_s = self._rng.uniform(self._life.start_s_min, self._life.start_s_max)
        self._enter(engine, Phase.STARTING, at_s, at_s + takes_s)

    def _enter(self, engine: int, phase: Phase, at_s: float, until_s: float) -> None:
        self.phase[engine] = phase
        self.since_s[engine] = at_s
        self.until_s[engine] = until_s
