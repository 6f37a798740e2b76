"""From an object of the API to what is kept of it: made by the thread that reads, so that raw
objects wait nowhere. Used by `kube_reader`; `kube_fold` takes sightings in.
"""

from dataclasses import dataclass

from collectors.kube_configs import Config, describe_config
from collectors.kube_feeds import Feed, Resource
from collectors.kube_json import NOBODY, Object, Writers, identity, version
from collectors.kube_objects import Described, Part, describe_node, describe_pod, stranger
from collectors.kube_reports import Report, describe_report
from collectors.kube_workloads import Workload, describe_workload
from fleetmend.settings.collectors import KubernetesSettings

Said = Described | Part | Workload | Config | Report


@dataclass(frozen=True, slots=True)
class Sighting:
    """One object as it was seen."""

    uid: str
    version: str
    said: Said | None
    """None: nothing that is followed."""
    writers: Writers = NOBODY
    stranger: str = ""
    """Namespace in which an engine is claimed and not believed."""


class Sight:
    """What a cluster's objects say, under these settings."""

    def __init__(self, settings: KubernetesSettings, *, cluster: str) -> None:
        self._settings = settings
        self._cluster = cluster

    def see(self, feed: Feed, obj: Object) -> Sighting:
        """One object of a feed. Whatever its shape is, there is an answer."""
        said = self._said(feed, obj)
        return Sighting(
            identity(obj),
            version(obj),
            said,
            NOBODY if said is None or isinstance(said, Report) else Writers.of(obj),
            stranger(obj, self._settings) if feed.resource is Resource.PODS else "",
        )

    def _said(self, feed: Feed, obj: Object) -> Said | None:
        match feed.resource:
            case Resource.NODES:
                return describe_node(obj, self._cluster, self._settings)
            case Resource.PODS:
                return describe_pod(obj, self._cluster, self._settings)
            case Resource.CONFIGMAPS:
                return describe_config(obj)
            case Resource.EVENTS:
                return describe_report(obj)
            case _:
                return describe_workload(obj, feed, self._cluster, self._settings)
