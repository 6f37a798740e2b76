"""The cluster's API as a source: nothing twice, nothing lost over breaks, and only what is new."""

import threading

import pytest

from collectors import kube_watch
from collectors.kube_feeds import Resource
from collectors.kube_objects import SESSION
from collectors.kube_reader import FeedState, VersionGone, WatchEvent, WatchType
from collectors.kube_watch import KubernetesCollector
from fleetmend.clock import ManualClock, SystemClock
from fleetmend.errors import PortError, PortRefused
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, TopologyChange, TopologyOp
from fleetmend.model.events import EventType
from remediation import kubernetes as remediation_kubernetes
from tests.unit.collectors.fakes import ListSink
from tests.unit.collectors.kube_world import (
    NODES,
    PODS,
    SETTINGS,
    FakeApi,
    Json,
    RawFold,
    changes,
    condition,
    modified,
    node,
    pod,
    told,
    view_of,
)


def test_a_node_lies_in_its_rack_and_zone_and_belongs_to_its_pool() -> None:
    view = view_of(RawFold().listed(NODES, [node()], 1.0))
    entity = view.resolve("c/node/n1")
    assert entity is not None
    assert view.attributes[entity] == {
        "pool": "h100",
        "rack": "r7",
        "zone": "z1",
        "product": "NVIDIA-H100",
        "driver": "570.1",
        "kernel": "6.1.0",
        "gpus": "8",
        "gpus_allocatable": "8",
    }
    assert view.targets(entity, RelationKind.PART_OF) == ("c/rack/r7",)
    assert view.targets(view.resolve("c/rack/r7"), RelationKind.PART_OF) == ("c/zone/z1",)  # type: ignore[arg-type]
    assert view.targets(entity, RelationKind.MEMBER_OF) == ("c/pool/h100",)


def test_an_engine_is_known_by_its_pods_uid_and_found_by_its_pods_name() -> None:
    view = view_of(RawFold().listed(PODS, [pod()], 1.0))
    engine = view.resolve("pod:llm/llama-0")
    assert engine == "c/engine/uid-llama-0"
    assert view.targets(engine, RelationKind.RUNS_ON) == ("c/node/n1",)
    assert view.targets(engine, RelationKind.SERVES) == ("c/model/llama-70b",)
    assert view.targets(engine, RelationKind.MEMBER_OF) == ("c/pool/chat",)


def test_a_pod_with_gpus_that_is_no_engine_is_a_pod_and_others_are_nobody() -> None:
    training, web = pod("job-1", labels={}), pod("web-1", labels={})
    web["spec"]["containers"][0]["resources"] = {}
    view = view_of(RawFold().listed(PODS, [training, web], 1.0))
    assert "c/pod/llm/job-1" in view.attributes
    assert "c/pod/llm/web-1" not in view.attributes


def test_the_label_of_engines_is_believed_in_the_named_namespaces_alone() -> None:
    """Whoever may make a pod somewhere could else add to what counts as capacity."""
    one, foreign = RawFold(), pod("liar-0")
    foreign["metadata"]["namespace"] = "tenant-7"

    view = view_of(one.listed(PODS, [pod(), foreign, foreign], 1.0))

    assert list(view.of_kind(EntityKind.ENGINE)) == ["c/engine/uid-llama-0"]
    assert "c/pod/tenant-7/liar-0" in view.attributes
    assert one.strangers == {"tenant-7"}


def test_a_pod_that_becomes_an_engine_later_is_no_pod_any_more() -> None:
    one = RawFold()
    first = one.listed(PODS, [pod(labels={})], 1.0)
    labelled = one.changed(PODS, pod(version=2), 2.0)
    unlabelled = one.changed(PODS, pod(version=3, labels={}), 3.0)
    engine, plain = EntityId("c/engine/uid-llama-0"), EntityId("c/pod/llm/llama-0")
    assert view_of(first, labelled).resolve(plain) is None
    assert view_of(first, labelled).targets(engine, RelationKind.MEMBER_OF) == ("c/pool/chat",)
    assert view_of(first, labelled, unlabelled).resolve(engine) is None
    again = one.changed(PODS, pod(version=4, labels={}), 4.0)
    gone = one.deleted(PODS, pod(version=5, labels={}), 5.0)
    assert again.changes == []
    assert [c.entity for c in gone.changes] == [plain]


