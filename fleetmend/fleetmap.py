"""The fleet at this moment, for the console's map: who is there, who is out, who is busy."""

from console.deps import FleetNow
from fleetmend.clock import Clock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import EntityKind
from fleetmend.model.plans import ActionKind, StepState
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
        busy = {entity: float(values[-1]) for (entity, _), (_, values) in tracks.items()}
        out = set()
        with self._store.reading() as tx:
            for session in tx.sessions.active():
                plan = tx.plans.get(session.plan, session.plan_version)
                if plan is None:
                    continue
                for step, record in zip(plan.steps, session.steps, strict=True):
                    if step.action is ActionKind.CORDON and record.state in TAKEN:
                        out.add(step.target)
        at_s = self._clock.now_s()
        return FleetNow(at_s=at_s, topology=topology, out=frozenset(out), busy=busy)
