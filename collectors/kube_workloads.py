"""Deployments, StatefulSets and DaemonSets: what they are about, and what changed between two
looks.

Pure. Used by `kube_sight` (from JSON) and `kube_changes` (comparing).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from collectors import kube_template
from collectors.kube_feeds import WORKLOADS, Feed, believed
from collectors.kube_json import Object, Writers, at, labels_of, name_of, namespace_of, text
from collectors.kube_objects import claims_engine
from collectors.kube_roles import Role, role_of
from collectors.kube_tell import Changed
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.settings.collectors import KubernetesSettings

_CAUSE = "kubernetes.io/change-cause"
_TOLD_MAX = 8
"""Most places of a template that one event names."""
_TEMPLATE = ("spec", "template")


@dataclass(frozen=True, slots=True)
class Workload:
    """What a controller is told to keep running."""

    kind: str
    namespace: str
    name: str
    subject: EntityId
    """What its changes are about: the pool of its engines, else the cluster."""
    role: Role
    generation: str
    """Counts changes of the specification: with the same one nothing was changed by anybody, though
    a newer server may show more of it."""
    replicas: int | None
    """None for a DaemonSet."""
    images: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    config_maps: frozenset[str]
    restarted: str
    cause: str

    @property
    def key(self) -> str:
        """`Deployment llm/llama`: whoever is made anew under its name is the same to its pods."""
        return f"{self.kind} {self.namespace}/{self.name}"


def describe_workload(
    obj: Object, feed: Feed, cluster: str, settings: KubernetesSettings
) -> Workload | None:
    """A workload of a namespace that is believed; None for others."""
    namespace, name = namespace_of(obj), name_of(obj)
    if not name or namespace not in believed(settings):
        return None
    template = at(obj, *_TEMPLATE) or {}
    engines = namespace in settings.engine_namespaces and claims_engine(template, settings)
    pool = str(labels_of(template).get(settings.pool_label) or "default")
    subject = (EntityKind.POOL, pool) if engines else (EntityKind.CLUSTER, cluster)
    operated = namespace in settings.operator_namespaces
    labels = {**labels_of(obj), **labels_of(template)}
    replicas = at(obj, "spec", "replicas")
    return Workload(
        kind=WORKLOADS[feed.resource],
        namespace=namespace,
        name=name,
        subject=entity_id(cluster, *subject),
        role=role_of(name, labels) if operated else Role.OTHER,
        generation=text(obj, "metadata", "generation"),
        replicas=replicas if isinstance(replicas, int) else None,
        images=kube_template.images(template),
        settings=tuple(sorted(kube_template.settings(template).items())),
        config_maps=kube_template.config_maps(template),
        restarted=kube_template.restarted(template),
        cause=text(obj, "metadata", "annotations", _CAUSE),
    )


def differences(before: Workload, now: Workload, writers: Writers) -> Iterator[Changed]:
    """What somebody changed, one for each kind of change."""
    cause = now.cause if now.cause != before.cause else ""
    found = (
        _images(before, now, writers),
        _settings(before, now, writers),
        _restart(before, now, writers),
        _scale(before, now, writers),
    )
    for change in found:
        if change is not None:
            yield Changed(
                change.change, change.before, change.now, change.who, change.what, now.key, cause
            )


def beginning(now: Workload, writers: Writers) -> Changed:
    """A workload that was not there before."""
    what = " ".join(image for _, image in now.images)
    return Changed(now.role.value, "", what, writers.last(*_TEMPLATE), object=now.key)


def end(before: Workload) -> Changed:
    """A workload that is gone; nobody is left whom the API could name."""
    count = "" if before.replicas is None else f"{before.replicas} replicas"
    return Changed("scale", count or "one for each node", "deleted", object=before.key)


def _images(before: Workload, now: Workload, writers: Writers) -> Changed | None:
    was, is_now = dict(before.images), dict(now.images)
    changed = [name for name in was | is_now if was.get(name) != is_now.get(name)]
    if not changed:
        return None
    paths = [(*kube_template.container(name), "image") for name in changed]
    who = _writer(writers, paths)
    return Changed(
        now.role.value,
        " ".join(was[name] for name in changed if name in was),
        " ".join(is_now[name] for name in changed if name in is_now),
        who,
    )


def _settings(before: Workload, now: Workload, writers: Writers) -> Changed | None:
    was, is_now = dict(before.settings), dict(now.settings)
    places = sorted(place for place in was | is_now if was.get(place) != is_now.get(place))
    if not places:
        return None
    told = [_told(place, was.get(place), is_now.get(place)) for place in places[:_TOLD_MAX]]
    if len(places) > _TOLD_MAX:
        told.append(f"{len(places) - _TOLD_MAX} more")
    paths = [path for place in places for path in kube_template.paths(place)]
    return Changed("config", "", "", _writer(writers, paths), what="; ".join(told))


def _restart(before: Workload, now: Workload, writers: Writers) -> Changed | None:
    if before.restarted == now.restarted:
        return None
    annotation = (*_TEMPLATE, "metadata", "annotations", kube_template.RESTARTED)
    return Changed("restart", before.restarted, now.restarted, writers.last(*annotation))


def _scale(before: Workload, now: Workload, writers: Writers) -> Changed | None:
    if before.replicas == now.replicas:
        return None
    who = writers.last("spec", "replicas")
    return Changed("scale", _count(before.replicas), _count(now.replicas), who)


def _writer(writers: Writers, paths: Iterable[tuple[str, ...]]) -> str:
    """Who wrote the first of these fields of the template that anybody owns. Whoever changes a
    field owns it alone then, so nobody else is named; of a removed one nobody is."""
    return next(filter(None, (writers.last(*_TEMPLATE, *path) for path in paths)), "")


def _told(place: str, was: str | None, now: str | None) -> str:
    if was is None or now is None:
        value = now if was is None else was
        word = "added" if was is None else "removed"
        shown = "" if not value or value.startswith(kube_template.HIDDEN) else f" ({value})"
        return f"{place} {word}{shown}"
    if was.startswith(kube_template.HIDDEN) or now.startswith(kube_template.HIDDEN):
        return f"{place} changed"
    return f"{place}: {was} -> {now}"


def _count(replicas: int | None) -> str:
    return "" if replicas is None else str(replicas)
