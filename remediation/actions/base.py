"""What an action is: it looks before it acts, sets absolute states, and knows when they hold.

An action talks to ports only. It never decides whether it may act (that is `remediation.admit`),
never remembers anything itself, and may be asked to act again after a crash at any point.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from fleetmend.model.entities import key_of
from fleetmend.model.plans import ActionKind, Effect, Step
from remediation.world import World


class Seen(StrEnum):
    """What an action finds when it looks."""

    READY = "ready"
    """Not so yet: there is something to do."""
    DONE = "done"
    """The world is already as the action wants it."""
    MISSING = "missing"
    """The target does not exist."""
    LOST = "lost"
    """Somebody took back what this session had taken: a person decided, we let go."""


class Progress(StrEnum):
    """How far an act has come."""

    DONE = "done"
    AGAIN = "again"
    """Some of it is done or blocked for now; the next turn goes on."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, and what must be remembered of it to undo the act."""

    seen: Seen
    memory: str = ""
    """Kept with the intent: the weight before an ejection."""
    left: int = 0
    """Parts that must still be asked for (pods of a drain); 0 where nothing is counted."""


@dataclass(frozen=True, slots=True)
class Acted:
    """What came of an act."""

    progress: Progress
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One step of one session, as an action needs it."""

    session: str
    incident: str
    cause: str
    step: Step
    memory: str = ""
    """What the look before the intent remembered, or what the undone step remembered."""

    @property
    def name(self) -> str:
        """What the ports call the target: a node's name, an engine's key."""
        return key_of(self.step.target)

    @property
    def operation(self) -> str:
        """Names this act in the world: the same after a crash, another for every step."""
        return f"{self.session}/{self.step.action.value}/{self.step.index}"


class Action(Protocol):
    """One kind of act."""

    @property
    def kind(self) -> ActionKind:
        """Its name in runbooks and audit."""
        ...

    @property
    def effect(self) -> Effect:
        """How far it reaches."""
        ...

    @property
    def compensation(self) -> ActionKind | None:
        """What undoes it; None: it cannot be undone."""
        ...

    def look(self, world: World, task: Task) -> Look:
        """Read the world afresh. Raises PortError."""
        ...

    def act(self, world: World, task: Task) -> Acted:
        """Do it, or a bounded part of it. Raises PortError, PortRefused, and what the gate
        raises."""
        ...

    def holds(self, world: World, task: Task) -> bool:
        """Whether its effect can be seen now. Raises PortError."""
        ...
