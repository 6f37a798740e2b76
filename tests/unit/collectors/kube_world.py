"""Objects of a cluster's API as tests make them, a fold that takes them in raw, and an API that
lists and watches as scripted."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any

from collectors.kube_feeds import Feed, Resource
from collectors.kube_fold import KubeFold
from collectors.kube_json import Object, identity, version
from collectors.kube_reader import Page, WatchEvent, WatchType
from collectors.kube_sight import Sight
from collectors.kube_tell import News
from fleetmend.model.events import Event, EventType
from fleetmend.settings.collectors import KubernetesSettings
from fleetmend.views.topology import TopologyView

Json = dict[str, Any]

SETTINGS = KubernetesSettings(engine_namespaces=("llm",), operator_namespaces=("gpu-operator",))
NODES, PODS = Feed(Resource.NODES), Feed(Resource.PODS)
DEPLOYMENTS, DAEMONSETS = Feed(Resource.DEPLOYMENTS), Feed(Resource.DAEMONSETS)
EVENTS, CONFIGMAPS = Feed(Resource.EVENTS), Feed(Resource.CONFIGMAPS, "llm")


def node(
    name: str = "n1",
    *,
    version: int = 1,
    labels: Json | None = None,
    annotations: Json | None = None,
    ready: str = "True",
    since: str = "2026-11-23T00:00:00Z",
    heartbeat: str = "1",
    uid: str = "",
    gpus: tuple[str, str] = ("8", "8"),
    conditions: Iterable[Json] = (),
    **spec: Any,
) -> Json:
    """A node object; `gpus`: capacity, and what of it can be given out."""
    return {
        "metadata": {
            "name": name,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "labels": {
                "fleetmend.io/pool": "h100",
                "topology.kubernetes.io/rack": "r7",
                "topology.kubernetes.io/zone": "z1",
                "nvidia.com/gpu.product": "NVIDIA-H100",
                "nvidia.com/cuda.driver-version.full": "570.1",
                **(labels or {}),
            },
            "annotations": annotations or {},
            "managedFields": [
                managed("kubelet", 1, {"f:status": {}}),
                managed("kubectl-cordon", 2, {"f:spec": {"f:unschedulable": {}}}),
                managed("nvsentinel", 2, {"f:spec": {"f:taints": {}}}),
                managed(
                    "gpu-feature-discovery",
                    2,
                    {"f:metadata": {"f:labels": {"f:nvidia.com/cuda.driver-version.full": {}}}},
                ),
            ],
        },
        "spec": spec,
        "status": {
            "capacity": {"cpu": "192", "nvidia.com/gpu": gpus[0]},
            "allocatable": {"cpu": "192", "nvidia.com/gpu": gpus[1]},
            "nodeInfo": {"kernelVersion": "6.1.0"},
            "conditions": [
                {
                    "type": "Ready",
                    "status": ready,
                    "reason": "KubeletReady",
                    "lastTransitionTime": since,
                    "lastHeartbeatTime": heartbeat,
                },
                *conditions,
            ],
        },
    }


def managed(manager: str, second: int, fields: Json) -> Json:
    """One entry of the managed fields."""
    return {
        "manager": manager,
        "operation": "Update",
        "time": f"2026-11-23T00:00:{second:02}Z",
        "fieldsV1": fields,
    }


def condition(kind: str, status: str, *, since: str = "2026-11-23T00:00:00Z", **more: str) -> Json:
    """A node condition."""
    return {"type": kind, "status": status, "lastTransitionTime": since, **more}


def pod(
    name: str = "llama-0",
    *,
    version: int = 1,
    uid: str = "",
    image: str = "vllm:1",
    on: str = "n1",
    labels: Json | None = None,
    owner: str = "llama",
    kind: str = "LeaderWorkerSet",
    namespace: str = "llm",
    **status: Any,
) -> Json:
    """An engine's pod."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "labels": {
                "app.kubernetes.io/component": "inference-engine",
                "fleetmend.io/model": "llama-70b",
                "fleetmend.io/pool": "chat",
            }
            if labels is None
            else labels,
            "ownerReferences": [{"kind": kind, "name": owner, "controller": True}],
        },
        "spec": {
            "nodeName": on,
            "containers": [
                {"name": "engine", "image": image, "resources": {"limits": {"nvidia.com/gpu": "4"}}}
            ],
        },
        "status": status,
    }


def template(
    *,
    image: str = "vllm:1",
    args: Iterable[str] = ("--max-num-seqs", "64"),
    env: Json | None = None,
    config: str = "settings",
    annotations: Json | None = None,
) -> Json:
    """The pod template of an engine."""
    return {
        "metadata": {
            "labels": {
                "app.kubernetes.io/component": "inference-engine",
                "fleetmend.io/pool": "chat",
            },
            "annotations": annotations or {},
        },
        "spec": {
            "containers": [
                {
                    "name": "engine",
                    "image": image,
                    "args": list(args),
                    "env": [{"name": key, "value": value} for key, value in (env or {}).items()],
                    "envFrom": [{"configMapRef": {"name": config}}],
                }
            ]
        },
    }


