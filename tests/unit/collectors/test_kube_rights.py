"""The manifests grant the collector what it watches, and nothing else."""

from pathlib import Path
from typing import Any

import yaml

from collectors.kube_feeds import Feed, Resource, feeds
from tests.unit.collectors.kube_world import SETTINGS

FOLDER = Path(__file__).parents[3] / "deploy" / "kubernetes"


def manifests(name: str) -> dict[str, Any]:
    """The objects of a file by kind."""
    return {body["kind"]: body for body in yaml.safe_load_all((FOLDER / name).read_text())}


def granted(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Group, resource and verb of every grant."""
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def needed(*, in_one_namespace: bool) -> set[tuple[str, str, str]]:
    """What listing and watching every feed takes."""
    return {
        (feed.group, feed.resource.value, verb)
        for feed in feeds(SETTINGS)
        for verb in ("list", "watch")
        if bool(feed.namespace) is in_one_namespace
    }


def test_the_cluster_role_is_exactly_what_is_watched_everywhere() -> None:
    role = manifests("rbac-collector.yaml")["ClusterRole"]
    assert granted(role) == needed(in_one_namespace=False)


def test_the_role_of_a_namespace_is_exactly_what_is_watched_there() -> None:
    found = manifests("rbac-collector-configs.yaml")
    assert granted(found["Role"]) == needed(in_one_namespace=True)
    assert found["RoleBinding"]["roleRef"]["name"] == found["Role"]["metadata"]["name"]
    account = manifests("rbac-collector.yaml")["ServiceAccount"]["metadata"]
    (subject,) = found["RoleBinding"]["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["name"], account["namespace"])


def test_every_resource_is_watched_and_config_maps_where_templates_are_believed() -> None:
    watched = list(feeds(SETTINGS))
    assert {feed.resource for feed in watched} == set(Resource)
    configs = [feed for feed in watched if feed.resource is Resource.CONFIGMAPS]
    assert [feed.namespace for feed in configs] == ["llm", "gpu-operator"]


def test_a_feed_knows_its_place_in_the_api() -> None:
    assert Feed(Resource.NODES).path == "/api/v1/nodes"
    assert Feed(Resource.DEPLOYMENTS).path == "/apis/apps/v1/deployments"
    assert Feed(Resource.CONFIGMAPS, "llm").path == "/api/v1/namespaces/llm/configmaps"
