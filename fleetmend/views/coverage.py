"""What can be seen now: the coverage ledger, folded from the findings of detection's coverage room.

Remediation refuses risky acts on what it cannot see, root cause abstains when it is blind, and the
console shows it. No telemetry is read here: detection judges freshness, this view remembers it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

from pydantic import TypeAdapter

from fleetmend.model.entities import EntityId, EntityKind
from fleetmend.model.findings import Finding, FindingState
from fleetmend.streams.stage import Json
from fleetmend.views.topology import TopologyView

COVERAGE_DETECTOR = "coverage"


class Freshness(StrEnum):
    """How well an entity is seen, from well to not at all."""

    FRESH = "fresh"
    LATE = "late"
    """Longer silent than usual, not yet long enough to say so."""
    STALE = "stale"
    """Part of what is usually heard is missing, or comes too late."""
    NEVER = "never"
    """Known to the topology and never heard."""
    FROZEN = "frozen"
    """Heard, but what always moves does not."""
    ABSENT = "absent"


ORDER = tuple(Freshness)
"""From well to not at all."""

REASONS: dict[str, Freshness] = {
    "absent": Freshness.ABSENT,
    "exporter_down": Freshness.ABSENT,
    "never_heard": Freshness.NEVER,
    "frozen": Freshness.FROZEN,
    "stale": Freshness.STALE,
}
"""What each reason of a coverage finding says."""

_BLIND = frozenset({Freshness.ABSENT, Freshness.FROZEN, Freshness.NEVER})


@dataclass(frozen=True, slots=True)
class Gap:
    """One open coverage finding."""

    entity: EntityId
    freshness: Freshness
    since_s: float
    finding: str


_SAVED = TypeAdapter(list[Gap])


@dataclass(slots=True)
class CoverageView:
    """Gaps that are open now. Applying a finding twice changes nothing."""

    _gaps: dict[str, Gap] = field(default_factory=dict)

    def apply(self, finding: Finding) -> bool:
        """Take in one finding; false when it says nothing about coverage."""
        freshness = REASONS.get(finding.reason)
        if finding.detector != COVERAGE_DETECTOR or freshness is None:
            return False
        if finding.state is FindingState.CLOSED:
            self._gaps.pop(finding.id, None)
        else:
            self._gaps[finding.id] = Gap(finding.entity, freshness, finding.onset_s, finding.id)
        return True

    def gaps(self) -> tuple[Gap, ...]:
        """Every open gap, in order of entity and finding."""
        return tuple(sorted(self._gaps.values(), key=lambda gap: (gap.entity, gap.finding)))

    def of(self, entity: EntityId, topology: TopologyView) -> Freshness:
        """How well `entity` is seen: the worst of its own gaps and its node's, whose silence covers
        all that is in it."""
        node = topology.ancestor(entity, EntityKind.NODE)
        found = (gap.freshness for gap in self._gaps.values() if gap.entity in (entity, node))
        return max(found, key=ORDER.index, default=Freshness.FRESH)

    def blind(self, entity: EntityId, topology: TopologyView) -> bool:
        """Whether nothing that is said of `entity` now can be relied on."""
        return self.of(entity, topology) in _BLIND

    def blind_share(self, entities: Iterable[EntityId], topology: TopologyView) -> float:
        """Share of `entities` that are not seen, 0 for none: silence across a domain is another
        thing than one silent node."""
        flags = [self.blind(entity, topology) for entity in entities]
        return sum(flags) / len(flags) if flags else 0.0

    def snapshot(self) -> Json:
        """The view as JSON."""
        return cast(Json, _SAVED.dump_python(list(self.gaps()), mode="json"))

    def restore(self, state: Json) -> None:
        """Become what `snapshot` saved."""
        self._gaps = {gap.finding: gap for gap in _SAVED.validate_python(state)}