def test_saying_the_same_again_says_nothing() -> None:
    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    again = one.listed(NODES, [node(version=2, heartbeat="2")], 2.0)
    changed = one.changed(NODES, node(version=3, heartbeat="3"), 3.0)
    assert (again.changes, again.events, changed.changes, changed.events) == ([], [], [], [])


def test_two_nodes_of_one_rack_state_the_rack_once() -> None:
    news = RawFold().listed(NODES, [node("n1"), node("n2")], 1.0)
    stated = [c.entity for c in news.changes if c.op is TopologyOp.ENTITY]
    assert stated.count("c/rack/r7") == 1  # type: ignore[arg-type]


def test_a_node_that_moves_to_another_rack_leaves_the_old_one() -> None:
    one = RawFold()
    first = one.listed(NODES, [node()], 1.0)
    moved = one.changed(NODES, node(version=2, labels={"topology.kubernetes.io/rack": "r8"}), 2.0)
    view = view_of(first, moved)
    entity = view.resolve("c/node/n1")
    assert entity is not None
    assert view.targets(entity, RelationKind.PART_OF) == ("c/rack/r8",)


def test_a_rack_stays_in_its_zone_while_any_node_says_so() -> None:
    one = RawFold()
    first = one.listed(NODES, [node("n1"), node("n2")], 1.0)
    moved = one.changed(
        NODES, node("n1", version=2, labels={"topology.kubernetes.io/rack": "r8"}), 2.0
    )
    left = one.deleted(NODES, node("n2", version=3), 3.0)
    rack = EntityId("c/rack/r7")
    assert view_of(first, moved).targets(rack, RelationKind.PART_OF) == ("c/zone/z1",)
    assert view_of(first, moved, left).targets(rack, RelationKind.PART_OF) == ()


def test_pods_that_outlive_their_node_hang_on_it_again_when_it_is_back() -> None:
    """A kubelet that registers anew deletes the node and makes it again within a second."""
    one = RawFold()
    news = [
        one.listed(NODES, [node()], 1.0),
        one.listed(PODS, [pod()], 1.0),
        one.deleted(NODES, node(version=5), 2.0),
        one.changed(NODES, node(version=6, uid="anew"), 3.0),
    ]
    engine = EntityId("c/engine/uid-llama-0")
    assert view_of(*news[:3]).targets(engine, RelationKind.RUNS_ON) == ()
    assert view_of(*news).targets(engine, RelationKind.RUNS_ON) == ("c/node/n1",)
    again = one.changed(NODES, node(version=7, uid="anew", heartbeat="2"), 4.0)
    assert (again.changes, again.events) == ([], [])


def test_a_condition_is_an_event_when_it_turns_and_has_one_id_for_ever() -> None:
    one = RawFold()
    first = one.listed(NODES, [node()], 1.0)
    lost = node(version=2, ready="Unknown", since="2026-11-23T01:00:00Z")
    turned = one.changed(NODES, lost, 2.0)
    assert [e.data["status"] for e in told(first, EventType.NODE_CONDITION)] == ["True"]
    (event,) = told(turned, EventType.NODE_CONDITION)
    assert event.subject == "c/node/n1"
    assert (event.data["condition"], event.data["status"]) == ("Ready", "Unknown")
    assert event.data["witness"] == "cluster_api"
    restarted = RawFold().listed(NODES, [lost], 9.0)
    assert told(restarted, EventType.NODE_CONDITION)[0].id == event.id


def test_a_condition_that_turned_and_turned_back_unseen_is_told_by_its_time() -> None:
    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    back = one.changed(NODES, node(version=9, since="2026-11-23T02:00:00Z"), 2.0)
    assert [e.data["status"] for e in told(back, EventType.NODE_CONDITION)] == ["True"]


