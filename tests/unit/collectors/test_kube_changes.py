"""What somebody changed: rollouts, settings, scale, ConfigMaps, the driver's stack; who, and from
what to what."""

import pytest

from collectors.kube_feeds import Feed, Resource
from collectors.kube_tell import WHAT_MAX
from fleetmend.model.events import EventType
from tests.unit.collectors.kube_world import (
    CONFIGMAPS,
    DAEMONSETS,
    DEPLOYMENTS,
    NODES,
    PODS,
    Json,
    RawFold,
    changes,
    config_map,
    node,
    pod,
    told,
    workload,
)

STATEFULSETS = Feed(Resource.STATEFULSETS)
PLUGIN = "nvidia-device-plugin-daemonset"


def knowing(*objects: Json) -> RawFold:
    """A fold that has listed these Deployments and no ConfigMap."""
    one = RawFold()
    assert one.listed(DEPLOYMENTS, objects or [workload()], 1.0).events == []
    one.listed(CONFIGMAPS, [], 1.0)
    return one


def test_another_image_is_a_rollout_of_the_pool_by_who_wrote_the_image() -> None:
    news = knowing().changed(DEPLOYMENTS, workload(version=2, image="vllm:2"), 2.0)
    assert changes(news) == [("rollout", "vllm:1 -> vllm:2", "argocd")]
    (event,) = told(news, EventType.CHANGE)
    assert (event.subject, event.time_s) == ("c/pool/chat", 2.0)
    assert event.data["object"] == "Deployment llm/llama"
    assert event.data["witness"] == "cluster_api"


def test_another_argument_is_a_config_change_in_words() -> None:
    smaller = workload(version=2, args=["--max-num-seqs=16", "--enforce-eager"])
    news = knowing().changed(DEPLOYMENTS, smaller, 2.0)
    what = "engine --enforce-eager added; engine --max-num-seqs: 64 -> 16"
    assert changes(news) == [("config", what, "argocd")]


def test_of_what_was_removed_nobody_is_named() -> None:
    """The API keeps no owner of it; whoever wrote something else lately was not it."""
    one = knowing(workload(env={"LEVEL": "1"}))
    one.listed(CONFIGMAPS, [config_map(a="1", b="1")], 1.0)
    fewer = [
        one.changed(DEPLOYMENTS, workload(version=2), 2.0),
        one.changed(CONFIGMAPS, config_map(version=2, a="1"), 2.0),
    ]
    assert [(kind, who) for news in fewer for kind, _, who in changes(news)] == [
        ("config", ""),
        ("config", ""),
    ]


def test_more_replicas_are_a_scale_by_who_wrote_them() -> None:
    news = knowing().changed(DEPLOYMENTS, workload(version=2, replicas=5), 2.0)
    assert changes(news) == [("scale", "3 -> 5", "keda")]


def test_a_rollout_restart_is_a_restart_and_no_config_change() -> None:
    again = {"kubectl.kubernetes.io/restartedAt": "2026-11-23T10:00:00Z"}
    news = knowing().changed(DEPLOYMENTS, workload(version=2, annotations=again), 2.0)
    assert [(kind, what) for kind, what, _ in changes(news)] == [
        ("restart", "none -> 2026-11-23T10:00:00Z")
    ]


def test_several_things_at_once_are_told_each_with_the_authors_reason() -> None:
    both = workload(version=2, image="vllm:2", replicas=4, cause="release 7 by ada")
    news = knowing().changed(DEPLOYMENTS, both, 2.0)
    assert [(e.data["change"], e.data["cause"]) for e in told(news, EventType.CHANGE)] == [
        ("rollout", "release 7 by ada"),
        ("scale", "release 7 by ada"),
    ]
    same_cause = workload(version=3, image="vllm:2", replicas=5, cause="release 7 by ada")
    one = knowing()
    one.changed(DEPLOYMENTS, both, 2.0)
    (later,) = told(one.changed(DEPLOYMENTS, same_cause, 3.0), EventType.CHANGE)
    assert "cause" not in later.data


def test_what_only_a_newer_server_shows_is_nobodys_change() -> None:
    """The generation counts what somebody changed."""
    shown = workload(version=2, generation=1, args=["--max-num-seqs", "64", "--default", "x"])
    one = knowing()
    assert one.changed(DEPLOYMENTS, shown, 2.0).events == []


