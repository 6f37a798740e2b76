"""The one halt. Executors read it themselves before every side effect, with broker, store and
console down as well."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HaltState:
    """Whether side effects are stopped, by whom and why."""

    halted: bool
    by: str = ""
    reason: str = ""
    since_s: float = 0.0
    where: str = field(default="", compare=False)
    """Which switch says so: a path, or `ConfigMap namespace/name`; filled in by who reads it."""


class HaltSwitch(Protocol):
    """When it cannot be read, the answer is halted: not knowing is not a permission."""

    def state(self) -> HaltState:
        """The state now, at most half a second old."""
        ...

    def set(self, state: HaltState) -> None:
        """Halt or go on."""
        ...