def test_a_cordon_is_a_change_with_who_made_it() -> None:
    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    cordoned = one.changed(NODES, node(version=2, unschedulable=True), 2.0)
    given_back = one.changed(NODES, node(version=3), 3.0)
    (cordon,), (uncordon,) = (told(n, EventType.CHANGE) for n in (cordoned, given_back))
    assert (cordon.data["change"], cordon.data["who"]) == ("cordon", "kubectl-cordon")
    assert uncordon.data["change"] == "uncordon"
    assert told(RawFold().listed(NODES, [node(unschedulable=True)], 1.0), EventType.CHANGE) == []


def test_a_new_driver_is_a_change_from_the_old_one() -> None:
    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    newer = node(version=2, labels={"nvidia.com/cuda.driver-version.full": "580.9"})
    news = one.changed(NODES, newer, 2.0)
    assert changes(news) == [("driver", "570.1 -> 580.9", "gpu-feature-discovery")]
    (event,) = told(news, EventType.CHANGE)
    assert (event.data["from"], event.data["to"]) == ("570.1", "580.9")


def test_a_driver_in_three_labels_is_one_version_and_no_change_when_it_comes_or_goes() -> None:
    parts = {"major": "570", "minor": "124", "rev": "06"}
    labels = {f"nvidia.com/cuda.driver.{key}": value for key, value in parts.items()}
    bare = {"nvidia.com/cuda.driver-version.full": ""}
    one = RawFold()
    first = one.listed(NODES, [node(labels=bare)], 1.0)
    known = one.changed(NODES, node(version=2, labels=bare | labels), 2.0)
    lost = one.changed(NODES, node(version=3, labels=bare), 3.0)
    entity = view_of(first, known).resolve("c/node/n1")
    assert entity is not None
    assert view_of(first, known).attributes[entity]["driver"] == "570.124.06"
    assert changes(known) == changes(lost) == []


def test_another_boot_is_a_change() -> None:
    one, first, second = RawFold(), node(), node(version=2)
    first["status"]["nodeInfo"]["bootID"] = "a"
    second["status"]["nodeInfo"]["bootID"] = "b"
    one.listed(NODES, [first], 1.0)
    assert changes(one.changed(NODES, second, 2.0)) == [("boot", "a -> b", "")]


def test_what_the_device_plugin_can_give_out_is_in_the_topology() -> None:
    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    lost = one.changed(NODES, node(version=2, gpus=("8", "7")), 2.0)
    (change,) = lost.changes
    assert change.attributes["gpus"] == "8"
    assert change.attributes["gpus_allocatable"] == "7"
    assert change.at_s == 2.0
    assert lost.events == []


def test_mig_instances_that_can_be_given_out_are_in_the_topology() -> None:
    made = node()
    made["status"]["allocatable"] |= {"nvidia.com/mig-1g.10gb": "7", "nvidia.com/mig-3g.40gb": 2}
    (stated,) = (
        c.attributes for c in RawFold().listed(NODES, [made], 1.0).changes if "mig" in c.attributes
    )
    assert stated["mig"] == "mig-1g.10gb:7 mig-3g.40gb:2"


def test_a_node_that_is_not_ready_says_so_in_the_topology() -> None:
    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    lost = one.changed(NODES, node(version=2, ready="Unknown", since="later"), 2.0)
    back = one.changed(NODES, node(version=3, since="latest"), 3.0)
    assert [c.attributes.get("ready") for c in (*lost.changes, *back.changes)] == ["false", None]


