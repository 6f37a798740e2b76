"""Plans, steps, verdicts and sessions: what remediation decides, and what it may do about it."""

from dataclasses import dataclass, field
from enum import StrEnum

from fleetmend.model.entities import EntityId


class Effect(StrEnum):
    """How far an action reaches; each class needs more witnesses than the one before."""

    OBSERVE = "observe"
    """Changes nothing."""
    REVERSIBLE = "reversible"
    """Cordon, taint, eject, weight: one authoritative witness."""
    DISRUPTIVE = "disruptive"
    """Drain, restart: two witnesses of different kind and channel."""
    DESTRUCTIVE = "destructive"
    """Reset, reboot, replace: two witnesses, and approval unless policy grants auto."""


class ActionKind(StrEnum):
    """Everything that can be done to the outside world. Each has a compensation or says that it
    has none."""

    CORDON = "cordon"
    """Node unschedulable, tainted and annotated with the session, in one patch."""
    UNCORDON = "uncordon"
    DRAIN = "drain"
    """Evict pods one by one through the eviction API; budgets are respected."""
    ENGINE_RESTART = "engine_restart"
    EJECT = "eject"
    """No new traffic to an engine."""
    RESTORE = "restore"
    """Traffic back to an engine."""
    NOTIFY = "notify"


class Autonomy(StrEnum):
    """How far a pool lets a runbook go."""

    OBSERVE = "observe"
    RECOMMEND = "recommend"
    APPROVE = "approve"
    AUTO = "auto"


class OnFailure(StrEnum):
    """What follows when a step fails."""

    COMPENSATE = "compensate"
    """Undo what was done before it, last first."""
    CONTINUE = "continue"
    """Go on with the next step."""
    HOLD = "hold"
    """Stop here and keep what was done until the fault clears."""


@dataclass(frozen=True, slots=True)
class Step:
    """One action of a plan."""

    index: int
    action: ActionKind
    effect: Effect
    target: EntityId
    parameters: dict[str, str] = field(default_factory=dict)
    verify: str = ""
    """Name of the check that must hold afterwards."""
    timeout_s: float = 60.0
    compensation: ActionKind | None = None
    witnesses_needed: int = 1
    on_failure: OnFailure = OnFailure.COMPENSATE


@dataclass(frozen=True, slots=True)
class Plan:
    """What a runbook would do about one incident. Immutable; a changed plan is a new version."""

    id: str
    version: int
    incident: str
    incident_version: int
    runbook: str
    runbook_version: int
    cause: str
    entity: EntityId
    pool: str
    domain: EntityId
    """The failure domain (node, rack ...) whose level is counted."""
    steps: tuple[Step, ...]
    created_at_s: float
    give_back: tuple[Step, ...] = ()
    """Steps that return capacity once the fault is gone; never blocked by a breaker."""
    renewed_by: str = ""
    """The person who asked for this version after an earlier one was given up; empty: nobody did.
    What was decided about earlier versions counts no more."""


class Refusal(StrEnum):
    """Every reason for which admission says no (or not yet). Docs and audit show these words."""

    HALTED = "halted"
    AUTONOMY_OBSERVE = "autonomy_observe"
    AUTONOMY_RECOMMEND = "autonomy_recommend"
    APPROVAL_MISSING = "approval_missing"
    APPROVAL_EXPIRED = "approval_expired"
    APPROVAL_DENIED = "approval_denied"
    APPROVAL_STALE = "approval_stale"
    """Given for another version of the plan."""
    RATE_EXCEEDED = "rate_exceeded"
    LEVEL_EXCEEDED = "level_exceeded"
    CAPACITY_SHORT = "capacity_short"
    TELEMETRY_STALE = "telemetry_stale"
    DOMAIN_SILENT = "domain_silent"
    SHARED_PARENT = "shared_parent"
    OWNED_BY_OTHER = "owned_by_other"
    WITNESSES_MISSING = "witnesses_missing"
    NO_OUTSIDE_WITNESS = "no_outside_witness"
    """Only engines speak for the cause, and the step takes more than an engine."""
    CAUSE_DOUBTFUL = "cause_doubtful"
    """Another cause, or none, is likelier than the one that the plan answers."""
    PROVISIONAL = "provisional"
    """Only reversible acts before the tick has confirmed."""
    HOSTS_PLATFORM = "hosts_platform"
    """The node carries the platform's own broker, store or leader."""
    MAINTENANCE = "maintenance"
    CHANGE_FREEZE = "change_freeze"
    CATCHING_UP = "catching_up"
    """Offsets were lost or the log is being replayed: nothing is changed until it has caught up."""
    UNKNOWN_TARGET = "unknown_target"


@dataclass(frozen=True, slots=True)
class Reason:
    """One named reason of a verdict with the figures behind it."""

    refusal: Refusal
    detail: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What admission says about one step of a plan. Admitted exactly when no reason speaks against
    it."""

    plan: str
    plan_version: int
    step: int
    at_s: float
    reasons: tuple[Reason, ...]
    waivers: tuple[str, ...] = ()
    """Guards that would have spoken but do not apply, by name (`explained_silence`,
    `giving_back`)."""

    @property
    def admitted(self) -> bool:
        """True when nothing speaks against the step."""
        return not self.reasons


class SessionState(StrEnum):
    """The life of a remediation session. Transitions are checked in remediation.session."""

    PROPOSED = "proposed"
    WAITING = "waiting"
    """For approval or for a guard to let it pass."""
    RUNNING = "running"
    VERIFYING = "verifying"
    HOLDING = "holding"
    """All steps done and verified; capacity is out until the fault clears."""
    GIVING_BACK = "giving_back"
    COMPENSATING = "compensating"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


ENDED_SESSIONS = frozenset({SessionState.DONE, SessionState.CANCELLED, SessionState.FAILED})
"""States that hold nothing any more and that nothing follows."""


class StepState(StrEnum):
    """What is known of a step. INTENDED without an outcome after a crash means: look before
    acting."""

    PENDING = "pending"
    REFUSED = "refused"
    INTENDED = "intended"
    INTERRUPTED = "interrupted"
    """Begun, and stopped before it was done: what it did stays done, and is given back."""
    DONE = "done"
    FOUND_DONE = "found_done"
    """The world was already so: nothing was sent."""
    FAILED = "failed"
    COMPENSATED = "compensated"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's decision on one version of a plan. The first decision wins whatever its
    channel."""

    plan: str
    plan_version: int
    granted: bool
    by: str
    at_s: float
    expires_at_s: float
    channel: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What is known of one step of a session."""

    index: int
    state: StepState
    updated_at_s: float
    attempt: int = 0
    detail: str = ""
    begun_at_s: float = 0.0
    """When it was first begun, Unix seconds; 0 while it was not."""
    parts: int = 0
    """How many parts (the pods of a drain) it had when it began; 0 where nothing is counted."""
    parts_left: int = 0
    """Those that were still to be done when this was written."""


@dataclass(frozen=True, slots=True)
class Session:
    """A plan being carried out. At most one session holds a node; one that may only recommend holds
    none."""

    id: str
    plan: str
    plan_version: int
    incident: str
    entity: EntityId
    state: SessionState
    fence: int
    """Rises with every claim: a worker that holds an older number has lost the session."""
    worker: str
    lease_until_s: float
    steps: tuple[StepRecord, ...]
    opened_at_s: float
    updated_at_s: float
    give_back: tuple[StepRecord, ...] = ()
    reason: str = ""
    """Why it is in this state, a stable word."""
