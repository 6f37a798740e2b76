"""The outside world as actions see it: ports whose every write passes a gate first.

The executor makes one `World` for each turn of a session. The gate is where the halt and the fence
are checked, so no action can forget it, and a dry run is another set of ports, never an `if`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fleetmend.ports.cluster import Cluster, EvictionOutcome, NodeState, PodState
from fleetmend.ports.engine import EngineControl, EngineState
from fleetmend.ports.traffic import BackendState, Traffic

Gate = Callable[[], None]
"""Called before every write; raises ActionRefused (halted), FenceLost or StoreConflict."""


class Notices(Protocol):
    """Where remediation leaves word for people: on the incident, by the store."""

    def told(self, notice: str) -> bool:
        """Whether the notice of this id has been left."""
        ...

    def tell(self, notice: str, *, incident: str, text: str) -> None:
        """Leave it; a second time changes nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything that an executor can touch."""

    cluster: Cluster
    traffic: Traffic
    engines: EngineControl
    notices: Notices


@dataclass(frozen=True, slots=True)
class World:
    """The same, gated."""

    cluster: Cluster
    traffic: Traffic
    engines: EngineControl
    notices: Notices


def gated(ports: Ports, gate: Gate) -> World:
    """The ports with `gate` before every write."""
    return World(
        _GatedCluster(ports.cluster, gate),
        _GatedTraffic(ports.traffic, gate),
        _GatedEngines(ports.engines, gate),
        ports.notices,
    )


class _GatedCluster:
    def __init__(self, cluster: Cluster, gate: Gate) -> None:
        self._cluster = cluster
        self._gate = gate

    def node(self, name: str) -> NodeState | None:
        return self._cluster.node(name)

    def held_nodes(self) -> tuple[NodeState, ...]:
        return self._cluster.held_nodes()

    def quarantine(self, node: NodeState, *, session: str, reason: str) -> NodeState:
        self._gate()
        return self._cluster.quarantine(node, session=session, reason=reason)

    def release(self, node: NodeState, *, session: str) -> NodeState:
        self._gate()
        return self._cluster.release(node, session=session)

    def pods_on(self, node: str) -> tuple[PodState, ...]:
        return self._cluster.pods_on(node)

    def evict(self, pod: PodState, *, session: str) -> EvictionOutcome:
        self._gate()
        return self._cluster.evict(pod, session=session)


class _GatedTraffic:
    def __init__(self, traffic: Traffic, gate: Gate) -> None:
        self._traffic = traffic
        self._gate = gate

    def backend(self, engine: str) -> BackendState | None:
        return self._traffic.backend(engine)

    def set_weight(self, engine: str, weight: int, *, operation: str) -> BackendState:
        self._gate()
        return self._traffic.set_weight(engine, weight, operation=operation)


class _GatedEngines:
    def __init__(self, engines: EngineControl, gate: Gate) -> None:
        self._engines = engines
        self._gate = gate

    def state(self, engine: str) -> EngineState | None:
        return self._engines.state(engine)

    def restart(self, engine: str, *, operation: str) -> EngineState:
        self._gate()
        return self._engines.restart(engine, operation=operation)
