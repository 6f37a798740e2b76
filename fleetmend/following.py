"""The fleet as the topology log tells it, for those who are no stage: collectors, charts, the map.

One thread follows, any number read: a reader gets a view that is never changed again.
"""

from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.streams.port import Log
from fleetmend.streams.reader import Reader
from fleetmend.streams.topics import Topic
from fleetmend.views.topology import TopologyView


class FleetFollower:
    """Follows the topology topic from its beginning."""

    def __init__(self, log: Log, *, dead_letters: DeadLetters, clock: Clock) -> None:
        places = {place: log.begin(place) for place in log.partitions(Topic.TOPOLOGY)}
        self._reader = Reader(log, places, dead_letters=dead_letters, clock=clock)
        self._view = TopologyView()

    @property
    def view(self) -> TopologyView:
        """The fleet now. Never changed after it was handed out."""
        return self._view

    def resolve(self, name: str) -> EntityId | None:
        """The entity that a name means now."""
        return self._view.resolve(name)

    def step(self) -> int:
        """Take in what is new; the number of changes. Raises StreamError."""
        changes = [
            fetched.record.payload
            for fetched in self._reader.poll()
            if fetched.record is not None and isinstance(fetched.record.payload, TopologyChange)
        ]
        if changes:
            view = TopologyView()
            view.restore(self._view.snapshot())
            for change in changes:
                view.apply(change)
            self._view = view
        return len(changes)
