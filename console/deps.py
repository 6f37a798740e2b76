"""What the console is given. The composition root makes one `ConsoleDeps` and calls
`console.app.create_app` with it; tests give fakes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from prometheus_client import CollectorRegistry

from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId
from fleetmend.ports.faults import FaultInjector
from fleetmend.settings.console import ConsoleSettings
from fleetmend.store import Store
from fleetmend.views.topology import TopologyView
from remediation.service import RemediationService


@dataclass(frozen=True, slots=True)
class FleetNow:
    """The fleet at one moment, for the map."""

    at_s: float
    topology: TopologyView
    out: frozenset[EntityId] = frozenset()
    """Nodes that take no work, whoever took them out."""
    busy: Mapping[EntityId, float] = field(default_factory=dict)
    """Share of time in which a GPU works, 0 to 1, where it is known."""


class FleetProvider(Protocol):
    """Where the map gets the fleet from."""

    def now(self) -> FleetNow:
        """The fleet as it is known now. Called once for each request of the map."""
        ...

    def topology(self) -> TopologyView:
        """What exists, for names. Called often, so it must cost nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ConsoleDeps:
    """Everything the console touches."""

    settings: ConsoleSettings
    clock: Clock
    store: Store
    decisions: RemediationService
    """Where decisions of people go: approve, deny, undo, halt."""
    fleet: FleetProvider | None = None
    """None where no topology is at hand: the fleet page says so."""
    faults: FaultInjector | None = None
    """Only where faults can be made on purpose (the simulator)."""
    unready: Callable[[], Sequence[str]] = tuple
    """Why services that run in the same process are not ready; empty when they are. Never shown:
    /readyz only counts them."""
    simulated: str = ""
    """What kind of fleet this is and what will happen, in a sentence, where it is no real one: the
    fleet page, which is then the first page, says it."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """Where the console's own metrics go; /metrics shows all of it."""