def test_a_cordon_that_our_executor_made_is_not_told_as_somebody_elses() -> None:
    """It tells its own acts; it marks and cordons in one write, and takes both back in one."""
    ours = {"fleetmend.io/session": "s-1"}
    own_taint = [{"key": "fleetmend.io/quarantine", "value": "i", "effect": "NoSchedule"}]
    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    held = node(version=2, annotations=ours, unschedulable=True, taints=own_taint)
    assert changes(one.changed(NODES, held, 2.0)) == []
    assert changes(one.changed(NODES, node(version=3), 3.0)) == []

    one.changed(NODES, node(version=4, annotations=ours, unschedulable=True), 4.0)
    undone = one.changed(NODES, node(version=5, annotations=ours), 5.0)
    again = one.changed(NODES, node(version=6, annotations=ours, unschedulable=True), 6.0)
    assert [kind for kind, *_ in changes(undone)] == ["uncordon"]
    assert [kind for kind, *_ in changes(again)] == ["cordon"]


def test_the_mark_of_our_executor_is_the_executors() -> None:
    assert SESSION == remediation_kubernetes.SESSION


def test_a_taint_of_others_is_a_change_and_those_of_the_node_controller_are_none() -> None:
    def taint(key: str) -> Json:
        return {"key": key, "value": "true", "effect": "NoSchedule"}

    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    automatic = taint("node.kubernetes.io/unreachable")
    fenced = taint("node.kubernetes.io/out-of-service")
    theirs = taint("nvidia.com/gpu-xid-error")
    quiet = one.changed(NODES, node(version=2, taints=[automatic]), 2.0)
    put = one.changed(NODES, node(version=3, taints=[automatic, theirs, fenced]), 3.0)
    lifted = one.changed(NODES, node(version=4, taints=[theirs]), 4.0)
    xid = "nvidia.com/gpu-xid-error=true:NoSchedule"
    out = "node.kubernetes.io/out-of-service=true:NoSchedule"
    assert changes(quiet) == []
    assert changes(put) == [("taint", f"none -> {out} {xid}", "nvsentinel")]
    assert changes(lifted) == [("untaint", f"{out} -> none", "nvsentinel")]


def test_another_image_of_a_controller_that_nobody_follows_is_a_rollout() -> None:
    one = RawFold()
    one.listed(PODS, [pod("llama-0"), pod("llama-1")], 1.0)
    same = one.changed(PODS, pod("llama-2"), 2.0)
    newer = one.changed(PODS, pod("llama-3", image="vllm:2"), 3.0)
    assert changes(same) == []
    assert changes(newer) == [
        ("rollout", "vllm:1 -> vllm:2", "LeaderWorkerSet llm/llama"),
    ]


def test_a_condition_of_node_problem_detector_comes_with_its_words() -> None:
    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    hung = condition("KernelDeadlock", "True", reason="DockerHung", message="task docker:1 blocked")
    (event,) = told(
        one.changed(NODES, node(version=2, conditions=[hung]), 2.0), EventType.NODE_CONDITION
    )
    assert event.data["condition"] == "KernelDeadlock"
    assert (event.data["reason"], event.data["message"]) == ("DockerHung", "task docker:1 blocked")


def test_a_condition_that_its_author_takes_off_the_node_is_told_as_removed() -> None:
    """NVSentinel uninstalled must not leave a fault that stands for ever."""
    bad = condition("GpuMemWatch", "True", reason="GpuMemWatchIsNotHealthy")
    one = RawFold()
    one.listed(NODES, [node(conditions=[bad])], 1.0)
    events = told(one.changed(NODES, node(version=2), 2.0), EventType.NODE_CONDITION)
    assert [(e.data["condition"], e.data["status"]) for e in events] == [("GpuMemWatch", "Removed")]
    again = one.changed(NODES, node(version=3, conditions=[bad]), 3.0)
    assert [e.data["status"] for e in told(again, EventType.NODE_CONDITION)] == ["True"]


