"""What stands in the log about an engine, and since when."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fleetmend.clock import Clock
from fleetmend.model.events import Event, EventType
from fleetmend.model.findings import Finding, FindingState
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.port import Log
from fleetmend.streams.reader import Reader
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters

_TOPICS = (Topic.EVENTS, Topic.SAMPLES, Topic.FINDINGS)


@dataclass(frozen=True, slots=True)
class Value:
    """One sample."""

    at_s: float
    """Event time."""
    told_s: float
    """When the log took it."""
    value: float


@dataclass(slots=True)
class Told:
    """Everything that was said, in the order of the log; moments are Unix seconds."""

    log: Log
    clock: Clock
    values: dict[str, list[Value]] = field(default_factory=dict)
    """By signal."""
    events: list[tuple[float, Event]] = field(default_factory=list)
    findings: list[tuple[float, Finding]] = field(default_factory=list)
    _reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        """Reading begins at the beginning."""
        places = {place: 0 for topic in _TOPICS for place in self.log.partitions(topic)}
        letters = MemoryDeadLetters()
        self._reader = Reader(self.log, places, dead_letters=letters, clock=self.clock)

    def read(self, wait_s: float = 0.0) -> int:
        """Take in what has come; wait for something at most `wait_s`. How much it was."""
        count = 0
        for count, fetched in enumerate(self._reader.poll(wait_s=wait_s), 1):  # noqa: B007
            assert fetched.record is not None, fetched.raw
            told_s = fetched.raw.append_s
            match fetched.record.payload:
                case SampleBatch() as batch:
                    for at_s, code, value in zip(
                        batch.time_s.tolist(),
                        batch.signal.tolist(),
                        batch.value.tolist(),
                        strict=True,
                    ):
                        rows = self.values.setdefault(batch.signals[code], [])
                        rows.append(Value(at_s, told_s, value))
                case Event() as event:
                    self.events.append((told_s, event))
                case Finding() as finding:
                    self.findings.append((told_s, finding))
        return count

    def last(self, signal: str) -> float:
        """The newest value of a signal; NaN before there is one."""
        rows = self.values.get(signal)
        return rows[-1].value if rows else float("nan")

    def sampled(
        self, signal: str, holds: Callable[[float], bool], since_s: float
    ) -> Iterator[float]:
        """When samples taken since then, for whose value this holds, came into the log."""
        for row in self.values.get(signal, []):
            if row.at_s >= since_s and holds(row.value):
                yield row.told_s

    def happened(self, kind: EventType, since_s: float, **data: object) -> Iterator[float]:
        """When events with these data, of since then, came into the log."""
        for told_s, event in self.events:
            if event.type is not kind or event.time_s < since_s:
                continue
            if all(event.data.get(name) == value for name, value in data.items()):
                yield told_s

    def found(self, detector: str, reason: str, since_s: float) -> Iterator[float]:
        """When findings that opened since then came into the log."""
        for told_s, finding in self.opened(since_s):
            if (finding.detector, finding.reason) == (detector, reason):
                yield told_s

    def opened(self, since_s: float) -> Iterator[tuple[float, Finding]]:
        """Findings that were not open at that moment, each as it was first said."""
        seen: set[str] = set()
        for told_s, finding in self.findings:
            new = finding.id not in seen and finding.state is not FindingState.CLOSED
            seen.add(finding.id)
            if new and told_s >= since_s:
                yield told_s, finding
