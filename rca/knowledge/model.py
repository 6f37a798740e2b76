"""Signs and fault classes as the rest of the room sees them. Made by `rca.knowledge.load`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleetmend.model.entities import EntityKind, RelationKind
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import Severity

SELF = "self"
PEER = "peer"
"""Entities of the root's own kind that the class reaches."""


class Channel(StrEnum):
    """By what a sign is known. Silent telemetry hides only what comes through telemetry."""

    TELEMETRY = "telemetry"
    LOG = "log"
    PROBE = "probe"
    CLUSTER = "cluster"
    SILENCE = "silence"


class Hearing(StrEnum):
    """When the absence of a sign says something."""

    DEFAULT = "default"
    """Every usual exporter gives it: absence counts unless the entity is silent."""
    SEEN = "seen"
    """Only some exporters give it: absence counts once it was seen in this cluster."""


class Effect(StrEnum):
    """What a fault does to the service: the severity table starts from it."""

    GPU_LOST = "gpu_lost"
    NO_SERVICE = "no_service"
    """An engine serves nothing."""
    SLOW = "slow"
    MEMORY = "memory"
    WRONG = "wrong"
    """Requests are answered, and wrongly."""
    RISK = "risk"
    """Nothing is lost yet."""
    BLIND = "blind"
    """Only the view is lost."""


@dataclass(frozen=True, slots=True)
class Match:
    """One way in which a sign shows in a finding."""

    name: str
    """A symptom's name, or a finding's reason when `direction` is None."""
    direction: Direction | None


@dataclass(frozen=True, slots=True)
class Sign:
    """Something that can be seen on one entity, whichever detector or signal says so."""

    name: str
    title: str
    kinds: frozenset[EntityKind]
    matches: tuple[Match, ...]
    leak: float
    """Probability of seeing it within an incident's time without any of the known causes."""
    channel: Channel
    heard: Hearing
    echo: bool
    """A backlog that drains after a fault shows it too."""
    opposite: str
    """The sign that the same signals show when they go the other way, or empty."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step along a relation: `<runs_on` leads from a GPU to the engines that run on it."""

    relation: RelationKind
    forward: bool

    def __str__(self) -> str:
        return f"{'>' if self.forward else '<'}{self.relation.value}"


@dataclass(frozen=True, slots=True)
class Expected:
    """A sign that a fault class causes."""

    sign: str
    on: str
    """`self`, `peer`, or the kind of entity that the class reaches."""
    strength: float
    """Probability that the fault alone makes it seen (a noisy-OR parameter)."""
    lag_min_s: float
    lag_max_s: float
    decisive: bool
    """Alone enough to name the class."""
    share_min: float
    """Over 0: each entity within reach counts for itself, and without a decisive sign the class is
    considered only when this share of them show it."""
    lasting: bool = False
    """It may come, or come again, at any time while the fault lasts."""
    consequence: bool = False
    """Shown by another fault that this one leads to: its absence says nothing."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A sign that speaks against a fault class."""

    sign: str
    on: str
    likelihood: float
    """How probable the sign is beside this fault, relative to its leak: 0.05 is strong against."""


@dataclass(frozen=True, slots=True)
class FaultClass:
    """One kind of fault on one kind of entity."""

    name: str
    title: str
    """Ends a sentence that begins with the entity: `shares its GPU with a foreign process`."""
    kinds: frozenset[EntityKind]
    prior: float
    """Probability of this fault among what opens incidents."""
    spreads: tuple[Step, ...]
    depth: int
    """How many steps it spreads at most."""
    needs: tuple[str, ...]
    """`peer` or kinds that must be within reach, else the class does not apply."""
    expected: tuple[Expected, ...]
    forbidden: tuple[Forbidden, ...]
    leads_to: tuple[str, ...]
    """Faults that follow from it on what it reaches; what they show is in `expected`."""
    silences: tuple[str, ...]
    """`self`, `peer` or kinds whose telemetry it may take away."""
    changes: tuple[str, ...]
    """Changes that make it likelier when they came shortly before (`rollout`, `driver`)."""
    change_needed: bool
    """Without such a change the class does not apply."""
    effect: Effect
    severity: Severity
    """Where the effect alone decides nothing."""
    runbooks: tuple[str, ...]
    next_check: str
    source: str
    """Where the symptoms were taken from."""

    @property
    def shared(self) -> bool:
        """True when it needs a share of its entities to show the same."""
        return any(expected.share_min > 0.0 for expected in self.expected)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Everything that is known, by name."""

    signs: Mapping[str, Sign]
    classes: Mapping[str, FaultClass]
    acts: Mapping[str, Mapping[EntityKind, frozenset[str]]] = field(default_factory=dict)
    """What each act of ours shows, by kind of entity."""
    by_sign: Mapping[str, tuple[tuple[FaultClass, Expected], ...]] = field(init=False)
    """Which classes expect a sign, and how."""

    def __post_init__(self) -> None:
        found: dict[str, list[tuple[FaultClass, Expected]]] = {}
        for fault in self.classes.values():
            for expected in fault.expected:
                if expected.consequence:  # seen alone it speaks for what it comes from
                    continue
                found.setdefault(expected.sign, []).append((fault, expected))
        index = {sign: tuple(uses) for sign, uses in found.items()}
        object.__setattr__(self, "by_sign", index)  # frozen, and derived from the other two
