"""Causal features for learned detectors: how far each signal is from its own normal now, whether it
moves, and how restless it is.

All in robust deviations of the entity itself, so that rows of one cohort can be learnt together.
"""

import functools

import numpy as np

from detection.blocks import Block
from detection.frame import Frame
from detection.robust import Floats, mean_of
from detection.sensitivity import sensitivities

_NOW_TICKS = 3
_BEFORE_TICKS = 5
_CLIP = 30.0
PER_SIGNAL = 3


@functools.cache
def signals_of(kind: str) -> tuple[str, ...]:
    """The signals that features of a kind are made of, in a fixed order."""
    return tuple(name for name in sorted(sensitivities()) if name.startswith(f"{kind}."))


def features(frame: Frame, block: Block) -> Floats:
    """(rows, 3 x signals): level, step and spread of each signal. 0, the usual, where unknown."""
    names = signals_of(block.name)
    made = np.zeros((block.shape[0], PER_SIGNAL * len(names)))
    known = [(at, block.column[name]) for at, name in enumerate(names) if name in block.column]
    if not known:
        return made
    places, columns = (np.array(part) for part in zip(*known, strict=True))
    arrays, table = frame.normal.arrays(block), frame.normal.columns(block)
    history = table.into(block.history(_NOW_TICKS + _BEFORE_TICKS).astype(np.float64))
    sigma = np.maximum(arrays["scale"], table.floor)
    warm = arrays["count"] >= frame.normal.warm_samples
    away = np.where(warm, (history - arrays["level"]) / sigma, np.nan)[:, :, columns]
    now, before = mean_of(away[-_NOW_TICKS:]), mean_of(away[:-_NOW_TICKS])
    spread = np.sqrt(np.maximum(mean_of((away - mean_of(away)) ** 2), 0.0))
    for offset, part in enumerate((now, now - before, spread)):
        made[:, PER_SIGNAL * places + offset] = np.clip(np.nan_to_num(part), -_CLIP, _CLIP)
    return made
