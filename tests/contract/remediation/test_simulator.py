"""The simulated cluster keeps the contract that the real one is held to.

Its pods are those of a living fleet, so the world picks them instead of making them.
"""

from dataclasses import dataclass, field

import pytest

from fleetmend.ports.cluster import EvictionOutcome, PodState
from simulator.cluster import SimulatedCluster
from simulator.fleet import Fleet
from tests.contract.remediation.cluster import ClusterContract
from tests.unit.simulator.fleets import small_fleet


@dataclass
class SimulatedWorld:
    """A node of a small fleet."""

    fleet: Fleet = field(default_factory=lambda: small_fleet(gpus=64))
    node: str = "node-000"

    @property
    def cluster(self) -> SimulatedCluster:
        return self.fleet.cluster

    def add_pod(self, name: str, *, daemon: bool = False, guarded: bool = False) -> PodState:
        pods = [pod for pod in self.cluster.pods_on(self.node) if pod.daemon is daemon]
        if guarded:
            self._use_up_the_budget(pods[0])
        return pods[0]

    def touch(self) -> None:
        node = self.cluster.node(self.node)
        assert node is not None
        self.cluster.set_unschedulable(self.node, node.unschedulable)

    def person_cordons(self, *, cordoned: bool) -> None:
        self.cluster.set_unschedulable(self.node, cordoned)

    def wait_until_gone(self, pod: PodState) -> None:
        while pod.uid in {p.uid for p in self.cluster.pods_on(self.node)}:
            self.fleet.advance_to(self.fleet.now_s + 1)

    def _use_up_the_budget(self, pod: PodState) -> None:
        """Let engines of the same model go until no more may."""
        model = pod.name.rpartition("-")[0]
        for name in self.fleet.layout.nodes:
            for other in self.cluster.pods_on(name):
                if other.name.startswith(model) and other.uid != pod.uid:
                    answer = self.cluster.evict(other, session="s-other")
                    if answer is EvictionOutcome.BLOCKED:
                        return


class TestSimulatedCluster(ClusterContract):
    """In event time."""

    @pytest.fixture
    def world(self) -> SimulatedWorld:
        """A fresh one."""
        return SimulatedWorld()
