"""The router in front of engines: who gets traffic. Weights are absolute states."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class BackendState:
    """What the router does with an engine."""

    engine: str
    weight: int
    """0 to 100; 0 gives no new requests."""
    healthy: bool
    operation: str
    """Id of the operation that last set it, or empty."""


class Traffic(Protocol):
    """Errors: PortError (try again), PortRefused (do not)."""

    def backend(self, engine: str) -> BackendState | None:
        """State of an engine's backend; None when the router does not know it."""
        ...

    def set_weight(self, engine: str, weight: int, *, operation: str) -> BackendState:
        """Give the backend this weight. Doing it twice changes nothing."""
        ...
