"""The coverage ledger's book: what detection publishes of it, kept as a table in the store.

Entries and the read position are one transaction, so a restart repeats nothing and loses nothing,
and what is known of an entity that has not changed for days is still there. Run by the pipeline in
the role `detector`.
"""

import logging

from fleetmend.clock import Clock
from fleetmend.errors import OffsetsLost
from fleetmend.model.coverage import Coverage
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.store import Store
from fleetmend.streams.port import Log, TopicPartition
from fleetmend.streams.reader import Reader
from fleetmend.streams.topics import Topic

logger = logging.getLogger(__name__)

CONSUMER = "coverage"
"""Under which name the read positions are kept."""


class CoverageBook:
    """Follows the topic `coverage`. One thread at a time; two of them only repeat each other."""

    def __init__(self, log: Log, store: Store, *, dead_letters: DeadLetters, clock: Clock) -> None:
        self.losses = 0
        """Times that the log no longer held what was to be read next."""
        self._log = log
        self._store = store
        self._dead_letters = dead_letters
        self._clock = clock
        self._reader: Reader | None = None

    def step(self) -> int:
        """Keep what is new; how many records that were. Raises StoreError and StreamError: then
        nothing of it was kept, and the next step reads it again."""
        reader = self._reader or self._begin()
        self._reader = None  # read again from what the store holds, unless all goes well
        try:
            fetched = list(reader.poll())
        except OffsetsLost as lost:
            # What was missed is said again within a day; what is held stays.
            self.losses += 1
            logger.warning("offsets of the coverage ledger lost", extra={"where": lost.where})
            moved = reader.skip_lost()
            self._reader = reader
            return moved
        entries: dict[str, Coverage] = {}
        for item in fetched:
            if item.record is not None and isinstance(item.record.payload, Coverage):
                entry = item.record.payload
                entries[entry.entity] = entry  # of several in one read only the last counts
        if fetched:
            with self._store.transaction() as tx:
                tx.coverage.put(entries.values())
                tx.positions.set(CONSUMER, {str(p): at for p, at in reader.positions.items()})
        self._reader = reader
        return len(fetched)

    def _begin(self) -> Reader:
        with self._store.reading() as tx:
            kept = tx.positions.get(CONSUMER)
        places: dict[TopicPartition, int] = {
            place: kept.get(str(place), self._log.begin(place))
            for place in self._log.partitions(Topic.COVERAGE)
        }
        return Reader(self._log, places, dead_letters=self._dead_letters, clock=self._clock)
