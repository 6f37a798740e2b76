"""The cluster's API as a source: nothing twice, nothing lost over breaks, and only what is new."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from collectors.kube_fleet import KubeFleet, News, Resource
from collectors.kube_watch import KubernetesCollector, VersionGone, WatchEvent, WatchType
from fleetmend.clock import ManualClock, SystemClock
from fleetmend.errors import PortError
from fleetmend.model.entities import EntityKind, RelationKind, TopologyChange, TopologyOp
from fleetmend.model.events import Event, EventType
from fleetmend.settings.collectors import KubernetesSettings
from fleetmend.views.topology import TopologyView
from tests.unit.collectors.fakes import ListSink

Json = dict[str, Any]


def node(
    name: str = "n1",
    *,
    version: int = 1,
    labels: Json | None = None,
    ready: str = "True",
    since: str = "2026-11-23T00:00:00Z",
    heartbeat: str = "1",
    uid: str = "",
    **spec: Any,
) -> Json:
    """A node object."""
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
            "managedFields": [
                {"manager": "kubelet", "fieldsV1": {"f:status": {}}},
                {"manager": "kubectl-cordon", "fieldsV1": {"f:spec": {"f:unschedulable": {}}}},
            ],
        },
        "spec": spec,
        "status": {
            "nodeInfo": {"kernelVersion": "6.1.0"},
            "conditions": [
                {
                    "type": "Ready",
                    "status": ready,
                    "reason": "KubeletReady",
                    "lastTransitionTime": since,
                    "lastHeartbeatTime": heartbeat,
                }
            ],
        },
    }


def pod(
    name: str = "llama-0",
    *,
    version: int = 1,
    uid: str = "",
    image: str = "vllm:1",
    on: str = "n1",
    labels: Json | None = None,
    owner: str = "llama",
    **status: Any,
) -> Json:
    """An engine's pod."""
    return {
        "metadata": {
            "name": name,
            "namespace": "llm",
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "labels": {
                "app.kubernetes.io/component": "inference-engine",
                "fleetmend.io/model": "llama-70b",
                "fleetmend.io/pool": "chat",
            }
            if labels is None
            else labels,
            "ownerReferences": [{"kind": "StatefulSet", "name": owner, "controller": True}],
        },
        "spec": {
            "nodeName": on,
            "containers": [
                {"name": "engine", "image": image, "resources": {"limits": {"nvidia.com/gpu": "4"}}}
            ],
        },
        "status": status,
    }


SETTINGS = KubernetesSettings(engine_namespaces=("llm",))


def fleet() -> KubeFleet:
    """One that knows nothing yet."""
    return KubeFleet(SETTINGS, cluster="c")


def view_of(*news: News) -> TopologyView:
    """The topology after all of it."""
    view = TopologyView()
    for one in news:
        for change in one.changes:
            view.apply(change)
    return view


def told(news: News, kind: EventType) -> list[Event]:
    """The events of one type."""
    return [event for event in news.events if event.type is kind]


def test_a_node_lies_in_its_rack_and_zone_and_belongs_to_its_pool() -> None:
    view = view_of(fleet().listed(Resource.NODES, [node()], 1.0))
    entity = view.resolve("c/node/n1")
    assert entity is not None
    assert view.attributes[entity] == {
        "pool": "h100",
        "rack": "r7",
        "zone": "z1",
        "product": "NVIDIA-H100",
        "driver": "570.1",
        "kernel": "6.1.0",
    }
    assert view.targets(entity, RelationKind.PART_OF) == ("c/rack/r7",)
    assert view.targets(view.resolve("c/rack/r7"), RelationKind.PART_OF) == ("c/zone/z1",)  # type: ignore[arg-type]
    assert view.targets(entity, RelationKind.MEMBER_OF) == ("c/pool/h100",)


def test_an_engine_is_known_by_its_pods_uid_and_found_by_its_pods_name() -> None:
    view = view_of(fleet().listed(Resource.PODS, [pod()], 1.0))
    engine = view.resolve("pod:llm/llama-0")
    assert engine == "c/engine/uid-llama-0"
    assert view.targets(engine, RelationKind.RUNS_ON) == ("c/node/n1",)
    assert view.targets(engine, RelationKind.SERVES) == ("c/model/llama-70b",)
    assert view.targets(engine, RelationKind.MEMBER_OF) == ("c/pool/chat",)


