"""Fakes of the outside world that behave like the real one where it matters, and count every
change they accept."""

from dataclasses import dataclass, field, replace

from fleetmend.errors import PortRefused
from fleetmend.ports.cluster import EvictionOutcome, NodeState, PodState, Taint
from fleetmend.ports.engine import EngineState
from fleetmend.ports.halt import HaltState
from fleetmend.ports.traffic import BackendState


@dataclass
class FakeCluster:
    """Implements `Cluster` in memory: versions, budgets, pods that take a moment to go."""

    nodes: dict[str, NodeState] = field(default_factory=dict)
    pods: dict[str, PodState] = field(default_factory=dict)
    """By uid."""
    changes: list[str] = field(default_factory=list)
    """Every change that was accepted, in order."""
    blocked: set[str] = field(default_factory=set)
    """Pods whose disruption budget allows nothing."""
    forbidden: set[str] = field(default_factory=set)
    """Pods of namespaces in which our account may evict nothing."""

    def add_node(self, name: str) -> None:
        self.nodes[name] = NodeState(name, "1", True, False, (), "", "")

    def add_pod(self, name: str, node: str, *, daemon: bool = False) -> PodState:
        pod = PodState("serving", name, f"uid-{name}", node, False, daemon, True)
        self.pods[pod.uid] = pod
        return pod

    def node(self, name: str) -> NodeState | None:
        return self.nodes.get(name)

    def held_nodes(self) -> tuple[NodeState, ...]:
        return tuple(node for _, node in sorted(self.nodes.items()) if node.session)

    def quarantine(self, node: NodeState, *, session: str, reason: str) -> NodeState:
        self._same(node)
        taint = Taint("fleetmend.io/quarantine", reason, "NoSchedule")
        return self._put(
            f"quarantine {node.name}",
            replace(
                node,
                unschedulable=True,
                taints=(*node.taints, taint),
                owner=session,
                session=session,
                was_unschedulable=node.unschedulable,
            ),
        )

    def release(self, node: NodeState, *, session: str) -> NodeState:
        self._same(node)
        return self._put(
            f"release {node.name}",
            replace(
                node,
                unschedulable=node.unschedulable and node.was_unschedulable,
                taints=tuple(t for t in node.taints if t.key != "fleetmend.io/quarantine"),
                owner="",
                session="",
                was_unschedulable=False,
            ),
        )

    def pods_on(self, node: str) -> tuple[PodState, ...]:
        return tuple(pod for pod in self.pods.values() if pod.node == node)

    def evict(self, pod: PodState, *, session: str) -> EvictionOutcome:
        there = self.pods.get(pod.uid)
        if there is None or there.name != pod.name:
            return EvictionOutcome.GONE
        if pod.name in self.forbidden:
            raise PortRefused("403 cannot create pods/eviction", where=pod.name)
        if pod.name in self.blocked:
            return EvictionOutcome.BLOCKED
        self.changes.append(f"evict {pod.name}")
        self.pods[pod.uid] = replace(there, terminating=True)
        return EvictionOutcome.ACCEPTED

    def settle(self) -> None:
        """Time passes: pods that were on their way out are gone."""
        self.pods = {uid: pod for uid, pod in self.pods.items() if not pod.terminating}

    def person_uncordons(self, name: str) -> None:
        """What `kubectl uncordon` does: the flag alone, marks stay."""
        node = replace(self.nodes[name], unschedulable=False)
        self.nodes[name] = replace(node, resource_version=f"{node.resource_version}p")

    def touch(self, name: str) -> None:
        """Somebody else changes the node in a way that does not matter here."""
        node = self.nodes[name]
        self.nodes[name] = replace(node, resource_version=f"{node.resource_version}t")

    def _same(self, node: NodeState) -> None:
        now = self.nodes.get(node.name)
        if now is None or now.resource_version != node.resource_version:
            raise PortRefused("changed meanwhile", where=node.name)

    def _put(self, change: str, node: NodeState) -> NodeState:
        self.changes.append(change)
        written = replace(node, resource_version=node.resource_version + "w")
        self.nodes[node.name] = written
        return written


@dataclass
class FakeTraffic:
    """Implements `Traffic` in memory."""

    backends: dict[str, BackendState] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)

    def backend(self, engine: str) -> BackendState | None:
        return self.backends.get(engine)

    def set_weight(self, engine: str, weight: int, *, operation: str) -> BackendState:
        self.changes.append(f"weight {engine} {weight}")
        self.backends[engine] = replace(self.backends[engine], weight=weight, operation=operation)
        return self.backends[engine]


@dataclass
class FakeEngines:
    """Implements `EngineControl` in memory: a restarted engine serves after `settle`."""

    engines: dict[str, EngineState] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    stuck: bool = False
    """A restarted engine never serves again."""

    def state(self, engine: str) -> EngineState | None:
        return self.engines.get(engine)

    def restart(self, engine: str, *, operation: str) -> EngineState:
        state = self.engines[engine]
        if state.operation == operation:
            return state
        self.changes.append(f"restart {engine}")
        self.engines[engine] = replace(
            state, generation=state.generation + 1, serving=False, operation=operation
        )
        return self.engines[engine]

    def settle(self) -> None:
        """Time passes: what was restarted serves."""
        if not self.stuck:
            self.engines = {k: replace(e, serving=True) for k, e in self.engines.items()}


@dataclass
class FakeHalt:
    """Implements `HaltSwitch`."""

    now: HaltState = field(default_factory=lambda: HaltState(halted=False))

    def state(self) -> HaltState:
        return self.now

    def set(self, state: HaltState) -> None:
        self.now = state
