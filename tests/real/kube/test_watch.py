"""The cluster's watch on a real API server: who changed what, with the rights of the manifests; and
an API server that is killed and forgets what it knew, with nothing lost and nothing told twice."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from collectors.kube_feeds import Feed, Resource, feeds
from collectors.kube_reader import FeedState
from collectors.kube_watch import KubernetesCollector
from collectors.kubernetes import KubeApi
from deploy.parts.kube import KubeCluster
from fleetmend.model.entities import EntityKind, kind_of
from fleetmend.model.events import EventType
from fleetmend.settings.collectors import KubernetesSettings
from fleetmend.views.topology import TopologyView
from tests.real.kube.arrange import MANIFESTS, RealWorld
from tests.real.kube.watching import WaitingSink, watched
from tests.unit.collectors.kube_world import RawFold

pytestmark = pytest.mark.kube

DRIVER = "nvidia.com/cuda.driver-version.full"


@pytest.fixture
def world(kube: KubeCluster) -> RealWorld:
    """A node and a namespace of the test's own."""
    return RealWorld(kube)


@pytest.fixture
def own_kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeCluster]:
    """A cluster whose API server may be killed."""
    cluster = KubeCluster(tmp_path_factory.mktemp("own-kube"))
    yield cluster
    cluster.stop()


