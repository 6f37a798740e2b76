"""Those who look from outside: readers of engines' pages and canary requests.

Called by `simulator.fleet` each second. The outcome of reading a page is told when it changes and
now and then; a canary goes to each engine in turn and is the only thing that sees an engine that
hangs while idle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from simulator.gpus import stuck_engines
from simulator.workload import Phase

if TYPE_CHECKING:
    from simulator.telemetry import Shown
    from simulator.world import Second, World

REPORT_EVERY_S = 10
"""Seconds between reports of one page's outcome while it stays the same, as collectors do."""
CANARY_EVERY_S = 15
"""Seconds between canary requests to one engine. Invented."""
CANARY_TIMEOUT_S = 5.0
"""Seconds after which a canary gives up. Invented."""
ENGINE_SAMPLES = 27
"""Samples that a read page gives."""


class Probes:
    """Remembers each page's last outcome."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._outcome: dict[int, str] = dict.fromkeys(range(len(world.workload.uid)), "ok")

    def step(self, at_s: float, shown: Shown, second: Second) -> None:
        """One second of looking."""
        world, workload = self._world, self._world.workload
        reached = world.reached(second.pressure)
        listed = shown.engine_fresh | shown.engine_frozen
        stuck = stuck_engines(workload, second.pressure) | second.pressure.engine_hung
        for engine in np.flatnonzero(workload.watched).tolist():
            outcome = "ok" if listed[engine] else "refused" if reached[engine] else "timeout"
            due = (int(at_s) + engine) % REPORT_EVERY_S == 0
            if due or self._outcome.get(engine) != outcome:
                self._outcome[engine] = outcome
                world.journal.scrape(
                    world.names.entity(engine),
                    world.names.node(engine),
                    outcome=outcome,
                    samples=ENGINE_SAMPLES if listed[engine] else 0,
                    at_s=at_s,
                )
            starting = workload.phase[engine] == Phase.STARTING
            if (int(at_s) + engine) % CANARY_EVERY_S or starting:
                continue
            answers = bool(workload.serving[engine] and reached[engine] and not stuck[engine])
            world.journal.probe(
                world.names.entity(engine),
                world.names.node(engine),
                ok=answers,
                duration_s=float(second.served.tpot_s[engine]) if answers else CANARY_TIMEOUT_S,
                at_s=at_s,
            )
