"""Any order of calls and seconds: the simulated cluster agrees with a model of what was asked."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fleetmend.errors import PortRefused
from fleetmend.ports.cluster import EvictionOutcome, NodeState, PodState
from tests.unit.simulator.fleets import small_fleet

NODES = st.integers(0, 7).map(lambda index: f"node-{index:03d}")
SESSIONS = st.sampled_from(["s-1", "s-2"])


class ClusterMachine(RuleBasedStateMachine):
    """The model: who holds which node, and whether it was closed before."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = small_fleet(seed=5, gpus=64)
        self.cluster = self.fleet.cluster
        self.holder: dict[str, str] = {}
        self.closed: dict[str, bool] = {}
        self.stale: dict[str, NodeState] = {}

    def read(self, name: str) -> NodeState:
        node = self.cluster.node(name)
        assert node is not None
        return node

    @rule(name=NODES)
    def remember(self, name: str) -> None:
        """A reading that may be old when it is used."""
        self.stale[name] = self.read(name)

    @rule(name=NODES, session=SESSIONS)
    def quarantine(self, name: str, session: str) -> None:
        node = self.read(name)
        other = self.holder.get(name, session) != session
        try:
            after = self.cluster.quarantine(node, session=session, reason="test")
        except PortRefused:
            assert other
            return
        assert not other
        assert after.was_unschedulable == self.closed.get(name, False)
        self.holder[name] = session

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), session=SESSIONS)
    def quarantine_from_memory(self, data: st.DataObject, session: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.stale)))
        old, now = self.stale[name], self.read(name)
        if old.resource_version == now.resource_version:
            return
        try:
            self.cluster.quarantine(old, session=session, reason="test")
        except PortRefused:
            assert self.read(name) == now
        else:
            raise AssertionError("a stale write went through")

    @rule(name=NODES, session=SESSIONS)
    def release(self, name: str, session: str) -> None:
        node = self.read(name)
        holder = self.holder.get(name)
        try:
            self.cluster.release(node, session=session)
        except PortRefused:
            assert holder not in (None, session)
            return
        assert holder in (None, session)
        self.holder.pop(name, None)

    @rule(name=NODES, unschedulable=st.booleans())
    def a_person_cordons(self, name: str, unschedulable: bool) -> None:
        if name not in self.holder:
            self.cluster.set_unschedulable(name, unschedulable)
            self.closed[name] = unschedulable

    @rule(name=NODES, data=st.data())
    def evict(self, name: str, data: st.DataObject) -> None:
        pods = [pod for pod in self.cluster.pods_on(name) if not pod.daemon]
        if not pods:
            return
        pod = data.draw(st.sampled_from(pods))
        ready = self.ready(pod)
        answer = self.cluster.evict(pod, session="s-1")
        assert answer is not EvictionOutcome.GONE
        if answer is EvictionOutcome.ACCEPTED and not pod.terminating:
            assert ready - pod.ready >= self.floor(pod)

    @rule(seconds=st.integers(1, 12))
    def wait(self, seconds: int) -> None:
        self.fleet.advance_to(self.fleet.now_s + seconds)

    @invariant()
    def nodes_are_as_the_model_says(self) -> None:
        for name in self.fleet.layout.nodes:
            node = self.read(name)
            held = name in self.holder
            assert node.unschedulable == (held or self.closed.get(name, False))
            assert node.session == self.holder.get(name, "")
        assert {node.name for node in self.cluster.held_nodes()} == set(self.holder)

    @invariant()
    def no_pod_is_in_two_places_and_no_gpu_has_two_engines(self) -> None:
        pods = self.pods()
        assert len({pod.uid for pod in pods}) == len(pods)
        assert len({pod.name for pod in pods}) == len(pods)
        for name in self.fleet.layout.nodes:
            width = {"qwen3-32b": 2, "llama-70b": 4, "deepseek-v3-chat": 8}
            here = (pod for pod in self.cluster.pods_on(name) if not pod.daemon)
            assert sum(width[pod.name.rpartition("-")[0]] for pod in here) <= 8

    def pods(self) -> list[PodState]:
        found = (pod for name in self.fleet.layout.nodes for pod in self.cluster.pods_on(name))
        return [pod for pod in found if not pod.daemon]

    def ready(self, pod: PodState) -> int:
        """Ready pods of the same model that are to stay."""
        return sum(p.ready and not p.terminating for p in self.pods() if _model(p) == _model(pod))

    def floor(self, pod: PodState) -> int:
        """Ready pods that the budget wants to stay."""
        names = [n for n in self.fleet.layout.engine_names if n.rpartition("-")[0] == _model(pod)]
        return len(names) - max(1, len(names) // 10)


def _model(pod: PodState) -> str:
    return pod.name.rpartition("-")[0]


ClusterMachine.TestCase.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)
TestCluster = ClusterMachine.TestCase
