"""What scoring works on: labels, openings and the names by which one thing is known.

Made by `fleetmend.scoring.truth` (labels, names) and `fleetmend.scoring.published` (openings).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

LINK_CAUSE_PREFIX = "nvlink_"
"""Causes that sit on a link: either end of it is the right entity."""


@dataclass(frozen=True, slots=True)
class Label:
    """One span of the truth."""

    cause: str
    entity: str
    start_s: float
    end_s: float
    benign: bool = False
    """Load changed lawfully: an opening here is a false alarm."""
    ambiguous: bool = False
    """Little harm was done: an opening here is neither asked for nor false."""

    @property
    def asked(self) -> bool:
        """True when an incident is wanted for this span."""
        return not (self.benign or self.ambiguous)

    def overlaps(self, other: "Label") -> bool:
        """True when the two spans share some time."""
        return self.start_s < other.end_s and other.start_s < self.end_s


@dataclass(frozen=True, slots=True)
class Opening:
    """An incident as it was published: at its opening, or when another cause came first."""

    at_s: float
    """Event time reached when it was emitted."""
    id: str
    causes: tuple[tuple[str, str], ...]
    """(cause, entity name), best first; empty when no cause was named."""
    entity: str = ""
    """What the incident is about; counts as its entity while no cause is named."""

    @property
    def first(self) -> tuple[str, str] | None:
        """The (cause, entity) it blames."""
        return self.causes[0] if self.causes else None

    @property
    def blamed(self) -> str:
        """The entity it blames, or the one it is about."""
        return self.causes[0][1] if self.causes else self.entity


@dataclass(frozen=True, slots=True)
class Names:
    """Which names mean the same entity, and which GPUs a link joins."""

    same: Mapping[str, str] = field(default_factory=dict)
    """Any name -> the one name that stands for all of them; a name not listed means itself."""
    links: tuple[tuple[str, str], ...] = ()
    """The two ends of each link, by any of their names."""

    def one(self, name: str) -> str:
        """The name that stands for `name`."""
        return self.same.get(name, name)

    def places(self, label: Label) -> frozenset[str]:
        """Every entity that is right for a label: for a link either end."""
        place = self.one(label.entity)
        if not label.cause.startswith(LINK_CAUSE_PREFIX):
            return frozenset((place,))
        ends = [{self.one(end) for end in link} for link in self.links]
        return frozenset({place}.union(*(pair for pair in ends if place in pair)))

    def entity_right(self, opening: Opening, label: Label) -> bool:
        """True when the opening blames the label's entity."""
        return self.one(opening.blamed) in self.places(label)

    def names_root(self, opening: Opening, label: Label) -> bool:
        """True when the opening puts the label's own (cause, entity) first."""
        return (
            opening.first is not None
            and opening.first[0] == label.cause
            and self.entity_right(opening, label)
        )


def cause_rank(opening: Opening, label: Label) -> int | None:
    """Where the label's cause stands among the opening's causes, from 1; None when it does not."""
    ranked = [cause for cause, _ in opening.causes]
    return ranked.index(label.cause) + 1 if label.cause in ranked else None
