"""VUS-PR: area under precision and recall of ranges, averaged over buffers around each event.

After Paparrizos and others (VLDB 2022) as TSB-AD computes it (`RangeAUC_volume_opt`, 250
thresholds); written anew, with one sort instead of a pass for each threshold. A golden file holds
what TSB-AD's own code says on random cases. No point adjustment.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_THRESHOLDS = 250
_NO_PERIOD = 125
_LAGS = 400
_SHORTEST = 3
_LONGEST = 300
_ROWS_MAX = 20_000


def events(labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last row of each run of labelled rows."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(int), [0]])))
    return edges[::2], edges[1::2] - 1


def vus_pr(labels: NDArray[Any], scores: Floats, *, window: int) -> float:
    """Volume under the surface for buffers of 0 to `window` rows; `labels` (rows,) are 0 or 1, at
    least one of them 1; high `scores` (rows,) are odd."""
    start, end = events(labels)
    order = np.argsort(-scores, kind="stable")
    ranked = -scores[order]
    at = ranked[np.linspace(0, len(scores) - 1, _THRESHOLDS).astype(int)]
    told = np.searchsorted(ranked, at, side="right")
    inside = np.cumsum(labels[order].astype(int))[told - 1]
    positives = int(labels.sum())
    areas = []
    for width in range(window + 1):
        blurred = _blurred(labels, start, end, width)
        found = _ranges_found(scores, -at, start, end, width // 2)
        hits = np.cumsum(blurred[order])[told - 1]
        wanted = (2 * positives + hits - inside) / 2
        recall = np.minimum(hits / wanted, 1.0) * found
        areas.append(np.dot(np.diff(recall, prepend=0.0), hits / told))
    return float(np.mean(areas))


def period_of(values: Floats) -> int:
    """The window that TSB-AD takes for a series (`find_length_rank`): the lag of the highest peak
    of the autocorrelation of its first 20,000 rows, 125 where there is none."""
    centred = values[:_ROWS_MAX] - values[:_ROWS_MAX].mean()
    spectrum = np.fft.rfft(centred, 2 * len(centred))
    power = np.fft.irfft(spectrum * np.conj(spectrum))[: min(len(centred), _LAGS + 1)]
    if not power[0] > 0:
        return _NO_PERIOD
    past = (power / power[0])[_SHORTEST:]
    peaks = np.flatnonzero((past[1:-1] > past[:-2]) & (past[1:-1] > past[2:])) + 1
    if not len(peaks):
        return _NO_PERIOD
    best = int(peaks[np.argmax(past[peaks])])
    return best + _SHORTEST if _SHORTEST <= best <= _LONGEST else _NO_PERIOD


def _blurred(
    labels: NDArray[Any], start: NDArray[np.int64], end: NDArray[np.int64], width: int
) -> Floats:
    """Labels that fade over half the width before and after each event."""
    blurred = labels.astype(np.float64)
    for away in range(1, width // 2 + 1):
        part = np.sqrt(1.0 - away / width)
        after, before = end + away, start - away
        np.add.at(blurred, after[after < len(labels)], part)
        np.add.at(blurred, before[before >= 0], part)
    return np.minimum(blurred, 1.0)


def _ranges_found(
    scores: Floats,
    thresholds: Floats,
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    half: int,
) -> Floats:
    """Share of the events, widened by half a window and joined where they meet, that hold a row at
    or above each threshold."""
    apart = np.flatnonzero(end[:-1] + half < start[1:] - half)
    first = np.concatenate([[max(start[0] - half, 0)], start[apart + 1] - half])
    last = np.concatenate([end[apart] + half, [min(end[-1] + half, len(scores) - 1)]])
    highest = np.array([scores[a : b + 1].max() for a, b in zip(first, last, strict=True)])
    share: Floats = (highest >= thresholds[:, None]).mean(axis=1)
    return share
