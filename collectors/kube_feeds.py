"""What is watched at the cluster's API, and what that needs: one `Feed` for each list and watch.

`deploy/kubernetes/rbac-collector.yaml` grants exactly these; a test compares.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from fleetmend.settings.collectors import KubernetesSettings


class Resource(StrEnum):
    """The resources that are watched, by their names in the API."""

    NODES = "nodes"
    PODS = "pods"
    DEPLOYMENTS = "deployments"
    STATEFULSETS = "statefulsets"
    DAEMONSETS = "daemonsets"
    CONFIGMAPS = "configmaps"
    EVENTS = "events"


WORKLOADS = {
    Resource.DEPLOYMENTS: "Deployment",
    Resource.STATEFULSETS: "StatefulSet",
    Resource.DAEMONSETS: "DaemonSet",
}
"""Resources that make pods from a template, and their kinds."""

_SMALL_PAGE = 50
_PAGE = 250
"""Objects of one page of a list. A node of a real cluster, with its images, has some 20 KB: a page
is 5 MB as text and some 30 MB while it is read."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One list that is read and then followed."""

    resource: Resource
    namespace: str = ""
    """Empty: all namespaces."""

    def __str__(self) -> str:
        return f"{self.resource}/{self.namespace}" if self.namespace else str(self.resource)

    @property
    def group(self) -> str:
        """The API group, empty for the core."""
        return "apps" if self.resource in WORKLOADS else ""

    @property
    def path(self) -> str:
        """The path of the list."""
        group = f"/apis/{self.group}/v1" if self.group else "/api/v1"
        inside = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{group}{inside}/{self.resource}"

    @property
    def page(self) -> int:
        """Objects of one page: a ConfigMap may have a megabyte."""
        return _SMALL_PAGE if self.resource is Resource.CONFIGMAPS else _PAGE

    @property
    def selector(self) -> str:
        """What the server leaves out by itself: events that report nothing unusual are the most
        by far. NVSentinel's have types of their own, so it is not `type=Warning`."""
        return "type!=Normal" if self.resource is Resource.EVENTS else ""


def feeds(settings: KubernetesSettings) -> Iterator[Feed]:
    """Everything that is watched, the fleet itself first. ConfigMaps only where templates are
    believed: they may hold what is nobody else's business."""
    for resource in Resource:
        if resource is not Resource.CONFIGMAPS:
            yield Feed(resource)
    for namespace in believed(settings):
        yield Feed(Resource.CONFIGMAPS, namespace)


def believed(settings: KubernetesSettings) -> tuple[str, ...]:
    """Namespaces whose workloads count."""
    return tuple(dict.fromkeys((*settings.engine_namespaces, *settings.operator_namespaces)))
