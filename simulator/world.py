"""One second of the whole fleet, in the order in which things act on each other: this is the place
to read how the simulator works.

Called by `simulator.fleet`. All randomness comes from generators made here from one seed, one for
each part, so that a part may change without moving the others.
"""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetmend.clock import ManualClock
from fleetmend.settings.simulator import SimulatorSettings
from simulator.aftermath import Aftermath
from simulator.autoscale import Autoscaler
from simulator.cluster import SimulatedCluster
from simulator.controls import CollectingNotifier, EngineNames, SimulatedEngines, SimulatedTraffic
from simulator.counters import Counters
from simulator.exposure import EngineExposure, gpu_table, node_table, scrape_table
from simulator.gpus import Gpus, GpuState, stuck_engines
from simulator.hosts import Hosts, HostState
from simulator.injector import SimulatedInjector, Targets
from simulator.journal import Journal
from simulator.layout import GPUS_PER_NODE, build_layout
from simulator.load import Load
from simulator.maintenance import Maintenance
from simulator.moments import Moments
from simulator.nodes import NodeBook
from simulator.outbreak import Outbreak
from simulator.pace import Pace, PaceModel
from simulator.pressure import Pressure
from simulator.queues import Queues, Served
from simulator.reach import Reach
from simulator.retire import Retirement
from simulator.rollouts import Rollouts
from simulator.routing import Router
from simulator.schedule import Schedule
from simulator.telemetry import Shown
from simulator.workload import NOWHERE, Phase, Workload

Flags = NDArray[np.bool_]

STALE_S = 3.0
"""Seconds that a dead engine's page goes on showing its last figures. Measured: 1.4 to 5."""


@dataclass(frozen=True, slots=True)
class Second:
    """What one second came to."""

    pressure: Pressure
    pace: Pace
    served: Served
    gpu: GpuState
    host: HostState


