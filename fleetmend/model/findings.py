"""Findings: what a detector says about one entity. Detectors propose; evidence disposes."""

from dataclasses import dataclass
from enum import StrEnum

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness, event_id


class Direction(StrEnum):
    """Which way a symptom goes against what was expected."""

    UP = "up"
    DOWN = "down"
    PRESENT = "present"
    """For events and states, which have no scale."""


class FindingState(StrEnum):
    """The life of a finding. Every change is a record with the same id."""

    PROVISIONAL = "provisional"
    """Said on arrival of an event; the tick confirms it under the same id."""
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that is not as expected."""

    name: str
    """A canonical signal (`gpu.sm_clock`), or the name of a state or event: `xid.79`,
    `no_progress`,
    `telemetry_silent`, `log.nccl_timeout`."""
    direction: Direction
    score: float
    """How odd, as a robust z-like number for signals; 1.0 for events and states."""
    onset_s: float
    observed: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one detector found on one entity from one onset."""

    id: str
    detector: str
    """`rules`, `coverage`, `watchdog`, `baseline`, `forest`, `peers` ..."""
    entity: EntityId
    state: FindingState
    witness: Witness
    tick: int
    """The tick of this record (the opening tick is in the id)."""
    at_s: float
    """Event time reached when this record was emitted."""
    onset_s: float
    """Estimated start of the trouble, at or before `at_s`."""
    confidence: float
    """0 to 1."""
    symptoms: tuple[Symptom, ...]
    """Strongest first; may grow over the finding's life."""
    reason: str
    """Why the detector spoke, a stable word (`sticky_xid`, `frozen`, `level_shift`,
    `odd_combination`)."""
    detail: str = ""
    """One line for people; hostile text from logs is capped and never interpreted."""


def finding_id(entity: EntityId, detector: str, key: str, opening_tick: int) -> str:
    """The same opening gives the same id, so sending it again does no harm."""
    return "f-" + event_id(entity, detector, key, opening_tick)
