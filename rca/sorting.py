"""Who holds which sign: each goes to the case whose fault explains it, or waits.

Called by `rca.analyst` first thing in a tick. After it `docket.pending` has what no case explains,
and `docket.echoes` what a fault that ends, or an act of ours, explains.
"""

import math
from collections.abc import Mapping, Sequence

from fleetmend.model.entities import kind_of
from fleetmend.model.findings import FindingState
from fleetmend.model.plans import ActionKind
from rca.acts import follows, taken_out
from rca.case import Case, Docket, Ghost, Pending, Turn
from rca.evidence import Key, Observation
from rca.graph import HOSTS
from rca.infer import standing
from rca.knowledge.model import Effect, Sign
from rca.overload import losses, moved_load
from rca.scene import Scene


def refresh(docket: Docket, turn: Turn) -> set[str]:
    """Bring held evidence up to date, and confirm what a tick has confirmed."""
    moved = set()
    for case in docket.live:
        explains = _explains(turn.scene, case)
        case.hold(
            now
            for seen in case.evidence
            if (now := turn.scene.observed.get(seen.key)) is not None
            and not _is_news(turn, case, seen, now, explains)
        )
        born = turn.findings.get(case.born)
        if case.provisional and born is not None and born.finding.state is FindingState.OPEN:
            case.provisional = False
            moved.add(case.id)
    return moved


def sort_signs(docket: Docket, turn: Turn) -> set[str]:
    """Let open cases take what they explain; the rest is pending."""
    taken: dict[str, list[Observation]] = {}
    scene, before = turn.scene, docket.pending
    explained: dict[Key, list[tuple[float, Case]]] = {}
    for case in docket.active:
        for key, strength in _explains(scene, case).items():
            explained.setdefault(key, []).append((strength, case))
    held = dict(pair for case in docket.live for pair in case.latest_s)
    docket.losses = losses(docket.losses, scene, taken_out(scene, turn.acts))
    elsewhere = moved_load(scene, docket.losses)
    docket.pending, docket.echoes = {}, []
    for key, seen in scene.observed.items():
        repaired = _under_repair(docket, turn, seen)
        if repaired is not None:
            docket.echoes.append(key)
            if seen.latest_s > held.get(key, -math.inf):
                taken.setdefault(repaired.id, []).append(seen)
            continue
        # Cases hold the newest state of what they explain: what is newer tells of something else.
        if key in held and seen.latest_s <= held[key]:
            continue
        # What we did ourselves speaks for no fault: it must not become evidence of another one.
        if follows(scene, seen, turn.acts) or key in elsewhere:
            docket.echoes.append(key)
            continue
        taker = _taker(turn, explained.get(key, ()))
        if taker is not None:
            taken.setdefault(taker.id, []).append(seen)
        elif _is_echo(docket, turn, seen):
            docket.echoes.append(key)
        else:
            waiting = before.get(key)
            # A sign that has come anew since it was put aside is fresh again.
            if waiting is None or (waiting.spent and seen.latest_s > waiting.since_s):
                waiting = Pending(scene.now_s)
            docket.pending[key] = waiting
    for name, signs in taken.items():
        docket.cases[name].hold(signs)
    return set(taken)


def is_new_story(case: Case, seen: Observation) -> bool:
    """A sign that the case had comes anew after its fault has faded."""
    return case.faded_at_s is not None and seen.latest_s > case.faded_at_s


def _is_news(
    turn: Turn, case: Case, held: Observation, now: Observation, explains: Mapping[Key, float]
) -> bool:
    """A sign that the case holds has come or worsened again, and not by the case's fault."""
    if now.latest_s <= held.latest_s:
        return False
    return is_new_story(case, now) or explains.get(now.key, 0.0) < turn.settings.join_strength


def _explains(scene: Scene, case: Case) -> Mapping[Key, float]:
    return {} if case.root is None else standing(scene, case.root, onset_s=case.onset_s)


def _taker(turn: Turn, explaining: Sequence[tuple[float, Case]]) -> Case | None:
    """The case whose fault explains a sign best, if any does well enough."""
    able = [pair for pair in explaining if pair[0] >= turn.settings.join_strength]
    # The oldest of equals: cases come in order of opening, and max keeps the first.
    return max(able, key=lambda pair: pair[0])[1] if able else None


def _under_repair(docket: Docket, turn: Turn, seen: Observation) -> Case | None:
    """The case for which a node is held: whoever repairs it empties or reboots it, and what a drain
    would show of its engines belongs to that case."""
    if not turn.acting:
        return None
    graph, kind = turn.scene.graph, kind_of(seen.entity)
    if seen.sign not in turn.scene.knowledge.acts.get(ActionKind.DRAIN, {}).get(kind, ()):
        return None
    held = turn.acting.intersection((seen.entity, *graph.reached(seen.entity, HOSTS, 2)))
    return next(
        (
            case
            for case in docket.live
            if case.root is not None
            and held.intersection((case.root.entity, *graph.reached(case.root.entity, HOSTS, 2)))
        ),
        None,
    )


def _is_echo(docket: Docket, turn: Turn, seen: Observation) -> bool:
    """A backlog that drains after a fault, or while an engine that served nothing comes back."""
    sign = turn.scene.knowledge.signs.get(seen.sign)
    settings = turn.settings
    if sign is None or not sign.echo or turn.scene.now_s > seen.latest_s + 2.0 * settings.echo_s:
        return False
    fading = [
        Ghost(sorted({held.entity for held in case.evidence}), case.faded_at_s)
        for case in docket.live
        if case.faded_at_s is not None and case.backlogged
    ]
    for ghost in (*docket.ghosts, *fading):
        since_s = seen.latest_s - (ghost.faded_at_s - settings.closing_s)
        if seen.entity in ghost.entities and 0.0 <= since_s <= settings.echo_s:
            return True
    return any(_comes_back(turn, case, sign, seen) for case in docket.active)


def _comes_back(turn: Turn, case: Case, sign: Sign, seen: Observation) -> bool:
    """The sign tells that a fault which lasts is ending: an engine that served nothing speaks
    again, or what the fault pressed down rises."""
    scene = turn.scene
    if case.root is None or seen.latest_s <= case.onset_s + scene.settings.order_tolerance_s:
        return False
    if scene.fault(case.root).effect is Effect.NO_SERVICE:
        return any(seen.entity == held.entity for held in case.evidence)
    return any(
        expected.sign == sign.opposite and seen.entity in places
        for expected, places in scene.expects(case.root)
    )
