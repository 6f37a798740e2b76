"""What a detector sees of one tick: the blocks, what is normal, how rows belong together, the
events.

Made by the stage once a tick; detectors must not change it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from detection.blocks import Block
from detection.hearing import Hearing
from detection.links import Links
from detection.normal import Normal
from fleetmend.model.entities import EntityId, EntityKind
from fleetmend.model.events import Event
from fleetmend.views.topology import TopologyView


@dataclass(frozen=True, slots=True)
class Frame:
    """One tick."""

    tick: int
    start_s: float
    end_s: float
    reached_s: float
    """Event time reached when the tick closed."""
    jumped: int
    """Ticks that were jumped over before this one, because nobody sent anything; 0 as a rule."""
    blocks: Mapping[EntityKind, Block]
    events: tuple[Event, ...]
    """In order of the log; each event once, late ones too."""
    late: Mapping[EntityId, int]
    """Samples that came after their tick had closed, by entity."""
    topology: TopologyView
    links: Links
    normal: Normal
    hearing: Hearing
    gone: tuple[EntityId, ...] = ()
    """Entities that have left the topology in this tick."""
    nodes: dict[EntityId, EntityId | None] = field(default_factory=dict)
    """What `node_of` has found since the topology last changed; the stage forgets it then."""

    def node_of(self, entity: EntityId) -> EntityId | None:
        """The node that an entity is, is part of, or runs on. Walked once for each entity: a storm
        of silence asks for thousands in every tick."""
        if entity not in self.nodes:
            self.nodes[entity] = self.topology.ancestor(entity, EntityKind.NODE)
        return self.nodes[entity]

    @property
    def period_s(self) -> float:
        """Seconds that a tick covers."""
        return self.end_s - self.start_s

    def ticks(self, span_s: float) -> int:
        """A span of seconds in whole ticks, at least one."""
        return max(1, round(span_s / self.period_s))

    def seconds(self, tick: int) -> float:
        """Event time at which a tick begins."""
        return self.start_s + (tick - self.tick) * self.period_s
