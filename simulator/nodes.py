"""The node objects of the simulated API server. `simulator.cluster` serves them,
`simulator.moments` reports health, and `simulator.workload` asks which nodes take pods.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetmend.ports.cluster import NodeState, Taint
from simulator.layout import Layout

QUARANTINE = "fleetmend.io/quarantine"
"""Key of our taint; its value is the reason."""
UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable", "", "NoSchedule")
UNREACHABLE = Taint("node.kubernetes.io/unreachable", "", "NoExecute")


@dataclass(slots=True)
class NodeObject:
    """One node object; every change raises its version."""

    name: str
    version: int = 1
    ready: bool = True
    unschedulable: bool = False
    owner: str = ""
    session: str = ""
    reason: str = ""
    was_unschedulable: bool = False
    taint: str = ""
    """What a person has set, `key=value:effect`."""

    def state(self) -> NodeState:
        """What a read returns."""
        taints = []
        if self.session:
            taints.append(Taint(QUARANTINE, self.reason, "NoSchedule"))
        if self.unschedulable:
            taints.append(UNSCHEDULABLE)
        if self.taint:
            named, _, effect = self.taint.partition(":")
            key, _, value = named.partition("=")
            taints.append(Taint(key, value, effect))
        if not self.ready:
            taints.append(UNREACHABLE)
        return NodeState(
            name=self.name,
            resource_version=str(self.version),
            ready=self.ready,
            unschedulable=self.unschedulable,
            taints=tuple(taints),
            owner=self.owner,
            session=self.session,
            was_unschedulable=self.was_unschedulable,
        )


class NodeBook:
    """All node objects, by index and by name."""

    def __init__(self, layout: Layout) -> None:
        self.objects = [NodeObject(name) for name in layout.nodes]
        self._index = {name: index for index, name in enumerate(layout.nodes)}

    def index(self, name: str) -> int | None:
        """The index of a node."""
        return self._index.get(name)

    @property
    def open(self) -> NDArray[np.bool_]:
        """Nodes that take new pods, shape (nodes,)."""
        return np.array([n.ready and not n.unschedulable for n in self.objects])

    @property
    def cordoned(self) -> NDArray[np.bool_]:
        """Nodes that somebody has made unschedulable, shape (nodes,)."""
        return np.array([n.unschedulable for n in self.objects])

    def set_ready(self, index: int, ready: bool) -> bool:
        """The kubelet's word, or its silence; true when that is news."""
        node = self.objects[index]
        if node.ready == ready:
            return False
        node.ready = ready
        node.version += 1
        return True
