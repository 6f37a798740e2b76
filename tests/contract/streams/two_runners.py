"""Several runners of one fold, by mistake, say together what one alone would. For both logs.

They take turns in the middle of each other's reads and writes, as threads of different machines
would; new ones start at any moment and claim the fold.
"""

import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fleetmend.clock import ManualClock
from fleetmend.errors import FenceLost
from fleetmend.streams.codec import decode
from fleetmend.streams.port import Log, Outgoing, RawRecord, TopicPartition
from fleetmend.streams.runner import StageRunner
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters, MemorySnapshots
from tests.contract.streams.kill_anywhere import SETTINGS, Told, told
from tests.unit.streams.toy import Feed, ToyStage


class SharedLog:
    """A log during whose calls somebody else may get a turn."""

    def __init__(self, log: Log, crowd: "Crowd") -> None:
        self._log = log
        self._crowd = crowd

    def append(self, records: Sequence[Outgoing]) -> None:
        self._crowd.interrupt()
        self._log.append(records)
        self._crowd.interrupt()

    def partitions(self, topic: Topic) -> tuple[TopicPartition, ...]:
        return self._log.partitions(topic)

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
    ) -> list[RawRecord]:
        self._crowd.interrupt()
        return self._log.read(positions, limit=limit, wait_s=wait_s)

    def begin(self, partition: TopicPartition) -> int:
        return self._log.begin(partition)

    def end(self, partition: TopicPartition) -> int:
        return self._log.end(partition)

    def close(self) -> None:
        self._log.close()


@dataclass
class Crowd:
    """All runners that there are, who is in the middle of a step, and what is yet to happen."""

    log: Log
    clock: ManualClock
    rng: random.Random
    claiming: bool
    """False: the mutation, runners that do not claim."""
    world: deque[Outgoing | float]
    """Records to come, and seconds that pass."""
    snapshots: MemorySnapshots = field(default_factory=MemorySnapshots)
    runners: list[StageRunner] = field(default_factory=list)
    stepping: list[StageRunner] = field(default_factory=list)
    started: int = 0
    fenced: int = 0

    def start(self) -> None:
        self.started += 1
        self.runners.append(
            StageRunner(
                ToyStage(),
                SharedLog(self.log, self),
                output=Topic.FINDINGS,
                snapshots=self.snapshots,
                dead_letters=MemoryDeadLetters(),
                clock=self.clock,
                ticks=SETTINGS,
                runner=f"runner-{self.started}" if self.claiming else "",
            )
        )

    def happen(self) -> None:
        """The next thing in the world."""
        if self.world:
            match self.world.popleft():
                case Outgoing() as record:
                    self.log.append([record])
                case float() as pass_s:
                    self.clock.sleep(pass_s)

    def interrupt(self) -> None:
        """Somebody else has a turn now, or the world; in that turn nobody has another."""
        if len(self.stepping) > 1 or self.rng.random() > 0.15:
            return
        if self.rng.random() < 0.3:
            self.happen()
            return
        if self.rng.random() < 0.05:
            self.start()
        others = [runner for runner in self.runners if runner not in self.stepping]
        if others:
            self.step(self.rng.choice(others))

    def step(self, runner: StageRunner) -> bool:
        """One step; false when the runner has nothing to do, now or for ever."""
        if runner not in self.runners:
            return False
        self.stepping.append(runner)
        try:
            return bool(runner.step()) or not runner.caught_up()
        except FenceLost:
            self.fenced += 1
            self.runners.remove(runner)
            return False
        finally:
            self.stepping.remove(runner)


def contested(
    feeds: Sequence[Feed],
    log: Log,
    clock: ManualClock,
    rng: random.Random,
    *,
    claiming: bool = True,
) -> Crowd:
    """Let the world happen with a crowd of runners on `log`."""
    world: deque[Outgoing | float] = deque()
    for feed in feeds:
        world.extend((*feed.appends, feed.pass_s))
    crowd = Crowd(log, clock, rng, claiming, world)
    crowd.start()
    while world:
        crowd.happen()
        if rng.random() < 0.05:
            crowd.start()
        crowd.step(rng.choice(crowd.runners))
    while any([crowd.step(runner) for runner in list(crowd.runners)]):
        pass
    return crowd


def said_again(log: Log, *, partitions: int) -> Told:
    """What one runner alone says who finds the inputs, the claims and the cuts of `log`, and none
    of its outputs."""
    raws = [
        raw
        for topic in (*ToyStage.inputs, Topic.TICKS)
        for place in log.partitions(topic)
        for raw in read_all(log, place)
    ]
    clock = ManualClock(min(raw.append_s for raw in raws))
    copy = SqliteLog(":memory:", clock=clock, partitions=partitions)
    for raw in sorted(raws, key=lambda raw: raw.append_s):  # stable: offsets keep their order
        clock.advance_to(raw.append_s)
        copy.append([Outgoing(raw.topic, raw.key, decode(raw).payload, raw.partition)])
    runner = StageRunner(
        ToyStage(),
        copy,
        output=Topic.FINDINGS,
        snapshots=MemorySnapshots(),
        dead_letters=MemoryDeadLetters(),
        clock=clock,
        ticks=SETTINGS,
    )
    while runner.step() or not runner.caught_up():
        pass
    found = told(copy)
    copy.close()
    return found


def agree(left: Told, right: Told) -> bool:
    """True when both say the same of every tick. What was said before a tick, on arrival, is not
    said again of records that a cut has passed."""
    return (left.confirmed, left.marked) == (right.confirmed, right.marked)


def read_all(log: Log, place: TopicPartition) -> Iterator[RawRecord]:
    """Every record of a partition."""
    position = log.begin(place)
    while position < log.end(place):
        for raw in log.read({place: position}, limit=1000, wait_s=1.0):
            position = raw.offset + 1
            yield raw
