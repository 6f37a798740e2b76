"""One detector out of four: an isolation forest on causal features, distance to clusters of short
windows, the largest steps, and a PCA residual, each fitted on the calm series of one entity.

The forest sees odd combinations, clusters odd shapes, steps what is sudden, the residual broken
relations. Each score is laid on a scale of its own calm past (0 its median, 1 its 99 % quantile),
and the scales are averaged. For series of unknown meaning: no signal's name is used. Fails for
what was there while it learnt, and where the level of normal drifts away from it: the scores rise
for good, and a threshold that follows them (`quota.py`) is needed.
"""

from dataclasses import dataclass, replace

import numpy as np

from detection.causal import features, steps, windows
from detection.clustering import Clusters, fit_clusters
from detection.residual import Residual, Spread, fit_residual, fit_spread
from detection.robust import Floats
from detection.trees import Trees
from detection.trees import fit as fit_trees

MEMBERS = ("clusters", "forest", "steps", "residual")
_WEIGHTS = np.array([2.0, 2.0, 2.0, 1.0]) / 7.0
"""The residual sees much of what clusters see, and drifts most: it counts half."""
_CENTRES = 20
_TREES = 100
_SAMPLES = 256
_CLIP = 30.0
_CONSTANT = 1e-6
_HIGH = 0.99
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Fused:
    """The four members, and the scale of each."""

    window_ticks: int
    mean: Floats
    scale: Floats
    """Of the signals, (signals,)."""
    clusters: Clusters
    forest: Trees
    steps: Spread
    residual: Residual
    usual: Floats
    high: Floats
    """Median and 99 % quantile of each member's calm scores, (members,)."""

    def members(self, rows: Floats) -> Floats:
        """Each member's score on the common scale, (ticks, members), in the order of `MEMBERS`.
        `rows` (ticks, signals) must be finite and lie one tick apart."""
        return (self._raw(rows) - self.usual) / np.maximum(self.high - self.usual, _TINY)

    def scores(self, rows: Floats) -> Floats:
        """How odd each tick is, (ticks,): about 0 when usual, around 1 at the edge of calm."""
        fused: Floats = self.members(rows) @ _WEIGHTS
        return fused

    def _raw(self, rows: Floats) -> Floats:
        scaled = _scaled(rows, self.mean, self.scale)
        return np.stack(
            [
                self.clusters.scores(windows(scaled, ticks=self.window_ticks)),
                -self.forest.scores(features(scaled)),
                self.steps.scores(steps(scaled)),
                self.residual.scores(scaled),
            ],
            axis=1,
        )


def fit_fused(rows: Floats, *, window_ticks: int = 10, seed: int) -> Fused:
    """Learn what is usual from `rows` (ticks, signals), all finite, one tick apart, mostly calm.
    `window_ticks`: ticks that make a shape; 10, and a period where a single signal has one."""
    deviation = rows.std(axis=0)
    mean, scale = rows.mean(axis=0), np.where(deviation < _CONSTANT, 1.0, deviation)
    scaled = _scaled(rows, mean, scale)
    fitted = Fused(
        window_ticks=window_ticks,
        mean=mean,
        scale=scale,
        clusters=fit_clusters(windows(scaled, ticks=window_ticks), centres=_CENTRES, seed=seed),
        forest=fit_trees(features(scaled), trees=_TREES, samples=_SAMPLES, seed=seed),
        steps=fit_spread(steps(scaled)),
        residual=fit_residual(scaled),
        usual=np.zeros(len(MEMBERS)),
        high=np.ones(len(MEMBERS)),
    )
    own = fitted._raw(rows)
    return replace(fitted, usual=np.median(own, axis=0), high=np.quantile(own, _HIGH, axis=0))


def _scaled(rows: Floats, mean: Floats, scale: Floats) -> Floats:
    scaled: Floats = np.clip((rows - mean) / scale, -_CLIP, _CLIP)
    return scaled
