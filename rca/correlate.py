"""Which findings may belong together: those that one fault could show, at about the same time.

Two signs are connected when some fault class on some entity would show both and their onsets lie
within the window; groups are the connected parts. Called by `rca.analyst`; pure and independent of
the order in which signs came.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from rca.evidence import Key
from rca.scene import Hypothesis


def groups(
    onsets_s: Mapping[Key, float],
    candidates: Mapping[Key, Sequence[Hypothesis]],
    *,
    window_s: float,
    together: Iterable[Iterable[Key]] = (),
) -> list[tuple[Key, ...]]:
    """The connected parts of these signs, each sorted, in order of their first key.

    `candidates` names the faults that could show each sign. Keys in one set of `together` (what an
    incident holds already) are connected whatever their onsets.
    """
    parent: dict[Key, Key] = {key: key for key in sorted(onsets_s)}
    by_fault: dict[Hypothesis, list[Key]] = {}
    for key in parent:
        for hypothesis in candidates.get(key, ()):
            by_fault.setdefault(hypothesis, []).append(key)
    for keys in by_fault.values():
        keys.sort(key=lambda key: (onsets_s[key], key))
        for earlier, later in pairwise(keys):
            if onsets_s[later] - onsets_s[earlier] <= window_s:
                _join(parent, earlier, later)
    for held in together:
        known = [key for key in held if key in parent]
        for key in known[1:]:
            _join(parent, known[0], key)
    found: dict[Key, list[Key]] = {}
    for key in parent:
        found.setdefault(_root(parent, key), []).append(key)
    return sorted(tuple(keys) for keys in found.values())


def _root(parent: dict[Key, Key], key: Key) -> Key:
    while parent[key] != key:
        parent[key] = parent[parent[key]]
        key = parent[key]
    return key


def _join(parent: dict[Key, Key], one: Key, other: Key) -> None:
    # The smaller key leads, so that the outcome does not depend on the order of joining.
    low, high = sorted((_root(parent, one), _root(parent, other)))
    parent[high] = low