def test_a_pod_with_gpus_that_is_no_engine_is_a_pod_and_others_are_nobody() -> None:
    training, web = pod("job-1", labels={}), pod("web-1", labels={})
    web["spec"]["containers"][0]["resources"] = {}
    view = view_of(fleet().listed(Resource.PODS, [training, web], 1.0))
    assert "c/pod/llm/job-1" in view.attributes
    assert "c/pod/llm/web-1" not in view.attributes


def test_the_label_of_engines_is_believed_in_the_named_namespaces_alone() -> None:
    """Whoever may make a pod somewhere could else add to what counts as capacity."""
    one, foreign = fleet(), pod("liar-0")
    foreign["metadata"]["namespace"] = "tenant-7"

    view = view_of(one.listed(Resource.PODS, [pod(), foreign, foreign], 1.0))

    assert list(view.of_kind(EntityKind.ENGINE)) == ["c/engine/uid-llama-0"]
    assert "c/pod/tenant-7/liar-0" in view.attributes
    assert one.strangers == {"tenant-7"}


def test_saying_the_same_again_says_nothing() -> None:
    one = fleet()
    one.listed(Resource.NODES, [node()], 1.0)
    again = one.listed(Resource.NODES, [node(version=2, heartbeat="2")], 2.0)
    changed = one.changed(Resource.NODES, node(version=3, heartbeat="3"), 3.0)
    assert (again.changes, again.events, changed.changes, changed.events) == ([], [], [], [])


def test_two_nodes_of_one_rack_state_the_rack_once() -> None:
    news = fleet().listed(Resource.NODES, [node("n1"), node("n2")], 1.0)
    stated = [c.entity for c in news.changes if c.op is TopologyOp.ENTITY]
    assert stated.count("c/rack/r7") == 1  # type: ignore[arg-type]


def test_a_node_that_moves_to_another_rack_leaves_the_old_one() -> None:
    one = fleet()
    first = one.listed(Resource.NODES, [node()], 1.0)
    moved = one.changed(
        Resource.NODES, node(version=2, labels={"topology.kubernetes.io/rack": "r8"}), 2.0
    )
    view = view_of(first, moved)
    entity = view.resolve("c/node/n1")
    assert entity is not None
    assert view.targets(entity, RelationKind.PART_OF) == ("c/rack/r8",)


def test_a_condition_is_an_event_when_it_turns_and_has_one_id_for_ever() -> None:
    one = fleet()
    first = one.listed(Resource.NODES, [node()], 1.0)
    lost = node(version=2, ready="Unknown", since="2026-11-23T01:00:00Z")
    turned = one.changed(Resource.NODES, lost, 2.0)
    assert [e.data["status"] for e in told(first, EventType.NODE_CONDITION)] == ["True"]
    (event,) = told(turned, EventType.NODE_CONDITION)
    assert event.subject == "c/node/n1"
    assert (event.data["condition"], event.data["status"]) == ("Ready", "Unknown")
    assert event.data["witness"] == "cluster_api"
    restarted = fleet().listed(Resource.NODES, [lost], 9.0)
    assert told(restarted, EventType.NODE_CONDITION)[0].id == event.id


def test_a_condition_that_turned_and_turned_back_unseen_is_told_by_its_time() -> None:
    one = fleet()
    one.listed(Resource.NODES, [node()], 1.0)
    back = one.changed(Resource.NODES, node(version=9, since="2026-11-23T02:00:00Z"), 2.0)
    assert [e.data["status"] for e in told(back, EventType.NODE_CONDITION)] == ["True"]


def test_a_cordon_is_a_change_with_who_made_it() -> None:
    one = fleet()
    one.listed(Resource.NODES, [node()], 1.0)
    cordoned = one.changed(Resource.NODES, node(version=2, unschedulable=True), 2.0)
    given_back = one.changed(Resource.NODES, node(version=3), 3.0)
    (cordon,), (uncordon,) = (told(n, EventType.CHANGE) for n in (cordoned, given_back))
    assert (cordon.data["change"], cordon.data["who"]) == ("cordon", "kubectl-cordon")
    assert uncordon.data["change"] == "uncordon"
    assert (
        told(fleet().listed(Resource.NODES, [node(unschedulable=True)], 1.0), EventType.CHANGE)
        == []
    )


def test_a_new_driver_is_a_change() -> None:
    one = fleet()
    one.listed(Resource.NODES, [node()], 1.0)
    newer = node(version=2, labels={"nvidia.com/cuda.driver-version.full": "580.9"})
    (event,) = told(one.changed(Resource.NODES, newer, 2.0), EventType.CHANGE)
    assert (event.data["change"], event.data["what"]) == ("driver", "580.9")


