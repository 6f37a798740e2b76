"""Where collectors put what they see. The composition root gives them one that appends to the log.

`fleetmend.streams.producer` has the real one; tests keep lists.
"""

from typing import Protocol

from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch


class Sink(Protocol):
    """Errors: StreamError. What was given is kept and sent later: given again it is sent twice."""

    def samples(self, batch: SampleBatch, node: str) -> None:
        """Samples of one node; an empty batch may be dropped."""
        ...

    def event(self, event: Event) -> None:
        """One event."""
        ...

    def topology(self, change: TopologyChange) -> None:
        """One change of the fleet."""
        ...

    def mark(self, at_s: float) -> None:
        """A promise: this collector sends nothing older than `at_s` any more."""
        ...
