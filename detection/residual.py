"""What a row says that the others do not explain, signal by signal: the part of it that lies
outside the principal components of calm rows, in robust deviations of that part.

The signals that stand out are their own explanation. Fails for faults that move along the
components, as more load does.
"""

from dataclasses import dataclass

import numpy as np

from detection.robust import MAD_TO_SIGMA, Floats

_SHARE = 0.9
"""Share of the variance that the kept components hold."""
_CLIP = 30.0
"""Deviations beyond which more says nothing more."""
_STANDING_OUT = 5
"""Signals that are averaged: one alone may be noise, all of them drown a fault of a few."""
_FLOOR = 1e-3
_FLOOR_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and robust deviation of each column."""

    middle: Floats
    scale: Floats

    def scores(self, rows: Floats) -> Floats:
        """Mean of the few largest deviations of each row (rows, signals), (rows,)."""
        away = np.minimum(np.abs(rows - self.middle) / self.scale, _CLIP)
        largest: Floats = np.sort(away, axis=1)[:, -_STANDING_OUT:]
        mean: Floats = largest.mean(axis=1)
        return mean


def fit_spread(rows: Floats) -> Spread:
    """The usual spread of `rows` (rows, signals). A column that hardly moves gets a tenth of its
    standard deviation and at least a thousandth, so that its first move is not infinitely odd."""
    middle = np.median(rows, axis=0)
    scale = MAD_TO_SIGMA * np.median(np.abs(rows - middle), axis=0)
    floor = np.maximum(_FLOOR_SHARE * rows.std(axis=0), _FLOOR)
    return Spread(middle, np.maximum(scale, floor))


@dataclass(frozen=True, slots=True)
class Residual:
    """Components of calm rows, and how much is usually left outside them."""

    mean: Floats
    components: Floats
    """(signals, components), orthonormal."""
    spread: Spread

    def scores(self, rows: Floats) -> Floats:
        """How much of each row (rows, signals) the components leave unexplained, (rows,)."""
        return self.spread.scores(_outside(rows, self.mean, self.components))


def fit_residual(rows: Floats) -> Residual:
    """Components of `rows` (rows, signals) that hold nine tenths of the variance."""
    mean = rows.mean(axis=0)
    covariance = np.atleast_2d(np.cov((rows - mean).T))
    values, vectors = np.linalg.eigh(covariance)
    held = np.cumsum(values[::-1]) / max(values.sum(), np.finfo(float).tiny)
    components = vectors[:, ::-1][:, : int(np.searchsorted(held, _SHARE)) + 1]
    return Residual(mean, components, fit_spread(_outside(rows, mean, components)))


def _outside(rows: Floats, mean: Floats, components: Floats) -> Floats:
    away = rows - mean
    return away - away @ components @ components.T