class World:
    """All parts of the fleet, wired."""

    def __init__(self, settings: SimulatorSettings, seed: int, *, start_s: float) -> None:
        seeds = np.random.SeedSequence(seed).spawn(14)
        rngs = iter([np.random.default_rng(s) for s in seeds])
        self.lock = threading.RLock()
        self.clock = ManualClock(start_s)
        self.layout = layout = build_layout(settings, next(rngs))
        self.workload = Workload(layout, next(rngs))
        self.queues = Queues(layout, next(rngs))
        self.counters = Counters(layout, next(rngs))
        self.router = Router(layout, next(rngs))
        load_rng = next(rngs)
        self.gpus = Gpus(layout, next(rngs))
        self.hosts = Hosts(layout, next(rngs))
        self.exposure = EngineExposure(layout, next(rngs))
        self._noise = next(rngs)
        fault_rng = next(rngs)
        self.pace = PaceModel(layout)
        self.book = NodeBook(layout)
        self.journal = Journal(layout)
        self.reach = Reach(layout, self.workload)
        self.outbreak = Outbreak(layout, self.workload, self.reach, fault_rng)
        self.retirement = Retirement(layout, self.workload, self.queues)
        self.rollouts = Rollouts(layout, self.workload, self.retirement)
        self.autoscaler = Autoscaler(
            layout, self.workload, self.queues, self.retirement, self.journal
        )
        self.names = EngineNames(layout, self.workload)
        targets = Targets(layout, self.workload, self.book, self.outbreak, self.reach, fault_rng)
        clock, lock = self.clock, self.lock
        self.injector = SimulatedInjector(self.outbreak, targets, clock=clock, lock=lock)
        self.schedule = Schedule(
            layout, self.outbreak, self.rollouts, targets, self.injector, next(rngs)
        )
        # What came later draws from generators of its own, so that older parts stay as they were.
        self.load = Load(layout, load_rng, next(rngs), start_s=start_s)
        self.maintenance = Maintenance(
            layout,
            self.workload,
            self.book,
            self.outbreak,
            self.reach,
            self.retirement,
            self.journal,
            next(rngs),
        )
        self.cluster = SimulatedCluster(layout, self.workload, self.book, clock=clock, lock=lock)
        self.traffic = SimulatedTraffic(self.names, self.router, clock=clock, lock=lock)
        self.engines = SimulatedEngines(
            self.names, self.workload, self.queues, clock=clock, lock=lock
        )
        self.notifier = CollectingNotifier()
        self.moments = Moments(self)
        self.aftermath = Aftermath(self)

    def second(self, at_s: float, *, scheduled: bool) -> Second:
        """Everything that happens in the second at `at_s`."""
        self.clock.advance_to(at_s)
        if scheduled:
            pool = self.schedule.step()
            if pool is not None:
                self.moments.deploy(pool, at_s)
        pressure = self.outbreak.press(at_s)
        self.moments.step(at_s)
        pressure.engine_slow *= self.rollouts.slow
        if scheduled:
            self.maintenance.step(at_s, pressure)
            self.autoscaler.step(at_s)
        self.aftermath.power(pressure, at_s)
        self.rollouts.step(at_s)
        self.retirement.step(at_s)
        usable = ~(pressure.gpu_lost | self._per_gpu(pressure.node_off))
        self.workload.step(at_s, open_nodes=self.book.open, gpu_usable=usable)
        self.aftermath.lives(at_s)
        reached = self.reached(pressure)
        arrivals = self.load.step(at_s, pressure)
        for left in np.flatnonzero(arrivals.leaves):
            members = np.flatnonzero(self.layout.engine_pool == left)
            self.queues.leave(members, self.layout.settings.load.disconnect_share)
        came = self.router.route(
            arrivals.requests,
            answers=reached & self.workload.serving,
            leaving=self.workload.leaving,
        ).came
        stuck = stuck_engines(self.workload, pressure) | pressure.engine_hung
        pace = self.pace.measure(
            self.queues.running, self.gpus.clock_ratio, self.workload, pressure
        )
        served = self.queues.step(
            came,
            arrivals.prompt_tokens[self.layout.engine_pool],
            step_s=pace.step_s,
            working=self.workload.serving & ~stuck,
            pressure=pressure,
        )
        gpu = self.gpus.step(self.workload, pace, served, self.queues.running, pressure)
        host = self.hosts.step(self.workload, self.queues.running, pressure)
        self.counters.step(gpu, host, served, pace.step_s, pressure)
        self.aftermath.exhaustion(at_s)
        self.moments.end(at_s)
        return Second(pressure, pace, served, gpu, host)

    def reached(self, pressure: Pressure) -> Flags:
        """Engines whose address can be reached over the network, shape (engines,)."""
        down = pressure.node_off | pressure.node_dark
        return np.asarray((self.workload.node != NOWHERE) & ~down[self.workload.node])

    def show(self, at_s: float, second: Second, *, slow: bool) -> Shown:
        """What can be read of this second; `slow` adds what is read once a minute."""
        pressure, workload = second.pressure, self.workload
        reached = self.reached(pressure)
        stuck = stuck_engines(workload, pressure) | pressure.engine_hung
        fresh = reached & workload.serving & ~stuck
        dying = (workload.phase == Phase.CRASHED) & workload.fell
        dying &= at_s - workload.since_s < STALE_S
        frozen = reached & ((workload.serving & stuck) | dying)
        health = np.where(reached & workload.serving, 200.0, np.where(reached & dying, 503.0, 0.0))
        heard = ~(pressure.node_off | pressure.node_dark | pressure.node_mute)
        noise = np.exp(self._noise.normal(0, 0.2, len(workload.phase)))
        node_noise = np.exp(self._noise.normal(0, 0.2, len(heard)))
        return Shown(
            gpus=gpu_table(second.gpu, self.counters, pressure, slow=slow),
            gpu_heard=self._per_gpu(heard) & ~pressure.gpu_lost,
            engines=self.exposure.table(
                self.queues,
                second.served,
                self.counters,
                self.gpus.leaked,
                self.aftermath.started_s,
                workload,
                pressure,
            ),
            engine_fresh=fresh,
            engine_frozen=frozen,
            scrapes=scrape_table(fresh | frozen, health, noise),
            engine_watched=workload.watched,
            nodes=node_table(second.host, self.counters, node_noise, slow=slow),
            node_heard=heard,
        )

    def _per_gpu(self, nodes: Flags) -> Flags:
        return np.asarray(np.repeat(nodes, GPUS_PER_NODE))
