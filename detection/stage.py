"""The detection stage: samples, events and topology in, findings and the coverage ledger out.

`fold` is the order in which a tick is taken in, and reads like it. `streams.runner` drives it.
"""

from collections.abc import Iterable

from pydantic import TypeAdapter

from detection.activity import Activity
from detection.aside import Aside
from detection.base import Detector, Opinion
from detection.baseline import Baseline
from detection.coverage import Coverage
from detection.derive import DERIVED, derive
from detection.forest import Forest
from detection.frame import Frame
from detection.fuse import Fuse
from detection.hearing import Hearing
from detection.leak import Leak
from detection.lifecycle import Lifecycle, Moment
from detection.links import Links
from detection.normal import Normal
from detection.ranks import Ranks
from detection.relation import QueueWithoutWork
from detection.rules.board import Hot, MemoryRepair, RecoveryAction, Throttled
from detection.rules.counters import Counters
from detection.rules.links import LinkDegraded, LinkSaturated
from detection.rules.occupants import ForeignProcess, MemoryFull
from detection.rules.reports import Reports
from detection.rules.serving import KvPressure, ProbeFailed, SlowFirstToken
from detection.rules.xid import XidRule, announced
from detection.saved import join, part
from detection.watchdog import Watchdog
from detection.windows import Windows
from fleetmend.model.coverage import Coverage as LedgerEntry
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    TopologyChange,
    TopologyOp,
    split_entity_id,
)
from fleetmend.model.events import Event
from fleetmend.model.findings import Finding, FindingState, finding_id
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.detection import DetectionSettings
from fleetmend.settings.streams import TickSettings
from fleetmend.signals.catalogue import catalogue
from fleetmend.signals.records import Shape
from fleetmend.streams.port import Outgoing, Record, TickInput
from fleetmend.streams.stage import Json, State
from fleetmend.streams.topics import Topic
from fleetmend.views.topology import TopologyView

_EVENTS_REMEMBERED_TICKS = 600
"""A second copy of an event that comes later than this is taken for a new one."""
_SEEN = TypeAdapter(dict[str, int])


class DetectionStage:
    """Folds ticks into findings; see `fleetmend.streams.stage.Stage`."""

    name = "detection"
    inputs: tuple[Topic, ...] = (Topic.TOPOLOGY, Topic.EVENTS, Topic.SAMPLES)

    def __init__(self, settings: DetectionSettings, ticks: TickSettings) -> None:
        self._period_s = ticks.period_s
        shapes = {name: signal.shape for name, signal in catalogue().signals.items()}
        shapes |= {derived.name: Shape.GAUGE for derived in DERIVED}
        self._windows = Windows(shapes, ticks=settings.window_ticks)
        self._topology = TopologyView()
        self._links = Links()
        self._hearing = Hearing()
        self._normal = Normal(settings)
        self._activity = Activity()
        self._aside = Aside()
        self._coverage = Coverage(settings)
        self._detectors = (self._coverage, *_detectors(settings, self._activity))
        self._fuse = Fuse(settings)
        self._lifecycle = Lifecycle(quiet_s=settings.quiet_s)
        self._seen: dict[str, int] = {}
        """Event id -> tick in which it was folded."""
        self._nodes: dict[EntityId, EntityId | None] = {}
        """See `Frame.nodes`."""
        self._tick = -1
        self._version = 0

    def arrive(self, record: Record) -> list[Outgoing]:
        """Announce a sticky Xid that names a GPU as a provisional finding; nothing else."""
        event = record.payload
        if not isinstance(event, Event) or event.id in self._seen:
            return []
        opinion = announced(event, self._topology, self._period_s)
        if opinion is None or opinion.opening_tick is None:
            return []
        if self._lifecycle.is_open(opinion.entity, opinion.detector, opinion.key):
            return []
        name = finding_id(opinion.entity, opinion.detector, opinion.key, opinion.opening_tick)
        return [_outgoing(_provisional(name, opinion, event))]

    def fold(self, tick: TickInput) -> list[Outgoing]:
        """Take in one tick and say what follows."""
        jumped = max(0, tick.tick - self._tick - 1) if self._tick >= 0 else 0
        self._tick = tick.tick
        gone = self._apply_topology(tick)
        self._windows.advance(tick.tick, gone)
        self._windows.take(
            [p for r in tick.records if isinstance(p := r.payload, SampleBatch)], tick.tick
        )
        self._windows.keep()
        blocks = self._windows.blocks
        self._links.update(self._topology, blocks, self._version)
        engine, gpu = self._windows.block(EntityKind.ENGINE), self._windows.block(EntityKind.GPU)
        derive(engine, gpu, self._links, self._period_s)
        self._hearing.update(blocks, jumped)
        frame = self._frame(tick, jumped, gone)
        if gpu.shape[0]:
            self._normal.forget(gpu, self._aside.anew(frame))
        self._normal.update(blocks, self._links, self._period_s)
        self._activity.update(frame)
        opinions = [
            opinion
            for detector in self._detectors
            for opinion in detector.observe(frame)
            if not self._coverage.explains(frame, opinion) and not self._lawful(frame, opinion)
        ]
        weighed = self._fuse.weigh(opinions)
        now = Moment(tick.tick, tick.end_s, tick.reached_s)
        findings = [_outgoing(finding) for finding in self._lifecycle.take(weighed, now)]
        return [*findings, *map(_entry, self._coverage.entries(frame))]

    def _lawful(self, frame: Frame, opinion: Opinion) -> bool:
        """Whether it is the end of something that was told to end, and no finding before."""
        if self._lifecycle.is_open(opinion.entity, opinion.detector, opinion.key):
            return False
        return self._aside.explains(frame, opinion)

    def _frame(self, tick: TickInput, jumped: int, gone: Iterable[EntityId]) -> Frame:
        return Frame(
            tick=tick.tick,
            start_s=tick.start_s,
            end_s=tick.end_s,
            reached_s=tick.reached_s,
            jumped=jumped,
            blocks=self._windows.blocks,
            events=self._new_events(tick),
            late=_late_samples(tick.late),
            topology=self._topology,
            links=self._links,
            normal=self._normal,
            hearing=self._hearing,
            gone=tuple(gone),
            nodes=self._nodes,
        )

    def _apply_topology(self, tick: TickInput) -> list[EntityId]:
        """Take in changes of the topology, late ones too; returns the entities that have gone."""
        gone, heard = [], self._windows.block(EntityKind.GPU).row
        for record in (*tick.late, *tick.records):
            change = record.payload
            if not isinstance(change, TopologyChange):
                continue
            self._aside.take(change, self._topology, heard, self._lifecycle.accused)
            if self._topology.apply(change):
                self._version += 1
                self._nodes.clear()
                if change.op is TopologyOp.ENTITY_GONE:
                    gone.append(change.entity)
        return gone

    def _new_events(self, tick: TickInput) -> tuple[Event, ...]:
        """Events of this tick and late ones, each once."""
        events = []
        for record in (*tick.late, *tick.records):
            event = record.payload
            if isinstance(event, Event) and event.id not in self._seen:
                self._seen[event.id] = tick.tick
                events.append(event)
        oldest = tick.tick - _EVENTS_REMEMBERED_TICKS
        self._seen = {name: seen for name, seen in self._seen.items() if seen >= oldest}
        return tuple(events)

    def snapshot(self) -> State:
        """The state after the last fold."""
        parts = {
            "windows": self._windows.snapshot(),
            "hearing": self._hearing.snapshot(),
            "normal": self._normal.snapshot(),
            "activity": self._activity.snapshot(),
            "aside": self._aside.snapshot(),
            **{f"detector {d.name}": d.snapshot() for d in self._detectors},
        }
        seen: dict[str, Json] = {name: at for name, at in sorted(self._seen.items())}
        return {
            **join(parts),
            "topology": self._topology.snapshot(),
            "lifecycle": self._lifecycle.snapshot(),
            "seen": seen,
            "tick": self._tick,
        }

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._windows.restore(part(state, "windows"))
        self._hearing.restore(part(state, "hearing"))
        self._normal.restore(part(state, "normal"))
        self._activity.restore(part(state, "activity"))
        self._aside.restore(part(state, "aside"))
        for detector in self._detectors:
            detector.restore(part(state, f"detector {detector.name}"))
        self._topology.restore(_json(state["topology"]))
        self._lifecycle.restore(_json(state["lifecycle"]))
        self._seen = _SEEN.validate_python(state["seen"])
        self._tick = int(str(state["tick"]))
        self._version += 1
        self._nodes.clear()


