"""Root cause analysis as a stage of the pipeline: findings in, incidents out.

Driven by `streams.runner`; built by the composition root. Reads topology, events (changes, our own
acts) and findings; writes one record for every change of an incident, keyed by its id.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from pydantic import TypeAdapter

from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.findings import Finding, FindingState
from fleetmend.model.incidents import Incident
from fleetmend.settings.rca import RcaSettings
from fleetmend.streams.port import Outgoing, Record, TickInput
from fleetmend.streams.stage import Json, State
from fleetmend.streams.topics import Topic
from fleetmend.views.topology import TopologyView
from rca.ageing import forget_ended
from rca.analyst import analyse
from rca.case import Case, Docket, Ghost, Pending, Turn
from rca.evidence import Ears, Key, Observation, SignIndex
from rca.graph import FleetGraph
from rca.infer import Explained
from rca.knowledge.load import built_in, knowledge, load_knowledge
from rca.knowledge.model import Knowledge
from rca.memory import Memory
from rca.overload import Loss
from rca.provisional import announce
from rca.record import change_word, to_record
from rca.scene import Scene, deafened
from rca.takeover import assumed

_REGRADE_TICKS = 10
"""How often severities are looked at where nothing else has moved: some grow with time."""
_CLOSED_TICKS = 600
"""How long a closed finding is remembered against its records coming again."""


@dataclass(slots=True)
class _Saved:
    """The form in which the stage is kept in snapshots."""

    cases: list[Case]
    ghosts: list[Ghost]
    pending: list[tuple[Key, Pending]]
    losses: dict[EntityId, Loss]
    memory: Memory
    heard: list[str]


_SAVED = TypeAdapter(_Saved)


class RootCauseStage:
    """A fold of findings into incidents."""

    name = "rca"
    inputs = (Topic.TOPOLOGY, Topic.EVENTS, Topic.FINDINGS)

    def __init__(self, settings: RcaSettings, *, known: Knowledge | None = None) -> None:
        """`known` replaces the knowledge files. Raises SettingsError when a file is bad."""
        self._settings = settings
        self._knowledge = _load(settings) if known is None else known
        self._signs = SignIndex(self._knowledge)
        self._topology = TopologyView()
        self._graph = FleetGraph()
        self._memory = Memory()
        self._docket = Docket()
        self._ears = Ears()
        self._observed: dict[Key, Observation] | None = None

    def arrive(self, record: Record) -> list[Outgoing]:
        """A provisional finding of a decisive sign becomes a provisional incident at once."""
        finding = record.payload
        if not isinstance(finding, Finding) or finding.state is not FindingState.PROVISIONAL:
            return []
        if finding.id in self._memory.findings or finding.id in self._memory.closed:
            return []
        incident = self._announce(finding)
        if incident is None or incident.id in self._docket.cases:
            return []
        first = incident.causes[0]
        for case in self._docket.live:
            if case.root is not None and (case.root.fault, case.root.entity) == (
                first.cause,
                first.entity,
            ):
                return []
        return [_outgoing(incident)]

    def fold(self, tick: TickInput) -> list[Outgoing]:
        """Take in a tick and publish every incident in which something moved."""
        for record in (*tick.late, *tick.records):
            self._take(record)
        incident = self._settings.incident
        before = len(self._memory.findings)
        self._memory.forget(
            now_s=tick.end_s,
            tick=tick.tick,
            changes_s=self._settings.infer.change_window_s,
            confirm_s=incident.confirm_s,
            closed_ticks=_CLOSED_TICKS,
        )
        if self._observed is None or len(self._memory.findings) != before:
            self._observed = self._memory.observed(self._signs)
            for key in self._observed:
                self._ears.learn(key)
        if not (self._observed or self._docket.cases or self._docket.pending):
            return []
        turn = Turn(
            scene=self._scene(tick.end_s, self._observed),
            findings=self._memory.findings,
            tick=tick.tick,
            at_s=tick.reached_s,
            acts=self._memory.acts,
            acting=self._memory.acting,
            settings=incident,
        )
        moved = analyse(self._docket, turn)
        if tick.tick % _REGRADE_TICKS == 0:
            moved |= {case.id for case in self._docket.live}
        records = self._publish(turn, moved)
        forget_ended(self._docket, turn.scene)
        return [_outgoing(record) for record in records]

    def snapshot(self) -> State:
        """Everything that the next fold depends on."""
        saved = _Saved(
            cases=[self._docket.cases[name] for name in sorted(self._docket.cases)],
            ghosts=self._docket.ghosts,
            pending=list(self._docket.pending.items()),
            losses=self._docket.losses,
            memory=self._memory,
            heard=self._ears.state(),
        )
        return {
            "topology": self._topology.snapshot(),
            "saved": cast(Json, _SAVED.dump_python(saved, mode="json")),
        }

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._topology.restore(cast(Json, state["topology"]))
        self._graph = FleetGraph.of(self._topology)
        saved = _SAVED.validate_python(state["saved"])
        self._docket = Docket(
            cases={case.id: case for case in saved.cases},
            ghosts=saved.ghosts,
            pending=dict(saved.pending),
            losses=saved.losses,
        )
        self._memory = saved.memory
        self._ears = Ears(saved.heard)
        self._observed = None

    def _take(self, record: Record) -> None:
        match record.payload:
            case TopologyChange() as change:
                if self._topology.apply(change):
                    self._graph.apply(change)
            case Event() as event:
                self._memory.take_event(event)
            case Finding() as finding:
                self._memory.take_finding(finding)
                self._observed = None

    def _scene(self, now_s: float, observed: dict[Key, Observation]) -> Scene:
        return Scene(
            now_s=now_s,
            observed=observed,
            graph=self._graph,
            knowledge=self._knowledge,
            ears=self._ears,
            changes=self._memory.changes,
            settings=self._settings.infer,
            deaf=deafened(observed),
        )

    def _announce(self, finding: Finding) -> Incident | None:
        return announce(
            finding,
            self._scene(finding.at_s, {}),
            signs=self._signs,
            topology=self._topology,
            severity=self._settings.severity,
        )

    def _publish(self, turn: Turn, moved: set[str]) -> list[Incident]:
        """Number and keep each new version, merged ones last so that their heir is known first."""
        cases = [self._docket.cases[name] for name in moved if name in self._docket.cases]
        records = []
        for case in sorted(cases, key=lambda case: (case.merged_into, case.opened_at_s, case.id)):
            if case.published is None and case.born in turn.findings:
                # It went out on arrival as version 1: what the tick says now is the second.
                case.published = self._announce(turn.findings[case.born].finding)
                case.version = 0 if case.published is None else 1
            record = to_record(
                case,
                turn.scene,
                at_s=turn.at_s,
                topology=self._topology,
                severity=self._settings.severity,
                elsewhere=self._elsewhere(turn, case),
            )
            word = change_word(case.published, record)
            if not word:
                continue
            case.version += 1
            case.published = replace(record, version=case.version, change=word)
            records.append(case.published)
        return records

    def _elsewhere(self, turn: Turn, case: Case) -> Explained:
        """What the faults of other cases leave unexplained of what this case's faults look at."""
        faults = {h for seen in case.evidence for h in turn.scene.hypotheses(seen.key)}
        looked_at = turn.scene.looks_at(faults)
        return assumed(self._docket, turn.scene, looked_at, leaving_out=[case])


def _load(settings: RcaSettings) -> Knowledge:
    if not settings.knowledge_dir:
        return knowledge()
    return load_knowledge(built_in(), extra=Path(settings.knowledge_dir))


def _outgoing(incident: Incident) -> Outgoing:
    return Outgoing(Topic.INCIDENTS, incident.id, incident)
