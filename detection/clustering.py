"""How far a row lies from everything usual: distance to the nearest of a few centres (k-means).

Fails for a fault that looks like another usual state, and for what was seen while it learnt. Only
arrays are kept, so a fitted model can be saved.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import KMeans

from detection.robust import Floats

_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Clusters:
    """Centres of what is usual."""

    centres: Floats
    """(centres, features)."""

    def scores(self, rows: Floats) -> Floats:
        """Distance of each row (rows, features) to the nearest centre, (rows,)."""
        own = (self.centres**2).sum(axis=1)
        nearest = [
            ((part**2).sum(axis=1)[:, None] - 2.0 * part @ self.centres.T + own).min(axis=1)
            for part in np.split(rows, range(_ROWS_AT_ONCE, len(rows), _ROWS_AT_ONCE))
        ]
        distance: Floats = np.sqrt(np.maximum(np.concatenate(nearest), 0.0))
        return distance


def fit_clusters(rows: Floats, *, centres: int, seed: int) -> Clusters:
    """Centres of `rows` (rows, features); fewer where there are fewer different rows."""
    count = min(centres, len(np.unique(rows, axis=0)))
    fitted = KMeans(n_clusters=count, n_init=1, random_state=seed).fit(rows)
    return Clusters(np.asarray(fitted.cluster_centers_, np.float64))
