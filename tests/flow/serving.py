"""A pool of GPU nodes that serves a model, in the real cluster; and what kube-apiserver's own audit
log says was done to it."""

import json
import urllib.error
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.parts.kube import KubeCluster

KUBERNETES = Path(__file__).parents[2] / "deploy" / "kubernetes"
EXECUTOR = "system:serviceaccount:fleetmend:fleetmend-executor"
ENGINE = {"app.kubernetes.io/component": "inference-engine"}
RACK_NODES = 4


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod as the API shows it."""

    name: str
    uid: str
    node: str
    ready: bool


class ServingPool:
    """Nodes of four to a rack, an engine Deployment over them with a disruption budget of one."""

    def __init__(self, kube: KubeCluster, *, nodes: int, replicas: int) -> None:
        self.kube = kube
        self.name = f"flow-{uuid.uuid4().hex[:6]}"
        self.nodes = [f"{self.name}-n{number:02d}" for number in range(nodes)]
        for first in range(0, nodes, RACK_NODES):
            rack = f"{self.name}-r{first // RACK_NODES}"
            kube.add_gpu_nodes(self.nodes[first : first + RACK_NODES], rack=rack, pool=self.name)
        kube.create("/api/v1/namespaces", {"metadata": {"name": self.name}})
        self.replicas = replicas
        if replicas:
            self._deploy(replicas)

    def ready(self) -> bool:
        """Whether all engines run and the budget counts them."""
        if not self.replicas:
            return True
        budget = self._budget("engines")
        return (
            sum(pod.ready for pod in self.engines()) == self.replicas
            and budget.get("currentHealthy") == self.replicas
            and budget.get("disruptionsAllowed") == 1
        )

    def engines(self) -> list[Pod]:
        """The engines as they are now."""
        return [pod for pod in self._pods() if pod.name.startswith("engine-")]

    def guard(self, node: str) -> Pod:
        """A pod on this node whose budget does not let it go."""
        name = "guarded"
        labels = {"app": name}
        spec = {
            "nodeName": node,
            "containers": [{"name": "c", "image": "fake"}],
            "terminationGracePeriodSeconds": 1,
        }
        body = {"metadata": {"name": name, "labels": labels}, "spec": spec}
        self.kube.create(f"/api/v1/namespaces/{self.name}/pods", body)
        self._add_budget(name, labels, {"minAvailable": 1})
        return next(pod for pod in self._pods() if pod.name == name)

    def guarded(self) -> bool:
        """Whether the guard's budget is in force."""
        budget = self._budget("guarded")
        return budget.get("currentHealthy") == 1 and budget.get("disruptionsAllowed") == 0

    def relax(self) -> None:
        """Take the guard's budget away."""
        self.kube.delete(f"{self._budgets}/guarded")

    def node(self, name: str) -> dict[str, Any]:
        """A node as the API shows it."""
        found: dict[str, Any] = json.loads(self.kube.get(f"/api/v1/nodes/{name}"))
        return found

    def remove(self) -> None:
        """Take everything away again; what is gone already is no harm."""
        paths = [f"/api/v1/namespaces/{self.name}", *(f"/api/v1/nodes/{n}" for n in self.nodes)]
        for path in paths:
            try:
                self.kube.delete(path)
            except urllib.error.HTTPError as error:
                if error.code not in (404, 409):
                    raise

    @property
    def _budgets(self) -> str:
        return f"/apis/policy/v1/namespaces/{self.name}/poddisruptionbudgets"

    def _deploy(self, replicas: int) -> None:
        labels = {"app": "engine", **ENGINE}
        labels |= {"fleetmend.io/pool": self.name, "fleetmend.io/model": f"{self.name}-model"}
        container = {
            "name": "vllm",
            "image": "vllm/vllm-openai:v0.32.0",
            "resources": {"requests": {"nvidia.com/gpu": "2"}, "limits": {"nvidia.com/gpu": "2"}},
        }
        spread = {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": {"matchLabels": {"app": "engine"}},
        }
        pod = {
            "nodeSelector": {"fleetmend.io/pool": self.name},
            "containers": [container],
            "topologySpreadConstraints": [spread],
            "terminationGracePeriodSeconds": 1,
        }
        spec = {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "engine"}},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        }
        path = f"/apis/apps/v1/namespaces/{self.name}/deployments"
        self.kube.create(path, {"metadata": {"name": "engine"}, "spec": spec})
        self._add_budget("engines", {"app": "engine"}, {"maxUnavailable": 1})

    def _add_budget(self, name: str, labels: dict[str, str], allowed: dict[str, int]) -> None:
        spec = {"selector": {"matchLabels": labels}, **allowed}
        self.kube.create(self._budgets, {"metadata": {"name": name}, "spec": spec})

    def _budget(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.kube.get(f"{self._budgets}/{name}")).get("status")
        return status or {}

    def _pods(self) -> list[Pod]:
        listed = json.loads(self.kube.get(f"/api/v1/namespaces/{self.name}/pods"))["items"]
        return [
            Pod(
                name=pod["metadata"]["name"],
                uid=pod["metadata"]["uid"],
                node=pod["spec"].get("nodeName", ""),
                ready=any(
                    condition["type"] == "Ready" and condition["status"] == "True"
                    for condition in pod["status"].get("conditions", [])
                ),
            )
            for pod in listed
        ]