def test_saying_the_same_again_says_nothing() -> None:
    one = knowing()
    news = one.changed(DEPLOYMENTS, workload(version=2), 2.0)
    again = one.listed(DEPLOYMENTS, [workload(version=3)], 3.0)
    assert (news.events, again.events, again.changes) == ([], [], [])


def test_a_workload_made_anew_with_another_image_is_a_rollout() -> None:
    """Delete and create: unheard, the two come as one."""
    one = knowing()
    anew = workload(version=9, generation=1, uid="anew", image="vllm:2")
    assert changes(one.listed(DEPLOYMENTS, [anew], 2.0)) == [
        ("rollout", "vllm:1 -> vllm:2", "argocd")
    ]
    assert one.deleted(DEPLOYMENTS, workload(version=5), 3.0).events == []


def test_a_workload_that_goes_or_comes_is_a_change() -> None:
    one = knowing()
    gone = one.deleted(DEPLOYMENTS, workload(version=2), 2.0)
    back = one.changed(DEPLOYMENTS, workload(version=3, uid="new"), 3.0)
    assert changes(gone) == [("scale", "3 replicas -> deleted", "")]
    assert changes(back) == [("rollout", "none -> vllm:1", "argocd")]
    assert changes(one.listed(DEPLOYMENTS, [], 4.0)) == [("scale", "3 replicas -> deleted", "")]


def test_workloads_of_others_are_not_followed() -> None:
    """Whoever may make a Deployment somewhere could else blame a rollout for anything."""
    one = RawFold()
    one.listed(DEPLOYMENTS, [workload(namespace="tenant-7")], 1.0)
    news = one.changed(DEPLOYMENTS, workload(namespace="tenant-7", version=2, image="vllm:2"), 2.0)
    assert news.events == []


def test_of_a_followed_deployment_the_pods_images_are_not_told_again() -> None:
    one = knowing()
    labels = pod()["metadata"]["labels"] | {"pod-template-hash": "5d"}

    def made(name: str, image: str) -> Json:
        return pod(name, image=image, labels=labels, kind="ReplicaSet", owner="llama-5d")

    one.listed(PODS, [made("llama-0", "vllm:1")], 1.0)
    told_of_it = one.changed(DEPLOYMENTS, workload(version=2, image="vllm:2"), 2.0)
    assert len(changes(told_of_it)) == 1
    assert changes(one.changed(PODS, made("llama-1", "vllm:2"), 3.0)) == []


def test_a_config_map_that_a_template_refers_to_is_a_config_change() -> None:
    one = RawFold()
    one.listed(CONFIGMAPS, [config_map(a="1", b="2"), config_map("other", a="1")], 1.0)
    assert one.listed(DEPLOYMENTS, [workload()], 1.0).events == []
    news = one.changed(CONFIGMAPS, config_map(version=2, a="7", b="2"), 2.0)
    ((kind, what, who),) = changes(news)
    assert (kind, who) == ("config", "kubectl-edit")
    assert what.startswith("a: ")
    assert what.endswith(" (used by Deployment llm/llama)")
    assert "b:" not in what
    (event,) = told(news, EventType.CHANGE)
    assert (event.subject, event.data["object"]) == ("c/pool/chat", "ConfigMap llm/settings")
    assert one.changed(CONFIGMAPS, config_map("other", version=3, a="2"), 3.0).events == []
    assert one.changed(CONFIGMAPS, config_map(version=4, a="7", b="2"), 4.0).events == []


def test_what_a_config_map_holds_is_not_told() -> None:
    one = knowing()
    one.listed(CONFIGMAPS, [config_map(word="hf_secret_one")], 1.0)
    news = one.changed(CONFIGMAPS, config_map(version=2, word="hf_secret_two"), 2.0)
    assert len(news.events) == 1
    assert "secret" not in repr(news)


def test_a_config_map_that_goes_or_comes_is_a_config_change() -> None:
    one = knowing()
    made = one.changed(CONFIGMAPS, config_map(version=2, a="1"), 2.0)
    gone = one.deleted(CONFIGMAPS, config_map(version=3), 3.0)
    assert [what.partition(" (")[0] for _, what, _ in changes(made)] == ["made with 1 keys"]
    assert [what.partition(" (")[0] for _, what, _ in changes(gone)] == ["deleted"]


