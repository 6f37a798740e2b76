"""What every cluster must do for remediation. The fake of the unit tests and a real API server run
the same tests.

A subclass brings the fixture `world`: a cluster with one ready node of the test's own.
"""

from dataclasses import replace
from typing import Protocol

import pytest

from fleetmend.errors import PortRefused
from fleetmend.ports.cluster import Cluster, EvictionOutcome, PodState

SESSION = "s-0123456789abcdef"
REASON = "i-0123456789abcdef"


class World(Protocol):
    """A cluster and the means to arrange something in it."""

    @property
    def cluster(self) -> Cluster:
        """What is tested."""
        ...

    @property
    def node(self) -> str:
        """The node's name."""
        ...

    def add_pod(self, name: str, *, daemon: bool = False, guarded: bool = False) -> PodState:
        """A ready pod on the node; `guarded` by a disruption budget that allows nothing."""
        ...

    def touch(self) -> None:
        """Somebody changes the node in a way that does not matter."""
        ...

    def person_cordons(self, *, cordoned: bool) -> None:
        """What `kubectl cordon` and `kubectl uncordon` do: the flag alone."""
        ...

    def wait_until_gone(self, pod: PodState) -> None:
        """The pod has left."""
        ...


class ClusterContract:
    """The `Cluster` port."""

    def test_a_fresh_node_is_ready_and_nobodys(self, world: World) -> None:
        node = world.cluster.node(world.node)

        assert node is not None
        assert (node.ready, node.unschedulable, node.owner, node.session) == (True, False, "", "")

    def test_a_node_that_is_not_there_is_none(self, world: World) -> None:
        assert world.cluster.node("no-such-node") is None

    def test_a_quarantine_is_seen_as_a_whole(self, world: World) -> None:
        node = world.cluster.node(world.node)
        assert node is not None

        written = world.cluster.quarantine(node, session=SESSION, reason=REASON)

        read = world.cluster.node(world.node)
        assert read is not None
        for state in (written, read):
            assert state.unschedulable
            assert (state.session, state.owner) == (SESSION, SESSION)
            assert not state.was_unschedulable
            taints = [(t.key, t.value, t.effect) for t in state.taints]
            assert ("fleetmend.io/quarantine", REASON, "NoSchedule") in taints
        assert SESSION in {held.session for held in world.cluster.held_nodes()}

    def test_a_quarantine_based_on_an_old_read_is_refused(self, world: World) -> None:
        node = world.cluster.node(world.node)
        assert node is not None
        world.touch()

        with pytest.raises(PortRefused):
            world.cluster.quarantine(node, session=SESSION, reason=REASON)

        read = world.cluster.node(world.node)
        assert read is not None
        assert (read.unschedulable, read.session) == (False, "")

    def test_a_release_leaves_no_trace(self, world: World) -> None:
        node = world.cluster.node(world.node)
        assert node is not None
        held = world.cluster.quarantine(node, session=SESSION, reason=REASON)

        release(world)

        read = world.cluster.node(world.node)
        assert read is not None
        assert (read.unschedulable, read.session, read.owner) == (False, "", "")
        assert "fleetmend.io/quarantine" not in {taint.key for taint in read.taints}
        assert held.name not in {state.name for state in world.cluster.held_nodes()}

    def test_a_release_based_on_an_old_read_is_refused(self, world: World) -> None:
        node = world.cluster.node(world.node)
        assert node is not None
        world.cluster.quarantine(node, session=SESSION, reason=REASON)
        stale = world.cluster.node(world.node)
        assert stale is not None
        world.touch()

        with pytest.raises(PortRefused):
            world.cluster.release(stale, session=SESSION)

    def test_a_node_that_was_cordoned_before_us_stays_so_after_us(self, world: World) -> None:
        world.person_cordons(cordoned=True)
        node = world.cluster.node(world.node)
        assert node is not None
        held = world.cluster.quarantine(node, session=SESSION, reason=REASON)
        assert held.was_unschedulable

        release(world)

        read = world.cluster.node(world.node)
        assert read is not None
        assert (read.unschedulable, read.session) == (True, "")

    def test_a_person_who_uncordoned_meanwhile_is_not_overruled(self, world: World) -> None:
        world.person_cordons(cordoned=True)
        node = world.cluster.node(world.node)
        assert node is not None
        world.cluster.quarantine(node, session=SESSION, reason=REASON)
        world.person_cordons(cordoned=False)
        seen = world.cluster.node(world.node)
        assert seen is not None
        assert (seen.session, seen.unschedulable) == (SESSION, False)

        release(world)

        read = world.cluster.node(world.node)
        assert read is not None
        assert (read.unschedulable, read.session) == (False, "")

    def test_pods_are_told_apart(self, world: World) -> None:
        plain, daemon = world.add_pod("plain"), world.add_pod("daemon", daemon=True)

        pods = {pod.uid: pod for pod in world.cluster.pods_on(world.node)}

        assert pods[plain.uid].ready
        assert not pods[plain.uid].daemon
        assert not pods[plain.uid].terminating
        assert pods[daemon.uid].daemon
        assert {pod.node for pod in pods.values()} == {world.node}

    def test_an_evicted_pod_leaves_and_is_gone_afterwards(self, world: World) -> None:
        pod = world.add_pod("plain")

        assert world.cluster.evict(pod, session=SESSION) is EvictionOutcome.ACCEPTED
        world.wait_until_gone(pod)
        assert world.cluster.evict(pod, session=SESSION) is EvictionOutcome.GONE

    def test_a_budget_blocks_and_nothing_leaves(self, world: World) -> None:
        pod = world.add_pod("guarded", guarded=True)

        assert world.cluster.evict(pod, session=SESSION) is EvictionOutcome.BLOCKED

        there = {p.uid: p for p in world.cluster.pods_on(world.node)}
        assert not there[pod.uid].terminating

    def test_another_pod_of_the_same_name_is_not_meant(self, world: World) -> None:
        pod = world.add_pod("plain")
        earlier = replace(pod, uid="00000000-0000-0000-0000-000000000000")

        assert world.cluster.evict(earlier, session=SESSION) is EvictionOutcome.GONE

        there = {p.uid: p for p in world.cluster.pods_on(world.node)}
        assert not there[pod.uid].terminating


def release(world: World) -> None:
    """As the executor does: read, write, and read again when somebody was in between (the node
    controller adds a taint of its own to what is unschedulable)."""
    for _ in range(20):
        held = world.cluster.node(world.node)
        assert held is not None
        try:
            world.cluster.release(held, session=SESSION)
        except PortRefused:
            continue
        return
    raise AssertionError("the node never held still")
