"""One tick of root cause analysis, in order: sort what is seen, open and reconsider, let age.

Called by `rca.stage` with everything that is known at the tick's end. Nothing here depends on the
order in which findings came within a tick.
"""

from collections.abc import Set

from rca import ageing, opening, parents, sorting, takeover
from rca.case import Case, Docket, Turn
from rca.correlate import groups
from rca.evidence import Key

FAULTS_MAX = 3
"""New faults that one group may open in one tick; more wait for the next."""


def analyse(docket: Docket, turn: Turn) -> set[str]:
    """Change the docket by one tick; gives the ids of the cases in which something moved."""
    moved = sorting.refresh(docket, turn)
    moved |= sorting.sort_signs(docket, turn)
    docket.index(turn.scene)
    fresh = [key for key, state in docket.pending.items() if not state.spent]
    shared = parents.ask(docket, turn, fresh)
    moved |= shared.moved
    for group, fresh, near in _groups(docket, turn, shared.settled):
        candidates = {h for key in group for h in turn.scene.hypotheses(key)}
        moved |= takeover.reconsider(docket, turn, candidates, near)
        taken = {seen for case in near for seen in case.evidence}
        left = [key for key in fresh if turn.scene.observed[key] not in taken]
        for _ in range(FAULTS_MAX):
            opened = opening.open_case(docket, turn, left)
            if opened is None:
                break
            moved.add(opened.id)
            left = [key for key in left if key not in opened.keys]
    return moved | ageing.age(docket, turn)


def _groups(
    docket: Docket, turn: Turn, settled: Set[Key]
) -> list[tuple[tuple[Key, ...], list[Key], list[Case]]]:
    """Groups in which something waits that is not settled: all their signs, the waiting ones, the
    cases in them."""
    fresh = [k for k, state in docket.pending.items() if not state.spent and k not in settled]
    if not fresh:
        return []
    cases = docket.active
    onsets_s = {seen.key: seen.onset_s for case in cases for seen in case.evidence}
    onsets_s |= {key: turn.scene.observed[key].onset_s for key in fresh}
    found = groups(
        onsets_s,
        {key: turn.scene.hypotheses(key) for key in onsets_s},
        window_s=turn.settings.window_s,
        together=[[seen.key for seen in case.evidence] for case in cases],
    )
    waiting = set(fresh)
    held = {case.id: case.keys for case in cases}
    return [
        (
            group,
            [key for key in group if key in waiting],
            [case for case in cases if not held[case.id].isdisjoint(group)],
        )
        for group in found
        if not waiting.isdisjoint(group)
    ]