def test_another_boot_is_a_change() -> None:
    one, first, second = fleet(), node(), node(version=2)
    first["status"]["nodeInfo"]["bootID"] = "a"
    second["status"]["nodeInfo"]["bootID"] = "b"
    one.listed(Resource.NODES, [first], 1.0)
    (event,) = told(one.changed(Resource.NODES, second, 2.0), EventType.CHANGE)
    assert (event.data["change"], event.data["what"]) == ("boot", "b")


def test_another_image_of_the_same_controller_is_a_rollout() -> None:
    one = fleet()
    one.listed(Resource.PODS, [pod("llama-0"), pod("llama-1")], 1.0)
    same = one.changed(Resource.PODS, pod("llama-2"), 2.0)
    newer = one.changed(Resource.PODS, pod("llama-3", image="vllm:2"), 3.0)
    assert told(same, EventType.CHANGE) == []
    (event,) = told(newer, EventType.CHANGE)
    assert (event.data["change"], event.data["what"], event.data["who"]) == (
        "rollout",
        "vllm:2",
        "llm/llama",
    )


def test_a_containers_end_is_told_once_and_an_oom_kill_by_its_name() -> None:
    def ended(reason: str, code: int, identity: str) -> Json:
        state = {"terminated": {"reason": reason, "exitCode": code, "containerID": identity}}
        return {"containerStatuses": [{"name": "engine", "lastState": state}]}

    one = fleet()
    one.listed(Resource.PODS, [pod()], 1.0)
    news = [
        one.changed(Resource.PODS, pod(version=2, **ended("OOMKilled", 137, "a")), 2.0),
        one.changed(Resource.PODS, pod(version=3, **ended("OOMKilled", 137, "a")), 3.0),
        one.changed(Resource.PODS, pod(version=4, **ended("Error", 1, "b")), 4.0),
    ]
    events = [
        [(e.data["signature"], e.data["exit_code"]) for e in told(n, EventType.LOG_SIGNATURE)]
        for n in news
    ]
    assert events == [[("oom_kill", 137)], [], [("container_exit", 1)]]
    assert news[0].events[0].subject == "c/engine/uid-llama-0"


def test_what_is_deleted_or_missing_from_a_list_is_gone() -> None:
    one = fleet()
    news = [
        one.listed(Resource.NODES, [node("n1"), node("n2"), node("n3")], 1.0),
        one.deleted(Resource.NODES, node("n2"), 2.0),
        one.listed(Resource.NODES, [node("n1")], 3.0),
    ]
    view = view_of(*news)
    assert {e for e in view.attributes if "/node/" in e} == {"c/node/n1"}
    back = one.changed(Resource.NODES, node("n3", version=9), 4.0)
    view = view_of(*news, back)
    assert view.targets(view.resolve("c/node/n3"), RelationKind.PART_OF) == ("c/rack/r7",)  # type: ignore[arg-type]


def test_a_node_made_anew_under_its_name_survives_the_end_of_the_old_one() -> None:
    one = fleet()
    news = [
        one.listed(Resource.NODES, [node(uid="old")], 1.0),
        one.changed(Resource.NODES, node(uid="new", version=5), 2.0),
        one.deleted(Resource.NODES, node(uid="old", version=6), 3.0),
    ]
    assert "c/node/n1" in view_of(*news).attributes


@pytest.mark.parametrize("odd", [{}, {"metadata": None}, {"metadata": {"name": 5}, "status": []}])
def test_an_object_of_another_shape_breaks_nothing(odd: Json) -> None:
    fleet().listed(Resource.PODS, [odd], 1.0)
    fleet().listed(Resource.NODES, [odd], 1.0)
    fleet().changed(Resource.PODS, {"status": {"containerStatuses": [7]}, **odd}, 1.0)


class FakeApi:
    """Lists and watches as the test scripts them; a script item may be an error."""

    def __init__(self) -> None:
        self.lists: dict[Resource, list[Any]] = {r: [] for r in Resource}
        self.watches: dict[Resource, list[list[Any]]] = {r: [] for r in Resource}
        self.asked: list[tuple[str, Resource, str]] = []
        self.over = threading.Event()

    def list(self, resource: Resource) -> tuple[list[Any], str]:
        self.asked.append(("list", resource, ""))
        scripted = self.lists[resource]
        answer = scripted.pop(0) if scripted else ([], "0")
        if isinstance(answer, Exception):
            raise answer
        objects, since = answer
        return objects, since

    def watch(self, resource: Resource, since: str, seconds: float) -> Iterator[WatchEvent]:
        self.asked.append(("watch", resource, since))
        scripted = self.watches[resource]
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


