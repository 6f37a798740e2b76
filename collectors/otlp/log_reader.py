"""Events in logs messages: whose a line is, what it says, and how much of it is let through.

Called by `collectors.otlp.intake`, one message at a time.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from collectors.follow import RateCap
from collectors.logs import LogEvents, LogLine
from collectors.naming import Resolve, node_label
from collectors.otlp.log_lines import lines_of
from collectors.otlp.rights import Rights
from collectors.otlp.source import NS
from collectors.signatures import Channel
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.events import Event, Witness
from fleetmend.signals.identities import with_identities

LINES_MAX = 20_000
"""Lines of one logs message that are searched: a Collector sends 8,192 records by default."""


@dataclass(frozen=True, slots=True)
class _Whose:
    """What a resource of log lines is, worked out once for all of its lines."""

    attributes: Mapping[str, str]
    engine: EntityId | None
    node: str


class LogReader:
    """One per intake; for one thread at a time."""

    def __init__(self, *, cluster: str, resolve: Resolve, events_per_minute_max: int) -> None:
        """`resolve`: the entity that an alias or id means; the most events are of each kind and
        sender."""
        self._cluster, self._resolve = cluster, resolve
        self._events = LogEvents(cluster=cluster, resolve=resolve)
        self._cap = RateCap(per_minute_max=events_per_minute_max)

    def read(
        self, rights: Rights, body: bytes, *, floor_s: float, now_s: float
    ) -> tuple[list[Event], Counter[str]]:
        """The events in a message, none older than `floor_s` nor newer than `now_s` (Unix
        seconds), and what was refused by reason. Raises BadInput for what is no logs message."""
        events: list[Event] = []
        refused: Counter[str] = Counter()
        whose: _Whose | None = None
        for number, (attributes, time_ns, text) in enumerate(lines_of(body)):
            if number >= LINES_MAX:
                refused["lines"] += 1
                continue
            if whose is None or whose.attributes is not attributes:
                whose = self._whose(rights, attributes)
            # An event that comes late is still news; it only must not break the last promise.
            time_s = min(max(time_ns / NS, floor_s), now_s) if time_ns else now_s
            event = self._event(rights, whose, f"{time_ns}", text, time_s, refused)
            if event is None:
                continue
            kind = f"{rights.settings.name} {event.data.get('signature', event.type)}"
            if self._cap.admit(kind, now_s):
                events.append(event)
            else:
                refused["events_capped"] += 1
        return events, refused

    def _whose(self, rights: Rights, attributes: Mapping[str, str]) -> _Whose:
        engine = rights.engine_in(attributes, self._resolve)
        if engine is not None and not rights.may_measure(engine):
            engine = None
        node = rights.settings.node or node_label(with_identities(attributes))
        return _Whose(attributes, engine, node or rights.settings.name)

    def _event(
        self,
        rights: Rights,
        whose: _Whose,
        identity: str,
        text: str,
        time_s: float,
        refused: Counter[str],
    ) -> Event | None:
        """The event in a log line: a witness for nothing but what its sender may speak of."""
        line = LogLine(
            time_s,
            whose.node,
            Channel.KERNEL if whose.engine is None else Channel.ENGINE,
            text,
            Witness.APPLICATION_LOG,
            whose.engine,
            f"otlp {rights.settings.name} {identity}",
        )
        event = self._events.event(line)
        if event is None or rights.may_measure(event.subject):
            return event
        stands_in = whose.engine or entity_id(self._cluster, EntityKind.NODE, whose.node)
        if not rights.may_measure(stands_in):
            refused["not_its_own"] += 1
            return None
        return replace(event, subject=stands_in)
