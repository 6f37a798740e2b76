"""Ports on paper: reads go to a source, writes are noted and shown in later reads, never sent.

The dry run acts on these. Over `Still` sources (fixed states) they are the small fleet of runbook
examples; over the real ports they show what would be done to the real fleet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fleetmend.errors import PortRefused
from fleetmend.ports.cluster import Cluster, EvictionOutcome, NodeState, PodState, Taint
from fleetmend.ports.engine import EngineControl, EngineState
from fleetmend.ports.traffic import BackendState, Traffic
from remediation.absent import AbsentCluster, AbsentEngines, AbsentTraffic

QUARANTINE_TAINT = "fleetmend.io/quarantine"


@dataclass(slots=True)
class PaperCluster:
    """Implements `Cluster`."""

    source: Cluster
    said: list[str] = field(default_factory=list)
    """What would have been sent, in order."""
    _nodes: dict[str, NodeState] = field(default_factory=dict)
    _gone: set[str] = field(default_factory=set)

    def node(self, name: str) -> NodeState | None:
        """As it would be by now."""
        return self._nodes.get(name) or self.source.node(name)

    def held_nodes(self) -> tuple[NodeState, ...]:
        """As it would be by now."""
        held = {node.name: node for node in self.source.held_nodes()} | self._nodes
        return tuple(node for _, node in sorted(held.items()) if node.session)

    def quarantine(self, node: NodeState, *, session: str, reason: str) -> NodeState:
        """Noted."""
        self._same(node)
        self.said.append(f"quarantine {node.name}")
        taint = Taint(QUARANTINE_TAINT, reason, "NoSchedule")
        return self._put(
            replace(
                node,
                unschedulable=True,
                taints=(*node.taints, taint),
                owner=session,
                session=session,
                was_unschedulable=node.unschedulable,
            )
        )

    def release(self, node: NodeState, *, session: str) -> NodeState:
        """Noted."""
        self._same(node)
        self.said.append(f"release {node.name}")
        return self._put(
            replace(
                node,
                unschedulable=node.unschedulable and node.was_unschedulable,
                taints=tuple(t for t in node.taints if t.key != QUARANTINE_TAINT),
                owner="",
                session="",
                was_unschedulable=False,
            )
        )

    def pods_on(self, node: str) -> tuple[PodState, ...]:
        """Without those that would have been evicted."""
        return tuple(pod for pod in self.source.pods_on(node) if pod.uid not in self._gone)

    def evict(self, pod: PodState, *, session: str) -> EvictionOutcome:
        """Noted; gone at once, since nobody can know what a budget would say."""
        self.said.append(f"evict {pod.namespace}/{pod.name}")
        self._gone.add(pod.uid)
        return EvictionOutcome.ACCEPTED

    def _same(self, node: NodeState) -> None:
        now = self.node(node.name)
        if now is None or now.resource_version != node.resource_version:
            raise PortRefused("changed meanwhile", where=node.name, fix="Read it again.")

    def _put(self, node: NodeState) -> NodeState:
        written = replace(node, resource_version=f"{node.resource_version}+")
        self._nodes[node.name] = written
        return written


@dataclass(slots=True)
class PaperTraffic:
    """Implements `Traffic`."""

    source: Traffic
    said: list[str] = field(default_factory=list)
    _backends: dict[str, BackendState] = field(default_factory=dict)

    def backend(self, engine: str) -> BackendState | None:
        """As it would be by now."""
        return self._backends.get(engine) or self.source.backend(engine)

    def set_weight(self, engine: str, weight: int, *, operation: str) -> BackendState:
        """Noted."""
        backend = self.backend(engine)
        if backend is None:
            raise PortRefused("the router knows no such engine", where=engine)
        self.said.append(f"weight {engine} {weight}")
        self._backends[engine] = replace(backend, weight=weight, operation=operation)
        return self._backends[engine]


@dataclass(slots=True)
class PaperEngines:
    """Implements `EngineControl`."""

    source: EngineControl
    said: list[str] = field(default_factory=list)
    _engines: dict[str, EngineState] = field(default_factory=dict)

    def state(self, engine: str) -> EngineState | None:
        """As it would be by now."""
        return self._engines.get(engine) or self.source.state(engine)

    def restart(self, engine: str, *, operation: str) -> EngineState:
        """Noted; it serves again at once."""
        state = self.state(engine)
        if state is None:
            raise PortRefused("there is no such engine", where=engine)
        self.said.append(f"restart {engine}")
        again = replace(state, generation=state.generation + 1, serving=True, operation=operation)
        self._engines[engine] = again
        return again


@dataclass(slots=True)
class PaperNotices:
    """Implements `remediation.world.Notices`."""

    said: list[str] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def told(self, notice: str) -> bool:
        """Whether it would have been left by now."""
        return notice in self._told

    def tell(self, notice: str, *, incident: str, text: str) -> None:
        """Noted."""
        self._told.add(notice)
        self.said.append(f"tell {text}")


@dataclass(slots=True)
class StillCluster(AbsentCluster):
    """A cluster whose state is given and never changes."""

    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    pods: tuple[PodState, ...] = ()

    def node(self, name: str) -> NodeState | None:
        """As given."""
        return self.nodes.get(name)

    def held_nodes(self) -> tuple[NodeState, ...]:
        """As given."""
        return tuple(node for node in self.nodes.values() if node.session)

    def pods_on(self, node: str) -> tuple[PodState, ...]:
        """As given."""
        return tuple(pod for pod in self.pods if pod.node == node)


@dataclass(slots=True)
class StillTraffic(AbsentTraffic):
    """A router whose state is given."""

    backends: Mapping[str, BackendState] = field(default_factory=dict)

    def backend(self, engine: str) -> BackendState | None:
        """As given."""
        return self.backends.get(engine)


@dataclass(slots=True)
class StillEngines(AbsentEngines):
    """Engines whose state is given."""

    engines: Mapping[str, EngineState] = field(default_factory=dict)

    def state(self, engine: str) -> EngineState | None:
        """As given."""
        return self.engines.get(engine)
