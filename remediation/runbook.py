"""Runbooks: what may be done about a diagnosis, as data that an operator writes and tests.

`remediation.runbook_files` reads them, `remediation.plan` turns one into a plan, and
`remediation.cases` runs the examples that each carries. This module says what a file may hold.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from fleetmend.model.events import Witness
from fleetmend.model.plans import ActionKind, Autonomy, Effect, OnFailure, Refusal
from remediation.actions.catalogue import actions
from remediation.facts import EFFECT_RANK, GIVES_BACK

Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=60)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Role = Literal["responder", "approver", "policy-admin", "admin"]
TargetKind = Literal["node", "engine", "entity"]

PROBATION_MAX_S = 86_400.0
BLAST_WINDOW_MAX_S = 86_400.0
ACTIONS = actions()
ON_NODES = frozenset({ActionKind.CORDON, ActionKind.UNCORDON, ActionKind.DRAIN})
ON_ENGINES = frozenset({ActionKind.ENGINE_RESTART, ActionKind.EJECT, ActionKind.RESTORE})


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StepTemplate(_Part):
    """One step of a runbook; the plan puts the targets in."""

    do: ActionKind
    """The action."""
    with_: dict[Word, Line] = Field(default={}, alias="with")
    """Its parameters: `text` for notify."""
    effect: Effect | None = None
    """How far it reaches, when that is further than the action's own class."""
    verify: Literal["state", "recovered"] = "state"
    """What must hold afterwards: `state`, the effect is seen; `recovered`, the incident is over."""
    timeout_s: float = Field(default=60.0, gt=0, le=86_400)
    """Seconds for the act, and again for its verification."""
    on_failure: OnFailure = OnFailure.COMPENSATE
    """What follows when either takes longer, or is refused by the other side."""
    compensate: ActionKind | Literal["none"] | None = None
    """What undoes it; left out: the action's own compensation."""
    witnesses: int = Field(default=1, ge=0, le=3)
    """Witnesses of different kind that this step wants, when more than its effect does."""

    @model_validator(mode="after")
    def _fits_its_action(self) -> Self:
        action = ACTIONS[self.do]
        if self.effect is not None and EFFECT_RANK[self.effect] < EFFECT_RANK[action.effect]:
            raise ValueError(f"{self.do.value} is {action.effect.value}, never less")
        if self.compensate not in (None, "none", action.compensation):
            known = action.compensation.value if action.compensation else "none"
            raise ValueError(f"{self.do.value} is undone by {known}, by nothing else")
        if self.do in GIVES_BACK and self.witnesses > 1:
            raise ValueError(f"{self.do.value} gives back: it needs no witnesses")
        return self

    @property
    def target(self) -> TargetKind:
        """What the action works on."""
        if self.do in ON_NODES:
            return "node"
        return "engine" if self.do in ON_ENGINES else "entity"

    @property
    def compensation(self) -> ActionKind | None:
        """What undoes the step in a plan."""
        if self.compensate is None:
            return ACTIONS[self.do].compensation
        return None if self.compensate == "none" else self.compensate


class ApprovalRule(_Part):
    """When a person must agree although the pool lets runbooks act by themselves."""

    from_: Effect = Field(default=Effect.DESTRUCTIVE, alias="from")
    """From this effect on."""
    roles: tuple[Role, ...] = Field(default=("approver",), min_length=1)
    """Who may agree; roles above these may, too."""
    ttl_s: float = Field(default=900.0, gt=0, le=86_400)
    """Seconds for which an approval holds."""


class Blast(_Part):
    """Bounds of this runbook over the whole fleet, beside those of the settings."""

    out_max: int = Field(ge=0, le=10_000)
    """Units that it may hold out at once."""
    taken_max: int = Field(ge=0, le=10_000)
    """Units that it may take within `window_s`."""
    window_s: float = Field(default=3600.0, gt=0, le=BLAST_WINDOW_MAX_S)
    """Seconds that a taken unit counts."""


