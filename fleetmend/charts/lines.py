"""The lines of one chart: which points have come since the chart was last written.

Called by the service; pure but for what a line remembers. Every line is bounded, whatever a source
sends.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fleetmend.model.entities import EntityId
from fleetmend.store import Points, thinned

PENDING_MAX = 600
"""Points that a line holds until they are written; as many as the store keeps of a chart."""
RAW_MAX = 20_000
"""Samples of peers that wait for their second to be over: 32 peers for ten minutes."""
SETTLE_S = 2.0
"""Seconds after which a second is taken for complete: peers are stamped within one of another."""

_NONE: Points = (np.empty(0), np.empty(0))


class Line(Protocol):
    """A line of a chart."""

    @property
    def sources(self) -> frozenset[EntityId]:
        """Whose samples it is made of."""
        ...

    def take(self, source: EntityId, points: Points) -> None:
        """Samples of one source, rising in time."""
        ...

    def pending(self, *, until_s: float, last: bool) -> Points:
        """The points to be written, none after `until_s`; `last` when no more will come."""
        ...

    def written(self) -> None:
        """Forget what `pending` gave last: the store has it."""
        ...


class Rates:
    """Counters as what people read: how much they grew in a second, by source."""

    def __init__(self) -> None:
        self._last: dict[EntityId, tuple[float, float]] = {}

    def of(self, source: EntityId, points: Points) -> Points:
        """The growth per second up to each sample; a fall is a reset, and says nothing."""
        time_s, value = points
        if source in self._last:
            before_s, held = self._last[source]
            newer = time_s > before_s
            time_s = np.concatenate(([before_s], time_s[newer]))
            value = np.concatenate(([held], value[newer]))
        if len(time_s):
            self._last[source] = (float(time_s[-1]), float(value[-1]))
        gap_s, growth = np.diff(time_s), np.diff(value)
        told = (gap_s > 0) & (growth >= 0)
        return time_s[1:][told], growth[told] / gap_s[told]


class OwnLine:
    """The samples of one entity as they are, or its counter's rate."""

    def __init__(self, entity: EntityId, *, rates: Rates | None = None) -> None:
        self.sources = frozenset({entity})
        self._rates = rates
        self._points = _NONE
        self._last_s = -math.inf

    def take(self, source: EntityId, points: Points) -> None:
        """Samples, rising in time; what is not newer than the last is left out."""
        time_s, value = points if self._rates is None else self._rates.of(source, points)
        newer = time_s > self._last_s
        if newer.any():
            self._last_s = float(time_s[-1])
            self._points = thinned(
                joined([self._points, (time_s[newer], value[newer])]), PENDING_MAX
            )

    def pending(self, *, until_s: float, last: bool) -> Points:
        """All that came."""
        return before(self._points, until_s)

    def written(self) -> None:
        """Forget it."""
        self._points = _NONE


class PeerLine:
    """The median over the peers in each second in which any was heard."""

    def __init__(self, peers: Sequence[EntityId], *, rates: Rates | None = None) -> None:
        self._rates = rates
        self.sources = frozenset(peers)
        self._raw: list[Points] = []
        self._raw_count = 0
        self._newest_s: dict[EntityId, float] = {}
        self._settled_s = -math.inf
        self._points = _NONE

    def take(self, source: EntityId, points: Points) -> None:
        """Samples of one peer; those of seconds that have been told already are left out."""
        time_s, value = points if self._rates is None else self._rates.of(source, points)
        newer = time_s >= self._settled_s
        if newer.any():
            self._raw.append((time_s[newer], value[newer]))
            self._raw_count += int(newer.sum())
            self._newest_s[source] = float(time_s[-1])
        if self._raw_count > RAW_MAX:
            self._settle(math.inf)

    def pending(self, *, until_s: float, last: bool) -> Points:
        """The medians of all seconds that are complete."""
        self._settle(math.inf if last else self._complete_s())
        return before(self._points, until_s)

    def written(self) -> None:
        """Forget them."""
        self._points = _NONE

    def _complete_s(self) -> float:
        """The end of the last complete second, by most peers: one fast clock must not end it."""
        newest = sorted(self._newest_s.values())
        return math.floor(newest[len(newest) // 2] - SETTLE_S) if newest else -math.inf

    def _settle(self, end_s: float) -> None:
        if not self._raw:
            return
        time_s, value = joined(self._raw)
        over = time_s < end_s
        if not over.any():
            return
        medians = median_points((time_s[over], value[over]))
        self._points = thinned(joined([self._points, medians]), PENDING_MAX)
        self._settled_s = float(medians[0][-1]) + 1.0
        self._raw = [(time_s[~over], value[~over])]
        self._raw_count = int((~over).sum())


def joined(pieces: Sequence[Points]) -> Points:
    """One after the other."""
    return np.concatenate([t for t, _ in pieces]), np.concatenate([v for _, v in pieces])


def before(points: Points, until_s: float) -> Points:
    """Those up to `until_s`."""
    within = points[0] <= until_s
    return points[0][within], points[1][within]


def median_points(points: Points) -> Points:
    """The median of the values of each whole second, at its beginning."""
    time_s, value = points
    second = np.floor(time_s)
    order = np.lexsort((value, second))
    second, ranked = second[order], value[order]
    moments, starts, counts = np.unique(second, return_index=True, return_counts=True)
    low: NDArray[np.float64] = ranked[starts + (counts - 1) // 2]
    high: NDArray[np.float64] = ranked[starts + counts // 2]
    return moments, (low + high) / 2
