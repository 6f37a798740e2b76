"""Following one log and sending the events in it; `collectors.kmsg` and `collectors.engine_logs`
say what its lines are."""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from collectors.announce import observed
from collectors.logs import LogEvents, LogLine
from collectors.sink import Sink
from collectors.tail import Tail
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.events import Event, EventType, event_id

_POLL_S = 0.03
"""Seconds between looks at a log that does not say when it grows: a look costs some ten
microseconds, and half of this is what the express lane waits on average."""
_SLACK_S = 0.5
"""How far a mark stays behind: a record's time is the boot time plus its age, and both round."""
_MARK_S = 0.5
"""Least event time between two marks: there are as many logs as nodes, and a tick is a second."""
_WAIT_S = 1.0
"""Longest wait for a log that does: a stop is heard and a mark goes out as often."""
_NAME_S = 5.0
"""Seconds that an event about a GPU waits for somebody to say which GPU has this address: after a
start the log may be read before the first scrape."""
_HEARTBEAT_S = 10.0
_WINDOW_S = 60.0
_KINDS_MAX = 4096
"""Kinds within a minute or two; those of a node are some hundred."""

ToLine = Callable[[str, float], LogLine]
"""From a raw line and the time it was read to what it is."""


class RateCap:
    """At most so many of one kind in any minute; the rest is counted.

    By kind, so that a storm of one message (or somebody who prints it on purpose) cannot hide
    another. A kind of which nothing came for a minute is forgotten, and of more kinds than a table
    holds none is let through: who invents kinds fills no memory.
    """

    def __init__(self, *, per_minute_max: int) -> None:
        self._max = per_minute_max
        self._taken_s: dict[str, deque[float]] = {}
        self._pruned_s = float("-inf")
        self.dropped = 0

    def admit(self, kind: str, now_s: float) -> bool:
        """Count one; false when there were too many of its kind in the last minute."""
        if now_s - self._pruned_s >= _WINDOW_S:
            self._pruned_s = now_s
            self._taken_s = {
                known: taken_s
                for known, taken_s in self._taken_s.items()
                if now_s - taken_s[-1] < _WINDOW_S
            }
        taken_s = self._taken_s.get(kind)
        if taken_s is None:
            if len(self._taken_s) >= _KINDS_MAX:
                self.dropped += 1
                return False
            taken_s = self._taken_s[kind] = deque()
        while taken_s and now_s - taken_s[0] >= _WINDOW_S:
            taken_s.popleft()
        if len(taken_s) >= self._max:
            self.dropped += 1
            return False
        taken_s.append(now_s)
        return True


class LogFollower:
    """One log of one node."""

    def __init__(
        self,
        *,
        name: str,
        cluster: str,
        node: str,
        observes: EntityId,
        sink: Sink,
        clock: Clock,
        tail: Tail,
        to_line: ToLine,
        events: LogEvents,
        per_minute_max: int,
        backlog: Sequence[str] = (),
        may_be_named: Callable[[], bool] = lambda: True,
        overwritten: Callable[[], int] = lambda: 0,
    ) -> None:
        """`name` of the collector; `observes`: node or engine whose log it is; `backlog`: lines to
        read before those of the tail; `may_be_named`: whether an address that nobody bears now may
        still be named, so that waiting for it makes sense; `overwritten`: lines that were gone
        before they could be read, so far."""
        self._name = name
        self._cluster = cluster
        self._node = node
        self._observes = observes
        self._sink = sink
        self._clock = clock
        self._tail = tail
        self._to_line = to_line
        self._events = events
        self._may_be_named = may_be_named
        self._overwritten = overwritten
        self._cap = RateCap(per_minute_max=per_minute_max)
        self._unread = deque(backlog)
        self._nameless: deque[tuple[float, Event]] = deque()
        """Events that wait for a name, and until when."""
        self._lines = 0
        self._heartbeat_s = float("-inf")
        self._marked_s = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set. Raises StreamError when the sink does, BadInput when the log
        cannot be read; the next run goes on where this one ended."""
        for change in observed(self._cluster, self._name, [self._observes], self._clock.now_s()):
            self._sink.topology(change)
        while not stop.is_set():
            self.poll()
            if not self._tail.wait(_WAIT_S):
                self._clock.wait(stop, _POLL_S)
        self._tail.close()

    def poll(self) -> None:
        """Send the events of the lines that came, a heartbeat now and then, and a mark."""
        # What is a span goes by a clock that nobody sets: one set back must not make seconds hours.
        now_s, steady_s = self._clock.now_s(), self._clock.monotonic_s()
        self._name_waiting(steady_s)
        self._unread.extend(self._tail.poll())
        while self._unread:
            # Taken before it is sent: a sink that raises has kept what it was given.
            event = self._events.event(self._to_line(self._unread.popleft(), now_s))
            self._lines += 1
            if event is None or not self._cap.admit(_kind(event), steady_s):
                continue
            if self._events.nameless(event) and self._may_be_named():
                self._nameless.append((steady_s + _NAME_S, event))
            else:
                self._sink.event(event)
        if steady_s - self._heartbeat_s >= _HEARTBEAT_S:
            self._heartbeat_s = steady_s
            self._sink.event(self._heartbeat(now_s))
        waiting_s = (event.time_s for _, event in self._nameless)
        mark_s = min(now_s - _SLACK_S, *waiting_s, float("inf"))
        if mark_s - self._marked_s >= _MARK_S:
            self._marked_s = mark_s
            self._sink.mark(mark_s)

    def _name_waiting(self, steady_s: float) -> None:
        """Send what has waited for a name: with it, or without when it does not come."""
        for _ in range(len(self._nameless)):
            until_s, event = self._nameless.popleft()
            named = self._events.named(event)
            if steady_s < until_s and self._events.nameless(named) and self._may_be_named():
                self._nameless.append((until_s, event))
            else:
                self._sink.event(named)

    def _heartbeat(self, now_s: float) -> Event:
        source = f"collector/{self._name}"
        return Event(
            id=event_id(source, repr(now_s)),
            source=source,
            type=EventType.HEARTBEAT,
            time_s=now_s,
            subject=entity_id(self._cluster, EntityKind.COLLECTOR, self._name),
            node=self._node,
            data={
                "lines": self._lines,
                "dropped": self._cap.dropped,
                "overwritten": self._overwritten(),
            },
        )


def _kind(event: Event) -> str:
    return f"{event.type} {event.data.get('signature', '')} {event.data['witness']}"
