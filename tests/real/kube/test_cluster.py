"""The Kubernetes adapter on a real API server: the contract, and what only a server can say."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.parts.kube import KubeCluster
from fleetmend.ports.cluster import EvictionOutcome
from fleetmend.ports.halt import HaltState
from remediation.configmap import ConfigMapHalt
from remediation.kubernetes import KubernetesCluster
from remediation.kubernetes_rest import Rest, connect
from tests.contract.remediation.cluster import REASON, SESSION, ClusterContract, release
from tests.real.kube.arrange import FOREIGN, RealWorld

pytestmark = pytest.mark.kube
RBAC = Path(__file__).parents[3] / "deploy" / "kubernetes" / "rbac.yaml"


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


def test_the_executors_role_can_do_its_work_and_nothing_else(world: RealWorld) -> None:
    executor = _as_executor(world)
    cluster = KubernetesCluster(executor, foreign_owners=FOREIGN)
    pod = world.add_pod("plain")
    node = cluster.node(world.node)
    assert node is not None

    held = cluster.quarantine(node, session=SESSION, reason=REASON)
    assert [p.uid for p in cluster.pods_on(world.node)] == [pod.uid]
    assert cluster.evict(pod, session=SESSION) is EvictionOutcome.ACCEPTED
    assert held.name in {state.name for state in cluster.held_nodes()}
    halt = ConfigMapHalt(executor, "fleetmend/halt")
    halt.set(HaltState(halted=True, by="ada", reason="drill"))
    assert halt.state().halted
    halt.set(HaltState(halted=False))
    assert not halt.state().halted

    pods = f"/api/v1/namespaces/{world.namespace}/pods"
    forbidden = [
        ("DELETE", f"/api/v1/nodes/{world.node}"),
        ("DELETE", f"{pods}/plain"),
        ("GET", f"/api/v1/namespaces/{world.namespace}/secrets"),
        ("POST", pods),
        ("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/fleetmend-executor"),
        ("GET", "/api/v1/namespaces/kube-system/configmaps"),
    ]
    for method, path in forbidden:
        body: dict[str, Any] | None = None if method in ("GET", "DELETE") else {}
        content_type = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = executor.call(method, path, body=body, content_type=content_type)
        assert answer.status == 403, (method, path, answer)


def test_a_halt_map_that_is_not_there_means_halted(world: RealWorld) -> None:
    rest = connect(kubeconfig=str(world.kube.kubeconfig), timeout_s=10.0)

    state = ConfigMapHalt(rest, f"{world.namespace}/no-such-map").state()

    assert state.halted
    assert state.by == "unknown"


def _as_executor(world: RealWorld) -> Rest:
    """A connection with the rights of deploy/kubernetes/rbac.yaml, by a token of its account."""
    for body in yaml.safe_load_all(RBAC.read_text()):
        group = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
        namespace = body["metadata"].get("namespace")
        inside = f"/namespaces/{namespace}" if namespace else ""
        kind = body["kind"].lower() + "s"
        status, answer = world.request("POST", f"{group}{inside}/{kind}", body)
        assert status in (201, 409), answer
    account = "/api/v1/namespaces/fleetmend/serviceaccounts/fleetmend-executor"
    asked: dict[str, Any] = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    status, made = world.request("POST", f"{account}/token", asked)
    assert status == 201, made
    settings = json.loads(world.kube.kubeconfig.read_text())
    for user in settings["users"]:
        user["user"] = {"token": made["status"]["token"]}
    path = world.kube.kubeconfig.parent / f"{world.node}.kubeconfig"
    path.write_text(json.dumps(settings))
    return connect(kubeconfig=str(path), timeout_s=10.0)
