"""The ground truth of a simulation: what was done to the fleet, for scoring a closed loop.

Written by `simulator.outbreak`, read through `Fleet.truth()`. Nothing of the platform may see it.
"""

from dataclasses import dataclass

from fleetmend.model.entities import EntityId
from fleetmend.ports.faults import InjectedFault
from simulator.faults import Mend


@dataclass(frozen=True, slots=True)
class TrueFault:
    """One entry of the ground truth."""

    fault: InjectedFault
    cause: str
    """The fault class that a right diagnosis names."""
    affected: tuple[EntityId, ...]
    """Entities that a right diagnosis may name: the target and what the fault reached at once."""
    benign: bool
    """Lawful: an incident about it would be a false alarm."""
    ended_at_s: float | None
    ended_by: Mend | None
