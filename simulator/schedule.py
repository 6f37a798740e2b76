"""Faults and lawful changes that come by themselves, at published rates times a speed-up.

The rates are those of training fleets: no public table of an inference fleet was found. A few nodes
("lemons") fail far more often than the rest. Called once a second by `simulator.world`.
"""

import numpy as np
from numpy.typing import NDArray

from fleetmend.model.entities import EntityKind
from simulator.catalogue import CATALOGUE
from simulator.injector import SimulatedInjector, Targets
from simulator.layout import Layout
from simulator.outbreak import Outbreak
from simulator.rollouts import Rollouts

WARNED_SHARE = 0.5
"""Share of faults with an early warning. Published: PCIe errors before 43-63 % of Xid 79."""


class Schedule:
    """Draws what happens next."""

    def __init__(
        self,
        layout: Layout,
        outbreak: Outbreak,
        rollouts: Rollouts,
        targets: Targets,
        injector: SimulatedInjector,
        rng: np.random.Generator,
    ) -> None:
        settings = layout.settings.faults
        self._layout = layout
        self._settings = settings
        self._outbreak = outbreak
        self._rollouts = rollouts
        self._targets = targets
        self._injector = injector
        self._rng = rng
        self._specs = list(CATALOGUE.values())
        rates = np.array([spec.per_gpu_hour for spec in self._specs])
        self.per_s = float(rates.sum()) * len(layout.gpu_ids) * settings.speed_up / 3_600
        """Faults a second."""
        self._share = rates / rates.sum()
        self.node_weight: NDArray[np.float64] = np.where(
            rng.random(len(layout.nodes)) < settings.lemon_share, settings.lemon_factor, 1.0
        )
        """How likely each node is hit, shape (nodes,)."""

    def step(self) -> int | None:
        """One second: perhaps a fault begins. The pool that a lawful rollout should begin on, if
        any."""
        draws = self._rng.random(3)
        if draws[0] < self.per_s and len(self._outbreak.open) < self._settings.open_max:
            spec = self._specs[int(self._rng.choice(len(self._specs), p=self._share))]
            index = self._targets.choose(spec.target, self.node_weight)
            if index is not None:
                self._injector.begin(spec, index, warned=bool(draws[1] < WARNED_SHARE))
        every_s = self._settings.deploy_every_s
        if not every_s or draws[2] >= 1 / every_s:
            return None
        pool = int(self._rng.integers(len(self._layout.pools)))
        hit = any(f.spec.target is EntityKind.POOL and f.index == pool for f in self._outbreak.open)
        return None if hit or not self._rollouts.can(pool) else pool
