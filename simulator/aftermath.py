"""What follows from a second's events for the engines: power cuts, new lives, memory run out, pods
that Kubernetes gives up on. Called by `simulator.world`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Witness
from simulator.topology import engine_appears, engine_leaves, node_states
from simulator.workload import NOWHERE, Phase

if TYPE_CHECKING:
    from simulator.pressure import Pressure
    from simulator.world import World

TOLERATION_S = 300.0
"""Seconds for which Kubernetes leaves pods on a node that does not report (its default)."""


class Aftermath:
    """Remembers who lived when."""

    def __init__(self, world: World) -> None:
        self._world = world
        count, nodes = len(world.layout.engine_names), len(world.layout.nodes)
        self.started_s = np.full(count, world.clock.now_s())
        """When each engine's process started, shape (engines,)."""
        self.topology: list[TopologyChange] = []
        """Changes that nobody has taken yet."""
        self._generation = world.workload.generation.copy()
        self._placed = world.workload.node.copy()
        self._leaving = world.workload.leaving
        self._off = np.zeros(nodes, np.bool_)
        self._dark = np.zeros(nodes, np.bool_)
        self._unready_s = np.full(nodes, np.inf)

    def power(self, pressure: Pressure, at_s: float) -> None:
        """Nodes that lose or regain power or network in this second."""
        world, on = self._world, self._world.workload.node
        placed = on != NOWHERE
        cut = pressure.node_dark & ~self._dark
        world.queues.drop(np.flatnonzero(placed & cut[on]))
        for engine in np.flatnonzero(placed & (pressure.node_off & ~self._off)[on]):
            world.queues.drop(np.array([engine]))
            world.workload.hold(int(engine), at_s)
        for engine in np.flatnonzero(placed & (self._off & ~pressure.node_off)[on]):
            world.workload.crashes[engine] = 0
            world.workload.restart(int(engine), at_s)
        self._off, self._dark = pressure.node_off.copy(), pressure.node_dark.copy()
        unready = np.array([not node.ready for node in world.book.objects])
        self._unready_s = np.where(unready, np.minimum(self._unready_s, at_s), np.inf)
        given_up = at_s - self._unready_s > TOLERATION_S
        for engine in np.flatnonzero(placed & given_up[on]):
            world.workload.evict(int(engine), at_s)

    def lives(self, at_s: float) -> None:
        """Engines that lost their pod, found a node, or started anew in this second."""
        world, workload = self._world, self._world.workload
        for engine, uid in workload.moved:
            world.queues.drop(np.array([engine]))
            world.router.forget(engine)
            self.topology += engine_leaves(world.layout, uid, at_s)
        for node in world.maintenance.changed:
            state = world.book.objects[node].state()
            self.topology.append(node_states(world.layout, node, state, at_s))
        world.maintenance.changed.clear()
        gone = {engine for engine, _ in workload.moved}
        workload.moved.clear()
        found = gone | set(np.flatnonzero(workload.node != self._placed).tolist())
        found |= set(np.flatnonzero(workload.leaving & ~self._leaving).tolist())
        self._leaving = workload.leaving
        for replica in sorted(found):
            self.topology += engine_appears(world.layout, workload, replica, at_s)
        reborn = workload.generation != self._generation
        reborn[list(gone)] = True
        world.counters.forget_engines(np.flatnonzero(reborn))
        self.started_s[reborn] = at_s
        self._generation = workload.generation.copy()
        self._placed = workload.node.copy()

    def exhaustion(self, at_s: float) -> None:
        """Engines whose leak has met the end of memory."""
        world = self._world
        full = np.unique(world.workload.gpu_engine[world.gpus.exhausted])
        for engine in full[full != NOWHERE].tolist():
            if world.workload.phase[engine] == Phase.SERVING:
                world.journal.log(
                    world.names.entity(engine),
                    world.names.node(engine),
                    signature="cuda_oom",
                    line="torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
                    witness=Witness.APPLICATION_LOG,
                    at_s=at_s,
                )
                world.moments.crash(engine, at_s)
