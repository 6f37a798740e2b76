"""Replay: a recording through the same stages as live telemetry, with event time for a clock.

Everything travels through the embedded log, in memory. Labels are never opened here: judging is
`fleetmend.scoring`. The output depends on the recording alone, so two replays are equal byte for
byte, and a prefix of a recording gives the same incidents up to the cut.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from collectors.replay import Recording, Step
from detection.stage import DetectionStage
from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityId, EntityKind, TopologyChange, key_of, kind_of
from fleetmend.model.incidents import Incident
from fleetmend.services import Service, settle
from fleetmend.settings import Settings
from fleetmend.streams.port import Log
from fleetmend.streams.producer import Producer
from fleetmend.streams.reader import Reader
from fleetmend.streams.runner import StageRunner
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.stage import Stage
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters, MemorySnapshots
from fleetmend.views.topology import TopologyView
from rca.stage import RootCauseStage


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay gave."""

    name: str
    incidents: tuple[Incident, ...]
    """Every version of every incident, in the order of publication."""
    topology: TopologyView
    """The fleet as the recording states it."""
    start_s: float
    end_s: float
    unknown_names: tuple[str, ...]
    """Metric names that the signal catalogue does not know."""
    dead_letters: int


def replay(folder: Path, *, settings: Settings, baseline: Path | None = None) -> Replayed:
    """Play one recording to its end. `baseline` is played before it, moved in time so that it ends
    where the recording begins: it warms the detectors, and its own incidents are left out. Raises
    BadInput when a recording cannot be read."""
    recording = Recording(folder)
    steps = list(recording.steps())
    start_s, end_s = steps[0].at_s, steps[-1].at_s
    warm = _moved(list(Recording(baseline).steps()), end_s=start_s) if baseline else []
    clock = ManualClock((warm or steps)[0].at_s)
    run = _Run(settings, clock)
    for step in (*warm, *steps):
        run.take(step)
    topology = TopologyView()
    for step in steps:
        for change in step.topology:
            topology.apply(change)
    incidents = tuple(i for i in run.incidents() if i.opened_at_s >= start_s)
    run.close()
    return Replayed(
        name=recording.name,
        incidents=incidents,
        topology=topology,
        start_s=start_s,
        end_s=end_s,
        unknown_names=tuple(sorted(recording.unknown_names())),
        dead_letters=run.dead_letters.count,
    )


class _Run:
    """The stages on a log in memory, pumped step by step."""

    def __init__(self, settings: Settings, clock: ManualClock) -> None:
        self._clock = clock
        self._log: Log = SqliteLog(":memory:", clock=clock, partitions=1)
        self._producer = Producer(self._log, name="collector/replay", clock=clock)
        self.dead_letters = MemoryDeadLetters()
        stages: tuple[tuple[Stage, Topic], ...] = (
            (DetectionStage(settings.detection, settings.ticks), Topic.FINDINGS),
            (RootCauseStage(settings.rca), Topic.INCIDENTS),
        )
        snapshots = MemorySnapshots()
        self._services = [
            Service(
                stage.name,
                StageRunner(
                    stage,
                    self._log,
                    output=output,
                    snapshots=snapshots,
                    dead_letters=self.dead_letters,
                    clock=clock,
                    ticks=settings.ticks,
                ).step,
            )
            for stage, output in stages
        ]

    def take(self, step: Step) -> None:
        """Append what the step holds, then let every stage do what follows from it."""
        self._clock.advance_to(step.at_s)
        self._producer.topology(step.topology)
        self._producer.events(step.events)
        for node, batch in step.batches:
            self._producer.samples(node, batch)
        self._producer.mark(step.at_s)
        settle(self._services)

    def incidents(self) -> Iterator[Incident]:
        """All incident records that were published."""
        places = {place: 0 for place in self._log.partitions(Topic.INCIDENTS)}
        reader = Reader(self._log, places, dead_letters=self.dead_letters, clock=self._clock)
        while fetched := list(reader.poll()):
            for item in fetched:
                if item.record is not None and isinstance(item.record.payload, Incident):
                    yield item.record.payload

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()


def _moved(steps: list[Step], *, end_s: float) -> list[Step]:
    """The steps moved by whole seconds so that the last one ends at or just before `end_s`."""
    shift_s = float(int(end_s - steps[-1].at_s) - 1)

    def change(one: TopologyChange) -> TopologyChange:
        return replace(one, at_s=one.at_s + shift_s)

    return [
        Step(
            at_s=step.at_s + shift_s,
            topology=tuple(change(one) for one in step.topology),
            events=tuple(replace(e, time_s=e.time_s + shift_s) for e in step.events),
            batches=tuple(
                (node, replace(batch, time_s=batch.time_s + shift_s))
                for node, batch in step.batches
            ),
        )
        for step in steps
    ]


def printed_name(entity: EntityId, topology: TopologyView) -> str:
    """How people and labels call it: `gpu:0` (with its node where there are several), `node-0`."""
    if kind_of(entity) is not EntityKind.GPU:
        return key_of(entity)
    names = [
        name for name in topology.aliases_of(entity) if name.rpartition("/")[2].startswith("gpu:")
    ]
    return min(names, key=len, default=key_of(entity))
