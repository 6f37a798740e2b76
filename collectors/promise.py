"""What a collector has promised by its newest mark, and the time that it may still tell.

A clock set back by little must not break a promise: until it has caught up, the time of the mark is
told. A clock that had jumped ahead and was corrected would stop a collector for the length of the
jump; nobody believed that promise, so it is dropped, counted and told. Asked by the scraper, the
kernel programs, the cluster's watch, the canary and the OTLP intake.
"""

import logging
from collections.abc import Callable

from fleetmend.clock import Clock
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Event, EventType, event_id

logger = logging.getLogger(__name__)

AHEAD_S = 60.0
"""Seconds that a promise may lie ahead of the clock. 60: `ticks.future_s`, beyond which every
reader of the log refuses a mark."""


class Promise:
    """Of one collector; for one thread at a time."""

    def __init__(self, clock: Clock, *, cluster: str, name: str, tell: Callable[[Event], None]):
        """`name`: the collector's; `tell` is given an event each time that the clock was set
        back."""
        self.marked_s = float("-inf")
        """Event time of the newest mark, Unix seconds."""
        self.set_back = 0
        """How often the clock was set back by more than a promise can bear."""
        self._clock, self._tell = clock, tell
        self._cluster, self._name = cluster, name

    def now_s(self) -> float:
        """The time to tell, Unix seconds: the clock's, or that of the newest mark."""
        now_s = self._clock.now_s()
        back_s = self.marked_s - now_s
        if back_s > AHEAD_S:
            self.marked_s = float("-inf")
            self.set_back += 1
            logger.warning("clock set back", extra={"collector": self._name, "by_s": back_s})
            self._tell(self._event(now_s, back_s))
        return max(now_s, self.marked_s)

    def _event(self, now_s: float, back_s: float) -> Event:
        source = f"collector/{self._name}"
        return Event(
            id=event_id(source, "clock_set_back", repr(now_s), repr(back_s)),
            source=source,
            type=EventType.SCRAPE,
            time_s=now_s,
            subject=entity_id(self._cluster, EntityKind.COLLECTOR, self._name),
            data={
                "target": "clock",
                "kind": "clock",
                "outcome": "clock_set_back",
                "by_s": back_s,
                "times": self.set_back,
            },
        )