def test_a_containers_end_is_told_once_and_an_oom_kill_by_its_name() -> None:
    def ended(reason: str, code: int, identity: str) -> Json:
        state = {"terminated": {"reason": reason, "exitCode": code, "containerID": identity}}
        return {"containerStatuses": [{"name": "engine", "lastState": state}]}

    one = RawFold()
    one.listed(PODS, [pod()], 1.0)
    news = [
        one.changed(PODS, pod(version=2, **ended("OOMKilled", 137, "a")), 2.0),
        one.changed(PODS, pod(version=3, **ended("OOMKilled", 137, "a")), 3.0),
        one.changed(PODS, pod(version=4, **ended("Error", 1, "b")), 4.0),
    ]
    events = [
        [(e.data["signature"], e.data["exit_code"]) for e in told(n, EventType.LOG_SIGNATURE)]
        for n in news
    ]
    assert events == [[("oom_kill", 137)], [], [("container_exit", 1)]]
    assert news[0].events[0].subject == "c/engine/uid-llama-0"


def test_what_is_deleted_or_missing_from_a_list_is_gone() -> None:
    one = RawFold()
    news = [
        one.listed(NODES, [node("n1"), node("n2"), node("n3")], 1.0),
        one.deleted(NODES, node("n2"), 2.0),
        one.listed(NODES, [node("n1")], 3.0),
    ]
    view = view_of(*news)
    assert {e for e in view.attributes if "/node/" in e} == {"c/node/n1"}
    back = one.changed(NODES, node("n3", version=9), 4.0)
    view = view_of(*news, back)
    assert view.targets(view.resolve("c/node/n3"), RelationKind.PART_OF) == ("c/rack/r7",)  # type: ignore[arg-type]


def test_a_node_made_anew_under_its_name_survives_the_end_of_the_old_one() -> None:
    one = RawFold()
    news = [
        one.listed(NODES, [node(uid="old")], 1.0),
        one.changed(NODES, node(uid="new", version=5), 2.0),
        one.deleted(NODES, node(uid="old", version=6), 3.0),
    ]
    assert "c/node/n1" in view_of(*news).attributes


@pytest.mark.parametrize("odd", [{}, {"metadata": None}, {"metadata": {"name": 5}, "status": []}])
def test_an_object_of_another_shape_breaks_nothing(odd: Json) -> None:
    RawFold().listed(PODS, [odd], 1.0)
    RawFold().listed(NODES, [odd], 1.0)
    RawFold().changed(PODS, {"status": {"containerStatuses": [7]}, **odd}, 1.0)


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
    kinds = [e.data["change"] for e in sink.events if e.type is EventType.CHANGE]
    assert kinds == ["cordon", "uncordon"]


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


def test_the_loop_reads_every_resource_over_failures_and_stops_when_told() -> None:
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
    failed = {str(reader.feed): dict(reader.failures) for reader in made.readers if reader.failures}
    assert failed == {"nodes": {"KeyError": 1}}


def test_a_version_that_the_server_forgets_while_it_is_listed_leads_to_a_new_list() -> None:
    """A list that breaks off forgets nobody, and the next one is whole."""
    api, sink = FakeApi(), ListSink()
    api.lists[Resource.NODES] = [
        ([node("n1"), node("n2"), node("n3"), node("n4")], "7"),
        ([node("n1"), node("n2"), VersionGone("too old"), None], "9"),
        ([node("n1"), node("n2"), node("n4")], "30"),
    ]
    api.watches[Resource.NODES] = [[VersionGone("too old")], []]
    made = collector(api, sink)
    reader = made.readers[0]
    reader.turn()
    with pytest.raises(VersionGone):
        reader.turn()
    made.poll()
    assert [c.op for c in sink.changes if c.op is TopologyOp.ENTITY_GONE] == []
    reader.turn()
    made.poll()
    gone = [c.entity for c in sink.changes if c.op is TopologyOp.ENTITY_GONE]
    assert gone == ["c/node/n3"]
    assert (reader.lists, reader.expired) == (2, 1)


