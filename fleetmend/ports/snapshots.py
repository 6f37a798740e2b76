"""Where stages keep their snapshots."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A stage's state after a tick, with where its fold stands in the log."""

    fold: str
    tick: int
    blob: bytes
    """Written and read by `fleetmend.streams.snapshot` alone."""


class SnapshotStore(Protocol):
    """Keeps the newest few snapshots of each fold."""

    def save(self, snapshot: Snapshot) -> None:
        """Keep it; saving the same tick again replaces it."""
        ...

    def latest(self, fold: str) -> Snapshot | None:
        """The snapshot with the highest tick, or None."""
        ...
