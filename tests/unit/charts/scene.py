"""A small fleet, incidents in it, and charts that follow them: shared by the tests of charts."""

from dataclasses import replace
from pathlib import Path

from fleetmend.charts import EvidenceCharts
from fleetmend.clock import ManualClock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import Evidence, Incident, IncidentStatus, Severity
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.store import StoreSettings
from fleetmend.store import Series, Store, StoreDeadLetters
from fleetmend.streams.port import Outgoing
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from fleetmend.views.recent import RecentSamples
from fleetmend.views.topology import TopologyView

NOW_S = 1_700_000_000.0
POWER = "gpu.power"
POOL = entity_id("c", EntityKind.POOL, "p")


def node(number: int) -> EntityId:
    return entity_id("c", EntityKind.NODE, f"n{number:03d}")


def gpu(number: int) -> EntityId:
    return entity_id("c", EntityKind.GPU, f"g{number:03d}")


def changes(nodes: int) -> list[TopologyChange]:
    """`nodes` nodes of one GPU each, all in one pool; the GPUs belong to it by their nodes."""
    made = []
    for n in range(nodes):
        made += [TopologyChange(0.0, TopologyOp.ENTITY, e) for e in (POOL, node(n), gpu(n))]
        for source, target, relation in (
            (gpu(n), node(n), RelationKind.PART_OF),
            (node(n), POOL, RelationKind.MEMBER_OF),
        ):
            made.append(TopologyChange(0.0, TopologyOp.RELATION, source, target, relation))
    return made


def fleet(nodes: int) -> TopologyView:
    """The view that those changes give."""
    view = TopologyView()
    for change in changes(nodes):
        view.apply(change)
    return view


def piece(symptom: str, entity: EntityId, *, score: float = 9.0) -> Evidence:
    """One piece of evidence."""
    return Evidence(
        id="E1",
        finding="f1",
        entity=entity,
        symptom=symptom,
        direction=Direction.DOWN,
        witness=Witness.TELEMETRY,
        onset_s=NOW_S,
        score=score,
        observed=1.0,
        expected_low=None,
        expected_high=None,
        unit="",
    )


def incident(*evidence: Evidence, id: str = "i-1", onset_s: float = NOW_S) -> Incident:
    """An open incident on the first GPU."""
    return Incident(
        id=id,
        version=1,
        status=IncidentStatus.OPEN,
        provisional=False,
        severity=Severity.P1,
        severity_reason="",
        entity=gpu(0),
        title="power low",
        opened_at_s=onset_s + 5,
        updated_at_s=onset_s + 5,
        onset_s=onset_s,
        causes=(),
        evidence=evidence,
        affected=(),
    )


def resolved(held: Incident, at_s: float) -> Incident:
    """The next version: over."""
    return replace(
        held,
        version=held.version + 1,
        status=IncidentStatus.RESOLVED,
        updated_at_s=at_s,
        resolved_at_s=at_s,
    )


class Scene:
    """A log and a store that outlive the charts that are made on them."""

    def __init__(self, folder: Path, *, points_max: int = 600) -> None:
        self.clock = ManualClock(NOW_S)
        self.log = SqliteLog(":memory:", clock=self.clock, partitions=1)
        settings = StoreSettings(series_points_max=points_max)
        self.store = Store(f"sqlite:///{folder}/charts.db", self.clock, settings=settings)
        self.store.migrate()
        self.log.append([Outgoing(Topic.TOPOLOGY, "c", change) for change in changes(4)])
        self.start()

    def start(self) -> None:
        """Begin anew, as after a restart: nothing is remembered but what the store has."""
        dead_letters = StoreDeadLetters(self.store)
        follower = FleetFollower(self.log, dead_letters=dead_letters, clock=self.clock)
        follower.step()
        self.recent = RecentSamples(self.log, keep_s=600.0)
        self.charts = EvidenceCharts(self.store, self.recent, follower, self.clock)

    def seconds(self, count: int, *, watts: float = 300.0, step: bool = True) -> None:
        """Time goes on, every GPU says its power each second, GPU k draws k watts more."""
        for _ in range(count):
            self.clock.advance_to(self.clock.now_s() + 1)
            now_s = self.clock.now_s()
            rows = [(now_s, gpu(k), POWER, watts + k) for k in range(4)]
            self.log.append([Outgoing(Topic.SAMPLES, "n", SampleBatch.from_rows(rows))])
            if step:
                self.steps()

    def steps(self) -> None:
        """Until nothing is new."""
        while self.charts.step():
            pass

    def keep(self, *incidents: Incident) -> None:
        """Put them into the store."""
        with self.store.transaction() as tx:
            for one in incidents:
                tx.incidents.put(one)

    def series(self, id: str = "i-1") -> dict[EntityId, Series]:
        """The charts of an incident, by entity."""
        with self.store.reading() as tx:
            return {series.entity: series for series in tx.series.for_incident(id)}
