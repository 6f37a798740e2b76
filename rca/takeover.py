"""A better explanation takes over: another cause for an incident, or one cause for several.

Called by `rca.analyst` for groups in which a new sign waits. A new fault beside an old one is not a
takeover: the old one must have become unneeded.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import IncidentStatus
from rca.case import Case, Docket, Turn
from rca.evidence import Key, overlay
from rca.infer import NOTHING, Explained, Ranked, evaluate, explain_away, rank, standing
from rca.scene import Hypothesis, Scene

Told = Mapping[Key, Sequence[tuple[str, float]]]
"""For each sign the cases that explain it, and how likely each makes it."""
_HELD_STRENGTH = 0.97
"""Probability with which a case's fault shows what the case holds as its evidence,"""
_HELD_FROM = 0.5
"""where it is likelier than not that it does."""
_ECHO_STRENGTH = 0.75
"""Probability with which the end of a fault explains what was taken for its echo."""


def reconsider(
    docket: Docket, turn: Turn, candidates: Iterable[Hypothesis], cases: Sequence[Case]
) -> set[str]:
    """Let better explanations among `candidates` take over; gives the ids of the cases that
    changed.

    First one fault for several cases: the oldest carries on, the others are merged into it. Then
    each case for itself, beside the faults of the others.
    """
    hypotheses = set(candidates)
    changed = set()
    if len(cases) > 1:
        changed |= _take_over(docket, turn, hypotheses, cases, cases)
    for case in cases:
        if case.live:
            own = {h for seen in case.evidence for h in turn.scene.hypotheses(seen.key)}
            changed |= _take_over(docket, turn, hypotheses & own, [case], cases)
    return changed


def adopt(docket: Docket, turn: Turn, parent: Hypothesis, cases: Sequence[Case]) -> set[str]:
    """Put one parent in the place of the faults of these cases, where it makes them unneeded; gives
    the ids of the cases that changed. The one that carries on has the parent for its root."""
    return _take_over(docket, turn, {parent}, cases, cases) if cases else set()


def _take_over(
    docket: Docket,
    turn: Turn,
    hypotheses: set[Hypothesis],
    cases: Sequence[Case],
    near: Sequence[Case],
) -> set[str]:
    """Replace the faults of `cases` by one that none of the cases `near` has, if it makes them
    unneeded; of several at least two."""
    held = [seen for case in cases for seen in case.evidence]
    observed = overlay(turn.scene.observed, held)
    scene = turn.scene
    if observed is not scene.observed:
        scene = replace(scene, observed=observed)
    others = assumed(docket, scene, scene.looks_at(hypotheses), leaving_out=cases)
    ranked = rank(scene, hypotheses - {case.root for case in near if case.root}, assumed=others)
    if not ranked or ranked[0].log_odds < scene.settings.open_log_odds:
        return set()
    best = ranked[0]
    told = _told(scene, cases)
    unneeded = [case for case in cases if _unneeded(turn, scene, case, told, best, others)]
    if len(unneeded) < min(2, len(cases)):
        return set()
    heir, *merged = sorted(unneeded, key=lambda case: (case.opened_at_s, case.id))
    heir.root, heir.onset_s = best.hypothesis, best.onset_s
    for case in merged:
        case.status, case.merged_into = IncidentStatus.MERGED, heir.id
        heir.hold(case.evidence)
        heir.hold(scene.observed[key] for key in sorted(case.keys) if key in scene.observed)
    heir.hold(scene.observed[key] for key in best.supports)
    return {case.id for case in unneeded}


def assumed(
    docket: Docket,
    scene: Scene,
    entities: Iterable[EntityId],
    *,
    leaving_out: Sequence[Case] = (),
) -> Explained:
    """What echoes and the faults of the active cases near these entities explain, but for some
    cases. Cases that touch none of them have nothing to say there."""
    left: Explained = explain_away(NOTHING, dict.fromkeys(docket.echoes, _ECHO_STRENGTH))
    for case in docket.near(entities):
        if case.root is not None and case not in leaving_out:
            left = explain_away(left, _taken(scene, case))
    return left


def _taken(scene: Scene, case: Case) -> Explained:
    """What a case's fault explains; of the signs that it has taken in, next to nothing is left for
    another fault. Many signs with a little left each would together call for a second one."""
    explains = standing(scene, case.root, onset_s=case.onset_s) if case.root else NOTHING
    held = case.keys
    return {
        key: max(strength, _HELD_STRENGTH) if key in held and strength >= _HELD_FROM else strength
        for key, strength in explains.items()
    }


def _told(scene: Scene, cases: Iterable[Case]) -> Told:
    told: dict[Key, list[tuple[str, float]]] = {}
    for case in cases:
        if case.root is not None:
            for key, strength in standing(scene, case.root, onset_s=case.onset_s).items():
                told.setdefault(key, []).append((case.id, strength))
    return told


def _unneeded(
    turn: Turn,
    scene: Scene,
    case: Case,
    told: Told,
    best: Ranked,
    others: Explained,
) -> bool:
    """True when the case's fault adds too little once `best` and the other faults are assumed, and
    is clearly the less likely of the two."""
    if best.onset_s > case.onset_s + turn.settings.takeover_s:
        return False  # it began later: a new fault, whatever it explains of the old one's signs
    if case.root is None:
        return bool(case.keys & set(best.supports))
    young = scene.now_s - case.opened_at_s <= turn.settings.settle_s
    lead = turn.settings.settle_log_odds if young else turn.settings.switch_log_odds
    alone = evaluate(scene, case.root, assumed=others)
    if best.log_odds < alone.log_odds + lead:
        return False
    # What speaks most for the old fault must be explained by the new one, else there are two.
    if alone.supports and best.explains.get(alone.supports[0], 0.0) < turn.settings.join_strength:
        return False
    left = {}
    parent = scene.fault(best.hypothesis).shared
    for key in standing(scene, case.root, onset_s=case.onset_s):
        # Only where it looks itself: the other cases of a storm explain thousands of signs.
        strength = best.explains.get(key, 0.0)
        # Of what a parent shows in many places nothing is left: each little would add up.
        explained = 1.0 if parent and strength >= _HELD_FROM else strength
        unexplained = others.get(key, 1.0) * (1.0 - explained)
        shares = (1.0 - strength for name, strength in told.get(key, ()) if name != case.id)
        left[key] = unexplained * math.prod(shares)
    return evaluate(scene, case.root, assumed=left).log_odds < scene.settings.second_log_odds
