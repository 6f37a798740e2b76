"""What admission looks at: plain frozen data, gathered elsewhere (`remediation.gather`).

A *unit* is what a step takes out: a node, or an engine for the milder actions. Limits count units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.plans import ActionKind, Approval, Autonomy, Effect
from fleetmend.ports.halt import HaltState
from remediation.policy import Limits

GIVES_BACK = frozenset({ActionKind.UNCORDON, ActionKind.RESTORE})
"""Actions that return capacity: no breaker may stand in their way."""

EFFECT_RANK = {
    Effect.OBSERVE: 0,
    Effect.REVERSIBLE: 1,
    Effect.DISRUPTIVE: 2,
    Effect.DESTRUCTIVE: 3,
}
"""How far an effect reaches, for comparing."""


class DomainKind(StrEnum):
    """What bounds apply to a failure domain."""

    RACK = "rack"
    POOL = "pool"
    FLEET = "fleet"
    RUNBOOK = "runbook"
    """Everything that one runbook has taken: its own blast limits."""


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """One failure domain that the unit belongs to."""

    domain: EntityId
    kind: DomainKind
    size: int
    """Units in it."""
    out: frozenset[EntityId]
    """Units that are out now, whoever took them; those with an intent of ours count."""
    taken: Mapping[EntityId, float] = field(default_factory=dict)
    """Unit -> when we took it out last, Unix seconds; those given back since stay in here."""
    silent: frozenset[EntityId] = frozenset()
    """Units with missing, stale or frozen telemetry, explained or not."""
    same_symptom: Mapping[str, frozenset[EntityId]] = field(default_factory=dict)
    """Symptom of this incident -> units of the domain that show it too."""
    limits: Limits | None = None
    """Bounds of its own, instead of the policy's."""


@dataclass(frozen=True, slots=True)
class CapacityFacts:
    """What the step does to one model's serving capacity, in requests at once."""

    model: EntityId
    serving: float
    """Capacity that serves now; engines that are down already do not count."""
    removed: float
    """Part of it that the step takes away."""
    needed: float | None
    """Trailing peak of demand with its margin; None when demand is not known."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Telemetry of the target that is missing, stale or frozen."""

    entity: EntityId
    symptom: str
    explained: bool
    """The diagnosis counts it as a consequence of the cause."""
    confirmed_by: frozenset[Witness] = frozenset()
    """Witnesses on other paths that support the same cause."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything admission needs to know about one step at one moment."""

    at_s: float
    autonomy: Autonomy
    """The lesser of what the pool and the runbook allow."""
    approval_from: Effect
    """Effect from which on a person must agree even under `auto`."""
    halt: HaltState
    target_known: bool
    """The target exists in the topology and, for a node, in the cluster."""
    unit: EntityId
    unit_name: str
    """What people and settings call the unit's node."""
    domains: tuple[DomainFacts, ...] = ()
    capacity: tuple[CapacityFacts, ...] = ()
    silences: tuple[Silence, ...] = ()
    witnesses: frozenset[Witness] = frozenset()
    """Channels by which the plan's cause is known."""
    outside_witnesses: frozenset[Witness] = frozenset()
    """Those of them by which it is known from outside every engine."""
    cause_score: float = 1.0
    """How likely the plan's cause is, 0 to 1."""
    under_way: bool = False
    """Part of the step is done already: it was admitted a while ago."""
    provisional: bool = False
    session: str = ""
    """The session that asks."""
    owner: str = ""
    """Who holds the node, as the object and the store say; empty: nobody."""
    hosts_platform: str = ""
    """What part of the platform the node carries; empty: none."""
    maintenance: str = ""
    """Why the topology says that somebody works on the node; empty: nobody does."""
    approval: Approval | None = None
    """The decision on this version of the plan."""
    earlier_approval: Approval | None = None
    """The last decision on an earlier version."""
    catching_up: str = ""
    """Why the picture may be old; empty: it is current."""
