"""An inference engine as remediation can treat it, milder than its pod or node."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class EngineState:
    """What was read of an engine."""

    engine: str
    generation: int
    """Counts its starts: a restart has happened when this is larger than before."""
    serving: bool
    operation: str
    """Id of the operation that last restarted it, or empty."""


class EngineControl(Protocol):
    """Errors: PortError (try again), PortRefused (do not)."""

    def state(self, engine: str) -> EngineState | None:
        """State now; None when there is no such engine."""
        ...

    def restart(self, engine: str, *, operation: str) -> EngineState:
        """Restart once for this operation: a second call with the same operation changes
        nothing."""
        ...
