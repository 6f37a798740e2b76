"""Which part of the driver's stack a workload is: an update of it reaches every GPU of a node.

Known by the names that NVIDIA's GPU operator and the plain manifests give. Only workloads of
`operator_namespaces` are asked about: a name proves nothing elsewhere. Used by `kube_objects` and
`kube_workloads`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

_NAMING = ("app", "app.kubernetes.io/name", "app.kubernetes.io/component", "name")
"""Labels in which a workload says what it is."""


class Role(StrEnum):
    """The values are the kinds of change that an update of the workload is."""

    DRIVER = "driver"
    DEVICE_PLUGIN = "device_plugin"
    OTHER = "rollout"


def role_of(name: str, labels: Mapping[str, Any]) -> Role:
    """The role by the workload's name and labels."""
    words = [name, *(str(labels.get(label, "")) for label in _NAMING)]
    if any("device-plugin" in word for word in words):
        return Role.DEVICE_PLUGIN
    if any("nvidia-driver" in word or "gpu-driver" in word for word in words):
        return Role.DRIVER
    return Role.OTHER