def deployment(image: str, args: list[str]) -> dict[str, Any]:
    """Engines, none of which runs."""
    labels = {
        "app": "llama",
        "app.kubernetes.io/component": "inference-engine",
        "fleetmend.io/pool": "chat",
    }
    container = {
        "name": "engine",
        "image": image,
        "args": args,
        "envFrom": [{"configMapRef": {"name": "engine-settings"}}],
    }
    return {
        "metadata": {"name": "llama"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "llama"}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def follows_all(made: KubernetesCollector, *, but: str = "") -> bool:
    """Whether every feed is followed."""
    return all(
        reader.state is FeedState.FOLLOWING or (but and str(reader.feed).endswith(but))
        for reader in made.readers
    )


def test_changes_come_with_who_and_from_what_to_what(world: RealWorld) -> None:
    """By the collector's own account, which may not read the operators' ConfigMaps."""
    kube, space = world.kube, world.namespace
    kube.apply(MANIFESTS / "rbac-collector.yaml")
    kube.apply(MANIFESTS / "rbac-collector-configs.yaml", namespace=space)
    account = kube.account_config("fleetmend", "fleetmend-collector")
    inside, node = f"/api/v1/namespaces/{space}", f"/api/v1/nodes/{world.node}"
    llama = f"/apis/apps/v1/namespaces/{space}/deployments/llama"
    config = {"metadata": {"name": "engine-settings"}, "data": {"level": "1", "same": "x"}}
    kube.create(f"{inside}/configmaps?fieldManager=setup", config)
    made = deployment("vllm:1", ["--max-num-seqs", "64"])
    kube.create(llama.rpartition("/")[0] + "?fieldManager=setup", made)

    with watched(account, engines=space) as (sink, _, watching):
        sink.wait(lambda: follows_all(watching, but="configmaps/gpu-operator"))
        kube.patch(f"{node}?fieldManager=ada", {"spec": {"unschedulable": True}})
        kube.patch(f"{node}?fieldManager=discovery", {"metadata": {"labels": {DRIVER: "570.1"}}})
        kube.patch(f"{node}?fieldManager=discovery", {"metadata": {"labels": {DRIVER: "580.2"}}})
        args = ["--max-num-seqs", "16"]
        newer = deployment("vllm:2", args)["spec"]["template"]
        kube.patch(f"{llama}?fieldManager=release-bot", {"spec": {"template": newer}})
        kube.patch(f"{llama}/scale?fieldManager=keda", {"spec": {"replicas": 2}})
        edited = {"data": {"level": "2"}}
        kube.patch(f"{inside}/configmaps/engine-settings?fieldManager=ben", edited)
        expected = {
            ("cordon", "schedulable -> unschedulable", "ada"),
            ("driver", "570.1 -> 580.2", "discovery"),
            ("rollout", "vllm:1 -> vllm:2", "release-bot"),
            ("config", "engine --max-num-seqs: 64 -> 16", "release-bot"),
            ("scale", "0 -> 2", "keda"),
        }

        def all_told() -> bool:
            told = {(e.data["change"], e.data["what"], e.data["who"]) for e in mine(sink, world)}
            return expected <= told and any(e.data["who"] == "ben" for e in mine(sink, world))

        sink.wait(all_told)
        (by_ben,) = (e for e in mine(sink, world) if e.data["who"] == "ben")
        assert by_ben.data["object"] == f"ConfigMap {space}/engine-settings"
        assert str(by_ben.data["what"]).startswith("level: ")
        assert len(mine(sink, world)) == len(expected) + 1
        sink.wait(lambda: any(e.data.get("failing") for e in sink.events))
        beat = [e.data for e in sink.events if e.type is EventType.HEARTBEAT][-1]
        assert beat["failing"] == "configmaps/gpu-operator"
        assert "403" in str(beat["reasons"])


def mine(sink: WaitingSink, world: RealWorld) -> list[Any]:
    """Changes of the test's own node and namespace."""
    about = (f"c/node/{world.node}", "c/pool/chat")
    return [e for e in sink.events if e.type is EventType.CHANGE and e.subject in about]


def test_what_others_report_of_a_node_is_told(world: RealWorld) -> None:
    """Node-problem-detector's and NVSentinel's ways: a condition, and an event."""
    kube, node = world.kube, f"/api/v1/nodes/{world.node}"
    space = "/api/v1/namespaces/default/events"

    def event(name: str, kind: str, reason: str) -> dict[str, Any]:
        return {
            "metadata": {"name": f"{world.node}.{name}", "namespace": "default"},
            "involvedObject": {"kind": "Node", "name": world.node, "uid": world.node},
            "reason": reason,
            "type": kind,
            "message": "[DCGM_FR_CLOCK_THROTTLE_THERMAL] GPU 3",
            "source": {"component": "gpu-health-monitor"},
            "count": 1,
        }

    with watched(kube.kubeconfig, engines=world.namespace) as (sink, _, watching):
        sink.wait(lambda: follows_all(watching))
        moment = "2026-11-23T10:00:00Z"
        bad = {
            "type": "GpuMemWatch",
            "status": "True",
            "reason": "GpuMemWatchIsNotHealthy",
            "message": "ErrorCode:DCGM_FR_FAULTY_MEMORY GPU:0",
            "lastTransitionTime": moment,
            "lastHeartbeatTime": moment,
        }
        there = json.loads(kube.get(node))["status"]["conditions"]
        kube.patch(f"{node}/status", {"status": {"conditions": [*there, bad]}})
        kube.create(space, event("thermal", "GpuThermalWatch", "GpuThermalWatchIsNotHealthy"))
        kube.create(space, event("fine", "Normal", "Starting"))
        kube.create(space, event("hung", "Warning", "TaskHung"))

        def about(kind: EventType) -> list[dict[str, Any]]:
            subject = f"c/node/{world.node}"
            return [e.data for e in sink.events if e.type is kind and e.subject == subject]

        sink.wait(lambda: len(about(EventType.CLUSTER_EVENT)) == 2)
        sink.wait(
            lambda: any(
                data["condition"] == "GpuMemWatch" and data["status"] == "True"
                for data in about(EventType.NODE_CONDITION)
            )
        )
        types = [data["type"] for data in about(EventType.CLUSTER_EVENT)]
        assert types == ["GpuThermalWatch", "Warning"]
        attributes = sink.view().attributes[world_node(world)]
        assert (attributes["gpus"], attributes["gpus_allocatable"]) == ("8", "8")
        few = {"nvidia.com/gpu": "7"}
        kube.patch(f"{node}/status", {"status": {"allocatable": few}})
        sink.wait(lambda: sink.changes[-1].attributes.get("gpus_allocatable") == "7")
        kube.patch(f"{node}/status", {"status": {"conditions": there}})
        sink.wait(lambda: about(EventType.NODE_CONDITION)[-1]["status"] == "Removed")


def world_node(world: RealWorld) -> Any:
    """The node's entity."""
    return f"c/node/{world.node}"


def test_an_api_server_that_is_killed_and_forgets_loses_and_repeats_nothing(
    own_kube: KubeCluster,
) -> None:
    """Objects change, go and come back under their names while nobody can hear; then the server has
    a new memory and answers 410."""
    names = [f"n{number:02}" for number in range(12)]
    own_kube.add_gpu_nodes(names)
    server = own_kube.daemons["kube-apiserver"]
    with watched(own_kube.kubeconfig, engines="default") as (sink, gate, made):
        sink.wait(lambda: follows_all(made))
        set_driver(own_kube, names, "570.1")
        sink.wait(lambda: drivers(sink.view()) == dict.fromkeys(names, "570.1"))

        gate.close()
        set_driver(own_kube, names, "571.1")
        set_driver(own_kube, names[:6], "580.2")
        own_kube.delete(f"/api/v1/nodes/{names[0]}")
        own_kube.delete(f"/api/v1/nodes/{names[1]}")
        own_kube.add_gpu_nodes([names[1], "new"])
        server.kill()
        server.restart()
        server.await_ready(lambda: b"ok" in own_kube.get("/readyz"), timeout_s=60)
        gate.open()

        expected = {
            **dict.fromkeys(names[2:6], "580.2"),
            **dict.fromkeys(names[6:], "571.1"),
            names[1]: "",
            "new": "",
        }
        sink.wait(lambda: drivers(sink.view()) == expected)
        nodes = made.readers[0]
        assert nodes.expired + nodes.lists > 1
        told = [(e.subject, e.data["from"], e.data["to"]) for e in sink.changes_of("driver")]
        assert sorted(told) == [
            *((f"c/node/{name}", "570.1", "580.2") for name in names[2:6]),
            *((f"c/node/{name}", "570.1", "571.1") for name in names[6:]),
        ]

        set_driver(own_kube, names[2:4], "590.3")
        sink.wait(lambda: len(sink.changes_of("driver")) == len(told) + 2)
        ids = [event.id for event in sink.events]
        assert len(ids) == len(set(ids))
        assert nodes_of(sink.view()) == nodes_of(listed(own_kube))
    assert sum(reader.expired for reader in made.readers) > 0


def set_driver(kube: KubeCluster, names: list[str], driver: str) -> None:
    """What GPU feature discovery would write."""
    for name in names:
        kube.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {DRIVER: driver}}})


def drivers(view: TopologyView) -> dict[str, str]:
    """Driver by node."""
    return {
        entity.rpartition("/")[2]: attributes.get("driver", "")
        for entity, attributes in view.attributes.items()
        if kind_of(entity) is EntityKind.NODE
    }


def nodes_of(view: TopologyView) -> dict[str, tuple[object, ...]]:
    """Each node with all that is said of it."""
    return {
        entity: (attributes, [one for one in view.relations() if one[0] == entity])
        for entity, attributes in view.attributes.items()
        if kind_of(entity) is EntityKind.NODE
    }


def listed(kube: KubeCluster) -> TopologyView:
    """The topology of a fresh list."""
    settings = KubernetesSettings(kubeconfig=str(kube.kubeconfig))
    assert Feed(Resource.NODES) in set(feeds(settings))
    pages = KubeApi(settings).pages(Feed(Resource.NODES))
    objects = [dict(obj) for page in pages for obj in page.objects]
    view = TopologyView()
    for change in RawFold(settings).listed(Feed(Resource.NODES), objects, 1.0).changes:
        view.apply(change)
    return view
