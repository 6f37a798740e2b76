"""How many requests arrive: tenants, the hour of the day, lawful bursts, and what faults add.

Called once a second by `simulator.world`. Rates are set so that an average hour keeps
`mean_running` of the slots busy; counts are Poisson. Shape and level are invented, except that
request rates of a real service swing by about two between night and day (ServeGen).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetmend.settings.simulator import SimulatedPool
from simulator.layout import Layout
from simulator.pressure import Pressure

DRIFT_SPREAD = 0.03
"""Spread of the slow drift around the daily curve. Invented."""
DRIFT_S = 120.0
"""Seconds over which the drift forgets. Invented."""


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What comes to each pool in one second."""

    requests: NDArray[np.int64]
    """Shape (pools,)."""
    prompt_tokens: NDArray[np.float64]
    """Shape (pools,), mean prompt length of these requests, tokens."""
    leaves: NDArray[np.bool_]
    """Shape (pools,): pools of which many clients close their connections in this second."""


def steady_rate(pool: SimulatedPool, mean_running: float) -> float:
    """Requests a second that keep `mean_running` of an engine's slots busy (Little's law, with the
    share of time that reading prompts takes from decoding)."""
    running = pool.slots * mean_running
    step_s = (pool.token_ms + pool.token_ms_per_request * running + pool.host_ms) / 1_000
    rate = running / (pool.output_tokens * step_s)
    return rate / (1 + rate * pool.prompt_tokens / pool.prefill_tokens_per_s)


class Load:
    """The arrivals of the whole fleet; holds the state of bursts and drift."""

    def __init__(
        self,
        layout: Layout,
        rng: np.random.Generator,
        leaving_rng: np.random.Generator,
        *,
        start_s: float,
    ) -> None:
        settings = layout.settings.load
        self._settings = settings
        self._rng = rng
        self._leaving_rng = leaving_rng
        self._start_s = start_s
        engines = np.bincount(layout.engine_pool, minlength=len(layout.pools))
        rates = [steady_rate(pool, settings.mean_running) for pool in layout.pools]
        self._rate = np.array(rates) * engines
        self._prompt = np.array([pool.prompt_tokens for pool in layout.pools])
        shares = 1.0 / np.arange(1, settings.tenants + 1)
        self._shares = shares / shares.sum()
        self._burst = np.zeros(len(layout.pools), np.bool_)
        self._drift = np.zeros(len(layout.pools))
        self.arrived = 0
        """Requests since the start."""

    def step(self, at_s: float, pressure: Pressure) -> Arrivals:
        """The requests of the second that begins at `at_s`."""
        self._move()
        settings, days = self._settings, at_s / self._settings.day_s
        hour = 1 - settings.day_swing * math.cos(2 * math.pi * days)
        grown = (1 + settings.growth_per_day) ** ((at_s - self._start_s) / settings.day_s)
        level = self._rate * hour * grown * np.exp(self._drift)
        level = np.where(self._burst, level * self._settings.burst_factor, level)
        wanted = level[:, None] * self._shares * pressure.arrivals
        came = self._rng.poisson(wanted)
        total = came.sum(axis=1)
        self.arrived += int(total.sum())
        # A quarter of a day behind the requests: documents are read in the evening.
        longer = 1 - settings.prompt_swing * math.cos(2 * math.pi * (days - 0.25))
        tokens = (came * pressure.prompts).sum(axis=1) * self._prompt * longer
        mean = np.divide(tokens, total, out=self._prompt * longer, where=total > 0)
        return Arrivals(total, mean, self._leaves())

    def _leaves(self) -> NDArray[np.bool_]:
        every_s = self._settings.disconnect_every_s
        draws = self._leaving_rng.random(len(self._burst))
        return np.asarray(draws * every_s < 1 if every_s else np.zeros(len(draws), np.bool_))

    def _move(self) -> None:
        """One second of bursts that come and go, and of drift."""
        draws = self._rng.random(len(self._burst))
        begins = draws < 1 / self._settings.burst_every_s
        ends = draws < 1 / self._settings.burst_s
        self._burst = np.where(self._burst, ~ends, begins)
        keep = math.exp(-1 / DRIFT_S)
        fresh = self._rng.normal(0, DRIFT_SPREAD * math.sqrt(1 - keep**2), len(self._drift))
        self._drift = keep * self._drift + fresh
