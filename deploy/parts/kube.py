"""A real Kubernetes control plane on loopback, with kwok playing the kubelets of GPU nodes."""

import contextlib
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from deploy.parts.kube_binaries import MODULE, kube_binary
from deploy.parts.kube_keys import USERS, client_credentials, make_keys, write_kubeconfig
from deploy.parts.process import Daemon, PartFailed, free_port

# Pods' writes are left out: what matters is who changed nodes, evicted and wrote leases.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: None, verbs: [get, list, watch]}
  - {level: RequestResponse, resources: [{group: "", resources: [nodes, "pods/eviction"]}]}
  - {level: Metadata}
"""


class KubeCluster:
    """One cluster under `folder`: etcd, kube-apiserver, controller manager, scheduler, kwok.

    `kubeconfig` is the administrator's; `audit_log` is kube-apiserver's own audit log (JSON lines).
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._keys = folder / "keys"
        make_keys(self._keys)
        self.url = f"https://127.0.0.1:{free_port()}"
        self.audit_log = folder / "audit.log"
        self.kubeconfig = self._config("admin")
        self._context = ssl.create_default_context(cafile=str(self._keys / "ca.crt"))
        self._context.load_cert_chain(self._keys / "admin.crt", self._keys / "admin.key")
        self.daemons: dict[str, Daemon] = {}
        for user in USERS:
            self._write_config(user)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _config(self, user: str) -> Path:
        return self._folder / f"{user}.kubeconfig"

    def _write_config(self, user: str) -> None:
        write_kubeconfig(
            self._config(user),
            authority=(self._keys / "ca.crt").read_bytes(),
            user=user,
            url=self.url,
            credentials=client_credentials(self._keys, user),
        )

    def _daemon(self, name: str, *words: object) -> Daemon:
        argv: list[str | Path] = [kube_binary(name), *map(str, words)]
        self.daemons[name] = Daemon(argv, log=self._folder / f"{name}.log", cwd=self._folder)
        return self.daemons[name]

    def _start(self) -> None:
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        etcd = self._daemon(
            "etcd", "--name=e", f"--data-dir={self._folder / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=e={peer}",
        )  # fmt: skip
        etcd.await_ready(lambda: b"true" in _fetch(f"{client}/health", None), timeout_s=60)
        self._start_apiserver(client)
        self._start_controllers()
        self._daemon(
            "kwok", f"--kubeconfig={self._config('kwok')}", "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=200", "--node-ip=10.99.0.1",
            f"--config={MODULE / 'stages.yaml'}",
        )  # fmt: skip

    def _start_apiserver(self, etcd: str) -> None:
        policy = self._folder / "audit-policy.yaml"
        policy.write_text(AUDIT_POLICY)
        keys = self._keys
        server = self._daemon(
            "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={self.url.rsplit(':', 1)[1]}",
            f"--cert-dir={self._folder / 'run'}", f"--tls-cert-file={keys / 'apiserver.crt'}",
            f"--tls-private-key-file={keys / 'apiserver.key'}",
            f"--client-ca-file={keys / 'ca.crt'}", "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={keys / 'accounts.key'}",
            f"--service-account-key-file={keys / 'accounts.pub'}",
            "--service-cluster-ip-range=10.0.0.0/16", "--endpoint-reconciler-type=none",
            "--profiling=false", f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}", "--audit-log-mode=blocking",
        )  # fmt: skip
        server.await_ready(lambda: b"ok" in self.get("/readyz"), timeout_s=120)

    def _start_controllers(self) -> None:
        def access(user: str) -> list[str]:
            config = self._config(user)
            flags = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
            return [f"--{flag}={config}" for flag in flags]

        loopback = ["--bind-address=127.0.0.1", "--leader-elect=false"]
        # The long grace keeps kwok's nodes Ready between their rare heartbeats.
        manager = self._daemon(
            "kube-controller-manager", *access("controller-manager"), *loopback,
            f"--secure-port={free_port()}", f"--cert-dir={self._folder / 'run-manager'}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self._keys / 'accounts.key'}",
            f"--root-ca-file={self._keys / 'ca.crt'}", "--kube-api-qps=200",
            "--kube-api-burst=400", "--node-monitor-grace-period=600s",
        )  # fmt: skip
        self._daemon(
            "kube-scheduler", *access("scheduler"), *loopback, f"--secure-port={free_port()}",
            f"--cert-dir={self._folder / 'run-scheduler'}",
        )  # fmt: skip
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        manager.await_ready(lambda: b'"uid"' in self.get(account), timeout_s=60)

    def get(self, path: str) -> bytes:
        """A raw GET as administrator."""
        return _fetch(self.url + path, self._context)

    def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A raw POST of one object as administrator."""
        return self._send("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A raw merge patch as administrator."""
        return self._send("PATCH", path, body, content_type="application/merge-patch+json")

    def delete(self, path: str) -> None:
        """A raw DELETE as administrator."""
        self._send("DELETE", path, {"gracePeriodSeconds": 0})

    def apply(self, manifest: Path, *, namespace: str = "") -> None:
        """Create every object of a YAML file; one that is there already stays as it is.
        `namespace`: for objects that name none, as `kubectl -n` does."""
        for body in yaml.safe_load_all(manifest.read_text()):
            group = "/api/v1" if body["apiVersion"] == "v1" else f"/apis/{body['apiVersion']}"
            own = body["metadata"].get("namespace", namespace)
            inside = f"/namespaces/{own}" if own else ""
            kind = body["kind"].lower()
            plural = kind[:-1] + "ies" if kind.endswith("y") else kind + "s"
            try:
                self.create(f"{group}{inside}/{plural}", body)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise

    def account_config(self, namespace: str, name: str) -> Path:
        """A kubeconfig of a service account, by a token that holds for an hour."""
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        }
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
        token = self.create(f"{account}/token", asked)["status"]["token"]
        path = self._config(f"{namespace}-{name}")
        authority = (self._keys / "ca.crt").read_bytes()
        write_kubeconfig(
            path, authority=authority, user=name, url=self.url, credentials={"token": token}
        )
        return path

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any],
        *,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        request = urllib.request.Request(
            self.url + path,
            data=json.dumps(body).encode(),
            headers={"Content-Type": content_type},
            method=method,
        )
        with urllib.request.urlopen(request, context=self._context, timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    def add_gpu_nodes(
        self, names: Iterable[str], *, rack: str = "r0", pool: str = "default"
    ) -> None:
        """Create 8-GPU nodes and wait until all are Ready and without taints."""
        wanted = set(names)
        for name in sorted(wanted):
            self.create("/api/v1/nodes", gpu_node(name, rack=rack, pool=pool))
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if wanted <= self._usable_nodes():
                return
            time.sleep(0.1)
        raise PartFailed(f"nodes not ready: {sorted(wanted - self._usable_nodes())[:5]}")

    def _usable_nodes(self) -> set[str]:
        usable = set()
        for node in json.loads(self.get("/api/v1/nodes?resourceVersion=0"))["items"]:
            conditions = node["status"].get("conditions", [])
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            if ready and not node["spec"].get("taints"):
                usable.add(node["metadata"]["name"])
        return usable

    def stop(self) -> None:
        """Stop everything, the fake kubelets first."""
        for daemon in reversed(self.daemons.values()):
            daemon.stop()


def _fetch(url: str, context: ssl.SSLContext | None) -> bytes:
    with contextlib.closing(urllib.request.urlopen(url, context=context, timeout=10)) as answer:
        body: bytes = answer.read()
        return body


def gpu_node(name: str, *, rack: str, pool: str) -> dict[str, Any]:
    """A node as kwok plays it, with eight GPUs and the labels that the topology is read from."""
    capacity = {"cpu": "192", "memory": "2Ti", "pods": "110", "nvidia.com/gpu": "8"}
    info = {
        "kubeletVersion": "v1.37.2",
        "kubeProxyVersion": "v1.37.2",
        "containerRuntimeVersion": "containerd://2.1",
        "architecture": "amd64",
        "operatingSystem": "linux",
        "osImage": "fake",
        "bootID": "",
        "machineID": "",
        "systemUUID": "",
        # kwok writes it unquoted into YAML: a plain "6.1" would become a number.
        "kernelVersion": "6.1.0-18-amd64",
    }
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": "az-0",
        "topology.kubernetes.io/rack": rack,
        "fleetmend.io/pool": pool,
        "nvidia.com/gpu.product": "NVIDIA-H200",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": {},
        "status": {"capacity": capacity, "allocatable": capacity, "nodeInfo": info},
    }
