"""The simulated API server keeps the promises of the `Cluster` port."""

from dataclasses import replace

import pytest

from fleetmend.errors import PortRefused
from fleetmend.ports.cluster import EvictionOutcome, NodeState, PodState
from simulator.cluster import SimulatedCluster
from simulator.fleet import Fleet
from tests.unit.simulator.fleets import small_fleet, wait_until

NAME = "node-000"


def engines_on(cluster: SimulatedCluster, node: str) -> list[PodState]:
    return [pod for pod in cluster.pods_on(node) if not pod.daemon]


def taken(cluster: SimulatedCluster, name: str = NAME, session: str = "s-1") -> NodeState:
    node = cluster.node(name)
    assert node is not None
    return cluster.quarantine(node, session=session, reason="xid 79")


def empty(fleet: Fleet, name: str) -> bool:
    return not engines_on(fleet.cluster, name)


def test_quarantine_is_one_write_that_says_who_did_it() -> None:
    cluster = small_fleet().cluster
    before = cluster.node(NAME)
    after = taken(cluster)

    assert before is not None
    assert (after.unschedulable, after.session, after.owner) == (True, "s-1", "s-1")
    assert ("fleetmend.io/quarantine", "xid 79") in {(t.key, t.value) for t in after.taints}
    assert int(after.resource_version) == int(before.resource_version) + 1
    assert cluster.node(NAME) == after
    assert cluster.held_nodes() == (after,)


def test_a_stale_version_is_refused_and_changes_nothing() -> None:
    cluster = small_fleet().cluster
    stale = cluster.node(NAME)
    assert stale is not None
    now = cluster.set_unschedulable(NAME, True, owner="kubectl")

    with pytest.raises(PortRefused, match="changed meanwhile"):
        cluster.quarantine(stale, session="s-1", reason="xid 79")
    assert cluster.node(NAME) == now


def test_quarantine_again_by_the_same_session_changes_nothing() -> None:
    cluster = small_fleet().cluster
    first = taken(cluster)

    assert cluster.quarantine(first, session="s-1", reason="again") == first


@pytest.mark.parametrize("owner", ["kubectl", "another-tool"])
def test_a_node_that_somebody_else_holds_is_refused(owner: str) -> None:
    cluster = small_fleet().cluster
    held = cluster.set_unschedulable(NAME, True, owner=owner)

    with pytest.raises(PortRefused, match=f"held by {owner}"):
        cluster.quarantine(held, session="s-1", reason="xid 79")


@pytest.mark.parametrize("cordoned", [False, True])
def test_release_gives_back_what_was_before(cordoned: bool) -> None:
    cluster = small_fleet().cluster
    cluster.set_unschedulable(NAME, cordoned)
    held = taken(cluster)
    back = cluster.release(held, session="s-1")

    assert held.was_unschedulable is cordoned
    assert (back.unschedulable, back.session, back.owner) == (cordoned, "", "")
    assert not cluster.held_nodes()


def test_only_the_session_that_holds_a_node_releases_it() -> None:
    cluster = small_fleet().cluster
    held = taken(cluster)

    with pytest.raises(PortRefused, match="held by s-1"):
        cluster.release(held, session="s-2")
    assert cluster.node(NAME) == held


def test_releasing_what_is_not_held_changes_nothing() -> None:
    cluster = small_fleet().cluster
    free = cluster.release(taken(cluster), session="s-1")

    assert cluster.release(free, session="s-1") == free


def test_unknown_nodes_and_pods_are_told_apart() -> None:
    cluster = small_fleet().cluster
    ghost = replace(cluster.pods_on(NAME)[0], uid="0")

    assert cluster.node("node-999") is None
    assert cluster.pods_on("node-999") == ()
    assert cluster.evict(ghost, session="s-1") is EvictionOutcome.GONE
    known = cluster.node(NAME)
    assert known is not None
    with pytest.raises(PortRefused, match="no such node"):
        cluster.quarantine(replace(known, name="node-999"), session="s-1", reason="")


def test_an_evicted_pod_takes_a_moment_and_comes_back_elsewhere() -> None:
    fleet = small_fleet()
    taken(fleet.cluster)
    pods = engines_on(fleet.cluster, NAME)
    pod = pods[0]

    assert fleet.cluster.evict(pod, session="s-1") is EvictionOutcome.ACCEPTED
    assert engines_on(fleet.cluster, NAME)[0].terminating
    assert fleet.cluster.evict(pod, session="s-1") is EvictionOutcome.ACCEPTED
    took_s = wait_until(fleet, lambda: len(engines_on(fleet.cluster, NAME)) < len(pods), limit_s=9)
    assert took_s >= 3
    assert fleet.cluster.evict(pod, session="s-1") is EvictionOutcome.GONE
    new = [
        p
        for node in fleet.layout.nodes
        for p in engines_on(fleet.cluster, node)
        if p.name == pod.name
    ]
    assert len(new) == 1
    assert (new[0].uid != pod.uid, new[0].node != NAME, new[0].ready) == (True, True, False)


def test_a_drained_node_is_empty_but_for_its_agent() -> None:
    fleet = small_fleet()
    taken(fleet.cluster)

    def drained() -> bool:
        for pod in engines_on(fleet.cluster, NAME):
            fleet.cluster.evict(pod, session="s-1")
        return empty(fleet, NAME)

    wait_until(fleet, drained, limit_s=300)
    assert [pod.daemon for pod in fleet.cluster.pods_on(NAME)] == [True]
    assert (fleet.layout.gpus_of(0, 0) >= 0).all()


def test_the_budget_blocks_what_would_leave_too_few() -> None:
    """One engine in ten, at least one, may be out; the second eviction must wait."""
    fleet = small_fleet()
    pods = [p for node in fleet.layout.nodes for p in engines_on(fleet.cluster, node)]
    mine = [pod for pod in pods if pod.name.startswith("llama-70b")]
    allowed = max(1, len(mine) // 10)
    answers = [fleet.cluster.evict(pod, session="s-1") for pod in mine]

    assert answers.count(EvictionOutcome.ACCEPTED) == allowed
    assert answers.count(EvictionOutcome.BLOCKED) == len(mine) - allowed
    wait_until(
        fleet,
        lambda: fleet.cluster.evict(mine[-1], session="s-1") is EvictionOutcome.ACCEPTED,
        limit_s=90,
    )


def test_agents_are_left_alone() -> None:
    fleet = small_fleet()
    agent = next(pod for pod in fleet.cluster.pods_on(NAME) if pod.daemon)

    assert fleet.cluster.evict(agent, session="s-1") is EvictionOutcome.ACCEPTED
    assert agent in fleet.cluster.pods_on(NAME)