def test_events_that_come_again_are_old_news() -> None:
    """A proxy that repeats, a watch that begins too early: what was undone meanwhile stays so."""
    api, sink = FakeApi(), ListSink()
    api.lists[Resource.NODES] = [([node(version=5)], "7")]
    cordon = modified(node(version=9, unschedulable=True))
    deleted = WatchEvent(WatchType.DELETED, node(version=12))
    api.watches[Resource.NODES] = [
        [modified(node(version=6, unschedulable=True)), cordon, modified(node(version=11))],
        [cordon, modified(node(version=11)), deleted, cordon, deleted],
    ]
    made = collector(api, sink)
    for _ in range(2):
        made.readers[0].turn()
    made.poll()
    kinds = [e.data["change"] for e in sink.events if e.type is EventType.CHANGE]
    assert kinds == ["cordon", "uncordon"]
    assert [c.op for c in sink.changes][-1] is TopologyOp.ENTITY_GONE
    assert made.readers[0].cursor.repeated == 5


def test_an_event_that_could_not_be_handed_over_comes_again() -> None:
    api = FakeApi()
    api.lists[Resource.NODES] = [([], "7")]
    api.watches[Resource.NODES] = [[modified(node(version=9))], []]
    made = collector(api, ListSink())
    reader, deliver = made.readers[0], made.readers[0]._deliver

    def broken(delivery: object) -> None:
        raise RuntimeError("no room")

    reader._list()
    reader._deliver = broken
    with pytest.raises(RuntimeError):
        reader.turn()
    assert reader.cursor.since == "7"
    reader._deliver = deliver


def test_the_heartbeat_names_what_is_followed_and_what_fails_and_why() -> None:
    api, sink = FakeApi(), ListSink()
    api.lists[Resource.NODES] = [([node()], "7")]
    api.lists[Resource.PODS] = [PortRefused("HTTP 403: no")]
    made = collector(api, sink)
    made.poll()
    made.readers[0].turn()
    stop = threading.Event()

    class Stopping(ManualClock):
        def wait(self, event: threading.Event, timeout_s: float) -> bool:
            stop.set()
            return super().wait(event, timeout_s)

    made.readers[1].run(stop, Stopping())
    made.poll()
    made.poll()
    first, second = (e for e in sink.events if e.type is EventType.HEARTBEAT)
    assert first.subject == second.subject == "c/collector/kubernetes"
    assert first.data["following"] == ""
    assert (second.data["following"], second.data["failing"]) == ("nodes", "pods")
    assert second.data["reasons"] == "pods: PortRefused: HTTP 403: no"
    assert (second.data["nodes"], second.data["lists"]) == (1, 1)
    assert made.readers[1].state is FeedState.FAILING


def test_readers_wait_while_nobody_takes_what_they_bring() -> None:
    """Memory is bounded by the room between them, not by how long the log is away."""
    api, sink = FakeApi(), ListSink()
    api.lists[Resource.NODES] = [([], "7")]
    api.watches[Resource.NODES] = [
        [modified(node(f"n{i}", version=10 + i)) for i in range(2 * kube_watch._WAITING_MAX)]
    ]
    made = collector(api, sink)
    thread = threading.Thread(target=made.readers[0].turn, daemon=True)
    thread.start()
    thread.join(0.5)
    assert (thread.is_alive(), made._queue.qsize()) == (True, kube_watch._WAITING_MAX)
    while thread.is_alive():
        made.poll()
        thread.join(0.01)
    made.poll()
    stated = {c.entity for c in sink.changes if c.op is TopologyOp.ENTITY and "/node/" in c.entity}
    assert len(stated) == 2 * kube_watch._WAITING_MAX


def test_marks_go_on_while_a_long_list_is_told() -> None:
    """Ticks of everybody wait for the marks of every collector."""
    clock = ManualClock(1000.0)

    class Slow(ListSink):
        def topology(self, change: TopologyChange) -> None:
            assert change.at_s >= max(self.marks, default=0.0)
            super().topology(change)
            clock.sleep(0.1)

    api, sink = FakeApi(), Slow()
    api.lists[Resource.NODES] = [([node(f"n{i}") for i in range(20)], "7")]
    api.over.set()
    made = KubernetesCollector(SETTINGS, cluster="c", sink=sink, clock=clock, api=api)
    made.readers[0].turn()
    made.poll()
    assert len(sink.marks) > 5
    assert max(b - a for a, b in zip(sink.marks, sink.marks[1:], strict=False)) < 1.5