@dataclass(frozen=True, slots=True)
class Patch:
    """An accepted patch of a node by the executor."""

    node: str
    received_at: str
    """When the server received it, as it writes it."""
    accepted_at: str
    """When it had answered."""
    session: str
    """The session on the node after it; empty after a release."""
    unschedulable: bool


class AuditWitness:
    """What kube-apiserver says that a user, as a rule the executor, did to the nodes and pods of
    one pool. Not for several threads."""

    def __init__(self, pool: ServingPool, *, user: str = EXECUTOR) -> None:
        self._pool = pool
        self._user = user
        self._read = 0
        self._kept: list[dict[str, Any]] = []

    def patches(self) -> list[Patch]:
        """Every accepted patch of a node, in order."""
        found = []
        for entry in self._entries():
            what = entry["objectRef"]
            if (entry["verb"], what["resource"]) != ("patch", "nodes"):
                continue
            if entry["responseStatus"]["code"] != 200:
                continue
            node = entry["responseObject"]
            marks = node["metadata"].get("annotations", {})
            found.append(
                Patch(
                    node=what["name"],
                    received_at=entry["requestReceivedTimestamp"],
                    accepted_at=entry["stageTimestamp"],
                    session=marks.get("fleetmend.io/session", ""),
                    unschedulable=bool(node["spec"].get("unschedulable")),
                )
            )
        return found

    def evictions(self, code: int) -> Counter[str]:
        """How often the eviction of each pod (by uid) was answered so: 201 is accepted, 429 is
        blocked by a budget."""
        return Counter(
            entry["requestObject"]["deleteOptions"]["preconditions"]["uid"]
            for entry in self._entries()
            if entry["objectRef"].get("subresource") == "eviction"
            and entry["responseStatus"]["code"] == code
        )

    def verbs(self) -> set[tuple[str, str]]:
        """Everything that the executor changed or tried to: verb and resource."""
        return {
            (
                entry["verb"],
                "/".join(
                    filter(
                        None,
                        (entry["objectRef"]["resource"], entry["objectRef"].get("subresource")),
                    )
                ),
            )
            for entry in self._entries()
        }

    def _entries(self) -> list[dict[str, Any]]:
        """The user's requests about this pool. Only what is new is read; a line that is being
        written comes later."""
        nodes = set(self._pool.nodes)
        with self._pool.kube.audit_log.open("rb") as log:
            log.seek(self._read)
            lines = log.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        self._read += len(lines)
        for line in lines.splitlines():
            if self._user.encode() not in line:
                continue
            entry: dict[str, Any] = json.loads(line)
            what = entry.get("objectRef", {})
            ours = what.get("name") in nodes or what.get("namespace") == self._pool.name
            if entry["user"]["username"] == self._user and ours:
                self._kept.append(entry)
        return self._kept
