"""The real API server: lists in pages, watches, and an end when told."""

import json
import uuid

import httpx
import pytest

from collectors import kube_feeds
from collectors.kube_feeds import Feed, Resource
from collectors.kube_reader import WatchType
from collectors.kubernetes import KubeApi
from deploy.parts.kube import KubeCluster
from fleetmend.model.entities import EntityId, TopologyOp
from fleetmend.model.events import EventType
from fleetmend.settings.collectors import KubernetesSettings
from tests.real.kube.watching import watched

pytestmark = pytest.mark.kube


def change(
    kube: KubeCluster, method: str, path: str, body: dict[str, object] | None = None
) -> None:
    """A merge patch, or a deletion, as administrator."""
    content = None if body is None else json.dumps(body)
    headers = {"Content-Type": "application/merge-patch+json"}
    with httpx.Client(verify=kube._context, trust_env=False) as web:
        answer = web.request(method, kube.url + path, content=content, headers=headers)
    assert answer.status_code == 200, answer.text


def test_nodes_engines_and_cordons_are_seen_as_they_happen(kube: KubeCluster) -> None:
    run = uuid.uuid4().hex[:8]
    old, new = f"old-{run}", f"new-{run}"
    kube.add_gpu_nodes([old], rack=f"rack-{run}", pool="chat")
    with watched(kube.kubeconfig, engines="default") as (sink, _, _made):
        stated: list[EntityId] = []

        def known(name: str) -> bool:
            stated[:] = [c.entity for c in sink.changes if c.op is TopologyOp.ENTITY]
            return any(entity.endswith(f"/{name}") for entity in stated)

        sink.wait(lambda: known(old))
        kube.add_gpu_nodes([new], rack=f"rack-{run}", pool="chat")
        sink.wait(lambda: known(new))
        assert EntityId(f"c/rack/rack-{run}") in stated

        change(kube, "PATCH", f"/api/v1/nodes/{new}", {"spec": {"unschedulable": True}})
        sink.wait(lambda: any(e.type is EventType.CHANGE for e in sink.events))
        (cordon,) = (e for e in sink.events if e.type is EventType.CHANGE)
        assert (cordon.subject, cordon.data["change"]) == (f"c/node/{new}", "cordon")

        labels = {"app.kubernetes.io/component": "inference-engine", "fleetmend.io/model": "m"}
        pod = {
            "metadata": {"name": f"engine-{run}", "labels": labels},
            "spec": {"nodeName": old, "containers": [{"name": "e", "image": "i:1"}]},
        }
        created = kube.create("/api/v1/namespaces/default/pods", pod)
        engine = f"c/engine/{created['metadata']['uid']}"
        sink.wait(lambda: any(c.target == f"pod:default/engine-{run}" for c in sink.changes))
        assert any(c.entity == engine and c.target == f"c/node/{old}" for c in sink.changes)

        change(kube, "DELETE", f"/api/v1/nodes/{new}")
        sink.wait(lambda: any(c.op is TopologyOp.ENTITY_GONE for c in sink.changes))
        ready = [
            e.data["status"]
            for e in sink.events
            if e.type is EventType.NODE_CONDITION
            and e.subject == f"c/node/{old}"
            and e.data["condition"] == "Ready"
        ]
        assert ready[-1] == "True"
        assert len({e.id for e in sink.events}) == len(sink.events)


def test_a_list_comes_whole_over_several_pages(
    kube: KubeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = uuid.uuid4().hex[:8]
    names = {f"page-{run}-{i}" for i in range(5)}
    kube.add_gpu_nodes(names)
    monkeypatch.setattr(kube_feeds, "_PAGE", 2)
    api = KubeApi(KubernetesSettings(kubeconfig=str(kube.kubeconfig)))
    pages = list(api.pages(Feed(Resource.NODES)))
    listed = [obj["metadata"]["name"] for page in pages for obj in page.objects]
    assert names <= set(listed)
    assert len(listed) == len(set(listed))
    assert max(len(page.objects) for page in pages) == 2
    assert len({page.version for page in pages}) == 1


def test_a_watch_without_news_ends_by_itself(kube: KubeCluster) -> None:
    api = KubeApi(KubernetesSettings(kubeconfig=str(kube.kubeconfig)))
    (*_, last) = api.pages(Feed(Resource.PODS))
    watch = api.watch(Feed(Resource.PODS), last.version, 1.0)
    assert all(event.type in WatchType for event in watch)
