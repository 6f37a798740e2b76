"""Plans rehearsed for replays: what would be done, and what admission would say, on paper only.

The fleet is taken as the topology states it: every node there and schedulable, every engine
serving. Nothing here can reach the outside world: the ports only take notes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fleetmend.model.entities import EntityKind, key_of
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import Plan
from fleetmend.model.ticks import Mark
from fleetmend.ports.cluster import NodeState
from fleetmend.ports.engine import EngineState
from fleetmend.ports.halt import HaltState
from fleetmend.ports.traffic import BackendState
from fleetmend.settings.remediation import RemediationSettings
from fleetmend.views.topology import TopologyView
from remediation.cases import FixedHalt
from remediation.dryrun import DryRun, Sources
from remediation.gather import Books
from remediation.paper import StillCluster, StillEngines, StillTraffic
from remediation.picture import Picture
from remediation.plan import plan
from remediation.runbook_files import runbooks_of


@dataclass(frozen=True, slots=True)
class PlanRehearsal:
    """A plan and what would become of it."""

    plan: Plan
    refusals: Mapping[int, tuple[str, ...]]
    """By step: the reasons of its last refusal."""
    would_send: tuple[str, ...]
    """What an executor with these permissions would have sent, in order."""


class Rehearsals:
    """Rehearses one incident after the other on the same still fleet."""

    def __init__(self, settings: RemediationSettings, topology: TopologyView) -> None:
        """Raises BadInput when a runbook cannot be read."""
        self._settings = settings
        self._topology = topology
        self._runbooks = runbooks_of(settings.runbooks)
        self._sources = still_fleet(topology)

    def rehearse(self, incident: Incident) -> PlanRehearsal | None:
        """What the best runbook would do about it as it stands; None when none answers."""
        at_s = incident.updated_at_s
        proposed = plan(incident, self._topology, self._runbooks, at_s)
        if proposed is None:
            return None
        run = DryRun(
            proposed,
            incident,
            sources=self._sources,
            picture=self._picture(at_s),
            runbooks=self._runbooks,
            halt=FixedHalt(HaltState(halted=False)),
            settings=self._settings,
            books=Books(),
            at_s=at_s,
        ).run()
        refusals = {
            verdict.step: tuple(reason.refusal.value for reason in verdict.reasons)
            for verdict in run.verdicts
        }
        return PlanRehearsal(proposed, refusals, run.said)

    def _picture(self, at_s: float) -> Picture:
        picture = Picture(self._settings)
        for change in self._topology.changes(at_s):
            picture.change(change)
        picture.mark(Mark(producer="rca", at_s=at_s, tick=0))
        picture.behind = ""
        return picture


def still_fleet(topology: TopologyView) -> Sources:
    """Every node ready and schedulable, every engine serving at full weight."""
    nodes = [key_of(node) for node in topology.of_kind(EntityKind.NODE)]
    engines = [key_of(engine) for engine in topology.of_kind(EntityKind.ENGINE)]
    return Sources(
        cluster=StillCluster(
            nodes={
                name: NodeState(
                    name=name,
                    resource_version="1",
                    ready=True,
                    unschedulable=False,
                    taints=(),
                    owner="",
                    session="",
                )
                for name in nodes
            }
        ),
        traffic=StillTraffic(
            backends={name: BackendState(name, 100, healthy=True, operation="") for name in engines}
        ),
        engines=StillEngines(
            engines={name: EngineState(name, 1, serving=True, operation="") for name in engines}
        ),
    )
