"""A simulated fleet through detection and root cause analysis, in event time and one process.

Used by `benchmarks.simulated_day`, `benchmarks.simulated_cases` and tests. The folds are those of
the platform; what is left out is the way between them (log, store, express lane) and whatever acts
on the fleet, so that a fault stays as it was made.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from detection.stage import DetectionStage
from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.detection import DetectionSettings
from fleetmend.settings.rca import RcaSettings
from fleetmend.settings.simulator import SimulatorSettings
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.port import Payload, Record, TickInput
from fleetmend.streams.topics import Topic
from rca.knowledge.model import Knowledge
from rca.stage import RootCauseStage
from simulator.fleet import START_S, Fleet

PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What collectors sent in one second."""

    at_s: float
    topology: list[TopologyChange]
    batches: list[SampleBatch]
    events: list[Event]


@dataclass(slots=True)
class Folds:
    """Detection and root cause analysis behind each other; `take` is one tick of both."""

    rca: RootCauseStage
    detection: DetectionStage = field(
        default_factory=lambda: DetectionStage(DetectionSettings(), TickSettings(period_s=PERIOD_S))
    )
    incidents: list[Incident] = field(default_factory=list)
    """Every version of every incident."""
    findings: list[Finding] = field(default_factory=list)

    def take(self, seen: Seen, late: Iterable[Payload] = ()) -> list[Incident]:
        """Fold what was seen; `late` comes after its own tick has closed. The records that root
        cause analysis publishes."""
        samples = _records(Topic.SAMPLES, seen.batches)
        topology = _records(Topic.TOPOLOGY, seen.topology)
        events = _records(Topic.EVENTS, seen.events)
        behind = tuple(Record(_topic(one), 0, 0, one) for one in late)
        tick = _tick(seen.at_s, (*topology, *events, *samples), behind)
        told = [out.payload for out in self.detection.fold(tick)]
        findings = [one for one in told if isinstance(one, Finding)]
        self.findings += findings
        late_facts = tuple(one for one in behind if one.topic is not Topic.SAMPLES)
        tick = _tick(
            seen.at_s, (*topology, *events, *_records(Topic.FINDINGS, findings)), late_facts
        )
        out = [one.payload for one in self.rca.fold(tick)]
        incidents = [one for one in out if isinstance(one, Incident)]
        self.incidents += incidents
        return incidents


def folds(known: Knowledge | None = None) -> Folds:
    """Fresh folds; `known` replaces the knowledge of this version."""
    return Folds(RootCauseStage(RcaSettings(), known=known))


class Watched:
    """A fleet whose seconds are read one by one."""

    def __init__(self, settings: SimulatorSettings, seed: int, *, start_s: float = START_S) -> None:
        self.fleet = Fleet(settings, seed, start_s=start_s)
        self.start_s = self.fleet.now_s + 1

    def second(self) -> Seen:
        """Let one second pass and read it."""
        # The topology that lists an engine is told before it is heard.
        self.fleet.advance_to(self.fleet.now_s + 1)
        topology = self.fleet.topology()
        batches, events = self.fleet.observe()
        return Seen(self.fleet.now_s, topology, batches, events)


Each = Callable[[int, Seen], None]


def _records(topic: Topic, payloads: Iterable[Payload]) -> tuple[Record, ...]:
    return tuple(Record(topic, 0, number, one) for number, one in enumerate(payloads))


def _topic(payload: Payload) -> Topic:
    match payload:
        case SampleBatch():
            return Topic.SAMPLES
        case TopologyChange():
            return Topic.TOPOLOGY
        case _:
            return Topic.EVENTS


def _tick(at_s: float, records: tuple[Record, ...], late: tuple[Record, ...]) -> TickInput:
    number = math.floor(at_s / PERIOD_S)
    start_s = number * PERIOD_S
    end_s = start_s + PERIOD_S
    return TickInput(
        tick=number, start_s=start_s, end_s=end_s, reached_s=end_s, records=records, late=late
    )