def _detectors(settings: DetectionSettings, activity: Activity) -> tuple[Detector, ...]:
    """All detectors but coverage, in the order in which they are asked after it."""
    return (
        XidRule(),
        Reports(),
        Counters(),
        RecoveryAction(),
        MemoryRepair(),
        Throttled(),
        Hot(),
        ForeignProcess(),
        MemoryFull(settings),
        LinkSaturated(settings),
        LinkDegraded(),
        KvPressure(),
        SlowFirstToken(settings),
        ProbeFailed(),
        Watchdog(settings, activity),
        Ranks(settings, activity),
        QueueWithoutWork(),
        Leak(settings),
        Baseline(settings),
        Forest(settings),
    )


def _late_samples(late: Iterable[Record]) -> dict[EntityId, int]:
    """Samples that came too late, by entity."""
    counts: dict[EntityId, int] = {}
    for record in late:
        batch = record.payload
        if isinstance(batch, SampleBatch):
            for code in batch.entity:
                entity = EntityId(batch.entities[code])
                counts[entity] = counts.get(entity, 0) + 1
    return counts


def _provisional(name: str, opinion: Opinion, event: Event) -> Finding:
    return Finding(
        id=name,
        detector=opinion.detector,
        entity=opinion.entity,
        state=FindingState.PROVISIONAL,
        witness=opinion.witness,
        tick=-1 if opinion.opening_tick is None else opinion.opening_tick,
        at_s=event.time_s,
        onset_s=opinion.onset_s,
        confidence=opinion.confidence,
        symptoms=opinion.symptoms,
        reason=opinion.reason,
        detail=opinion.detail,
    )


def _outgoing(finding: Finding) -> Outgoing:
    return Outgoing(Topic.FINDINGS, split_entity_id(finding.entity)[0], finding)


def _entry(entry: LedgerEntry) -> Outgoing:
    return Outgoing(Topic.COVERAGE, split_entity_id(entry.entity)[0], entry)


def _json(value: object) -> Json:
    """A JSON part of a state. Arrays are never where JSON is expected."""
    return value  # type: ignore[return-value]
