"""The Kubernetes adapter on a real API server: the contract, and what only a server can say."""

import pytest

from deploy.parts.kube import KubeCluster
from fleetmend.ports.cluster import EvictionOutcome
from remediation.configmap import ConfigMapHalt
from remediation.kubernetes_rest import connect
from tests.contract.remediation.cluster import REASON, SESSION, ClusterContract, release
from tests.real.kube.arrange import RealWorld

pytestmark = pytest.mark.kube


@pytest.fixture
def world(kube: KubeCluster) -> RealWorld:
    """A node and a namespace of the test's own."""
    return RealWorld(kube)


class TestKubernetesCluster(ClusterContract):
    """The contract, with `world` from this module."""


def test_a_quarantine_and_a_release_are_one_write_each(world: RealWorld) -> None:
    """By the API server's own audit log."""
    before = world.node_patches()
    node = world.cluster.node(world.node)
    assert node is not None

    world.cluster.quarantine(node, session=SESSION, reason=REASON)
    assert world.node_patches() == before + 1

    release(world)
    assert world.node_patches() == before + 2


def test_taints_and_annotations_of_others_stay(world: RealWorld) -> None:
    foreign = {"key": "example.com/theirs", "value": "x", "effect": "PreferNoSchedule"}
    world.patch(
        f"/api/v1/nodes/{world.node}",
        {"spec": {"taints": [foreign]}, "metadata": {"annotations": {"example.com/note": "keep"}}},
    )
    node = world.cluster.node(world.node)
    assert node is not None
    world.cluster.quarantine(node, session=SESSION, reason=REASON)
    held = world.cluster.node(world.node)
    assert held is not None
    assert "example.com/theirs" in {taint.key for taint in held.taints}

    release(world)

    _, after = world.request("GET", f"/api/v1/nodes/{world.node}")
    assert foreign in after["spec"]["taints"]
    assert after["metadata"]["annotations"]["example.com/note"] == "keep"
    assert not [key for key in after["metadata"]["annotations"] if "fleetmend" in key]


def test_another_tool_that_owns_the_node_is_seen(world: RealWorld) -> None:
    key = "remediation.medik8s.io/self-node-remediation"
    world.patch(f"/api/v1/nodes/{world.node}", {"metadata": {"annotations": {key: "yes"}}})

    node = world.cluster.node(world.node)

    assert node is not None
    assert (node.owner, node.session) == (key, "")


def test_a_label_that_disowns_a_node_is_no_owner(world: RealWorld) -> None:
    labels = {"ManagedByNVSentinel": "false"}
    world.patch(f"/api/v1/nodes/{world.node}", {"metadata": {"labels": labels}})

    node = world.cluster.node(world.node)

    assert node is not None
    assert node.owner == ""


def test_a_reason_that_is_no_label_becomes_one(world: RealWorld) -> None:
    """Texts come from telemetry: the API server's rules for taints must not stop a quarantine."""
    node = world.cluster.node(world.node)
    assert node is not None

    held = world.cluster.quarantine(node, session=SESSION, reason="<b>ä/ö</b> " + "x" * 200)

    values = [t.value for t in held.taints if t.key == "fleetmend.io/quarantine"]
    assert len(values[0]) <= 63


def test_a_pod_made_anew_under_its_name_after_the_look_is_not_evicted(world: RealWorld) -> None:
    """What a StatefulSet does between our look and our act."""
    seen = world.add_pod("engine-0")
    path = f"/api/v1/namespaces/{world.namespace}/pods/engine-0"
    world.request("DELETE", path, {"gracePeriodSeconds": 0})
    world.wait_until_gone(seen)
    anew = world.add_pod("engine-0")
    assert anew.uid != seen.uid

    assert world.cluster.evict(seen, session=SESSION) is EvictionOutcome.GONE

    assert world.evictions() == []
    there = {pod.uid: pod.terminating for pod in world.cluster.pods_on(world.node)}
    assert there == {anew.uid: False}


def test_a_halt_map_that_is_not_there_means_halted(world: RealWorld) -> None:
    rest = connect(kubeconfig=str(world.kube.kubeconfig), timeout_s=10.0)

    state = ConfigMapHalt(rest, f"{world.namespace}/no-such-map").state()

    assert state.halted
    assert state.by == "unknown"
