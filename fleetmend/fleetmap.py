"""The fleet at this moment, for the console's map: who is there, who is out, who is busy."""

from collections.abc import Iterable

from console.deps import FleetNow
from fleetmend.clock import Clock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import EntityId, EntityKind
from fleetmend.model.plans import ActionKind, Step, StepRecord, StepState
from fleetmend.store import Store
from fleetmend.views.recent import RecentSamples
from fleetmend.views.topology import TopologyView

BUSY = "gpu.utilization"
BUSY_WITHIN_S = 3.0
TAKEN = frozenset({StepState.DONE, StepState.FOUND_DONE})


class FleetMap:
    """Implements `console.deps.FleetProvider`."""

    def __init__(
        self, follower: FleetFollower, recent: RecentSamples, store: Store, clock: Clock
    ) -> None:
        self._follower = follower
        self._recent = recent
        self._store = store
        self._clock = clock

    def topology(self) -> TopologyView:
        """What exists now."""
        return self._follower.view

    def now(self) -> FleetNow:
        """The fleet as it is known now."""
        topology = self._follower.view
        gpus = set(topology.of_kind(EntityKind.GPU))
        since_s = self._recent.newest_s - BUSY_WITHIN_S
        tracks = self._recent.tracks(gpus, {BUSY}, since_s=since_s)
        busy = {
            entity: float(values[-1]) for (entity, _), (_, values) in tracks.items() if len(values)
        }
        out = frozenset(self._taken() | _unfit(topology))
        return FleetNow(at_s=self._clock.now_s(), topology=topology, out=out, busy=busy)

    def _taken(self) -> set[EntityId]:
        """Nodes that sessions of ours have taken out and not given back."""
        taken: set[EntityId] = set()
        with self._store.reading() as tx:
            for session in tx.sessions.active():
                plan = tx.plans.get(session.plan, session.plan_version)
                if plan is not None:
                    taken |= _done(plan.steps, session.steps, ActionKind.CORDON)
                    taken -= _done(plan.give_back, session.give_back, ActionKind.UNCORDON)
        return taken


def _done(
    steps: Iterable[Step], records: Iterable[StepRecord], action: ActionKind
) -> set[EntityId]:
    pairs = zip(steps, records, strict=True)
    return {s.target for s, record in pairs if s.action is action and record.state in TAKEN}


def _unfit(topology: TopologyView) -> set[EntityId]:
    """Nodes that the cluster itself says take no work, whoever saw to that."""
    return {
        node
        for node in topology.of_kind(EntityKind.NODE)
        if topology.attributes[node].get("unschedulable") == "true"
        or topology.attributes[node].get("ready") == "false"
    }
