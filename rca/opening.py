"""When an incident opens: a likely fault, corroborated, and clear at once or waited for.

Called by `rca.analyst` with signs that no case explains. A lone learned finding never opens one.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from fleetmend.model.entities import EntityId
from fleetmend.model.findings import FindingState
from rca.case import Case, Docket, Held, Turn, incident_id
from rca.evidence import Key, Observation
from rca.infer import Ranked, rank, rivals_of
from rca.scene import Hypothesis
from rca.takeover import assumed


def open_case(
    docket: Docket,
    turn: Turn,
    fresh: Sequence[Key],
    *,
    candidates: Iterable[Hypothesis] | None = None,
) -> Case | None:
    """Open the likeliest fault behind `fresh`, or an incident without a cause, or nothing yet.
    `candidates` are the faults to weigh; by default all that could show any of it."""
    if not fresh:
        return None
    scene = turn.scene
    if candidates is None:
        candidates = {h for key in fresh for h in scene.hypotheses(key)}
    explained = assumed(docket, scene, scene.looks_at(candidates))
    ranked = rank(scene, candidates, assumed=explained)
    if not ranked or ranked[0].log_odds < scene.settings.open_log_odds:
        return _open_unknown(docket, turn, fresh)
    best = ranked[0]
    waiting = frozenset(fresh)
    seeds = [key for key in best.supports if key in waiting]
    if not seeds or not _corroborated(turn, best):
        return None
    waited_s = scene.now_s - min(docket.pending[key].since_s for key in seeds)
    if not _ripe(turn, best, rivals_of(best, ranked), waited_s):
        return None
    evidence = [scene.observed[key] for key in best.supports]
    return _file(docket, turn, best, seeds, evidence)


def _open_unknown(docket: Docket, turn: Turn, fresh: Sequence[Key]) -> Case | None:
    """Strong findings that last and that nothing explains open an incident without a cause, where
    no other incident touches their entity."""
    scene = turn.scene
    strong = [
        key
        for key in fresh
        if not docket.near([key[0]])
        and scene.observed[key].hard >= turn.settings.unknown_confidence
        and scene.now_s - docket.pending[key].since_s >= turn.settings.unknown_after_s
    ]
    if not strong:
        return None
    return _file(docket, turn, None, strong, [scene.observed[key] for key in strong])


def _ripe(turn: Turn, best: Ranked, rivals: Sequence[Ranked], waited_s: float) -> bool:
    margin = best.log_odds - rivals[0].log_odds if rivals else math.inf
    if waited_s >= turn.settings.hold_max_s:
        return True
    if margin >= turn.scene.settings.sure_margin_log_odds:
        return True
    return waited_s >= turn.settings.hold_s and margin >= turn.scene.settings.margin_log_odds


def _corroborated(turn: Turn, best: Ranked) -> bool:
    """One sure sign, one that is decisive, or two fairly sure ones; what was only learned never
    counts."""
    hard: dict[str, float] = {}
    for key in best.supports:
        hard[key[1]] = max(turn.scene.observed[key].hard, hard.get(key[1], 0.0))
    fair = [value for value in hard.values() if value >= turn.settings.pair_confidence]
    sure = any(value >= turn.settings.lone_confidence for value in fair)
    return sure or len(fair) >= (1 if best.decisive else 2)


def _file(
    docket: Docket,
    turn: Turn,
    best: Ranked | None,
    seeds: Sequence[Key],
    evidence: list[Observation],
) -> Case:
    born = _announced(evidence, turn.findings)
    if born is not None:
        entity, tick = born.finding.entity, born.first_tick
    else:
        entity = seeds[0][0] if best is None else best.hypothesis.entity
        tick = turn.tick
    name = incident_id(entity, tick)
    while name in docket.cases:  # two faults of one entity that began in one tick
        entity = EntityId(f"{entity}+")
        name = incident_id(entity, tick)
    announced_at_s = None if born is None else born.announced_at_s
    case = Case(
        id=name,
        root=None if best is None else best.hypothesis,
        opened_at_s=turn.at_s if announced_at_s is None else announced_at_s,
        onset_s=min(seen.onset_s for seen in evidence) if best is None else best.onset_s,
        evidence=[],
        born="" if born is None else born.finding.id,
        provisional=born is not None and born.finding.state is FindingState.PROVISIONAL,
    )
    case.hold(evidence)
    docket.cases[name] = case
    docket.note(case, turn.scene)
    return case


def _announced(evidence: Sequence[Observation], findings: Mapping[str, Held]) -> Held | None:
    """The finding among the evidence for which an incident went out on arrival."""
    found = [
        held
        for seen in evidence
        if (held := findings.get(seen.finding)) is not None and held.announced_at_s is not None
    ]
    return min(found, key=lambda held: (held.first_tick, held.finding.id)) if found else None
