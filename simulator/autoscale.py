"""Replicas that follow the load, by the rule of Kubernetes' horizontal pod autoscaler.

    wanted = ceil(replicas * usage / target), unless within a tenth of the target

where usage is the mean share of batch slots in use; fewer only when fewer would have been enough
for a while (Kubernetes documentation, "Horizontal Pod Autoscaling", algorithm and stabilisation
window). Stepped once a second by `simulator.world`.
"""

import math
from collections import deque

import numpy as np

from simulator.journal import Journal
from simulator.layout import Layout, workload_name
from simulator.queues import Queues
from simulator.retire import Retirement
from simulator.workload import Workload

TOLERANCE = 0.1
"""Share of the target within which nothing changes. Kubernetes' default."""
STEP_SHARE = 0.1
"""Share of a pool's replicas that one look adds or takes at most, as scaling policies set it; at
least one. Invented."""
WHO = "kube-controller-manager"
"""The field manager that writes replicas for the autoscaler."""


class Autoscaler:
    """One for each pool."""

    def __init__(
        self,
        layout: Layout,
        workload: Workload,
        queues: Queues,
        retirement: Retirement,
        journal: Journal,
    ) -> None:
        self._layout = layout
        self._set = layout.settings.lawful
        self._workload = workload
        self._queues = queues
        self._retirement = retirement
        self._journal = journal
        # A little above the usual share, so that an average hour needs nearly all replicas.
        self._target = layout.settings.load.mean_running * (1 + TOLERANCE)
        self._slots = np.array([pool.slots for pool in layout.pools])
        looks = max(1, round(self._set.autoscale_down_s / self._set.autoscale_every_s))
        self._enough: list[deque[int]] = [deque(maxlen=looks) for _ in layout.pools]
        """Replicas that would have been enough at the last looks, by pool."""
        self._look_s = -math.inf

    def step(self, at_s: float) -> None:
        """A look at every pool, when it is time."""
        if not self._set.autoscale or at_s - self._look_s < self._set.autoscale_every_s:
            return
        self._look_s = at_s
        for pool in range(len(self._layout.pools)):
            self._look(pool, at_s)

    def _look(self, pool: int, at_s: float) -> None:
        workload = self._workload
        mine = self._layout.engine_pool == pool
        serve = mine & workload.serving & ~workload.leaving & workload.wanted
        if not serve.any():
            return
        now = int((mine & workload.wanted).sum())
        usage = float(self._queues.running[serve].mean()) / float(self._slots[pool])
        ratio = usage / self._target
        wanted = now if abs(ratio - 1) <= TOLERANCE else math.ceil(now * ratio)
        least = math.ceil(int(mine.sum()) * self._set.autoscale_min_share)
        wanted = min(max(wanted, least), int(mine.sum()))
        enough = self._enough[pool]
        full = len(enough) == enough.maxlen
        enough.append(wanted)
        if wanted < now:
            wanted = min(max(enough), now) if full else now
        most = max(1, int(now * STEP_SHARE))
        wanted = min(max(wanted, now - most), now + most)
        if wanted != now:
            self._scale(pool, now, wanted, at_s)

    def _scale(self, pool: int, now: int, wanted: int, at_s: float) -> None:
        workload = self._workload
        mine = self._layout.engine_pool == pool
        if wanted > now:
            workload.wanted[np.flatnonzero(mine & ~workload.wanted)[: wanted - now]] = True
        else:
            for engine in np.flatnonzero(mine & workload.wanted)[wanted - now :].tolist():
                workload.wanted[engine] = False
                self._retirement.begin(engine, at_s)
        self._journal.change(
            self._layout.pool_ids[pool],
            change="scale",
            before=str(now),
            now=str(wanted),
            who=WHO,
            at_s=at_s,
            object=workload_name(self._layout, pool),
        )