def workload(
    name: str = "llama",
    *,
    version: int = 1,
    generation: int | None = None,
    uid: str = "",
    namespace: str = "llm",
    replicas: int | None = 3,
    cause: str = "",
    labels: Json | None = None,
    **told: Any,
) -> Json:
    """A Deployment; without replicas it can be a DaemonSet."""
    spec: Json = {"template": template(**told)}
    if replicas is not None:
        spec["replicas"] = replicas
    container: Json = {'k:{"name":"engine"}': {"f:image": {}, "f:args": {}}}
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "generation": version if generation is None else generation,
            "labels": labels or {},
            "annotations": {"kubernetes.io/change-cause": cause} if cause else {},
            "managedFields": [
                managed("helm", 1, {"f:spec": {"f:template": {"f:spec": {}}}}),
                managed(
                    "argocd",
                    2,
                    {"f:spec": {"f:template": {"f:spec": {"f:containers": container}}}},
                ),
                managed("keda", 3, {"f:spec": {"f:replicas": {}}}),
            ],
        },
        "spec": spec,
    }


def config_map(name: str = "settings", *, version: int = 1, uid: str = "", **data: str) -> Json:
    """A ConfigMap of the engines' namespace."""
    return {
        "metadata": {
            "name": name,
            "namespace": "llm",
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "managedFields": [
                managed("kubectl-edit", 1, {"f:data": {f"f:{key}": {} for key in data}})
            ],
        },
        "data": data,
    }


def report(
    reason: str = "TaskHung",
    *,
    kind: str = "Node",
    name: str = "n1",
    namespace: str = "",
    about: str = "",
    count: int = 1,
    since: str = "2026-11-23T00:00:00Z",
    type: str = "Warning",
) -> Json:
    """An event of the API."""
    involved = {"kind": kind, "name": name, "namespace": namespace, "uid": about}
    return {
        "metadata": {
            "name": f"{name}.{reason}",
            "uid": f"uid-{kind}-{name}-{reason}",
            "resourceVersion": str(count),
        },
        "involvedObject": involved,
        "reason": reason,
        "message": f"words about {name}",
        "type": type,
        "count": count,
        "lastTimestamp": since,
        "source": {"component": "kernel-monitor"},
    }


class RawFold:
    """A fold that is given raw objects."""

    def __init__(self, settings: KubernetesSettings = SETTINGS) -> None:
        self.fold = KubeFold(settings, cluster="c")
        self._sight = Sight(settings, cluster="c")

    @property
    def strangers(self) -> set[str]:
        """Namespaces that are not believed."""
        return self.fold.fleet.strangers

    def listed(self, feed: Feed, objects: Iterable[Object], at_s: float) -> News:
        """Take in a whole list."""
        self.fold.begin(feed)
        told = [self.changed(feed, obj, at_s) for obj in objects]
        return joined(*told, self.fold.end(feed, at_s))

    def changed(self, feed: Feed, obj: Object, at_s: float) -> News:
        """Take in an object that was added or modified."""
        return self.fold.take(feed, self._sight.see(feed, obj), at_s)

    def deleted(self, feed: Feed, obj: Object, at_s: float) -> News:
        """Take in that an object is gone."""
        return self.fold.gone(feed, identity(obj), version(obj), at_s)


def joined(*news: News) -> News:
    """All of it, in order."""
    whole = News()
    for one in news:
        whole.changes += one.changes
        whole.events += one.events
    return whole


def view_of(*news: News) -> TopologyView:
    """The topology after all of it."""
    view = TopologyView()
    for change in joined(*news).changes:
        view.apply(change)
    return view


def told(news: News, kind: EventType) -> list[Event]:
    """The events of one type."""
    return [event for event in news.events if event.type is kind]


def changes(news: News) -> list[tuple[str, str, str]]:
    """Kind, what and who of the changes."""
    return [
        (str(event.data["change"]), str(event.data["what"]), str(event.data["who"]))
        for event in told(news, EventType.CHANGE)
    ]


class FakeApi:
    """Lists and watches as the test scripts them; a script item may be an error."""

    def __init__(self) -> None:
        self.lists: dict[Resource, list[Any]] = {r: [] for r in Resource}
        self.watches: dict[Resource, list[list[Any]]] = {r: [] for r in Resource}
        self.asked: list[tuple[str, Resource, str]] = []
        self.over = threading.Event()

    def pages(self, feed: Feed) -> Iterator[Page]:
        self.asked.append(("list", feed.resource, ""))
        scripted = self.lists[feed.resource]
        answer = scripted.pop(0) if scripted else ([], "0")
        if isinstance(answer, Exception):
            raise answer
        objects, since = answer
        for begin in range(0, max(1, len(objects)), 2):
            page = objects[begin : begin + 2]
            if page and isinstance(page[0], Exception):
                raise page[0]
            yield Page(page, since)

    def watch(self, feed: Feed, since: str, seconds: float) -> Iterator[WatchEvent]:
        self.asked.append(("watch", feed.resource, since))
        scripted = self.watches[feed.resource]
        for item in scripted.pop(0) if scripted else []:
            if isinstance(item, Exception):
                raise item
            yield item
        if not scripted:
            self.over.wait(seconds)

    def stop(self) -> None:
        self.over.set()


def modified(obj: Json) -> WatchEvent:
    """A watch event."""
    return WatchEvent(WatchType.MODIFIED, obj)
