"""A node's attributes in the topology: where it is, what it carries, what it is out for; and which
of their changes somebody made.

Used by `kube_objects` and `kube_fleet`. The device plugin's word is the capacity (`gpus`) and what
of it can be given out (`gpus_allocatable`): a GPU that it finds unhealthy is missing from the
second. GPU feature discovery's is in labels.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from collectors.kube_json import (
    TEXT_MAX,
    Object,
    Writers,
    at,
    items,
    labels_of,
    mapping,
    text,
)
from collectors.kube_tell import Changed
from fleetmend.settings.collectors import KubernetesSettings

_LABELS = {
    "product": "nvidia.com/gpu.product",
    "cuda": "nvidia.com/cuda.runtime-version.full",
    "mig_config": "nvidia.com/mig.config",
    "mig_state": "nvidia.com/mig.config.state",
    "driver_upgrade": "nvidia.com/gpu-driver-upgrade-state",
    "nvsentinel": "dgxc.nvidia.com/nvsentinel-state",
    "instance_type": "node.kubernetes.io/instance-type",
}
_DRIVER = "nvidia.com/cuda.driver-version.full"
_DRIVER_PARTS = tuple(f"nvidia.com/cuda.driver.{part}" for part in ("major", "minor", "rev"))
"""What GPU feature discovery wrote before it had the whole version in one label."""
_INFO = {"kernel": "kernelVersion", "boot": "bootID", "kubelet": "kubeletVersion"}
_GPU = "nvidia.com/gpu"
_MIG = "nvidia.com/mig-"
_OURS = "fleetmend.io/"
_AUTOMATIC = "node.kubernetes.io/"
"""Taints that the node controller makes of conditions and of the cordon itself."""
_BY_HAND = "node.kubernetes.io/out-of-service"
"""The one under that prefix which people set."""
_TAINTS = "taints"
_CHANGES: dict[str, tuple[str, ...]] = {
    "driver": ("metadata", "labels", _DRIVER),
    "mig_config": ("metadata", "labels", _LABELS["mig_config"]),
    "kernel": ("status", "nodeInfo", _INFO["kernel"]),
    "boot": ("status", "nodeInfo", _INFO["boot"]),
    "kubelet": ("status", "nodeInfo", _INFO["kubelet"]),
}
"""Attributes whose change is an event under the same name, and where the node says it. Capacity is
none: nobody changes it on purpose."""


def attributes_of(obj: Object, settings: KubernetesSettings) -> dict[str, str]:
    """Attributes that are known, each cut to a sane length; `pool` always is."""
    labels = labels_of(obj)
    told = {
        "pool": str(labels.get(settings.pool_label) or "default"),
        "zone": text(labels, settings.zone_label),
        "rack": text(labels, settings.rack_label),
        "driver": _driver(labels),
        "gpus": text(obj, "status", "capacity", _GPU),
        "gpus_allocatable": text(obj, "status", "allocatable", _GPU),
        "mig": _mig(mapping(obj, "status", "allocatable")),
        "unschedulable": "true" if at(obj, "spec", "unschedulable") else "",
        _TAINTS: " ".join(sorted(_taints(obj))),
        "ready": _not_ready(obj),
    }
    told |= {name: text(labels, label) for name, label in _LABELS.items()}
    told |= {name: text(obj, "status", "nodeInfo", field) for name, field in _INFO.items()}
    return {name: value[:TEXT_MAX] for name, value in told.items() if value}


def node_changes(
    was: Mapping[str, str],
    now: Mapping[str, str],
    writers: Writers,
    *,
    sessions: tuple[str, str],
) -> Iterator[Changed]:
    """What somebody changed between two looks at a node's attributes. `sessions`: ours that held it
    then and now. What our executor does it tells itself: it marks and cordons in one write, and
    takes both back in one."""
    held_then, held_now = sessions
    out_then, out_now = "unschedulable" in was, "unschedulable" in now
    taken = held_now and not held_then
    given_back = held_then and not held_now
    if out_now and not out_then and not taken:
        who = writers.last("spec", "unschedulable")
        yield Changed("cordon", "schedulable", "unschedulable", who)
    if out_then and not out_now and not given_back:
        who = writers.last("spec", "unschedulable")
        yield Changed("uncordon", "unschedulable", "schedulable", who)
    yield from _taint_changes(was, now, writers)
    for attribute, path in _CHANGES.items():
        before, after = was.get(attribute, ""), now.get(attribute, "")
        # An attribute that is said for the first time, or no more, is nobody's change.
        if before and after and before != after:
            yield Changed(attribute, before, after, writers.last(*path))


def _taint_changes(
    was: Mapping[str, str], now: Mapping[str, str], writers: Writers
) -> Iterator[Changed]:
    then, after = set(was.get(_TAINTS, "").split()), set(now.get(_TAINTS, "").split())
    who = writers.last("spec", _TAINTS)
    if after - then:
        yield Changed("taint", "", " ".join(sorted(after - then)), who)
    if then - after:
        yield Changed("untaint", " ".join(sorted(then - after)), "", who)


def _taints(obj: Object) -> Iterator[str]:
    """Taints that somebody else has set, as `key=value:effect`."""
    for taint in items(obj, "spec", "taints"):
        key, value = text(taint, "key"), text(taint, "value")
        if key and (key == _BY_HAND or not key.startswith((_OURS, _AUTOMATIC))):
            named = f"{key}={value}" if value else key
            yield f"{named}:{text(taint, 'effect')}"


def _driver(labels: Mapping[str, Any]) -> str:
    parts = [text(labels, label) for label in _DRIVER_PARTS]
    return text(labels, _DRIVER) or ".".join(part for part in parts if part)


def _mig(allocatable: Mapping[str, Any]) -> str:
    """`mig-1g.10gb:7` for each profile that can be given out."""
    given = sorted(str(resource) for resource in allocatable if str(resource).startswith(_MIG))
    return " ".join(f"{name.partition('/')[2]}:{text(allocatable, name)}" for name in given)


def _not_ready(obj: Object) -> str:
    """Stated only of a node that says it is not: one without conditions has just been made."""
    for condition in items(obj, "status", "conditions"):
        if text(condition, "type") == "Ready" and text(condition, "status") != "True":
            return "false"
    return ""
