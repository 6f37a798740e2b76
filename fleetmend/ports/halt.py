"""The one halt. Executors read it themselves before every side effect, with broker, store and
console down as well."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HaltState:
    """Whether side effects are stopped, by whom and why."""

    halted: bool
    by: str = ""
    reason: str = ""
    since_s: float = 0.0


class HaltSwitch(Protocol):
    """When it cannot be read, the answer is halted: not knowing is not a permission."""

    def state(self) -> HaltState:
        """The state now, at most half a second old."""
        ...

    def set(self, state: HaltState) -> None:
        """Halt or go on."""
        ...