def collector(api: FakeApi, sink: ListSink) -> KubernetesCollector:
    """One over the fake API, whose watches end at once."""
    api.over.set()
    return KubernetesCollector(SETTINGS, cluster="c", sink=sink, clock=ManualClock(1000.0), api=api)


def test_a_watch_that_breaks_is_resumed_where_it_ended() -> None:
    api, sink = FakeApi(), ListSink()
    api.lists[Resource.NODES] = [([node(version=5)], "7")]
    api.watches[Resource.NODES] = [
        [modified(node(version=9, unschedulable=True)), PortError("cut")],
        [modified(node(version=11))],
    ]
    made = collector(api, sink)
    reader = made.readers[0]
    with pytest.raises(PortError):
        reader.turn()
    reader.turn()
    made.poll()
    assert api.asked == [
        ("list", Resource.NODES, ""),
        ("watch", Resource.NODES, "7"),
        ("watch", Resource.NODES, "9"),
    ]
    changes = [e.data["change"] for e in sink.events if e.type is EventType.CHANGE]
    assert changes == ["cordon", "uncordon"]


def test_a_forgotten_version_leads_to_a_new_list_without_repeats() -> None:
    api, sink = FakeApi(), ListSink()
    api.lists[Resource.NODES] = [
        ([node("n1"), node("n2")], "7"),
        ([node("n1", version=30), node("n3")], "30"),
    ]
    api.watches[Resource.NODES] = [[VersionGone("too old")], []]
    made = collector(api, sink)
    for _ in range(2):
        made.readers[0].turn()
    made.poll()
    assert [asked[0] for asked in api.asked] == ["list", "watch", "list", "watch"]
    stated = [c.entity for c in sink.changes if c.op is TopologyOp.ENTITY and "/node/" in c.entity]
    gone = [c.entity for c in sink.changes if c.op is TopologyOp.ENTITY_GONE]
    assert (stated, gone) == (["c/node/n1", "c/node/n2", "c/node/n3"], ["c/node/n2"])
    assert len({e.id for e in sink.events}) == len(sink.events)


def test_a_bookmark_moves_the_place_to_resume_from() -> None:
    api, sink = FakeApi(), ListSink()
    api.lists[Resource.PODS] = [([pod()], "7")]
    bookmark = WatchEvent(WatchType.BOOKMARK, {"metadata": {"resourceVersion": "99"}})
    api.watches[Resource.PODS] = [[bookmark], []]
    made = collector(api, sink)
    for _ in range(2):
        made.readers[1].turn()
    assert api.asked[-1] == ("watch", Resource.PODS, "99")


def test_everything_comes_at_or_after_the_mark_before_it() -> None:
    api, sink = FakeApi(), ListSink()
    api.lists[Resource.NODES] = [([node()], "7")]
    made = collector(api, sink)
    made.poll()
    made.readers[0].turn()
    made.poll()
    assert sink.marks == [1000.0]
    assert all(change.at_s >= 1000.0 for change in sink.changes)


def test_the_loop_reads_both_resources_over_failures_and_stops_when_told() -> None:
    """A defect that a thread meets does not end it: it lists again."""
    api, stop, seen = FakeApi(), threading.Event(), threading.Event()
    api.lists[Resource.NODES] = [KeyError("a defect"), ([node()], "7")]
    api.lists[Resource.PODS] = [([pod()], "7")]

    class Watching(ListSink):
        def topology(self, change: TopologyChange) -> None:
            super().topology(change)
            if {"c/node/n1", "c/engine/uid-llama-0"} <= {c.entity for c in self.changes}:
                seen.set()

    made = KubernetesCollector(SETTINGS, cluster="c", sink=Watching(), clock=SystemClock(), api=api)
    thread = threading.Thread(target=made.run, args=(stop,))
    thread.start()
    assert seen.wait(30)
    stop.set()
    thread.join(30)
    assert not thread.is_alive()
    assert api.over.is_set()
    assert [dict(reader.failures) for reader in made.readers] == [{"KeyError": 1}, {}]
