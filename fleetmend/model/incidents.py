"""Incidents and diagnoses: what root cause analysis publishes. Every change is the whole
incident."""

from dataclasses import dataclass
from enum import StrEnum

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction


class Severity(StrEnum):
    """How bad, see the severity table in docs/operations.md."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class IncidentStatus(StrEnum):
    """The first axis of an incident's state; the second is its automation."""

    OPEN = "open"
    MITIGATED = "mitigated"
    """Symptoms are gone while an action of ours is still in place."""
    RESOLVED = "resolved"
    MERGED = "merged"
    """A shared cause was found: `merged_into` carries on."""


ENDED_INCIDENTS = frozenset({IncidentStatus.RESOLVED, IncidentStatus.MERGED})
"""States from which an incident never comes back."""


class CauseRole(StrEnum):
    """What a ranked hypothesis is taken for."""

    ROOT = "root"
    CONTRIBUTING = "contributing"
    CANDIDATE = "candidate"
    RULED_OUT = "ruled_out"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece of evidence, numbered E1, E2 ... within its incident, so that claims can name
    it."""

    id: str
    finding: str
    entity: EntityId
    symptom: str
    direction: Direction
    witness: Witness
    onset_s: float
    score: float
    observed: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    unit: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """A ranked hypothesis: fault class `cause` on `entity`."""

    cause: str
    entity: EntityId
    score: float
    """Posterior-like, 0 to 1; causes of one incident need not sum to one (two faults may
    coexist)."""
    role: CauseRole
    supports: tuple[str, ...]
    """Ids of evidence for it."""
    contradicts: tuple[str, ...]
    """Ids of evidence against it, and names of expected symptoms that are absent
    (`absent:xid.79`)."""
    path: tuple[EntityId, ...]
    """How it reaches the most visible symptom."""
    runbooks: tuple[str, ...]


class Abstention(StrEnum):
    """Why no cause is named."""

    NONE = "none"
    UNKNOWN_SIGNATURE = "unknown_signature"
    """No fault class explains enough of what is seen."""
    SMALL_MARGIN = "small_margin"
    """Two causes explain it about equally well."""
    BLIND = "blind"
    """Too much telemetry is missing."""


@dataclass(frozen=True, slots=True)
class Incident:
    """The state of one incident after a change."""

    id: str
    version: int
    """1 at opening, one more with each change."""
    status: IncidentStatus
    provisional: bool
    """True until a tick has confirmed it: only reversible actions may follow."""
    severity: Severity
    severity_reason: str
    entity: EntityId
    """Of the first cause; before there is one, of the strongest finding."""
    title: str
    opened_at_s: float
    """Event time reached when it was first emitted, never an estimated onset."""
    updated_at_s: float
    onset_s: float
    causes: tuple[Cause, ...]
    """Best first."""
    evidence: tuple[Evidence, ...]
    affected: tuple[EntityId, ...]
    abstention: Abstention = Abstention.NONE
    next_check: str = ""
    """The check that would best tell the first causes apart."""
    resolved_at_s: float | None = None
    merged_into: str = ""
    open_findings: int = 0
    evidence_count: int = 0
    """Signs that belong to it; a storm's incident names only some of them as evidence."""
    affected_count: int = 0
    """Entities that are affected; a storm's incident names only some of them."""
    change: str = "opened"
    """Why this record was published: opened, confirmed, cause_changed, evidence_added,
    severity_changed,
    mitigated, resolved, merged."""
