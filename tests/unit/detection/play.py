"""A small fleet that is fed to the detection stage tick by tick, and what it is told back."""

import copy
import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from detection.stage import DetectionStage
from fleetmend.model.coverage import Coverage
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.findings import Finding, FindingState
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.detection import DetectionSettings
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.port import Record, TickInput
from fleetmend.streams.stage import State
from fleetmend.streams.topics import Topic

NODE = entity_id("c", EntityKind.NODE, "node-0")
GPU = entity_id("c", EntityKind.GPU, "GPU-0")
PEER = entity_id("c", EntityKind.GPU, "GPU-1")
ENGINE = entity_id("c", EntityKind.ENGINE, "engine-0")

Rows = dict[tuple[EntityId, str], float]


def stage(**settings: float) -> DetectionStage:
    """A fresh stage with these settings changed; no forest unless asked for: fits take time."""
    changed = {"forest_calm_s": 1e9, **settings}
    return DetectionStage(DetectionSettings.model_validate(changed), TickSettings())


def fleet(*, gpus: Iterable[EntityId] = (GPU,), at_s: float = -1.0) -> list[TopologyChange]:
    """One node, its GPUs, and one engine that runs on all of them."""
    gpus = tuple(gpus)
    changes = [TopologyChange(at_s, TopologyOp.ENTITY, entity) for entity in (NODE, *gpus, ENGINE)]
    for gpu in gpus:
        changes.append(relation(gpu, NODE, RelationKind.PART_OF, at_s=at_s))
        changes.append(relation(ENGINE, gpu, RelationKind.RUNS_ON, at_s=at_s))
    if not gpus:
        changes.append(relation(ENGINE, NODE, RelationKind.RUNS_ON, at_s=at_s))
    return changes


def relation(
    source: EntityId, target: EntityId, kind: RelationKind, *, at_s: float
) -> TopologyChange:
    """One relation."""
    return TopologyChange(at_s, TopologyOp.RELATION, source, str(target), kind)


def xid(code: int, at_s: float, *, subject: EntityId = GPU, witness: Witness) -> Event:
    """An Xid as one channel tells it."""
    return Event(
        id=f"{witness}-{code}-{at_s}-{subject}",
        source="collector/test",
        type=EventType.XID,
        time_s=at_s,
        subject=subject,
        data={"xid": code, "witness": witness.value},
    )


def line(signature: str, at_s: float, *, subject: EntityId = ENGINE) -> Event:
    """A log line that was recognised."""
    data: dict[str, str | int | float | bool] = {
        "signature": signature,
        "line": "as it was printed",
        "witness": Witness.APPLICATION_LOG.value,
    }
    return Event(
        f"{signature}-{at_s}", "collector/test", EventType.LOG_SIGNATURE, at_s, subject, data=data
    )


@dataclass
class Life:
    """A healthy engine on its GPUs: steady load with the noise that real ones have."""

    gpus: tuple[EntityId, ...] = (GPU,)
    seed: int = 1
    tokens: float = 0.0
    prompts: float = 0.0
    done: float = 0.0
    _rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def rows(self, **changed: float) -> Rows:
        """One second of it; `engine_x=1` and `gpu_x=1` and `node_x=1` replace single values."""
        running = 24.0 * self._noise(0.1)
        self.tokens += changed.get("token_rate", 500.0 * self._noise(0.1))
        self.prompts += changed.get("prompt_rate", 900.0 * self._noise(0.15))
        self.done += changed.get("done_rate", 4.0 * self._noise(0.1))
        engine = {
            "requests_running": running,
            "requests_waiting": 0.0,
            "generation_tokens": self.tokens,
            "prompt_tokens": self.prompts,
            "requests_done": self.done,
            "ttft_p50": 0.06 * self._noise(0.2),
            "tpot_p50": 0.048 * self._noise(0.06),
            "kv_usage": 0.04 * self._noise(0.1),
            "memory_allocated": 28e9,
        }
        gpu = {
            "utilization": 0.2 * self._noise(0.1),
            "sm_active": 0.15 * self._noise(0.1),
            "dram_active": 0.07 * self._noise(0.1),
            "power": 195.0 * self._noise(0.03),
            "sm_clock": 1980.0,
            "temperature": 42.0 + self._noise(0.3),
            "memory_used": 30e9,
            "memory_free": 120e9,
            "pcie_rx": 3.3e7 * self._noise(0.08),
            "pcie_tx": 5.6e6 * self._noise(0.08),
            "processes_foreign": 0.0,
            "memory_foreign": 0.0,
            "clock_event_reasons": 0.0,
            "xid_last": 0.0,
        }
        rows = {(NODE, "node.cpu_busy"): 0.065 * self._noise(0.02)}
        rows |= {(ENGINE, f"engine.{name}"): value for name, value in engine.items()}
        for one in self.gpus:
            rows |= {(one, f"gpu.{name}"): value for name, value in gpu.items()}
        for name, value in changed.items():
            kind, _, signal = name.partition("_")
            for entity in {"engine": (ENGINE,), "gpu": self.gpus, "node": (NODE,)}.get(kind, ()):
                rows[entity, f"{kind}.{signal}"] = value
        return rows

    def _noise(self, share: float) -> float:
        return float(1.0 + share * self._rng.standard_normal())


