"""Ports for what a deployment does not have: nothing is found there, and nothing can be changed.

Wired by the composition root where no cluster, router or engine control is configured.
"""

from fleetmend.errors import PortRefused
from fleetmend.ports.cluster import EvictionOutcome, NodeState, PodState
from fleetmend.ports.engine import EngineState
from fleetmend.ports.traffic import BackendState


class AbsentCluster:
    """No cluster: every node is unknown."""

    def node(self, name: str) -> NodeState | None:
        """Never there."""
        return None

    def held_nodes(self) -> tuple[NodeState, ...]:
        """None."""
        return ()

    def quarantine(self, node: NodeState, *, session: str, reason: str) -> NodeState:
        """Refused."""
        raise _absent("cluster")

    def release(self, node: NodeState, *, session: str) -> NodeState:
        """Refused."""
        raise _absent("cluster")

    def pods_on(self, node: str) -> tuple[PodState, ...]:
        """None."""
        return ()

    def evict(self, pod: PodState, *, session: str) -> EvictionOutcome:
        """Refused."""
        raise _absent("cluster")


class AbsentTraffic:
    """No router: every engine is unknown to it."""

    def backend(self, engine: str) -> BackendState | None:
        """Never there."""
        return None

    def set_weight(self, engine: str, weight: int, *, operation: str) -> BackendState:
        """Refused."""
        raise _absent("router")


class AbsentEngines:
    """No control over engines."""

    def state(self, engine: str) -> EngineState | None:
        """Never there."""
        return None

    def restart(self, engine: str, *, operation: str) -> EngineState:
        """Refused."""
        raise _absent("engine control")


def _absent(what: str) -> PortRefused:
    return PortRefused(f"no {what} is wired", fix="See the settings of remediation.")
