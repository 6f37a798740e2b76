"""A small but stateful stage, and input that has everything that input can have.

The stage counts, sums and remembers, so that a tick folded twice, a record lost or a boundary moved
shows in its outputs for ever after.
"""

import random
from dataclasses import dataclass, field

import numpy as np

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.findings import Direction, Finding, FindingState, Symptom, finding_id
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.streams.port import Outgoing, Record, TickInput
from fleetmend.streams.stage import State
from fleetmend.streams.topics import Topic

ENTITIES = tuple(EntityId(f"lab/gpu/{name}") for name in "abcd")


def finding(
    entity: EntityId, tick: int, at_s: float, *, state: FindingState, detail: str
) -> Finding:
    return Finding(
        id=finding_id(entity, "toy", detail if state is FindingState.PROVISIONAL else "", tick),
        detector="toy",
        entity=entity,
        state=state,
        witness=Witness.TELEMETRY,
        tick=tick,
        at_s=at_s,
        onset_s=at_s,
        confidence=1.0,
        symptoms=(Symptom("toy", Direction.UP, 1.0, at_s),),
        reason="toy",
        detail=detail,
    )


class ToyStage:
    """Says every tick what it has summed up of each entity that had something in it."""

    name = "toy"
    inputs: tuple[Topic, ...] = (Topic.EVENTS, Topic.SAMPLES)

    def __init__(self) -> None:
        self._sums = np.zeros(len(ENTITIES))
        self._ticks = 0
        self._late = 0
        self._seen: dict[str, int] = {}
        self._idle = 0

    def arrive(self, record: Record) -> list[Outgoing]:
        event = record.payload
        if not isinstance(event, Event) or event.type is not EventType.XID:
            return []
        tick = int(event.time_s)
        provisional = finding(
            event.subject, tick, event.time_s, state=FindingState.PROVISIONAL, detail=event.id
        )
        return [Outgoing(Topic.FINDINGS, "lab", provisional)]

    def fold(self, tick: TickInput) -> list[Outgoing]:
        self._ticks += 1
        self._late += len(tick.late)
        self._idle += len(tick.idle)
        touched: set[EntityId] = set()
        for record in tick.records:
            match record.payload:
                case SampleBatch() as batch:
                    finite = np.isfinite(batch.value)
                    for code, name in enumerate(batch.entities):
                        chosen = finite & (batch.entity == code)
                        if np.any(chosen):
                            entity = EntityId(name)
                            self._sums[ENTITIES.index(entity)] += batch.value[chosen].sum()
                            touched.add(entity)
                case Event() as event:
                    self._seen[event.id] = self._seen.get(event.id, 0) + 1
                    touched.add(event.subject)
        return [self._told(entity, tick) for entity in sorted(touched)]

    def snapshot(self) -> State:
        return {
            "sums": self._sums,
            "ticks": self._ticks,
            "late": self._late,
            "idle": self._idle,
            "seen": dict(self._seen),
        }

    def restore(self, state: State) -> None:
        sums, seen = state["sums"], state["seen"]
        assert isinstance(sums, np.ndarray)
        assert isinstance(seen, dict)
        self._sums = sums.astype(np.float64)
        self._seen = {name: int(str(count)) for name, count in seen.items()}
        self._ticks, self._late, self._idle = (
            int(str(state[name])) for name in ("ticks", "late", "idle")
        )

    def _told(self, entity: EntityId, tick: TickInput) -> Outgoing:
        detail = (
            f"sum {self._sums[ENTITIES.index(entity)]!r} ticks {self._ticks} late {self._late}"
            f" idle {self._idle} events {len(self._seen)} copies {sum(self._seen.values())}"
            f" reached {tick.reached_s!r}"
        )
        said = finding(entity, tick.tick, tick.reached_s, state=FindingState.OPEN, detail=detail)
        return Outgoing(Topic.FINDINGS, "lab", said)


@dataclass
class Feed:
    """What happens in one moment of the world: records appended, then time passes."""

    appends: list[Outgoing] = field(default_factory=list)
    pass_s: float = 0.0


def generate(seed: int, *, start_s: float, moments: int = 20, silence: bool = True) -> list[Feed]:
    """A world: two partitions of samples and two of events, a producer that is steady, one that is
    slow and one that is mad; late, duplicate and future records, NaN; and with `silence` that of
    one partition and that of all, and a gap."""
    rng = random.Random(seed)
    feeds: list[Feed] = []
    now_s = start_s
    silent_partition = rng.choice([0, 1])
    quiet = range(moments // 3, moments // 3 + 6) if silence else range(0)
    for moment in range(moments):
        feed = Feed()
        for partition in (0, 1):
            if moment in quiet and partition == silent_partition:
                continue
            feed.appends.extend(_samples(rng, now_s, partition))
            feed.appends.extend(_events(rng, now_s, partition))
        if silence and moment == moments // 3 + 4:
            # Samples of the partition that is not waited for any more: late, if the cut is kept.
            feed.appends.extend(_samples(rng, now_s - 3.0, silent_partition))
        feed.pass_s = rng.choice([0.5, 1.0, 1.5, 2.0])
        feeds.append(feed)
        if silence and moment == moments // 2:
            # Nobody says anything, and the fold watches that.
            feeds.extend(Feed(pass_s=4.0) for _ in range(4))
        if silence and moment == moments - 5:
            feed.pass_s = 700.0
        now_s = start_s + sum(one.pass_s for one in feeds)
    return feeds


def _samples(rng: random.Random, now_s: float, partition: int) -> list[Outgoing]:
    rows = [
        (
            now_s - rng.choice([0.0, 0.1, 0.9, 1.7, 4.0]),
            rng.choice(ENTITIES),
            "x",
            rng.choice([1.0, 2.5, float("nan"), 1e6]),
        )
        for _ in range(rng.randrange(1, 8))
    ]
    if rng.random() < 0.1:
        rows.append((now_s + 500.0, ENTITIES[0], "x", 1e9))
    found = [Outgoing(Topic.SAMPLES, "", SampleBatch.from_rows(rows), partition)]
    return found + _marks(rng, Topic.SAMPLES, now_s, partition)


def _events(rng: random.Random, now_s: float, partition: int) -> list[Outgoing]:
    found = []
    for _ in range(rng.randrange(3)):
        event = Event(
            f"{rng.random():.6f}",
            "toy",
            rng.choice([EventType.XID, EventType.CHANGE]),
            round(now_s - rng.choice([0.0, 0.5, 3.5]), 6),
            rng.choice(ENTITIES),
        )
        found.append(Outgoing(Topic.EVENTS, "", event, partition))
        if rng.random() < 0.3:
            found.append(found[-1])
    return found + _marks(rng, Topic.EVENTS, now_s, partition)


def _marks(rng: random.Random, topic: Topic, now_s: float, partition: int) -> list[Outgoing]:
    found = [Outgoing(topic, "", Mark("steady", now_s - 0.2), partition)]
    if rng.random() < 0.5:
        found.append(Outgoing(topic, "", Mark("slow", now_s - 2.0), partition))
    if rng.random() < 0.05:
        found.append(Outgoing(topic, "", Mark("mad", now_s + 900.0), partition))
    return found
