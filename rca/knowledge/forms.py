"""The form of the knowledge files, field by field. Used by `rca.knowledge.load`."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from fleetmend.model.entities import EntityKind
from fleetmend.model.incidents import Severity
from fleetmend.model.plans import ActionKind
from rca.knowledge.model import SELF, Channel, Effect, Hearing

Probability = Annotated[float, Field(gt=0.0, lt=1.0)]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
MatchText = Annotated[
    str, StringConstraints(pattern=r"^(@[a-z][a-z0-9_]*|[a-zA-Z0-9_.]+ (up|down|present))$")
]
StepText = Annotated[str, StringConstraints(pattern=r"^[<>][a-z_]+$")]


class Form(BaseModel):
    """Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SignForm(Form):
    """One table of `signs.toml`."""

    title: str
    kinds: list[EntityKind] = Field(min_length=1)
    any: list[MatchText] = Field(min_length=1)
    leak: Probability
    channel: Channel = Channel.TELEMETRY
    heard: Hearing = Hearing.DEFAULT
    echo: bool = False
    opposite: Word | Literal[""] = ""


class ExpectedForm(Form):
    """One line of `symptoms`."""

    sign: Word
    on: str = SELF
    strength: Probability
    lag_s: tuple[float, float] = (0.0, 5.0)
    decisive: bool = False
    share_min: float = Field(default=0.0, ge=0.0, le=1.0)


class ForbiddenForm(Form):
    """One line of `must_not_see`."""

    sign: Word
    on: str = SELF
    likelihood: Probability


class ClassForm(Form):
    """One file of `classes/`."""

    title: str
    kinds: list[EntityKind] = Field(min_length=1)
    prior: Probability
    spreads: list[StepText] = []
    depth: int = Field(default=1, ge=1, le=4)
    needs: list[str] = []
    symptoms: list[ExpectedForm] = Field(min_length=1)
    must_not_see: list[ForbiddenForm] = []
    leads_to: list[Word] = []
    silences: list[str] = []
    changes: list[Word] = []
    change_needed: bool = False
    effect: Effect
    severity: Severity
    runbooks: list[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]] = Field(
        min_length=1
    )
    next_check: str
    source: str


SIGNS_FORM: TypeAdapter[dict[Word, SignForm]] = TypeAdapter(dict[Word, SignForm])
ACTS_FORM: TypeAdapter[dict[ActionKind, dict[EntityKind, list[Word]]]] = TypeAdapter(
    dict[ActionKind, dict[EntityKind, list[Word]]]
)