class Given(_Part):
    """The situation of an example: a small healthy fleet, and what is different in it."""

    cause: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    """Cause that the diagnosis names first."""
    entity: Literal["gpu", "engine", "node"] = "gpu"
    """What it is on."""
    witnesses: tuple[Witness, ...] = ()
    """Channels that support it."""
    symptom: str = "xid.79"
    """What each of them says."""
    autonomy: Autonomy = Autonomy.AUTO
    """Of the pool."""
    provisional: bool = False
    """No tick has confirmed the incident yet."""
    halted: bool = False
    """The halt is set."""
    approved: bool | None = None
    """A person's decision on the plan; left out: none yet."""
    nodes_out: int = Field(default=0, ge=0, le=8)
    """Other nodes of the same rack that are out."""
    silent: bool = False
    """The target sends no telemetry, and the diagnosis expects that."""
    spare: bool = True
    """What remains carries the demand."""
    owner: str = ""
    """Another tool that holds the node."""


class Expected(_Part):
    """What must come of it."""

    acts: tuple[ActionKind, ...] = ()
    """Actions done, in order."""
    refused: dict[ActionKind, tuple[Refusal, ...]] = {}
    """Where the plan stops: the step and every reason against it."""
    no_plan: bool = False
    """The runbook does not match."""
    gives_back: tuple[ActionKind, ...] = ()
    """Actions done once the incident has resolved; left out: not looked at."""


class Example(_Part):
    """A case that `runbook test` runs."""

    name: Line
    given: Given
    expect: Expected


class RunbookFile(_Part):
    """A runbook as it is written."""

    id: Word
    version: int = Field(ge=1)
    owner: Line
    title: Line
    match: Line
    """CEL over `cause`, `incident`, `evidence`, `node`: which diagnoses it answers."""
    rank: int = Field(default=100, ge=0, le=1000)
    """Among runbooks that match and that the diagnosis does not name, the lowest is taken."""
    preconditions: tuple[Line, ...] = Field(default=(), max_length=20)
    """CEL conditions that must all hold, else the next runbook is asked."""
    autonomy: Autonomy = Autonomy.AUTO
    """How far it may go at most, whatever the pool allows."""
    blast: Blast | None = None
    steps: tuple[StepTemplate, ...] = Field(min_length=1, max_length=20)
    give_back: tuple[StepTemplate, ...] | None = Field(default=None, max_length=20)
    """Steps once the fault is gone; left out: the compensations, last first."""
    approval: ApprovalRule = ApprovalRule()
    probation_s: float = Field(default=0.0, ge=0, le=PROBATION_MAX_S)
    """Seconds that the incident must have been over before capacity returns."""
    tests: tuple[Example, ...] = Field(min_length=1, max_length=50)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        kinds = [step.do for step in self.steps]
        if len(set(kinds)) != len(kinds):
            raise ValueError("steps: an action stands there twice")
        if set(kinds) & GIVES_BACK:
            raise ValueError("steps: what gives back stands under give_back")
        drained = ActionKind.DRAIN in kinds
        if drained and ActionKind.CORDON not in kinds[: kinds.index(ActionKind.DRAIN)]:
            raise ValueError("steps: a drain needs a cordon before it, else new pods come")
        returned = {step.do for step in self.returning()}
        for step in self.steps:
            back = ACTIONS[step.do].compensation
            if back is not None and back not in returned:
                raise ValueError(f"give_back: {step.do.value} is never undone by {back.value}")
        if not returned <= GIVES_BACK | {ActionKind.NOTIFY}:
            raise ValueError("give_back: only what gives back or notifies stands there")
        return self

    def returning(self) -> tuple[StepTemplate, ...]:
        """The steps that give back."""
        if self.give_back is not None:
            return self.give_back
        backs = (ACTIONS[step.do].compensation for step in reversed(self.steps))
        return tuple(StepTemplate(do=back) for back in backs if back is not None)
