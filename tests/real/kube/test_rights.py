"""What the executor's account may do on a real API server, by its own token: all of its work and
nothing else. The manifests of deploy/kubernetes are what is tested."""

from typing import Any

import pytest
import yaml

from deploy.parts.kube import KubeCluster
from fleetmend.errors import PortRefused
from fleetmend.ports.cluster import EvictionOutcome
from fleetmend.ports.halt import HaltState
from remediation.configmap import ConfigMapHalt
from remediation.kubernetes import INCIDENT, MARKS, QUARANTINE, SESSION, KubernetesCluster
from remediation.kubernetes import WAS_UNSCHEDULABLE as WAS
from remediation.kubernetes_rest import Rest
from tests.contract.remediation.cluster import REASON, ClusterContract
from tests.contract.remediation.cluster import SESSION as OURS
from tests.real.kube.arrange import FOREIGN, MANIFESTS, MERGE, RealWorld

pytestmark = pytest.mark.kube

EXECUTOR = "fleetmend-executor"
FOREIGN_TAINT = {"key": "example.com/theirs", "value": "x", "effect": "NoSchedule"}
OWN_TAINT = {"key": QUARANTINE, "value": "i-1", "effect": "NoSchedule"}
HELD = {SESSION: OURS, INCIDENT: REASON, WAS: "false"}


class ExecutorsWorld(RealWorld):
    """The same world, acted on by the executor's account; people stay administrators."""

    def __init__(self, kube: KubeCluster) -> None:
        super().__init__(kube)
        self.rest: Rest = self.account(EXECUTOR)
        self.cluster = KubernetesCluster(self.rest, foreign_owners=FOREIGN)


@pytest.fixture
def world(kube: KubeCluster) -> ExecutorsWorld:
    """A node and a namespace of the test's own."""
    return ExecutorsWorld(kube)


class TestTheExecutorsAccountCanDoItsWork(ClusterContract):
    """The whole contract, under role and policy."""


def patched(world: ExecutorsWorld, body: dict[str, Any]) -> tuple[int, str]:
    """A merge patch of the node by the executor's account: status and the server's words."""
    path = f"/api/v1/nodes/{world.node}"
    answer = world.rest.call("PATCH", path, body=body, content_type=MERGE)
    return answer.status, str(answer.body.get("message", ""))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"metadata": {"labels": {"fleetmend.io/pool": "auto"}}}, "no label"),
        ({"metadata": {"labels": {"fleetmend.io/pool": None}}}, "no label"),
        ({"metadata": {"finalizers": ["example.com/stay"]}}, "no label"),
        ({"metadata": {"annotations": {"example.com/note": "x"}}}, "own annotations"),
        ({"metadata": {"annotations": {"kwok.x-k8s.io/node": None}}}, "own annotations"),
        ({"metadata": {"annotations": {"fleetmend.io/other": "x"}}}, "own annotations"),
        ({"spec": {"taints": [FOREIGN_TAINT]}}, "own taint"),
        ({"spec": {"taints": [OWN_TAINT]}}, "names a session"),
        (
            {
                "metadata": {"annotations": HELD},
                "spec": {"unschedulable": True, "taints": [OWN_TAINT | {"effect": "NoExecute"}]},
            },
            "drives nothing out",
        ),
        ({"spec": {"unschedulable": True}}, "cordons only what it marks"),
        ({"spec": {"providerID": "stolen"}}, "cordon flag"),
        ({"metadata": {"annotations": HELD | {WAS: "true"}}}, "as it was"),
    ],
)
def test_what_is_not_its_own_mark_is_refused(
    world: ExecutorsWorld, body: dict[str, Any], why: str
) -> None:
    _, before = world.request("GET", f"/api/v1/nodes/{world.node}")

    status, message = patched(world, body)

    _, after = world.request("GET", f"/api/v1/nodes/{world.node}")
    assert (status, why in message) == (422, True), (status, message)
    assert after["spec"] == before["spec"]
    assert after["metadata"].get("labels") == before["metadata"].get("labels")
    assert after["metadata"].get("annotations") == before["metadata"].get("annotations")


def test_a_taint_of_others_is_not_taken_away(world: ExecutorsWorld) -> None:
    world.patch(f"/api/v1/nodes/{world.node}", {"spec": {"taints": [FOREIGN_TAINT]}})

    status, message = patched(world, {"spec": {"taints": None}})

    assert (status, "own taint" in message) == (422, True), message


