"""The routers in front of the pools: which engine gets which request.

Called once a second by `simulator.world`; `simulator.controls` sets weights. A router learns from
health requests, so it goes on sending to a dead engine for a moment, and never notices a hung one:
its /health answers 200 (measured on vLLM).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.layout import Layout

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

DOWN_AFTER_S, UP_AFTER_S = 3, 2
"""Seconds of failed and of good health requests until the router believes them. Invented."""
WEIGHT_FULL = 100


@dataclass(frozen=True, slots=True)
class Routed:
    """One second's requests by engine."""

    came: Ints
    """Shape (engines,): requests that reached an engine."""


class Router:
    """Weights and beliefs of all routers."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        count = len(layout.engine_names)
        self._rng = rng
        self._members = [np.flatnonzero(layout.engine_pool == p) for p in range(len(layout.pools))]
        self._streak: Ints = np.full(count, UP_AFTER_S)
        """Seconds of good (positive) or bad (negative) health in a row."""
        self.healthy: Flags = np.ones(count, np.bool_)
        self.weight: Ints = np.full(count, WEIGHT_FULL)
        self.operation = [""] * count
        self.refused: Ints = np.zeros(len(layout.pools), np.int64)
        """Requests that no engine took: nobody to send them to, or sent to a dead one."""

    def route(self, requests: Ints, *, answers: Flags, leaving: Flags) -> Routed:
        """Deal `requests` (pools,) to engines; `answers` (engines,): /health says yes; `leaving`
        (engines,): the pod terminates, and Kubernetes has taken it off the list."""
        self._believe(answers)
        came = np.zeros(len(self.weight), np.int64)
        for pool, members in enumerate(self._members):
            weight = np.where(self.healthy & ~leaving, self.weight, 0)[members]
            total = weight.sum()
            if not total:
                self.refused[pool] += requests[pool]
                continue
            dealt = self._rng.multinomial(int(requests[pool]), weight / total)
            dead = ~answers[members]
            self.refused[pool] += dealt[dead].sum()
            came[members] = np.where(dead, 0, dealt)
        return Routed(came)

    def forget(self, engine: int) -> None:
        """The backend is a new pod: full weight once it answers."""
        self._streak[engine] = 0
        self.healthy[engine] = False
        self.weight[engine] = WEIGHT_FULL
        self.operation[engine] = ""

    def _believe(self, answers: Flags) -> None:
        streak = self._streak
        good, bad = np.maximum(streak, 0) + 1, np.minimum(streak, 0) - 1
        self._streak = np.clip(np.where(answers, good, bad), -DOWN_AFTER_S, UP_AFTER_S)
        self.healthy |= self._streak >= UP_AFTER_S
        self.healthy &= self._streak > -DOWN_AFTER_S
