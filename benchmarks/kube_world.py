"""A cluster of kwok nodes with GPUs and engines, and people who keep changing it: what
`benchmarks.kube_watch` watches."""

import contextlib
import http.client
import itertools
import json
import random
import ssl
import threading
import time
import urllib.parse
from collections import defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from deploy.parts.kube import KubeCluster, gpu_node

DRIVER = "nvidia.com/cuda.driver-version.full"
NAMESPACE = "inference"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
"""Merges lists by their items' names, as kubelets do."""
IMAGES = 40
"""Images that a node tells of: kubelets tell of up to 50."""
_WORKERS = 16
_local = threading.local()

Json = dict[str, Any]


class Admin:
    """Requests as administrator, one kept connection a thread."""

    def __init__(self, kube: KubeCluster) -> None:
        self._place = urllib.parse.urlsplit(kube.url)
        self._context: ssl.SSLContext = kube._context

    def ask(self, method: str, path: str, body: Json | None = None) -> int:
        """The status of the answer. Raises OSError and http.client's errors."""
        link = getattr(_local, "link", None)
        if link is None:
            link = _local.link = http.client.HTTPSConnection(
                str(self._place.hostname), self._place.port, context=self._context, timeout=30
            )
        kind = "application/json"
        if method == "PATCH":
            kind = STRATEGIC if path.endswith("/status") else MERGE
        try:
            content = None if body is None else json.dumps(body)
            link.request(method, path, content, {"Content-Type": kind})
            answer = link.getresponse()
            answer.read()
            return int(answer.status)
        except (OSError, http.client.HTTPException):
            link.close()
            _local.link = None
            raise

    def insist(self, method: str, path: str, body: Json | None, stop: threading.Event) -> int:
        """Ask until there is an answer that is none of an overloaded or absent server."""
        while not stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = self.ask(method, path, body)
                if status < 429:
                    return status
            stop.wait(0.05)
        return 0


def node(number: int) -> Json:
    """An 8-GPU node as large as a real one: images, addresses, the operator's labels."""
    made = gpu_node(node_name(number), rack=f"r{number // 8:04}", pool="h200")
    made["metadata"]["labels"] |= {
        DRIVER: "0",
        "nvidia.com/gpu.count": "8",
        "nvidia.com/gpu.memory": "143771",
        "nvidia.com/cuda.runtime-version.full": "13.0",
        "nvidia.com/mig.config": "all-disabled",
        **{f"nvidia.com/gpu.deploy.part-{i}": "true" for i in range(8)},
        **{f"feature.node.kubernetes.io/cpu-{i}": "true" for i in range(40)},
    }
    made["status"]["images"] = [
        {"names": [f"registry.example/part-{i}@sha256:{i:064x}"], "sizeBytes": 10**9 + i}
        for i in range(IMAGES)
    ]
    return made


def node_name(number: int) -> str:
    """`gpu-0042`."""
    return f"gpu-{number:04}"


def engine(name: str, on: str) -> Json:
    """An engine's pod on four GPUs, as large as a real one."""
    container = {
        "name": "engine",
        "image": "vllm:1",
        "args": ["--model", "llama", "--tensor-parallel-size", "4"],
        "env": [{"name": f"SETTING_{i}", "value": f"value {i}"} for i in range(15)],
        "ports": [{"containerPort": 8000}],
        "resources": {"limits": {"nvidia.com/gpu": "4", "memory": "200Gi"}},
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
        "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
    }
    labels = {
        "app.kubernetes.io/component": "inference-engine",
        "fleetmend.io/model": "llama-70b",
        "fleetmend.io/pool": "chat",
    }
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeName": on,
            "containers": [container],
            "volumes": [{"name": "models", "emptyDir": {}}],
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
        },
    }


def fill(admin: Admin, *, nodes: int, pods: int) -> None:
    """Create nodes and pods, some at once."""
    inside = f"/api/v1/namespaces/{NAMESPACE}/pods"
    work: Iterable[tuple[str, Json]] = itertools.chain(
        (("/api/v1/nodes", node(number)) for number in range(nodes)),
        (
            (inside, engine(f"engine-{number:05}", node_name(number % nodes)))
            for number in range(pods)
        ),
    )
    stop = threading.Event()

    def create(place: tuple[str, Json]) -> int:
        return admin.insist("POST", place[0], place[1], stop)

    with ThreadPoolExecutor(_WORKERS) as workers:
        statuses = list(workers.map(create, work))
    refused = [status for status in statuses if status not in (201, 409)]
    if refused:
        raise RuntimeError(f"{len(refused)} objects refused: {sorted(set(refused))}")


@dataclass(slots=True)
class Journal:
    """What was changed and when, by the monotonic clock, which all processes of a machine share."""

    drivers: dict[str, list[tuple[int, float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By node: the number that was written as its driver, when it was sent, when it was granted."""
    pods: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By name: when its creation was sent and granted."""
    deeds: int = 0


class Churn:
    """People and kubelets who change things at a rate.

    Of ten deeds four are a kubelet's status of a node that changes nothing that matters, three a
    new driver version in a node's labels, two a new engine, one the end of one.
    """

    def __init__(self, admin: Admin, *, nodes: int, per_s: float, seed: int) -> None:
        self.journal = Journal()
        self._admin = admin
        self._nodes = nodes
        self._per_s = per_s
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)
        self._made: list[str] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._held = [threading.Lock() for _ in range(nodes)]
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(_WORKERS)]
        self._next_s = 0.0

    def start(self) -> None:
        """Begin."""
        self._next_s = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; every deed that was begun has been granted."""
        self._next_s = float("inf")
        for thread in self._threads:
            thread.join(120)

    def _run(self) -> None:
        while True:
            with self._lock:
                at_s = self._next_s
                self._next_s += 1 / self._per_s
                kind, chosen = self._random.randrange(10), self._random.randrange(self._nodes)
            if at_s == float("inf"):
                return
            time.sleep(max(0.0, at_s - time.monotonic()))
            self._deed(kind, chosen)

    def _deed(self, kind: int, chosen: int) -> None:
        if kind < 4:
            beat = {"type": "Ready", "status": "True", "lastHeartbeatTime": _now()}
            path = f"/api/v1/nodes/{node_name(chosen)}/status"
            self._timed("PATCH", path, {"status": {"conditions": [beat]}})
        elif kind < 7:
            self._new_driver(chosen)
        elif kind < 9:
            name = f"made-{next(self._numbers):06}"
            body = engine(name, node_name(chosen))
            span = self._timed("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", body)
            with self._lock:
                self.journal.pods[name] = span
                self._made.append(name)
        else:
            with self._lock:
                name = self._made.pop(0) if len(self._made) > 20 else ""
            if name:
                self._timed("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods/{name}", None)

    def _new_driver(self, chosen: int) -> None:
        name = node_name(chosen)
        with self._held[chosen]:  # one writer a node, so that its history is known
            number = next(self._numbers)
            body = {"metadata": {"labels": {DRIVER: str(number)}}}
            sent_s, granted_s = self._timed("PATCH", f"/api/v1/nodes/{name}", body)
            self.journal.drivers[name].append((number, sent_s, granted_s))

    def _timed(self, method: str, path: str, body: Json | None) -> tuple[float, float]:
        sent_s = time.monotonic()
        self._admin.insist(method, path, body, self._stop)
        with self._lock:
            self.journal.deeds += 1
        return sent_s, time.monotonic()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def wait_until(done: Callable[[], bool], *, timeout_s: float) -> None:
    """Look every half second. Raises TimeoutError."""
    deadline_s = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not after {timeout_s:.0f} s")
        time.sleep(0.5)
