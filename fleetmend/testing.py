"""Stand-ins for the outside world, for tests and for replays that keep nothing."""

from fleetmend.ports.deadletters import DeadLetter
from fleetmend.ports.snapshots import Snapshot

SNAPSHOTS_KEPT = 3
LETTERS_KEPT = 10_000


class MemorySnapshots:
    """A `SnapshotStore` that forgets when the process ends."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[int, Snapshot]] = {}

    def save(self, snapshot: Snapshot) -> None:
        """Keep it, and only the newest few."""
        kept = self._kept.setdefault(snapshot.fold, {})
        kept[snapshot.tick] = snapshot
        for tick in sorted(kept)[:-SNAPSHOTS_KEPT]:
            del kept[tick]

    def latest(self, fold: str) -> Snapshot | None:
        """The snapshot with the highest tick."""
        kept = self._kept.get(fold)
        return kept[max(kept)] if kept else None


class MemoryDeadLetters:
    """`DeadLetters` in a list."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []
        """The newest `LETTERS_KEPT`, oldest first."""
        self.count = 0
        """How many there ever were."""

    def put(self, letter: DeadLetter) -> None:
        """Keep and count it."""
        self.count += 1
        self.letters.append(letter)
        del self.letters[:-LETTERS_KEPT]
