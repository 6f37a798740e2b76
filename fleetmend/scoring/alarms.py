"""What alarms on one labelled series are worth: events found, false episodes, delay."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetmend.scoring.vus import events

GAP_ROWS = 30
"""False alarm rows up to so many apart are one episode."""


@dataclass(frozen=True, slots=True)
class Alarmed:
    """The worth of one run."""

    found: int
    events: int
    false_episodes: int
    days: float
    false_time_share: float
    """Share of the rows outside events that alarm."""
    delays_rows: tuple[int, ...]
    """Rows from the start of each found event to its first alarm."""

    @property
    def recall(self) -> float:
        """Share of events with an alarm inside."""
        return self.found / self.events

    @property
    def false_a_day(self) -> float:
        """False episodes a day."""
        return self.false_episodes / self.days


def judged(alarm: NDArray[np.bool_], labels: NDArray[Any], *, rows_a_day: float) -> Alarmed:
    """Compare `alarm` (rows,) with `labels` (rows,). Every alarm row outside an event counts, also
    right behind one; nothing is adjusted."""
    start, end = events(labels)
    delays = [
        int(np.argmax(alarm[a : b + 1]))
        for a, b in zip(start, end, strict=True)
        if alarm[a : b + 1].any()
    ]
    false_rows = np.flatnonzero(alarm & (labels == 0))
    return Alarmed(
        found=len(delays),
        events=len(start),
        false_episodes=_episodes(false_rows),
        days=len(labels) / rows_a_day,
        false_time_share=len(false_rows) / max(1, int((labels == 0).sum())),
        delays_rows=tuple(delays),
    )


def hindsight(scores: NDArray[np.float64], labels: NDArray[Any], *, false_max: float) -> float:
    """The lowest threshold down to which no more than so many false episodes arise: chosen with the
    labels in hand, so what it finds is an upper bound."""
    lowest = np.inf
    outside = labels == 0
    shares = np.geomspace(1e-5, 0.3, 400)
    for candidate in np.unique(np.quantile(scores[outside], 1.0 - shares))[::-1]:
        if _episodes(np.flatnonzero((scores > candidate) & outside)) > false_max:
            break
        lowest = float(candidate)
    return lowest


def _episodes(rows: NDArray[np.int64]) -> int:
    return 0 if not len(rows) else 1 + int((np.diff(rows) > GAP_ROWS).sum())
