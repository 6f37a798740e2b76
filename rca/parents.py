"""Shared parents first: what half a rack shows is asked of the rack before its nodes are asked.

Called by `rca.analyst` before it looks at single faults. While several members of a parent begin to
show the same, what they show waits for the parent, `gather_s` at most: one event-time window, so
that a rack or a switch that takes a second to fall gives one incident instead of one a node. A lone
entity, and a sign that no parent class counts by share (an Xid, say), never waits.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rca import opening, takeover
from rca.case import Case, Docket, Turn
from rca.evidence import Key
from rca.infer import rank, standing
from rca.scene import Hypothesis, Scene

EMERGES_SHARE = 0.1
"""Share of a parent's members, two at least, from which it may be about to show. A judgement."""
PARENTS_MAX = 8
"""Parents that may open in one tick; more wait for the next."""
_RIVALS_OF_SIGN = 8
"""Members of each sign whose own faults are weighed beside the parent's."""


@dataclass(frozen=True, slots=True)
class Parents:
    """What became of the signs that members share."""

    moved: frozenset[str]
    """Cases in which something moved."""
    settled: frozenset[Key]
    """Signs that a parent has taken, or for which one is waited."""


def ask(docket: Docket, turn: Turn, fresh: Sequence[Key]) -> Parents:
    """Open the parents that show among these waiting signs, merge what their members had opened,
    and say which signs wait for a parent that is about to show."""
    scene = turn.scene
    found = _candidates(docket, scene, fresh)
    emerging = {h: showing for h in found if (showing := _emerges(scene, h))}
    moved: set[str] = set()
    left = [key for key in fresh if found]
    for _ in range(PARENTS_MAX):
        waiting = _waiting(docket, turn, left, _growing(scene, emerging))
        changed = _next(docket, turn, [key for key in left if key not in waiting], emerging)
        if not changed:
            break
        moved |= changed
        for case in (docket.cases[name] for name in sorted(changed)):
            if case.live and case.root is not None:
                emerging.pop(case.root, None)
                held = _swallow(turn, case, case.root, left)
                left = [key for key in left if key not in held]
        asking = set(left)
        emerging = {h: n for h, n in emerging.items() if not asking.isdisjoint(found[h])}
    settled = _waiting(docket, turn, left, emerging).union(set(fresh).difference(left))
    return Parents(frozenset(moved), frozenset(settled) if found else frozenset())


def _candidates(docket: Docket, scene: Scene, fresh: Iterable[Key]) -> dict[Hypothesis, list[Key]]:
    """Parents of which no case is yet, with those of these signs that their members show."""
    known = {case.root for case in docket.active}
    found: dict[Hypothesis, list[Key]] = {}
    shared = {
        sign: [(fault, expected) for fault, expected in uses if expected.share_min > 0.0]
        for sign, uses in scene.knowledge.by_sign.items()
    }
    for entity, sign in fresh:
        for fault, expected in shared.get(sign, ()):
            for root in scene.graph.roots(entity, fault):
                parent = Hypothesis(fault.name, root)
                if scene.graph.is_place(entity, root, fault, expected.on) and parent not in known:
                    found.setdefault(parent, []).append((entity, sign))
    return dict(sorted(found.items()))


def _emerges(scene: Scene, parent: Hypothesis) -> int:
    """How many members show the same, or 0 while too few do."""
    if scene.fault(parent).change_needed and scene.recent_change(parent, scene.now_s) is None:
        return 0
    most = 0
    for expected, places in scene.expects(parent):
        if expected.share_min > 0.0:
            showing = len(scene.seen_on(expected.sign, parent, expected.on, places))
            if showing >= max(2, EMERGES_SHARE * len(places)):
                most = max(most, showing)
    return most


def _next(
    docket: Docket, turn: Turn, left: Sequence[Key], emerging: Mapping[Hypothesis, int]
) -> set[str]:
    """The likeliest parent that shows, if it is likelier than any fault of a single member: opened,
    or put in the place of what its members had opened. The ids of the cases that changed."""
    scene = turn.scene
    showing = [parent for parent in emerging if scene.applies(parent)]
    if not showing or not left:
        return set()
    explained = takeover.assumed(docket, scene, scene.looks_at(showing))
    best = rank(scene, showing, assumed=explained)[0]
    under = docket.near(scene.looks_at([best.hypothesis]))
    changed = takeover.adopt(docket, turn, best.hypothesis, under)
    if changed:
        return changed
    case = opening.open_case(docket, turn, left, candidates={*showing, *_rivals(scene, left)})
    return set() if case is None else {case.id}


def _rivals(scene: Scene, left: Iterable[Key]) -> set[Hypothesis]:
    """The faults of some members: all of a storm's are alike."""
    asked: dict[str, int] = {}
    found: set[Hypothesis] = set()
    for key in left:
        asked[key[1]] = asked.get(key[1], 0) + 1
        if asked[key[1]] <= _RIVALS_OF_SIGN:
            found.update(scene.hypotheses(key))
    return found


def _growing(scene: Scene, emerging: Mapping[Hypothesis, int]) -> dict[Hypothesis, int]:
    """Parents that are about to show, and of which more shows than of any below them that shows
    already: a switch over its racks, a rack over nodes that look like dead collectors."""
    most: dict[str, int] = {}
    growing: dict[Hypothesis, int] = {}
    for parent, showing in emerging.items():
        if scene.applies(parent):
            most[parent.fault] = max(showing, most.get(parent.fault, 0))
        else:
            growing[parent] = showing
    return {h: showing for h, showing in growing.items() if showing > most.get(h.fault, 0)}


def _swallow(turn: Turn, case: Case, root: Hypothesis, left: Sequence[Key]) -> set[Key]:
    """Let a case that has just changed take what it explains at once: nobody need ask its members
    any more. Gives what it holds."""
    explains = standing(turn.scene, root, onset_s=case.onset_s)
    least = turn.settings.join_strength
    case.hold(turn.scene.observed[key] for key in left if explains.get(key, 0.0) >= least)
    return case.keys


def _waiting(
    docket: Docket, turn: Turn, left: Sequence[Key], emerging: Mapping[Hypothesis, int]
) -> set[Key]:
    """Signs that one of these parents would show, and that have waited for less than the window."""
    scene = turn.scene
    young = {key for key in left if _waits(docket, turn, key)}
    found: set[Key] = set()
    for parent in sorted(emerging, key=lambda parent: -emerging[parent]):
        if found == young:  # the largest comes first, and has all of a storm
            break
        for expected, places in scene.expects(parent):
            if not expected.consequence:
                seen = scene.seen_on(expected.sign, parent, expected.on, places)
                found |= young.intersection(one.key for one in seen)
    return found


def _waits(docket: Docket, turn: Turn, key: Key) -> bool:
    since_s = docket.pending[key].since_s
    return turn.scene.now_s - since_s < turn.settings.gather_s
