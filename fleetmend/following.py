"""The fleet as the topology log tells it, for those who are no stage: collectors, charts, the map.

One thread follows, any number read: a reader gets a view that is never changed again.
"""

import logging
import threading

from fleetmend.clock import Clock
from fleetmend.errors import OffsetsLost
from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.streams.port import Log
from fleetmend.streams.reader import POLL_RECORDS, Reader
from fleetmend.streams.topics import Topic
from fleetmend.views.topology import TopologyView

logger = logging.getLogger(__name__)


class FleetFollower:
    """Follows the topology topic from its beginning."""

    def __init__(self, log: Log, *, dead_letters: DeadLetters, clock: Clock) -> None:
        places = {place: log.begin(place) for place in log.partitions(Topic.TOPOLOGY)}
        self.losses = 0
        """Times that the log no longer held what was to be read next."""
        self.caught_up = False
        """Whether the last step read to the end of what lay in the log, a moment ago."""
        self.was_caught_up = False
        """Whether it ever was: what the log held at the start is known since."""
        self._reader = Reader(log, places, dead_letters=dead_letters, clock=clock)
        self._lock = threading.Lock()
        self._known = TopologyView()
        self._shown: TopologyView | None = TopologyView()
        """A copy of `_known` for readers; None where it has changed since."""

    @property
    def view(self) -> TopologyView:
        """The fleet now. Never changed after it was handed out. The first to ask after a change
        pays for the copy: while the log is read from its beginning, mostly nobody asks."""
        with self._lock:
            if self._shown is None:
                self._shown = self._known.copy()
            return self._shown

    def resolve(self, name: str) -> EntityId | None:
        """The entity that a name means now."""
        with self._lock:
            return self._known.resolve(name)

    def step(self) -> int:
        """Take in what is new; how much that was. Raises StreamError.

        Where records were lost it goes on from the oldest one: what is known stays known, and
        collectors state it again within a day.
        """
        self.caught_up = False
        try:
            fetched = list(self._reader.poll())
        except OffsetsLost as lost:
            self.losses += 1
            logger.warning("offsets of the topology lost", extra={"where": lost.where})
            return self._reader.skip_lost()
        changes = [
            item.record.payload
            for item in fetched
            if item.record is not None and isinstance(item.record.payload, TopologyChange)
        ]
        if changes:
            with self._lock:
                for change in changes:
                    self._known.apply(change)
                self._shown = None
        self.caught_up = len(fetched) < POLL_RECORDS
        self.was_caught_up |= self.caught_up
        return len(fetched)
