"""The words of a fault: what it presses on, what happens at which moment, what ends it.

`simulator.catalogue` writes all faults in these words; `simulator.outbreak` carries them out. A
fault never writes telemetry: it presses on physics (`simulator.pressure`) and makes moments (a
kernel line, a crash); symptoms follow from the model.
"""

from dataclasses import dataclass
from enum import StrEnum

from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness


class Mend(StrEnum):
    """What can end a fault."""

    ITSELF = "itself"
    """It passes after its time."""
    RESTART = "restart"
    """The engine starts anew: restarted, crashed, or moved to another node."""
    REPAIR = "repair"
    """A technician mends the node once it is empty and cordoned."""
    ON_CALL = "on_call"
    """A person mends it at last, whatever the platform did. Ends every fault."""


@dataclass(frozen=True, slots=True)
class Press:
    """A field of `Pressure` while the fault lasts.

    The field's kind decides whom it reaches from the target: a GPU's node and engine, an engine's
    ranks, a rack's nodes with all that is on them.
    """

    field: str
    value: float
    lag_s: float = 0.0
    ramp_s: float = 0.0
    """Seconds from neutral to `value`."""
    all_ranks: bool = False
    """On every GPU of the engine, where one of its GPUs is the target."""


@dataclass(frozen=True, slots=True)
class Xid:
    """A line of the NVIDIA driver in the kernel log."""

    number: int
    text: str
    lag_s: float = 0.0
    recovery: int | None = None
    """What the driver asks for from now on (Xid 154)."""
    process: str = "<unknown>"


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that matches a known signature."""

    signature: str
    line: str
    about: EntityKind
    witness: Witness
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of the nodes, as the control plane reports it; undone when the fault ends."""

    condition: str
    status: str
    healthy: str
    """The status when nothing is wrong."""
    reason: str
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Bump:
    """A counter or sticky state of the GPU (`simulator.counters`) that jumps."""

    counter: str
    amount: float
    lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Crash:
    """The engine's process dies."""

    lag_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout of the target pool begins; its version is this much slower per step."""

    slow: float
    lag_s: float = 0.0


Moment = Xid | LogLine | Condition | Bump | Crash | Rollout


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """One fault that can happen."""

    name: str
    title: str
    target: EntityKind
    presses: tuple[Press, ...] = ()
    moments: tuple[Moment, ...] = ()
    mends: frozenset[Mend] = frozenset()
    lasts_s: tuple[float, float] = (0.0, 0.0)
    """Least and most seconds, for those that pass by themselves."""
    lead: tuple[Press, ...] = ()
    """What half of the scheduled ones show before: an early warning."""
    lead_s: tuple[float, float] = (20.0, 60.0)
    per_gpu_hour: float = 0.0
    """How often, before `speed_up`."""
    source: str = "invented"
    """Where the rate comes from."""
    cause: str = ""
    """The fault class that a right diagnosis names, where it is not `name`."""
    one_tenant: bool = False
    """Only one tenant's requests are pressed on."""
