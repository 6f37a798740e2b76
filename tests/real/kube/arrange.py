"""Arranging things in a real cluster, as an administrator would: over the API, then waiting until
the cluster says that it is so."""

import http.client
import json
import ssl
import threading
import urllib.parse
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.parts.kube import KubeCluster
from fleetmend.clock import SystemClock
from fleetmend.ports.cluster import PodState
from remediation.kubernetes import KubernetesCluster
from remediation.kubernetes_rest import Rest, connect

FOREIGN = ("remediation.medik8s.io/", "ManagedByNVSentinel")
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
DEADLINE_S = 60.0
MERGE = "application/merge-patch+json"
MANIFESTS = Path(__file__).parents[3] / "deploy" / "kubernetes"


class RealWorld:
    """A node and a namespace of the test's own."""

    def __init__(self, kube: KubeCluster) -> None:
        self.kube = kube
        self.node = f"mend-{uuid.uuid4().hex[:8]}"
        self.namespace = self.node
        rest = connect(kubeconfig=str(kube.kubeconfig), timeout_s=10.0)
        self.cluster = KubernetesCluster(rest, foreign_owners=FOREIGN)
        kube.add_gpu_nodes([self.node])
        kube.create("/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        self.wait(lambda: self._read("serviceaccounts/default") is not None)

    def account(self, name: str) -> Rest:
        """A connection with the rights of deploy/kubernetes, by a token of its account, once the
        policy on nodes is in force."""
        for manifest in ("rbac.yaml", "node-policy.yaml", "halt.yaml"):
            self.kube.apply(MANIFESTS / manifest)
        self.kube.apply(MANIFESTS / "eviction.yaml", namespace=self.namespace)
        executor = self._connect("fleetmend-executor")
        probe = {"metadata": {"labels": {"probe": "x"}}}
        path = f"/api/v1/nodes/{self.node}?dryRun=All"
        self.wait(
            lambda: executor.call("PATCH", path, body=probe, content_type=MERGE).status == 422
        )
        return executor if name == "fleetmend-executor" else self._connect(name)

    def _connect(self, name: str) -> Rest:
        path = self.kube.account_config("fleetmend", name)
        return connect(kubeconfig=str(path), timeout_s=10.0)

    def add_pod(self, name: str, *, daemon: bool = False, guarded: bool = False) -> PodState:
        """A running pod on the node."""
        if daemon:
            self._add_daemon_set(name)
        else:
            body = {"metadata": {"name": name, "labels": {"app": name}}, "spec": self._pod_spec()}
            self.kube.create(f"/api/v1/namespaces/{self.namespace}/pods", body)
        if guarded:
            self._add_budget(name)
        found: list[PodState] = []

        def ready() -> bool:
            found[:] = [
                pod
                for pod in self.cluster.pods_on(self.node)
                if pod.name.startswith(name) and pod.ready
            ]
            return bool(found)

        self.wait(ready)
        return found[0]

    def touch(self) -> None:
        """A label that means nothing."""
        self.patch(f"/api/v1/nodes/{self.node}", {"metadata": {"labels": {"touched": _word()}}})

    def person_cordons(self, *, cordoned: bool) -> None:
        """The flag alone, and what the node controller makes of it."""
        path = f"/api/v1/nodes/{self.node}"
        self.patch(path, {"spec": {"unschedulable": cordoned or None}})

        def followed() -> bool:
            taints = self.request("GET", path)[1]["spec"].get("taints", [])
            return any(taint["key"] == UNSCHEDULABLE for taint in taints) is cordoned

        self.wait(followed)

    def wait_until_gone(self, pod: PodState) -> None:
        """The pod has left the API."""
        self.wait(lambda: pod.uid not in {p.uid for p in self.cluster.pods_on(self.node)})

    def patch(self, path: str, body: dict[str, Any]) -> int:
        """A merge patch as administrator."""
        return self.request("PATCH", path, body, content_type=MERGE)[0]

    def request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        content_type: str = "application/json",
    ) -> tuple[int, dict[str, Any]]:
        """A raw request as administrator: status and answer."""
        place = urllib.parse.urlsplit(self.kube.url)
        context: ssl.SSLContext = self.kube._context
        link = http.client.HTTPSConnection(
            str(place.hostname), place.port, context=context, timeout=20
        )
        try:
            content = None if body is None else json.dumps(body)
            link.request(method, path, content, {"Content-Type": content_type})
            answer = link.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            link.close()

    def wait(self, until: Callable[[], bool]) -> None:
        """Wait until it is true; fails after a minute."""
        clock, never = SystemClock(), threading.Event()
        deadline_s = clock.monotonic_s() + DEADLINE_S
        while clock.monotonic_s() < deadline_s:
            if until():
                return
            clock.wait(never, 0.05)
        raise AssertionError("waited in vain")

    def evictions(self) -> list[str]:
        """Pods of the namespace whose eviction was accepted, by the same audit log."""
        found = []
        for line in self.kube.audit_log.read_text().splitlines():
            entry = json.loads(line)
            what = entry.get("objectRef", {})
            mine = what.get("namespace") == self.namespace and what.get("subresource") == "eviction"
            if mine and entry.get("responseStatus", {}).get("code") == 201:
                found.append(str(what["name"]))
        return found

    def node_patches(self) -> int:
        """Accepted patches of the node by us, by the API server's own audit log. The node
        controller patches it too: it adds and removes a taint of its own."""
        count = 0
        for line in self.kube.audit_log.read_text().splitlines():
            entry = json.loads(line)
            what = entry.get("objectRef", {})
            mine = (what.get("resource"), what.get("name")) == ("nodes", self.node)
            accepted = entry.get("responseStatus", {}).get("code") == 200
            ours = entry["user"]["username"] == "admin" and not what.get("subresource")
            count += mine and ours and accepted and entry["verb"] == "patch"
        return count

    def _add_daemon_set(self, name: str) -> None:
        spec = self._pod_spec()
        del spec["nodeName"]
        spec["nodeSelector"] = {"kubernetes.io/hostname": self.node}
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": spec}
        self.kube.create(
            f"/apis/apps/v1/namespaces/{self.namespace}/daemonsets",
            {
                "metadata": {"name": name},
                "spec": {"selector": {"matchLabels": labels}, "template": template},
            },
        )

    def _add_budget(self, name: str) -> None:
        path = f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets"
        selector = {"matchLabels": {"app": name}}
        body = {"metadata": {"name": name}, "spec": {"minAvailable": 1, "selector": selector}}
        self.kube.create(path, body)

        def counted() -> bool:
            status = self.request("GET", f"{path}/{name}")[1].get("status", {})
            return bool(status.get("currentHealthy") == 1 and status.get("observedGeneration"))

        self.wait(counted)

    def _pod_spec(self) -> dict[str, Any]:
        return {
            "nodeName": self.node,
            "containers": [{"name": "c", "image": "fake"}],
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 1,
        }

    def _read(self, what: str) -> dict[str, Any] | None:
        status, found = self.request("GET", f"/api/v1/namespaces/{self.namespace}/{what}")
        return found if status == 200 else None


def _word() -> str:
    return uuid.uuid4().hex[:8]
