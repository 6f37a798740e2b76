"""The named simple detectors that the project's own is held against, fitted on the train part.

Settings are those of the published comparison: 20 centroids and 90 % of variance on windows of 10
rows, 100 trees of 256 samples, robust z clipped at 30, EWMA of 30 rows.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.ensemble import IsolationForest

from detection.causal import windows

Floats = NDArray[np.float64]
SEED = 0


def scores(train: Floats, test: Floats, *, window: int) -> dict[str, Floats]:
    """Each peer's score of the test rows, (rows,), by name."""
    calm, rows = _standard(train, train), _standard(train, test)
    calm_windows, row_windows = windows(calm, ticks=window), windows(rows, ticks=window)
    made = {
        "KMeansAD": _kmeans(calm_windows, calm_windows, row_windows),
        "Sub-PCA": _outside(calm_windows, calm_windows, row_windows),
        "PCA": _outside(calm, calm, rows),
        "isolation forest alone": _forest(train, train, test),
    }
    ensemble = np.mean([_fitted_scale(*pair) for pair in made.values()], axis=0)
    away = _robust(train, test)
    return {
        **{name: pair[1] for name, pair in made.items()},
        "ENS4": ensemble,
        "robust z, top 5": _top(away),
        "robust z, mean": away.mean(axis=1),
        "EWMA residual": np.abs(_ewma_residual(rows)).mean(axis=1),
        "Sub-forest": _forest(calm_windows, calm_windows, row_windows)[1],
    }


def _standard(train: Floats, rows: Floats) -> Floats:
    deviation = train.std(axis=0)
    made: Floats = np.clip(
        (rows - train.mean(axis=0)) / np.where(deviation < 1e-6, 1.0, deviation), -30.0, 30.0
    )
    return made


def _robust(train: Floats, rows: Floats) -> Floats:
    middle = np.median(train, axis=0)
    scale = 1.4826 * np.median(np.abs(train - middle), axis=0)
    scale = np.where(scale < 1e-3, np.maximum(train.std(axis=0), 1e-3), scale)
    return np.minimum(np.abs(rows - middle) / scale, 30.0)


def _top(away: Floats) -> Floats:
    mean: Floats = np.sort(away, axis=1)[:, -5:].mean(axis=1)
    return mean


def _kmeans(fit: Floats, calm: Floats, rows: Floats) -> tuple[Floats, Floats]:
    fitted = KMeans(n_clusters=20, n_init=1, random_state=SEED).fit(fit)
    return fitted.transform(calm).min(axis=1), fitted.transform(rows).min(axis=1)


def _forest(fit: Floats, calm: Floats, rows: Floats) -> tuple[Floats, Floats]:
    fitted = IsolationForest(
        n_estimators=100, max_samples=min(256, len(fit)), random_state=SEED, n_jobs=1
    ).fit(fit)
    return -fitted.score_samples(calm), -fitted.score_samples(rows)


def _outside(fit: Floats, calm: Floats, rows: Floats) -> tuple[Floats, Floats]:
    mean = fit.mean(axis=0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov((fit - mean).T)))
    held = np.cumsum(values[::-1]) / max(values.sum(), np.finfo(float).tiny)
    kept = vectors[:, ::-1][:, : int(np.searchsorted(held, 0.9)) + 1]
    left = [part - mean - (part - mean) @ kept @ kept.T for part in (calm, rows)]
    return (left[0] ** 2).sum(axis=1), (left[1] ** 2).sum(axis=1)


def _ewma_residual(rows: Floats) -> Floats:
    weight = 2.0 / 31.0
    left, level = np.empty_like(rows), rows[0].copy()
    for at, row in enumerate(rows):
        left[at] = row - level
        level += weight * left[at]
    return left


def _fitted_scale(calm: Floats, rows: Floats) -> Floats:
    middle, high = np.median(calm), np.quantile(calm, 0.99)
    scaled: Floats = (rows - middle) / max(high - middle, 1e-9)
    return scaled