def test_a_config_map_is_found_wherever_a_template_names_it() -> None:
    ways: list[Json] = [
        {"volumes": [{"configMap": {"name": "found"}}]},
        {"volumes": [{"projected": {"sources": [{"configMap": {"name": "found"}}]}}]},
        {"initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "found"}}]}]},
        {
            "initContainers": [
                {
                    "name": "i",
                    "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "found"}}}],
                }
            ]
        },
    ]
    for way in ways:
        made = workload()
        made["spec"]["template"]["spec"] |= way
        one = knowing(made)
        one.listed(CONFIGMAPS, [config_map("found", a="1")], 1.0)
        assert len(one.changed(CONFIGMAPS, config_map("found", version=2, a="2"), 2.0).events) == 1


def operator_set(name: str = PLUGIN, *, version: int = 1, image: str = "plugin:1") -> Json:
    """A DaemonSet of the GPU operator."""
    return workload(name, namespace="gpu-operator", version=version, image=image, replicas=None)


def operator_pod(number: int, *, image: str = "plugin:1", owner: str = PLUGIN) -> Json:
    """One of its pods, on the node of its test."""
    made = pod(
        f"{owner}-{number}",
        labels={"app": owner},
        kind="DaemonSet",
        owner=owner,
        namespace="gpu-operator",
        image=image,
    )
    made["spec"]["containers"][0]["resources"] = {}
    return made


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (PLUGIN, "device_plugin"),
        ("nvidia-driver-daemonset", "driver"),
        ("nvidia-dcgm-exporter", "rollout"),
    ],
)
def test_an_update_of_the_drivers_stack_is_told_by_what_it_updates(name: str, kind: str) -> None:
    one = RawFold()
    one.listed(DAEMONSETS, [operator_set(name)], 1.0)
    news = one.changed(DAEMONSETS, operator_set(name, version=2, image="plugin:2"), 2.0)
    assert changes(news) == [(kind, "plugin:1 -> plugin:2", "argocd")]
    assert news.events[0].subject == "c/cluster/c"


def test_the_update_is_told_of_each_node_when_it_gets_there() -> None:
    one = RawFold()
    one.listed(NODES, [node()], 1.0)
    one.listed(PODS, [operator_pod(1)], 1.0)
    one.deleted(PODS, operator_pod(1), 2.0)
    same = one.changed(PODS, operator_pod(2), 2.5)
    one.deleted(PODS, operator_pod(2), 3.0)
    news = one.changed(PODS, operator_pod(3, image="plugin:2"), 3.0)
    assert changes(same) == []
    assert changes(news) == [
        ("device_plugin", "plugin:1 -> plugin:2", f"DaemonSet gpu-operator/{PLUGIN}")
    ]
    assert (news.events[0].subject, news.events[0].node) == ("c/node/n1", "n1")


def test_a_device_plugin_of_somebody_elses_namespace_is_none() -> None:
    one = RawFold()
    made = operator_pod(1)
    made["metadata"]["namespace"] = "tenant-7"
    one.listed(PODS, [made], 1.0)
    other = operator_pod(2, image="plugin:2")
    other["metadata"]["namespace"] = "tenant-7"
    assert one.changed(PODS, other, 2.0).events == []


@pytest.mark.parametrize(
    "odd", [{}, {"metadata": None}, {"metadata": {"name": "x", "namespace": "llm"}, "spec": 5}]
)
@pytest.mark.parametrize("feed", [DEPLOYMENTS, STATEFULSETS, DAEMONSETS, CONFIGMAPS])
def test_an_object_of_another_shape_breaks_nothing(feed: Feed, odd: Json) -> None:
    one = knowing()
    one.listed(feed, [odd, {"spec": {"template": {"spec": {"containers": [7]}}}, **odd}], 1.0)
    one.changed(feed, {"data": ["x"], **odd}, 2.0)
    one.deleted(feed, odd, 3.0)


def test_a_change_without_bounds_is_cut() -> None:
    news = knowing().changed(
        DEPLOYMENTS, workload(version=2, args=[f"--flag-{i}" for i in range(400)]), 2.0
    )
    ((_, what, _),) = changes(news)
    assert what.endswith("more")
    long = knowing().changed(DEPLOYMENTS, workload(version=2, args=["--x", "y" * 9000]), 2.0)
    assert all(len(str(event.data["what"])) <= WHAT_MAX for event in (*news.events, *long.events))
