"""Coverage: what should be heard of one entity, and how well it is. The ledger's entry.

Detection keeps the ledger and publishes an entry whenever one changes; the store holds the newest
of each entity, for `fleetmend coverage`, the console and whoever asks what can be seen.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from fleetmend.model.entities import EntityId, EntityKind, entity_id


class Freshness(StrEnum):
    """How well something is heard, from well to not at all."""

    FRESH = "fresh"
    LATE = "late"
    """Silent for longer than usual, not yet long enough to be missing. Of an entity also: heard,
    but without some of its signals."""
    FROZEN = "frozen"
    """Heard, but what always moves does not: old figures behind a good answer."""
    ABSENT = "absent"
    """Was heard, and is not any more."""
    NEVER = "never"
    """Expected, and not heard once."""


MISSING = frozenset({Freshness.FROZEN, Freshness.ABSENT, Freshness.NEVER})
"""States in which nothing that is said of it now can be relied on. A frozen gauge is missing
telemetry too."""


LEDGER = entity_id("fleetmend", EntityKind.COLLECTOR, "detection")
"""Under which the ledger speaks of itself: how far it has come. Silence has nobody else to tell it
when the ledger itself is silent."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the ledger says of one entity from `at_s` on, until it says something else."""

    entity: EntityId
    at_s: float
    """Event time reached when this was said."""
    state: Freshness
    since_s: float
    """Event time since when it has been in this state."""
    heard_s: float | None = None
    """Event time of the last word when this was said; None for never."""
    every_s: float | None = None
    """Longest usual distance between two words; None while it is not known."""
    signals: dict[Freshness, tuple[str, ...]] = field(default_factory=dict)
    """Every signal that is expected, by the state it is in, in order of name."""
    outcome: str = ""
    """What became of the last scrape of its page when it failed: `connection refused`."""
    node: str = ""
    """The entity id of its node; empty: it has none."""
    pool: str = ""
    """What people call its pool; empty: it has none."""
    gone: bool = False
    """True when the ledger expects it no longer: it has left the fleet, or was let go."""

    @property
    def expected(self) -> int:
        """How many signals are expected."""
        return sum(len(names) for names in self.signals.values())

    @property
    def missing(self) -> tuple[str, ...]:
        """Signals that are expected and missing, in order of name."""
        return tuple(sorted(n for state in MISSING for n in self.signals.get(state, ())))
