"""Made-up fleets and findings for the tests of root cause analysis."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Finding, FindingState, Symptom, finding_id
from fleetmend.model.incidents import Incident
from fleetmend.settings.rca import InferSettings, RcaSettings
from fleetmend.streams.port import Outgoing, Payload, Record, TickInput
from fleetmend.streams.topics import Topic
from rca.evidence import Ears, Key, SignIndex, merge
from rca.graph import FleetGraph
from rca.infer import Ranked, rank
from rca.knowledge.load import knowledge
from rca.knowledge.model import Knowledge
from rca.scene import Change, Scene, deafened
from rca.stage import RootCauseStage

START_S = 1000.0


def eid(kind: EntityKind, key: str) -> EntityId:
    return entity_id("test", kind, key)


def gpu(index: int) -> EntityId:
    return eid(EntityKind.GPU, f"gpu-{index}")


def engine(index: int) -> EntityId:
    return eid(EntityKind.ENGINE, f"engine-{index}")


def node(index: int) -> EntityId:
    return eid(EntityKind.NODE, f"node-{index}")


def rack(index: int) -> EntityId:
    return eid(EntityKind.RACK, f"rack-{index}")


MODEL = eid(EntityKind.MODEL, "tiny")


def entity(at: EntityId) -> TopologyChange:
    return TopologyChange(0.0, TopologyOp.ENTITY, at)


def relation(source: EntityId, kind: RelationKind, target: EntityId) -> TopologyChange:
    return TopologyChange(0.0, TopologyOp.RELATION, source, target, kind)


def single() -> list[TopologyChange]:
    """One node, one GPU, one engine."""
    return [
        *map(entity, (node(0), gpu(0), engine(0))),
        relation(gpu(0), RelationKind.PART_OF, node(0)),
        relation(engine(0), RelationKind.RUNS_ON, gpu(0)),
    ]


def pair() -> list[TopologyChange]:
    """One node, two GPUs with NVLink, one engine over both."""
    return [
        *map(entity, (node(0), gpu(0), gpu(1), engine(0))),
        *(relation(gpu(i), RelationKind.PART_OF, node(0)) for i in range(2)),
        *(relation(engine(0), RelationKind.RUNS_ON, gpu(i)) for i in range(2)),
        relation(gpu(0), RelationKind.LINKED_TO, gpu(1)),
        relation(gpu(1), RelationKind.LINKED_TO, gpu(0)),
    ]


def racked(nodes: int) -> list[TopologyChange]:
    """One rack of nodes with a GPU and an engine each, all serving one model."""
    changes = [entity(rack(0)), entity(MODEL)]
    for i in range(nodes):
        changes += [
            *map(entity, (node(i), gpu(i), engine(i))),
            relation(node(i), RelationKind.PART_OF, rack(0)),
            relation(gpu(i), RelationKind.PART_OF, node(i)),
            relation(engine(i), RelationKind.RUNS_ON, gpu(i)),
            relation(engine(i), RelationKind.SERVES, MODEL),
        ]
    return changes


def graph(changes: Iterable[TopologyChange]) -> FleetGraph:
    made = FleetGraph()
    for change in changes:
        made.apply(change)
    return made


def finding(
    at: EntityId,
    *symptoms: str,
    reason: str = "level_shift",
    detector: str = "",
    confidence: float = 0.8,
    witness: Witness = Witness.TELEMETRY,
    onset_s: float = START_S,
    state: FindingState = FindingState.OPEN,
    key: str = "",
    score: float = 5.0,
) -> Finding:
    """A finding of symptoms written as `name direction`, strongest first."""
    made = []
    for text in symptoms:
        name, _, direction = text.partition(" ")
        made.append(Symptom(name, Direction(direction or "present"), score, onset_s))
    detector = detector or ("baseline" if reason == "level_shift" else "rules")
    tick = int(onset_s)
    return Finding(
        id=finding_id(at, detector, key or reason + "".join(symptoms), tick),
        detector=detector,
        entity=at,
        state=state,
        witness=witness,
        tick=tick,
        at_s=onset_s + 1.0,
        onset_s=onset_s,
        confidence=confidence,
        symptoms=tuple(made),
        reason=reason,
    )


def closed(one: Finding, *, at_s: float) -> Finding:
    return replace(one, state=FindingState.CLOSED, at_s=at_s, tick=int(at_s))


def scene(
    changes: Iterable[TopologyChange],
    findings: Iterable[Finding],
    *,
    now_s: float = START_S + 4.0,
    known: Knowledge | None = None,
    heard: Iterable[str] | None = None,
    recent: Sequence[Change] = (),
) -> Scene:
    """What is known at `now_s`; every sign can be heard unless `heard` names those that can."""
    known = knowledge() if known is None else known
    index = SignIndex(known)
    everything = [f"test/{name}" for name in known.signs] if heard is None else heard
    observed = merge(seen for one in findings for seen in index.observations(one))
    return Scene(
        now_s=now_s,
        observed=observed,
        graph=graph(changes),
        knowledge=known,
        ears=Ears(everything),
        changes=recent,
        settings=InferSettings(),
        deaf=deafened(observed),
    )


def ranked(one: Scene) -> list[Ranked]:
    """Every hypothesis that anything seen suggests, best first."""
    return rank(one, {h for key in one.observed for h in one.hypotheses(key)})


def first(one: Scene) -> tuple[str, EntityId]:
    best = ranked(one)[0]
    return best.hypothesis.fault, best.hypothesis.entity


def keys(one: Scene) -> list[Key]:
    return list(one.observed)


class Fold:
    """Drives the stage tick by tick and collects what it publishes."""

    def __init__(
        self, changes: Iterable[TopologyChange], *, stage: RootCauseStage | None = None
    ) -> None:
        self.stage = RootCauseStage(RcaSettings()) if stage is None else stage
        self.published: list[Incident] = []
        self._tick = int(START_S) - 1
        self._offset = 0
        self.tick(*changes)

    def record(self, payload: Payload) -> Record:
        self._offset += 1
        return Record(Topic.FINDINGS, 0, self._offset, payload)

    def tick(self, *payloads: Payload) -> list[Incident]:
        """Fold one second with these records; gives what was published in it."""
        start_s = float(self._tick)
        given = TickInput(
            tick=self._tick,
            start_s=start_s,
            end_s=start_s + 1.0,
            reached_s=start_s + 1.0,
            records=tuple(self.record(payload) for payload in payloads),
        )
        self._tick += 1
        found = incidents(self.stage.fold(given))
        self.published.extend(found)
        return found

    def ticks(self, count: int) -> list[Incident]:
        """Fold seconds in which nothing comes."""
        return [incident for _ in range(count) for incident in self.tick()]

    @property
    def now_s(self) -> float:
        return float(self._tick)

    @property
    def last(self) -> dict[str, Incident]:
        """The newest version of each incident."""
        return {incident.id: incident for incident in self.published}


def incidents(outgoing: Iterable[Outgoing]) -> list[Incident]:
    return [one.payload for one in outgoing if isinstance(one.payload, Incident)]
