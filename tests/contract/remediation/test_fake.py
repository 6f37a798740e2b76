"""The fake cluster of the unit tests keeps the contract that the real one is held to."""

from dataclasses import dataclass, field, replace

import pytest

from fleetmend.ports.cluster import PodState
from tests.contract.remediation.cluster import ClusterContract
from tests.unit.remediation.fakes import FakeCluster


@dataclass
class FakeWorld:
    """A node of the fake."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    node: str = "node-0"

    def __post_init__(self) -> None:
        self.cluster.add_node(self.node)

    def add_pod(self, name: str, *, daemon: bool = False, guarded: bool = False) -> PodState:
        if guarded:
            self.cluster.blocked.add(name)
        return self.cluster.add_pod(name, self.node, daemon=daemon)

    def touch(self) -> None:
        self.cluster.touch(self.node)

    def person_cordons(self, *, cordoned: bool) -> None:
        self.cluster.nodes[self.node] = replace(
            self.cluster.nodes[self.node], unschedulable=cordoned
        )
        self.cluster.touch(self.node)

    def wait_until_gone(self, pod: PodState) -> None:
        self.cluster.settle()


class TestFakeCluster(ClusterContract):
    """In memory."""

    @pytest.fixture
    def world(self) -> FakeWorld:
        """A fresh one."""
        return FakeWorld()
