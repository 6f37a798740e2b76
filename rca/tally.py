"""What the seen signs of one fault weigh, at several moments at which it may have begun, at once.

Called by `rca.infer`: the terms of its formula. A leaf has a handful of signs and loops over them;
the parent of a storm has ten thousand and takes them as arrays. A test holds both to the same
figures. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rca.evidence import Key
from rca.outlook import Present
from rca.scene import Scene
from rca.weights import fitting, log_likelihood, reliability

Floats = NDArray[np.float64]
FEW = 64
"""Signs up to which the loop is faster."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """The signs for a fault that began at one moment, in the order in which they were given."""

    weights: list[float]
    """How well the time of each fits."""
    strengths: list[float]
    """The same times the strength with which the fault shows the sign."""
    gains: list[float]
    """What each adds to the log-odds of the fault."""
    told: float
    """What they add together. The same sign on several entities of one kind is one fact: the GPUs
    of an engine move together. Where a share must show it, each is asked for itself."""


def tally(
    scene: Scene,
    present: Sequence[Present],
    onsets_s: Sequence[float],
    assumed: Mapping[Key, float],
    *,
    consequences: bool,
) -> list[Weighed]:
    """Weigh these signs for each moment; they come grouped by what is expected. What another fault
    shows that this one leads to speaks for that other fault alone, unless `consequences` count."""
    weigh = few if len(present) <= FEW else many
    return weigh(scene, present, onsets_s, assumed, consequences=consequences)


def few(
    scene: Scene,
    present: Sequence[Present],
    onsets_s: Sequence[float],
    assumed: Mapping[Key, float],
    *,
    consequences: bool,
) -> list[Weighed]:
    """`tally` sign by sign."""
    lefts = [assumed.get(item.seen.key, 1.0) for item in present]
    before = [log_likelihood(scene, p.seen, left) for p, left in zip(present, lefts, strict=True)]
    found = []
    for onset_s in onsets_s:
        weights = [fitting(scene, p.seen, p.expected, onset_s) for p in present]
        strengths = [w * p.expected.strength for w, p in zip(weights, present, strict=True)]
        gains = [
            log_likelihood(scene, p.seen, left * (1.0 - strength)) - base
            for p, left, strength, base in zip(present, lefts, strengths, before, strict=True)
        ]
        told = sum(
            sum(gains[part])
            if present[part.start].expected.share_min > 0.0
            # One that speaks against it on a single entity is not taken for a fact.
            else max(0.0, *gains[part])
            for part in _parts(present, consequences=consequences)
        )
        found.append(Weighed(weights, strengths, gains, told))
    return found


def many(
    scene: Scene,
    present: Sequence[Present],
    onsets_s: Sequence[float],
    assumed: Mapping[Key, float],
    *,
    consequences: bool,
) -> list[Weighed]:
    """`tally` over arrays of (moment x sign)."""
    expected = [item.expected for item in present]
    seen = [item.seen for item in present]
    shown_s = np.array([(one.onset_s, one.latest_s) for one in seen]).T
    lag_min_s = np.array([one.lag_min_s for one in expected])
    lag_max_s = np.array([one.lag_max_s for one in expected])
    surely = np.array([reliability(one) for one in seen])
    leak = np.array([scene.leak(one.sign) for one in seen])
    left = np.array([assumed.get(one.key, 1.0) for one in seen])
    lag_s = shown_s[:, None, :] - np.array(onsets_s)[None, :, None]
    outside_s = np.maximum(lag_min_s - lag_s, lag_s - lag_max_s) - scene.settings.order_tolerance_s
    weights = np.exp(-np.maximum(0.0, outside_s) / scene.settings.order_decay_s).max(axis=0)
    strengths = weights * np.array([one.strength for one in expected])
    gains = _likelihood(leak, surely, left * (1.0 - strengths)) - _likelihood(leak, surely, left)
    told = np.zeros(len(onsets_s))
    for part in _parts(present, consequences=consequences):
        each = present[part.start].expected.share_min > 0.0
        told += gains[:, part].sum(axis=1) if each else gains[:, part].max(axis=1).clip(0.0)
    rows = zip(weights.tolist(), strengths.tolist(), gains.tolist(), told.tolist(), strict=True)
    return [Weighed(*row) for row in rows]


def _parts(present: Sequence[Present], *, consequences: bool) -> list[slice]:
    """Runs of signs of one expectation, those that count."""
    parts, begin = [], 0
    for end in range(1, len(present) + 1):
        expected = present[begin].expected
        if end < len(present) and present[end].expected is expected:
            continue
        if consequences or not expected.consequence:
            parts.append(slice(begin, end))
        begin = end
    return parts


def _likelihood(leak: Floats, surely: Floats, unexplained: Floats) -> Floats:
    """`log_likelihood` of `rca.weights` over arrays."""
    probability = 1.0 - (1.0 - leak) * unexplained
    return np.asarray(np.log(surely * probability + (1.0 - surely) * (1.0 - probability)))
