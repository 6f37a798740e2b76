"""What every detector is: it looks at a frame and gives opinions. `lifecycle.py` makes findings of
them.

A detector keeps its state in arrays and JSON, reads no clock and no randomness, and gives the same
opinions for the same frames. It repeats an opinion each tick for as long as it holds.
"""

from dataclasses import dataclass
from typing import Protocol

from detection.frame import Frame
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.findings import Symptom
from fleetmend.streams.stage import State


@dataclass(frozen=True, slots=True)
class Opinion:
    """A finding before its life: what one detector holds of one entity in one tick."""

    detector: str
    entity: EntityId
    key: str
    """What it is about, within detector and entity: the same key is the same finding while open."""
    reason: str
    witness: Witness
    confidence: float
    """0 to 1, before `fuse.py` weighs what other detectors say."""
    symptoms: tuple[Symptom, ...]
    onset_s: float
    detail: str = ""
    quiet_s: float = 0.0
    """Silence after which the finding closes; 0 means the setting's default."""
    opening_tick: int | None = None
    """For what `arrive` may have announced: the tick that goes into the id."""
    load: bool = False
    """True when nothing but load has moved: it says how things are, and accuses nobody."""


class Detector(Protocol):
    """Two verbs and a memory."""

    name: str

    def observe(self, frame: Frame) -> list[Opinion]:
        """Take in one tick and say what holds now."""
        ...

    def snapshot(self) -> State:
        """The state after the last frame."""
        ...

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        ...
