"""The cluster as remediation needs it: nodes, their pods, evictions. All writes set absolute
states.

Implemented by `remediation.kubernetes` and by the simulator. Every write names the session that
makes it; the adapter stores it with the object (an annotation), so that after a crash the state
itself says whether the write has happened.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Taint:
    """A node taint."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class NodeState:
    """What was read of a node."""

    name: str
    resource_version: str
    ready: bool
    unschedulable: bool
    taints: tuple[Taint, ...]
    owner: str
    """Who has quarantined it, as far as the object says: a session of ours, another tool, or
    empty."""
    session: str
    """Our session's id on the object, or empty."""
    was_unschedulable: bool = False
    """For a node that we hold: it was unschedulable before us, so giving back must leave it so."""


@dataclass(frozen=True, slots=True)
class PodState:
    """What was read of a pod."""

    namespace: str
    name: str
    uid: str
    node: str
    terminating: bool
    daemon: bool
    """Owned by a DaemonSet or a mirror pod: a drain leaves it."""
    ready: bool


class EvictionOutcome(StrEnum):
    """What an eviction call answered."""

    ACCEPTED = "accepted"
    BLOCKED = "blocked"
    """A PodDisruptionBudget does not allow it now (429): try again later."""
    GONE = "gone"


class Cluster(Protocol):
    """Reads are fresh (never from a cache). Errors: PortError (try again), PortRefused (do not)."""

    def node(self, name: str) -> NodeState | None:
        """The node's state now; None when there is no such node."""
        ...

    def held_nodes(self) -> tuple[NodeState, ...]:
        """All nodes that carry a session of ours."""
        ...

    def quarantine(self, node: NodeState, *, session: str, reason: str) -> NodeState:
        """Unschedulable, tainted and annotated with `session` in one write, only if the object is
        still at `node.resource_version`. Raises PortRefused when it changed meanwhile."""
        ...

    def release(self, node: NodeState, *, session: str) -> NodeState:
        """Undo our quarantine in one write: taint and annotations away, schedulable unless it was
        unschedulable before us. Only if the object is still at `node.resource_version`."""
        ...

    def pods_on(self, node: str) -> tuple[PodState, ...]:
        """Pods bound to a node."""
        ...

    def evict(self, pod: PodState, *, session: str) -> EvictionOutcome:
        """Ask for the eviction of exactly this pod (its uid is a precondition)."""
        ...
