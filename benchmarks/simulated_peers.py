"""Simple published ways to rank suspects, on the simulator's cases, told when the fault began.

Own small implementations, all over the same signals of GPUs, engines and nodes: N-Sigma (largest
z-score against the time before; peer of BARO's paper), BARO (median and interquartile range: Pham
et al., FSE 2024), traversal (the deepest that deviate by more than five MAD: PetShop's baseline,
Hardt et al., 2023) and personalised PageRank (as MicroRCA, Wu et al., NOMS 2020). They name
entities only, never a cause.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Signals = Mapping[str, Floats]
"""Entity -> values (seconds, signals); NaN where nothing was heard."""
Graph = Mapping[str, Sequence[str]]
"""Entity -> what it depends on."""

_TINY = 1e-9
_DAMPING = 0.85
_ROUNDS = 50
_MAD_LIMIT = 5.0


def n_sigma(before: Floats, after: Floats) -> float:
    """Largest shift of a mean in standard deviations of the time before."""
    shift = np.abs(np.nanmean(after, axis=0) - np.nanmean(before, axis=0))
    return _largest(shift, np.nanstd(before, axis=0))


def baro(before: Floats, after: Floats) -> float:
    """Largest single deviation in interquartile ranges of the time before."""
    low, middle, high = np.nanquantile(before, (0.25, 0.5, 0.75), axis=0)
    return _largest(np.nanmax(np.abs(after - middle), axis=0), high - low)


def mad_shift(before: Floats, after: Floats) -> float:
    """Largest shift of a median in median absolute deviations."""
    middle = np.nanmedian(before, axis=0)
    spread = np.nanmedian(np.abs(before - middle), axis=0)
    return _largest(np.abs(np.nanmedian(after, axis=0) - middle), spread)


def traversal(scores: Mapping[str, float], graph: Graph) -> list[str]:
    """Those that deviate and depend on nothing that does, largest first; then the other ones."""
    odd = {entity for entity, score in scores.items() if score > _MAD_LIMIT}
    roots = {entity for entity in odd if not odd.intersection(graph.get(entity, ()))}
    return sorted(scores, key=lambda entity: (entity not in roots, -scores[entity], entity))


def page_rank(scores: Mapping[str, float], graph: Graph) -> list[str]:
    """A walker who goes from what deviates to what it depends on, and starts where it deviates."""
    names = sorted(scores)
    index = {name: number for number, name in enumerate(names)}
    start = np.log1p(np.array([scores[name] for name in names]))
    start /= max(float(start.sum()), _TINY)
    rank = start.copy()
    for _ in range(_ROUNDS):
        passed = np.zeros(len(names))
        for name in names:
            below = [index[one] for one in graph.get(name, ()) if one in index]
            if below:
                weight = start[below] + _TINY
                passed[below] += rank[index[name]] * weight / weight.sum()
            else:
                passed += rank[index[name]] * start
        rank = (1 - _DAMPING) * start + _DAMPING * passed
    return sorted(names, key=lambda name: (-rank[index[name]], name))


def by_score(scores: Mapping[str, float]) -> list[str]:
    """Largest first."""
    return sorted(scores, key=lambda entity: (-scores[entity], entity))


def _largest(shift: Floats, spread: Floats) -> float:
    told = np.isfinite(shift) & np.isfinite(spread)
    if not told.any():
        return 0.0
    return float((shift[told] / (spread[told] + _TINY + 0.01 * np.abs(shift[told]))).max())
