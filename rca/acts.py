"""What follows from our own acts: it is no fault and opens nothing.

Called by `rca.sorting` for each sign that no case explains. What an act shows is knowledge
(`knowledge/acts.toml`); where it shows is the graph.
"""

from dataclasses import dataclass

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.model.plans import ActionKind
from rca.evidence import Observation
from rca.knowledge.model import Step
from rca.scene import Scene

SHOWING = frozenset(ActionKind) - {ActionKind.NOTIFY}
"""Acts that change something."""
UNDOES = {
    ActionKind.UNCORDON: frozenset({ActionKind.CORDON, ActionKind.DRAIN}),
    ActionKind.RESTORE: frozenset({ActionKind.EJECT}),
}
PASSES_S = 120.0
"""What gives back, and a restart, show for so long: a model is loaded and a backlog drained."""
PASSING = frozenset({ActionKind.UNCORDON, ActionKind.RESTORE, ActionKind.ENGINE_RESTART})
_DOWN = (
    Step(RelationKind.RUNS_ON, True),
    Step(RelationKind.PART_OF, False),
    Step(RelationKind.RUNS_ON, False),
)
"""From an engine to its GPUs, from a node to its GPUs and engines."""


@dataclass(frozen=True, slots=True)
class OwnAct:
    """Something that the platform did, as its event told it."""

    action: ActionKind
    target: EntityId
    at_s: float


def follows(scene: Scene, seen: Observation, acts: tuple[OwnAct, ...]) -> bool:
    """Whether a sign is the effect of one of these acts: it began after it, where the act shows
    such a thing."""
    kind = kind_of(seen.entity)
    return any(
        seen.sign in scene.knowledge.acts.get(act.action, {}).get(kind, ())
        and seen.onset_s >= act.at_s - scene.settings.order_tolerance_s
        and _reaches(scene, act.target, seen.entity)
        for act in acts
    )


def taken_out(scene: Scene, acts: tuple[OwnAct, ...]) -> set[EntityId]:
    """Engines that get nothing to do because of these acts."""
    out = [act.target for act in acts if act.action in (ActionKind.EJECT, ActionKind.DRAIN)]
    return {
        entity
        for target in out
        for entity in (target, *scene.graph.reached(target, _DOWN, 2))
        if kind_of(entity) is EntityKind.ENGINE
    }


def still(acts: tuple[OwnAct, ...], now_s: float) -> tuple[OwnAct, ...]:
    """Without those whose effect has passed."""
    return tuple(a for a in acts if a.action not in PASSING or now_s - a.at_s <= PASSES_S)


def after(acts: tuple[OwnAct, ...], act: OwnAct) -> tuple[OwnAct, ...]:
    """With one more, and without what it undoes."""
    undone = UNDOES.get(act.action, frozenset())
    kept = [a for a in acts if not (a.target == act.target and a.action in undone) and a != act]
    return (*kept, act)


def _reaches(scene: Scene, target: EntityId, entity: EntityId) -> bool:
    return entity == target or entity in scene.graph.reached(target, _DOWN, 2)
