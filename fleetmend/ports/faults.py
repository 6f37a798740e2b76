"""Making faults on purpose, where a fleet can do that (the simulator): the demo's button, game
days."""

from dataclasses import dataclass
from typing import Protocol

from fleetmend.model.entities import EntityId


@dataclass(frozen=True, slots=True)
class FaultOffer:
    """A fault that can be made."""

    name: str
    title: str
    target_kind: str


@dataclass(frozen=True, slots=True)
class InjectedFault:
    """A fault that was made."""

    id: str
    name: str
    target: EntityId
    started_at_s: float


class FaultInjector(Protocol):
    """Never wired to a real fleet."""

    def offers(self) -> tuple[FaultOffer, ...]:
        """What can be made here."""
        ...

    def inject(self, name: str, target: EntityId | None = None) -> InjectedFault:
        """Make the fault now; without a target one is chosen. Raises PortRefused for unknown
        names."""
        ...
