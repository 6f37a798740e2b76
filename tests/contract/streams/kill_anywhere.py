"""A fold that is killed anywhere says the same as one that never was. For both logs.

SIGKILL is played by an exception out of a log or a snapshot store: before a write, after it, or in
the middle of one. The runner and the stage are thrown away and made anew, as after a restart.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fleetmend.clock import ManualClock
from fleetmend.model.findings import Finding, FindingState
from fleetmend.model.ticks import Cut, Mark
from fleetmend.ports.snapshots import Snapshot
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.codec import decode
from fleetmend.streams.port import Log, Outgoing, RawRecord, TopicPartition
from fleetmend.streams.runner import StageRunner
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters, MemorySnapshots
from tests.unit.streams.toy import Feed, ToyStage

SETTINGS = TickSettings(
    period_s=1.0, lateness_s=2.0, idle_after_s=5.0, future_s=60.0, gap_s=600.0, snapshot_every=7
)


class Killed(BaseException):
    """The process dies here."""


@dataclass
class Executioner:
    """Counts the places where a process can die, and kills at the one that was chosen."""

    kill_at: int | None = None
    passed: int = 0
    places: list[str] = field(default_factory=list)

    def here(self, place: str) -> None:
        self.passed += 1
        if self.passed == self.kill_at:
            self.places.append(place)
            raise Killed(place)


class MortalLog:
    """A log whose writes may be the last thing that happens."""

    def __init__(self, log: Log, executioner: Executioner, *, keep_cuts: bool) -> None:
        self._log = log
        self._executioner = executioner
        self._keep_cuts = keep_cuts

    def append(self, records: Sequence[Outgoing]) -> None:
        what = type(records[0].payload).__name__ if records else "nothing"
        self._executioner.here(f"before {what}")
        if what == "Cut" and not self._keep_cuts:
            return
        if len(records) > 1:
            half = len(records) // 2
            self._log.append(records[:half])
            self._executioner.here(f"within {what}")
            records = records[half:]
        self._log.append(records)
        self._executioner.here(f"after {what}")

    def partitions(self, topic: Topic) -> tuple[TopicPartition, ...]:
        return self._log.partitions(topic)

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
    ) -> list[RawRecord]:
        self._executioner.here("before read")
        return self._log.read(positions, limit=limit, wait_s=wait_s)

    def begin(self, partition: TopicPartition) -> int:
        return self._log.begin(partition)

    def end(self, partition: TopicPartition) -> int:
        return self._log.end(partition)

    def close(self) -> None:
        self._log.close()


class MortalSnapshots(MemorySnapshots):
    """A store whose writes may be the last thing that happens."""

    def __init__(self, executioner: Executioner) -> None:
        super().__init__()
        self._executioner = executioner

    def save(self, snapshot: Snapshot) -> None:
        self._executioner.here("before snapshot")
        super().save(snapshot)
        self._executioner.here("after snapshot")


@dataclass
class Told:
    """What a run of the world has published."""

    confirmed: list[Finding]
    """In order, each once."""
    provisional: list[Finding]
    """Sorted, each once."""
    marked: list[int]
    """The ticks that marks call complete, in order, each once."""
    cuts: list[Cut]
    copies: int
    """Findings that were published more than once."""


def live(
    feeds: Sequence[Feed],
    log: Log,
    clock: ManualClock,
    rng: random.Random | None = None,
    *,
    keep_cuts: bool = True,
) -> tuple[Told, list[str]]:
    """Let the world happen with a runner on `log`; with `rng`, kill it again and again. Returns
    what it published, and where it was killed."""
    executioner = Executioner()
    snapshots = MortalSnapshots(executioner)
    mortal = MortalLog(log, executioner, keep_cuts=keep_cuts)

    def start() -> StageRunner:
        executioner.passed = 0
        executioner.kill_at = None if rng is None else rng.choice([3, 10, 40]) + rng.randrange(60)
        return StageRunner(
            ToyStage(),
            mortal,
            output=Topic.FINDINGS,
            snapshots=snapshots,
            dead_letters=MemoryDeadLetters(),
            clock=clock,
            ticks=SETTINGS,
        )

    runner = start()
    for feed in feeds:
        log.append(feed.appends)
        settled = False
        while not settled:
            try:
                settled = not runner.step() and runner.caught_up()
            except Killed:
                runner = start()
        clock.sleep(feed.pass_s)
    return told(log), executioner.places


def told(log: Log) -> Told:
    findings: list[Finding] = []
    marked: list[int] = []
    for payload in everything(log, Topic.FINDINGS):
        if isinstance(payload, Mark):
            marked.append(payload.tick)
        elif isinstance(payload, Finding):
            findings.append(payload)
    once = list(dict.fromkeys(findings))
    provisional = [f for f in once if f.state is FindingState.PROVISIONAL]
    return Told(
        confirmed=[f for f in once if f.state is not FindingState.PROVISIONAL],
        provisional=sorted(provisional, key=lambda f: f.id),
        marked=list(dict.fromkeys(marked)),
        cuts=[p for p in everything(log, Topic.TICKS) if isinstance(p, Cut)],
        copies=len(findings) - len(once),
    )


def everything(log: Log, topic: Topic) -> list[object]:
    """All payloads of a topic with one partition."""
    [place] = log.partitions(topic)
    position = 0
    found: list[object] = []
    while position < log.end(place):
        for raw in log.read({place: position}, limit=1000, wait_s=1.0):
            found.append(decode(raw).payload)
            position = raw.offset + 1
    return found


def same(left: Told, right: Told) -> bool:
    """True when both runs have said the same, whatever they said twice."""
    return (left.confirmed, left.provisional, left.marked) == (
        right.confirmed,
        right.provisional,
        right.marked,
    )


Opener = Callable[[ManualClock], Log]
