"""The simulated API server: the `Cluster` port over the fleet's own nodes and pods.

Behaves as the real one was measured to: a stale resourceVersion is refused, a disruption budget
answers "not now", an evicted pod takes a moment to go. Remediation calls it, from any thread.
"""

import threading

from fleetmend.clock import Clock
from fleetmend.errors import PortRefused
from fleetmend.ports.cluster import EvictionOutcome, NodeState, PodState
from simulator.layout import Layout
from simulator.nodes import NodeBook, NodeObject
from simulator.workload import NOWHERE, Workload

NAMESPACE, SYSTEM_NAMESPACE = "inference", "kube-system"


class SimulatedCluster:
    """Implements `fleetmend.ports.cluster.Cluster`."""

    def __init__(
        self,
        layout: Layout,
        workload: Workload,
        book: NodeBook,
        *,
        clock: Clock,
        lock: threading.RLock,
    ) -> None:
        self._layout = layout
        self._workload = workload
        self._book = book
        self._clock = clock
        self._lock = lock
        self._budget = layout.settings.life.unavailable_share

    def node(self, name: str) -> NodeState | None:
        """The node's state now."""
        with self._lock:
            index = self._book.index(name)
            return None if index is None else self._book.objects[index].state()

    def held_nodes(self) -> tuple[NodeState, ...]:
        """All nodes that carry a session of ours."""
        with self._lock:
            return tuple(node.state() for node in self._book.objects if node.session)

    def quarantine(self, node: NodeState, *, session: str, reason: str) -> NodeState:
        """Unschedulable, tainted, annotated: one write, only at the version that was read."""
        with self._lock:
            found = self._current(node)
            if found.session == session and found.unschedulable:
                return found.state()
            if found.owner and found.owner != session:
                raise PortRefused(f"is held by {found.owner}", where=node.name)
            found.was_unschedulable = found.unschedulable
            found.unschedulable = True
            found.owner = found.session = session
            found.reason = reason
            return self._written(found)

    def release(self, node: NodeState, *, session: str) -> NodeState:
        """Undo our quarantine; schedulable again unless it was not before us. Where a person has
        opened the node meanwhile, it stays open."""
        with self._lock:
            found = self._current(node)
            if not found.session:
                return found.state()
            if found.session != session:
                raise PortRefused(f"is held by {found.session}", where=node.name)
            found.unschedulable = found.unschedulable and found.was_unschedulable
            found.owner = found.session = found.reason = ""
            found.was_unschedulable = False
            return self._written(found)

    def set_unschedulable(
        self, name: str, unschedulable: bool, *, owner: str | None = None
    ) -> NodeState:
        """What a person does with kubectl: the flag alone. Another tool also leaves its name."""
        with self._lock:
            index = self._book.index(name)
            if index is None:
                raise PortRefused("there is no such node", where=name)
            node = self._book.objects[index]
            node.unschedulable = unschedulable
            node.owner = node.owner if owner is None else owner
            node.version += 1
            return node.state()

    def pods_on(self, node: str) -> tuple[PodState, ...]:
        """Pods bound to a node: its engines and its agent."""
        with self._lock:
            index = self._book.index(node)
            if index is None:
                return ()
            engines = (e for e, at in enumerate(self._workload.node) if at == index)
            agent = PodState(
                SYSTEM_NAMESPACE, f"agent-{node}", f"agent-{node}", node, False, True, True
            )
            return (*(self._pod(engine) for engine in engines), agent)

    def evict(self, pod: PodState, *, session: str) -> EvictionOutcome:
        """Ask for exactly this pod; a terminating one is accepted again."""
        with self._lock:
            if pod.daemon:
                # Its DaemonSet puts it back before anybody looks.
                known = self._book.index(pod.node) is not None
                return EvictionOutcome.ACCEPTED if known else EvictionOutcome.GONE
            engine = self._find(pod)
            if engine is None:
                return EvictionOutcome.GONE
            if self._workload.leaving[engine]:
                return EvictionOutcome.ACCEPTED
            if not self._budget_allows(engine):
                return EvictionOutcome.BLOCKED
            self._workload.evict(engine, self._clock.now_s())
            return EvictionOutcome.ACCEPTED

    def _current(self, node: NodeState) -> NodeObject:
        index = self._book.index(node.name)
        if index is None:
            raise PortRefused("there is no such node", where=node.name)
        found = self._book.objects[index]
        if str(found.version) != node.resource_version:
            raise PortRefused(
                f"changed meanwhile: {node.resource_version} is now {found.version}",
                where=node.name,
                fix="Read it again.",
            )
        return found

    def _written(self, node: NodeObject) -> NodeState:
        node.version += 1
        return node.state()

    def _pod(self, engine: int) -> PodState:
        node = int(self._workload.node[engine])
        return PodState(
            namespace=NAMESPACE,
            name=self._layout.engine_names[engine],
            uid=self._workload.uid[engine],
            node=self._layout.nodes[node],
            terminating=bool(self._workload.leaving[engine]),
            daemon=False,
            ready=bool(self._workload.serving[engine] and self._book.objects[node].ready),
        )

    def _find(self, pod: PodState) -> int | None:
        try:
            engine = self._workload.uid.index(pod.uid)
        except ValueError:
            return None
        same = self._layout.engine_names[engine] == pod.name and pod.namespace == NAMESPACE
        return engine if same and self._workload.node[engine] != NOWHERE else None

    def _budget_allows(self, engine: int) -> bool:
        """The model's disruption budget: enough ready pods stay. A pod that is not ready may go as
        long as the others keep the budget (Kubernetes' default policy)."""
        mine = self._layout.engine_pool == self._layout.engine_pool[engine]
        placed = mine & (self._workload.node != NOWHERE) & ~self._workload.leaving
        ready = [self._pod(int(e)).ready for e in placed.nonzero()[0]]
        allowed = max(1, int(mine.sum() * self._budget))
        after = sum(ready) - (1 if self._pod(engine).ready else 0)
        return bool(after >= mine.sum() - allowed)