class Play:
    """Feeds a stage and keeps what it says."""

    def __init__(
        self,
        subject: DetectionStage | None = None,
        *,
        topology: Iterable[TopologyChange] | None = None,
    ) -> None:
        self.stage = subject or stage()
        self.tick = -1
        self.findings: list[Finding] = []
        self.entries: list[Coverage] = []
        """What the last tick said of the coverage ledger."""
        self._offset = 0
        self._topology = list(fleet() if topology is None else topology)

    def feed(
        self,
        rows: Mapping[tuple[EntityId, str], float] | None = None,
        *,
        events: Iterable[Event] = (),
        topology: Iterable[TopologyChange] = (),
        late: Iterable[SampleBatch | Event] = (),
        skip: int = 0,
        hz: int = 1,
    ) -> list[Finding]:
        """One tick (after jumping over `skip`), with each value sent `hz` times."""
        self.tick += 1 + skip
        start_s = float(self.tick)
        batch = SampleBatch.from_rows(
            (start_s + (at + 0.5) / hz, str(entity), signal, value)
            for at in range(hz)
            for (entity, signal), value in (rows or {}).items()
        )
        parts: list[tuple[Topic, object]] = [
            (Topic.TOPOLOGY, c) for c in (*self._topology, *topology)
        ]
        parts += [(Topic.EVENTS, event) for event in events]
        parts += [(Topic.SAMPLES, batch)] if len(batch) else []
        self._topology = []
        records = tuple(self._record(topic, payload) for topic, payload in parts)
        behind = tuple(
            self._record(Topic.SAMPLES if isinstance(p, SampleBatch) else Topic.EVENTS, p)
            for p in late
        )
        tick = TickInput(self.tick, start_s, start_s + 1, start_s + 1.2, records, behind)
        said = [out.payload for out in self.stage.fold(tick)]
        self.entries = [entry for entry in said if isinstance(entry, Coverage)]
        found = [finding for finding in said if isinstance(finding, Finding)]
        self.findings += found
        return found

    def arrive(self, event: Event) -> list[Finding]:
        """What the stage says of an event before its tick closes."""
        said = self.stage.arrive(self._record(Topic.EVENTS, event))
        return [out.payload for out in said if isinstance(out.payload, Finding)]

    def run(self, life: Life, seconds: int, **changed: float) -> list[Finding]:
        """Several seconds of one life."""
        return [f for _ in range(seconds) for f in self.feed(life.rows(**changed))]

    def _record(self, topic: Topic, payload: object) -> Record:
        self._offset += 1
        return Record(topic, 0, self._offset, payload)  # type: ignore[arg-type]


def calm(
    seconds: int, *, gpus: tuple[EntityId, ...] = (GPU,), **changed: float
) -> tuple[Life, Play]:
    """A life and a stage that has watched it for some calm seconds; every caller gets its own."""
    state, life = _calm(seconds, gpus, tuple(sorted(changed.items())))
    play = Play(topology=())
    play.stage.restore(state)
    play.tick = seconds - 1
    return copy.deepcopy(life), play


@functools.cache
def _calm(
    seconds: int, gpus: tuple[EntityId, ...], changed: tuple[tuple[str, float], ...]
) -> tuple[State, Life]:
    life, play = Life(gpus=gpus), Play(topology=fleet(gpus=gpus))
    play.run(life, seconds, **dict(changed))
    return play.stage.snapshot(), life


def opened(findings: Iterable[Finding], *, reason: str | None = None) -> list[Finding]:
    """The open records, of one reason if given."""
    return [
        f
        for f in findings
        if f.state is FindingState.OPEN and (reason is None or f.reason == reason)
    ]


def closed(findings: Iterable[Finding]) -> list[Finding]:
    """The records that close."""
    return [f for f in findings if f.state is FindingState.CLOSED]


def accusing(findings: Iterable[Finding]) -> list[Finding]:
    """Open records that say more than how the load is."""
    return [f for f in opened(findings) if f.reason != "load_shift" and f.confidence > 0.3]


def names(finding: Finding) -> set[str]:
    """The names of a finding's symptoms."""
    return {symptom.name for symptom in finding.symptoms}
