"""Everything that is known at one moment, and what a fault would be expected to show in it.

A scene is plain data: the same scene gives the same diagnosis. Made by `rca.stage`, read by
`rca.infer` and `rca.correlate`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fleetmend.model.entities import EntityId, RelationKind, kind_of
from fleetmend.settings.rca import InferSettings
from rca.evidence import UNKNOWN_LEAK, Ears, Key, Observation
from rca.graph import FleetGraph
from rca.knowledge.model import (
    PEER,
    SELF,
    Channel,
    Expected,
    FaultClass,
    Knowledge,
    Sign,
    Step,
)

_UPWARDS = tuple(
    Step(relation, True)
    for relation in (
        RelationKind.RUNS_ON,
        RelationKind.PART_OF,
        RelationKind.MEMBER_OF,
        RelationKind.SERVES,
    )
)


_WATCHERS = (
    Step(RelationKind.RUNS_ON, True),
    Step(RelationKind.PART_OF, True),
    Step(RelationKind.MEMBER_OF, True),
    Step(RelationKind.OBSERVES, False),
)
_DEAFENED = frozenset({Channel.TELEMETRY, Channel.SILENCE})
"""What is not known of an entity whose domain is silent: neither its figures nor that it alone has
none."""
_WATCH_LOST = "watch_lost"
_NOBODY: Mapping[EntityId, Observation] = {}


@dataclass(frozen=True, slots=True, order=True)
class Hypothesis:
    """Fault class `fault` on `entity`."""

    fault: str
    entity: EntityId


@dataclass(frozen=True, slots=True)
class Change:
    """A rollout, setting or driver change, or an action of ours, as an event told it."""

    kind: str
    entity: EntityId
    at_s: float


def deafened(observed: Iterable[Key]) -> frozenset[EntityId]:
    """The domains among what is seen of which nothing is heard any more."""
    return frozenset(entity for entity, sign in observed if sign == _WATCH_LOST)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is seen, what can be heard, how things hang together, what is known."""

    now_s: float
    observed: Mapping[Key, Observation]
    graph: FleetGraph
    knowledge: Knowledge
    ears: Ears
    changes: Sequence[Change]
    settings: InferSettings
    deaf: frozenset[EntityId] = frozenset()
    """Domains of which nothing is heard any more, as `deafened` finds them: what is in them says
    nothing by being silent."""

    def hears(self, place: EntityId, sign: Sign) -> bool:
        """True when a sign on an entity would be known if it were there."""
        if not self.ears.hears((place, sign.name), sign, self.observed):
            return False
        if not self.deaf or sign.channel not in _DEAFENED:
            return True
        return self.deaf.isdisjoint((place, *self.graph.reached(place, _WATCHERS, 4)))

    _behind: dict[Key, Sequence[Hypothesis]] = field(default_factory=dict, init=False, repr=False)
    _applying: dict[Hypothesis, bool] = field(default_factory=dict, init=False, repr=False)
    _showing: dict[str, dict[EntityId, Observation]] = field(
        default_factory=dict, init=False, repr=False
    )
    standing: dict[tuple[Hypothesis, float], dict[Key, float]] = field(
        default_factory=dict, init=False, repr=False
    )
    """Answers of `rca.infer.standing`, which is asked the same several times a tick."""
    """Answers that the many signs of a storm ask for again and again: a scene never changes, and
    `replace` makes one without answers."""

    def showing(self, sign: str) -> Mapping[EntityId, Observation]:
        """Who shows a sign, in order of id."""
        if not self._showing:
            for (entity, name), seen in self.observed.items():
                self._showing.setdefault(name, {})[entity] = seen
        return self._showing.get(sign, _NOBODY)

    def seen_on(
        self, sign: str, hypothesis: Hypothesis, on: str, places: Sequence[EntityId]
    ) -> list[Observation]:
        """A sign where a fault would show it: at these places, which are those of `on`. In order
        of place, or of id where fewer show the sign than could: a storm's parent reaches
        thousands."""
        shown = self.showing(sign)
        if not shown:
            return []
        if len(places) <= len(shown):
            return [shown[place] for place in places if place in shown]
        members = self.graph.members(hypothesis.entity, self.fault(hypothesis), on)
        return [seen for entity, seen in shown.items() if entity in members]

    def fault(self, hypothesis: Hypothesis) -> FaultClass:
        """The fault class of a hypothesis."""
        return self.knowledge.classes[hypothesis.fault]

    def leak(self, sign: str) -> float:
        """Probability of seeing a sign without any known cause."""
        known = self.knowledge.signs.get(sign)
        return UNKNOWN_LEAK if known is None else known.leak

    def expects(self, hypothesis: Hypothesis) -> Iterator[tuple[Expected, tuple[EntityId, ...]]]:
        """Each expected sign with the entities on which it can be."""
        fault = self.fault(hypothesis)
        own = kind_of(hypothesis.entity)
        for expected in fault.expected:
            # Other places are of one kind, which the loader has checked against the sign.
            if expected.on in (SELF, PEER) and own not in self.knowledge.signs[expected.sign].kinds:
                continue
            yield expected, self.graph.places(hypothesis.entity, fault, expected.on)

    def hypotheses(self, key: Key) -> Sequence[Hypothesis]:
        """Every fault that could show this sign on this entity and applies here."""
        if key not in self._behind:
            entity, sign = key
            found = {
                Hypothesis(fault.name, root)
                for fault, expected in self.knowledge.by_sign.get(sign, ())
                for root in self.graph.roots(entity, fault)
                if self.graph.is_place(entity, root, fault, expected.on)
            }
            self._behind[key] = sorted(h for h in found if self.applies(h))
        return self._behind[key]

    def looks_at(self, hypotheses: Iterable[Hypothesis]) -> set[EntityId]:
        """Every entity on which these faults would show something."""
        found: set[EntityId] = set()
        for hypothesis in hypotheses:
            fault = self.fault(hypothesis)
            found.add(hypothesis.entity)
            found.update(self.graph.reached(hypothesis.entity, fault.spreads, fault.depth))
        return found

    def recent_change(self, hypothesis: Hypothesis, onset_s: float) -> Change | None:
        """The newest change that this fault class follows, on its entity or what it hangs on."""
        fault = self.fault(hypothesis)
        if not fault.changes:
            return None
        near = {
            hypothesis.entity,
            *self.graph.reached(hypothesis.entity, _UPWARDS, 2),
            *self.graph.reached(hypothesis.entity, fault.spreads, fault.depth),
        }
        oldest_s = onset_s - self.settings.change_window_s
        newest_s = onset_s + self.settings.order_tolerance_s
        found = [
            change
            for change in self.changes
            if change.kind in fault.changes
            and change.entity in near
            and oldest_s <= change.at_s <= newest_s
        ]
        return max(found, key=lambda change: (change.at_s, change.entity)) if found else None

    def applies(self, hypothesis: Hypothesis) -> bool:
        """Whether the fault can be here: what it needs is there, and enough of what shares it
        shows it."""
        if hypothesis not in self._applying:
            self._applying[hypothesis] = self._weigh_applying(hypothesis)
        return self._applying[hypothesis]

    def _weigh_applying(self, hypothesis: Hypothesis) -> bool:
        fault = self.fault(hypothesis)
        if any(not self.graph.places(hypothesis.entity, fault, need) for need in fault.needs):
            return False
        if not fault.shared:
            return True
        shares = []
        for expected, places in self.expects(hypothesis):
            showing = len(self.seen_on(expected.sign, hypothesis, expected.on, places))
            if expected.decisive and showing:
                return True
            if expected.share_min > 0.0:
                # A domain of one shows nothing in common; two at least must agree.
                enough = showing >= max(min(2, len(places)), expected.share_min * len(places))
                shares.append(bool(places) and enough)
        return any(shares)
