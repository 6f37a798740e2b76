"""A fleet that one scraper reads, and the coverage of what is fed of it: for the tests of domains
and of the ledger's entries."""

import functools
from collections.abc import Collection, Iterable

from detection.stage import DetectionStage
from fleetmend.model.coverage import Coverage, Freshness
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import Event, EventType
from fleetmend.model.findings import Finding, FindingState
from fleetmend.streams.stage import State
from tests.unit.detection.play import Play, Rows, relation, stage

SCRAPER = entity_id("c", EntityKind.COLLECTOR, "prometheus")
POOL = entity_id("c", EntityKind.POOL, "chat")
CLUSTER = entity_id("c", EntityKind.CLUSTER, "c")
NODES = tuple(entity_id("c", EntityKind.NODE, f"node-{n}") for n in range(4))
ENGINES = tuple(entity_id("c", EntityKind.ENGINE, f"engine-{n}") for n in range(4))
GPUS = tuple(entity_id("c", EntityKind.GPU, f"GPU-{n}") for n in range(8))
"""Two of each node."""


def agent(node: EntityId) -> EntityId:
    """The agent of a node."""
    return entity_id("c", EntityKind.COLLECTOR, f"agent-{node.rsplit('/', 1)[1]}")


def scraped(*, agents: bool = False) -> list[TopologyChange]:
    """Four nodes with two GPUs and an engine each, in one pool, all read by one scraper."""
    changes = [
        TopologyChange(-1.0, TopologyOp.ENTITY, e) for e in (SCRAPER, POOL, *NODES, *GPUS, *ENGINES)
    ]

    def relate(source: EntityId, kind: RelationKind, target: EntityId) -> None:
        changes.append(relation(source, target, kind, at_s=-1.0))

    for number, (node, engine) in enumerate(zip(NODES, ENGINES, strict=True)):
        relate(node, RelationKind.MEMBER_OF, POOL)
        relate(engine, RelationKind.MEMBER_OF, POOL)
        relate(SCRAPER, RelationKind.OBSERVES, node)
        relate(SCRAPER, RelationKind.OBSERVES, engine)
        for gpu in GPUS[2 * number : 2 * number + 2]:
            relate(gpu, RelationKind.PART_OF, node)
            relate(engine, RelationKind.RUNS_ON, gpu)
        if agents:
            relate(agent(node), RelationKind.OBSERVES, node)
    return changes


class Watch:
    """Feeds the fleet second by second and keeps what coverage says."""

    def __init__(
        self,
        subject: DetectionStage | None = None,
        *,
        topology: Iterable[TopologyChange] | None = None,
    ) -> None:
        self.play = Play(subject or stage(), topology=scraped() if topology is None else topology)
        self.entries: dict[EntityId, Coverage] = {}
        """The newest of each entity."""
        self.told: list[Coverage] = []

    @property
    def findings(self) -> list[Finding]:
        """Everything that coverage said."""
        return [f for f in self.play.findings if f.detector == "coverage"]

    @property
    def open(self) -> dict[EntityId, str]:
        """What is open now: entity and reason."""
        newest = {f.id: f for f in self.findings}
        return {f.entity: f.reason for f in newest.values() if f.state is FindingState.OPEN}

    @property
    def states(self) -> dict[EntityId, Freshness]:
        """The ledger as the book holds it."""
        return {entity: entry.state for entity, entry in self.entries.items()}

    def feed(
        self,
        rows: Rows,
        *,
        events: Iterable[Event] = (),
        topology: Iterable[TopologyChange] = (),
        skip: int = 0,
    ) -> None:
        """One second."""
        self.play.feed(rows, events=events, topology=topology, skip=skip)
        for entry in self.play.entries:
            self.told.append(entry)
            if entry.gone:
                self.entries.pop(entry.entity, None)
            else:
                self.entries[entry.entity] = entry

    def second(
        self,
        *,
        silent: Collection[EntityId] = (),
        unread: Collection[EntityId] = (),
        mute: bool = False,
        events: Iterable[Event] = (),
        topology: Iterable[TopologyChange] = (),
    ) -> None:
        """One second of the fleet. `silent` send nothing and nothing is told of them, of `unread`
        the scraper says that it cannot read their pages; `mute`: the scraper says nothing."""
        at = self.play.tick + 1
        rows: Rows = {}
        for number, (node, engine) in enumerate(zip(NODES, ENGINES, strict=True)):
            own: Rows = {
                (node, "node.cpu_busy"): 0.1 + at % 7 / 100,
                (node, "node.load1"): 1.0 + at % 5 / 10,
                (engine, "engine.requests_running"): 20.0 + at % 3,
                (engine, "engine.kv_usage"): 0.3 + at % 4 / 50,
            }
            for gpu in GPUS[2 * number : 2 * number + 2]:
                own[gpu, "gpu.power"] = 300.0 + at % 9
                own[gpu, "gpu.sm_clock"] = 1980.0 + at % 2
            for entity, stem in ((node, "node.scrape_"), (engine, "engine.scrape_")):
                own[entity, f"{stem}up"] = 0.0 if entity in unread else 1.0
            gone = {*silent, *(unread if node not in unread else (*unread, *_in(number)))}
            rows |= {
                (entity, signal): value
                for (entity, signal), value in own.items()
                if entity not in gone or ("scrape_" in signal and entity not in silent)
            }
        if mute:
            rows = {}
        self.feed(rows, events=events, topology=topology)

    def run(
        self,
        seconds: int,
        *,
        silent: Collection[EntityId] = (),
        unread: Collection[EntityId] = (),
        mute: bool = False,
    ) -> None:
        """Several seconds alike."""
        for _ in range(seconds):
            self.second(silent=silent, unread=unread, mute=mute)


def _in(number: int) -> tuple[EntityId, ...]:
    return GPUS[2 * number : 2 * number + 2]


@functools.cache
def _calm(seconds: int) -> State:
    made = Watch()
    made.run(seconds)
    assert made.findings == []
    return made.play.stage.snapshot()


def calm(seconds: int) -> Watch:
    """A watch that has seen some healthy seconds; every caller gets its own."""
    made = Watch(topology=())
    made.play.stage.restore(_calm(seconds))
    made.play.tick = seconds - 1
    return made


def beat(collector: EntityId, at_s: float, *, node: str = "") -> Event:
    """A heartbeat."""
    return Event(
        f"beat-{collector}-{at_s}", "test", EventType.HEARTBEAT, at_s, collector, node=node
    )


def scrape(subject: EntityId, at_s: float, outcome: str, *, error: str = "") -> Event:
    """What a scraper tells of a page."""
    data: dict[str, str | int | float | bool] = {
        "kind": subject.split("/")[1],
        "outcome": outcome,
        **({"error": error} if error else {}),
    }
    return Event(f"scrape-{subject}-{at_s}", "test", EventType.SCRAPE, at_s, subject, data=data)
