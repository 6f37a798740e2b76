"""How incidents end: the fault fades when what is open no longer speaks for it, then it resolves.

Called by `rca.analyst` last in a tick. While an action of ours is in place an incident is mitigated
first: without load the fault cannot show.
"""

from dataclasses import replace

from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import IncidentStatus
from rca.case import Case, Docket, Ghost, Pending, Turn
from rca.graph import HOSTS
from rca.infer import lasting
from rca.scene import Scene

GHOST_KEPT_S = 60.0
"""How long a fault that ended is remembered for its echo."""


def age(docket: Docket, turn: Turn) -> set[str]:
    """Fade, mitigate and resolve; gives the ids of the cases whose status changed."""
    moved = set()
    now_s = turn.scene.now_s
    for case in docket.live:
        if speaks(turn.scene, case):
            case.faded_at_s = None
            if case.status is IncidentStatus.MITIGATED:
                case.status, case.ended_at_s = IncidentStatus.OPEN, None
                moved.add(case.id)
            continue
        if case.faded_at_s is None:
            case.faded_at_s = now_s
        quiet_s = turn.settings.confirm_s if case.provisional else turn.settings.resolve_after_s
        if now_s - case.faded_at_s >= quiet_s and _end(turn, case):
            moved.add(case.id)
    docket.ghosts = [g for g in docket.ghosts if now_s <= g.faded_at_s + GHOST_KEPT_S]
    return moved


def forget_ended(docket: Docket, scene: Scene) -> None:
    """Drop cases that were resolved or merged; called after they were published."""
    for case in [case for case in docket.cases.values() if not case.live]:
        del docket.cases[case.id]
        if case.status is IncidentStatus.MERGED:
            continue
        faded_at_s = scene.now_s if case.faded_at_s is None else case.faded_at_s
        if case.backlogged:
            entities = sorted({seen.entity for seen in case.evidence})
            docket.ghosts.append(Ghost(entities, faded_at_s))
        for key in case.keys:
            if key in scene.observed:
                docket.pending[key] = Pending(scene.now_s, spent=True)
    docket.pending = dict(sorted(docket.pending.items()))


def speaks(scene: Scene, case: Case) -> bool:
    """True while what has lasted since the fault began would still name it."""
    still = {key: scene.observed[key] for key in case.keys if key in scene.observed}
    if case.root is None:
        return any(seen.onset_s <= case.opened_at_s for seen in still.values())
    left = lasting(replace(scene, observed=still), case.root, onset_s=case.onset_s)
    return left >= scene.settings.open_log_odds


def _end(turn: Turn, case: Case) -> bool:
    """Resolve, or mitigate first while an action of ours is in place; true when the status
    changed."""
    now_s = turn.scene.now_s
    if _is_acted_on(turn, case):
        if case.status is IncidentStatus.OPEN:
            case.status, case.ended_at_s = IncidentStatus.MITIGATED, now_s
            return True
        since_s = now_s if case.ended_at_s is None else case.ended_at_s
        if now_s - since_s < turn.settings.mitigated_hold_s:
            return False
    case.status, case.ended_at_s = IncidentStatus.RESOLVED, now_s
    return True


def _is_acted_on(turn: Turn, case: Case) -> bool:
    touched: set[EntityId] = {seen.entity for seen in case.evidence}
    for entity in sorted(touched):
        touched.update(turn.scene.graph.reached(entity, HOSTS, 2))
    return bool(touched & turn.acting)
