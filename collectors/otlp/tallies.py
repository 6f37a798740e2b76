"""What each sender sent and what was refused of it, and the event that tells of it now and then.

Kept by `collectors.otlp.intake`, under its lock.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.otlp.rights import Rights
from fleetmend.model.entities import key_of
from fleetmend.model.events import Event, EventType, event_id


@dataclass(slots=True)
class Tally:
    """What a sender sent since its last event."""

    messages: int = 0
    points: int = 0
    samples: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Tallies:
    """Of all senders."""

    def __init__(self, senders: Mapping[str, Rights], *, every_s: float) -> None:
        """`every_s`: between two events of one sender while nothing new is refused."""
        self._senders, self._every_s = senders, every_s
        self._of = {name: Tally() for name in senders}
        self._told: dict[str, tuple[str, float]] = {}

    def get(self, sender: str) -> Tally | None:
        """The running tally of a sender; None for a stranger."""
        return self._of.get(sender)

    def __getitem__(self, sender: str) -> Tally:
        return self._of[sender]

    def event(self, sender: str, now_s: float) -> Event | None:
        """What is to be told of a sender now; its tally begins anew."""
        tally = self._of[sender]
        word = " ".join(sorted(tally.refused))
        last_word, last_s = self._told.get(sender, ("", float("-inf")))
        if 0 <= now_s - last_s < self._every_s and (word == last_word or not word):
            return None
        if not tally.messages and not tally.refused:
            return None
        self._told[sender] = word, now_s
        self._of[sender] = Tally()
        rights = self._senders[sender]
        source = f"collector/otlp/{sender}"
        data: dict[str, str | int | float | bool] = {
            "target": f"otlp/{sender}",
            "kind": "otlp",
            "outcome": "ok" if tally.messages else "refused",
            "messages": tally.messages,
            "points": tally.points,
            "samples": tally.samples,
            **{f"refused_{reason}": count for reason, count in sorted(tally.refused.items())},
        }
        return Event(
            id=event_id(source, repr(now_s)),
            source=source,
            type=EventType.SCRAPE,
            time_s=now_s,
            subject=rights.subject,
            node=rights.settings.node or key_of(rights.subject),
            data=data,
        )
