"""Heartbeats of collectors: who beats, how often, and who has stopped.

A collector that only speaks when something happens (a kernel log, a cluster's watch) is known to
live by nothing else. Called by `domains.py`, once a tick.
"""

from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from detection.frame import Frame
from detection.hearing import learnt_gap
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, entity_id, split_entity_id
from fleetmend.model.events import EventType
from fleetmend.streams.stage import Json, State

_KNOWN_MIN = 3
"""Beats after which the next is expected."""
_FORGET_S = 86_400.0
"""A collector that nothing else tells of is missed for a day, then let go."""


@dataclass(slots=True)
class Beat:
    """What is known of one collector's heart."""

    last: int
    """Tick of the last beat."""
    gap: float = 1.0
    """Longest usual distance between two beats, in ticks."""
    times: int = 1
    node: str = ""
    """The node on which it beats, as an entity id; empty where it does not say."""
    watched: bool = False
    """The topology once said what it watches."""


_SAVED = TypeAdapter(dict[EntityId, Beat])


class Beats:
    """All collectors that were ever heard beating."""

    def __init__(self) -> None:
        self._beats: dict[EntityId, Beat] = {}

    def update(self, frame: Frame) -> None:
        """Take in one tick; time in which nobody spoke is nobody's silence."""
        if frame.jumped:
            for beat in self._beats.values():
                beat.last += frame.jumped
        for event in frame.events:
            if event.type is not EventType.HEARTBEAT:
                continue
            cluster, kind, _ = split_entity_id(event.subject)
            if kind is not EntityKind.COLLECTOR:
                continue
            beat = self._beats.setdefault(event.subject, Beat(frame.tick, times=0))
            if beat.times and beat.last != frame.tick:
                seen, known = np.array([frame.tick - beat.last]), np.array([beat.gap])
                beat.gap = float(learnt_gap(seen, known)[0])
            beat.last, beat.times = frame.tick, beat.times + 1
            beat.node = entity_id(cluster, EntityKind.NODE, event.node) if event.node else ""
        self._let_go(frame)

    def known(self) -> dict[EntityId, Beat]:
        """Collectors whose next beat is expected, in order of id."""
        return {e: b for e, b in sorted(self._beats.items()) if b.times >= _KNOWN_MIN}

    def _let_go(self, frame: Frame) -> None:
        """Collectors whose subjects have left the fleet go with them."""
        for entity in list(self._beats):
            beat = self._beats[entity]
            watches = bool(frame.topology.targets(entity, RelationKind.OBSERVES))
            gone = beat.watched and not watches
            beat.watched = watches
            if gone or (frame.tick - beat.last) * frame.period_s > _FORGET_S:
                del self._beats[entity]

    def snapshot(self) -> State:
        """What is remembered."""
        saved: Json = _SAVED.dump_python(dict(sorted(self._beats.items())), mode="json")
        return {"beats": saved}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._beats = _SAVED.validate_python(state.get("beats", {}))
