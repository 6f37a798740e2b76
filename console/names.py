"""The console's names for entities: every text that a page shows passes here (the `line` filter),
so builders know no topology. The API keeps whole ids.
"""

from console.deps import FleetProvider
from fleetmend.clock import Clock
from fleetmend.views.names import Names
from fleetmend.views.topology import TopologyView


class NameBook(Names):
    """Knows the current names; without a fleet it only shortens."""

    def __init__(self, fleet: FleetProvider | None, clock: Clock) -> None:
        super().__init__(fleet.topology if fleet is not None else TopologyView, clock)