def test_a_persons_cordon_is_not_undone(world: ExecutorsWorld) -> None:
    """Neither plainly, nor by way of a session."""
    world.person_cordons(cordoned=True)
    status, message = patched(world, {"spec": {"unschedulable": None}})
    assert (status, "uncordons only" in message) == (422, True), message

    node = world.cluster.node(world.node)
    assert node is not None
    world.cluster.quarantine(node, session=OURS, reason=REASON)
    taken = world.request("GET", f"/api/v1/nodes/{world.node}")[1]["spec"]["taints"]
    kept = [taint for taint in taken if taint["key"] != QUARANTINE]
    gone = {
        "metadata": {"annotations": dict.fromkeys(HELD)},
        "spec": {"unschedulable": None, "taints": kept},
    }
    status, message = patched(world, gone)
    assert (status, "uncordons only" in message) == (422, True), message
    status, message = patched(world, {"metadata": {"annotations": {WAS: "false"}}})
    assert (status, "not rewritten" in message) == (422, True), message


def test_a_node_that_a_session_holds_is_not_taken_over(world: ExecutorsWorld) -> None:
    node = world.cluster.node(world.node)
    assert node is not None
    world.cluster.quarantine(node, session=OURS, reason=REASON)

    status, message = patched(world, {"metadata": {"annotations": {SESSION: "s-another"}}})

    assert (status, "taken over" in message) == (422, True), message


def test_the_control_plane_is_left_alone(world: ExecutorsWorld) -> None:
    label = {"node-role.kubernetes.io/control-plane": ""}
    world.patch(f"/api/v1/nodes/{world.node}", {"metadata": {"labels": label}})
    node = world.cluster.node(world.node)
    assert node is not None

    with pytest.raises(PortRefused, match="control plane"):
        world.cluster.quarantine(node, session=OURS, reason=REASON)


def test_pods_of_other_namespaces_are_not_evicted(world: ExecutorsWorld) -> None:
    """The node of another test's world carries a pod in a namespace without the role."""
    other = RealWorld(world.kube)
    pod = other.add_pod("theirs")

    with pytest.raises(PortRefused, match="403"):
        world.cluster.evict(pod, session=OURS)

    assert other.evictions() == []
    mine = world.add_pod("mine")
    assert world.cluster.evict(mine, session=OURS) is EvictionOutcome.ACCEPTED


def test_only_the_operators_account_lifts_a_halt(world: ExecutorsWorld) -> None:
    read = ConfigMapHalt(world.rest, "fleetmend/halt")
    operator = ConfigMapHalt(world.account("fleetmend-operator"), "fleetmend/halt")

    operator.set(HaltState(halted=True, by="ada", reason="drill"))
    try:
        assert read.state() == HaltState(halted=True, by="ada", reason="drill")
        with pytest.raises(PortRefused, match="403"):
            read.set(HaltState(halted=False))
        assert read.state().halted
    finally:
        operator.set(HaltState(halted=False))
    assert not read.state().halted


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/v1/nodes/{node}"),
        ("POST", "/api/v1/nodes"),
        ("PATCH", "/api/v1/nodes/{node}/status"),
        ("DELETE", "/api/v1/namespaces/{node}/pods/plain"),
        ("POST", "/api/v1/namespaces/{node}/pods"),
        ("GET", "/api/v1/namespaces/{node}/secrets"),
        ("GET", "/api/v1/namespaces/kube-system/configmaps"),
        ("PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/fleetmend-executor"),
        ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/{node}/rolebindings"),
        (
            "DELETE",
            "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/"
            "fleetmend-executor-nodes",
        ),
    ],
)
def test_everything_else_is_forbidden(world: ExecutorsWorld, method: str, path: str) -> None:
    body: dict[str, Any] | None = None if method in ("GET", "DELETE") else {}
    content_type = MERGE if method == "PATCH" else "application/json"

    place = path.format(node=world.node)
    answer = world.rest.call(method, place, body=body, content_type=content_type)

    assert answer.status == 403, answer


def test_the_policy_speaks_of_the_marks_that_the_adapter_makes() -> None:
    text = (MANIFESTS / "node-policy.yaml").read_text()
    policy, binding = yaml.safe_load_all(text)
    marks = next(v for v in policy["spec"]["variables"] if v["name"] == "marks")

    assert set(yaml.safe_load(marks["expression"])) == set(MARKS)
    assert f'"{QUARANTINE}"' in text
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert policy["spec"]["failurePolicy"] == "Fail"
