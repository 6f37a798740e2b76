"""The store behind ports of the house: dead letters and snapshots, each call a transaction."""

import logging

from fleetmend.errors import StoreError
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.ports.snapshots import Snapshot
from fleetmend.store.store import Store

logger = logging.getLogger(__name__)


class StoreDeadLetters:
    """Implements `fleetmend.ports.deadletters.DeadLetters`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, letter: DeadLetter) -> None:
        """Keep and count it. When the store cannot be reached the letter is lost with a warning:
        bad input must never stop the good."""
        try:
            with self._store.transaction() as tx:
                tx.dead_letters.put(letter)
        except StoreError as error:
            logger.warning(
                "dead letter lost", extra={"source": letter.source[:100], "error": str(error)}
            )


class StoreSnapshots:
    """Implements `fleetmend.ports.snapshots.SnapshotStore`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def save(self, snapshot: Snapshot) -> None:
        """Keep it; raises StoreError."""
        with self._store.transaction() as tx:
            tx.snapshots.save(snapshot)

    def latest(self, fold: str) -> Snapshot | None:
        """The newest; raises StoreError."""
        with self._store.reading() as tx:
            return tx.snapshots.latest(fold)
