"""Evidence on one time axis: which pieces have a chart, what their points are, what the axis spans.

The charts' points travel in the page as JSON and are drawn by web/src/charts.ts; every chart has a
twin as a table, made from the same points.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from console.figures import kind_word, name_of, quantity
from console.present.case import IncidentCase
from console.present.signals import meaning, reading_unit, title
from console.present.summary import expected
from console.words import NAME_CHARS_MAX, WITNESS, shorten
from fleetmend.model.entities import EntityKind
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import Evidence
from fleetmend.store import Series

CHARTS_MAX = 6
ROWS_MAX = 40
ROWS_SHOWN = 6
"""Pieces without a chart that are shown at once; the rest is folded away."""
TWIN_ROWS_MAX = 24
SILENCE_S_MIN = 10.0
SILENCE_TIMES = 5.0
"""A chart's line breaks where points are so many times as far apart as usual."""


@dataclass(frozen=True, slots=True)
class TwinRow:
    """One row of a chart's table."""

    at_s: float
    value: str
    peers: str


@dataclass(frozen=True, slots=True)
class Chart:
    """The points of one chart, thinned, in Unix seconds and in the unit shown."""

    times_s: tuple[float, ...]
    values: tuple[float, ...]
    peers: tuple[float, ...]
    """Median of the same signal on the other entities at the same times; empty without peers."""
    silences: frozenset[int]
    """Numbers of the points before which nothing was heard for long."""
    low: float | None
    high: float | None
    unit: str
    said: str
    """The chart in one sentence, for who cannot see it."""
    twin: tuple[TwinRow, ...]


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One piece of evidence as it is shown."""

    id: str
    title: str
    meaning: str
    entity: str
    key: str
    """The whole id, for the tooltip."""
    reading: str
    tone: str
    expected: str
    score: str
    witness: str
    onset_s: float
    detail: str
    chart: Chart | None = None


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """The charts and the pieces without one."""

    charts: tuple[EvidenceRow, ...]
    rows: tuple[EvidenceRow, ...]
    more: int
    """Pieces that are not shown."""
    peers: bool
    """True when any chart has peers: the legend names them."""


def evidence_view(case: IncidentCase, *, points_max: int) -> EvidenceView:
    """Charts for the strongest pieces whose points are kept; rows for the rest, by onset."""
    by_key = {(s.entity, s.signal): s for s in case.series}
    charted: list[EvidenceRow] = []
    rest: list[Evidence] = []
    for piece in by_interest(case.incident.evidence):
        # One chart for one series, whatever the number of findings on it.
        series = by_key.pop((piece.entity, piece.symptom), None)
        if series is None or len(series.times_s) < 2 or len(charted) == CHARTS_MAX:
            rest.append(piece)
        else:
            charted.append(_row(piece, _chart(piece, series, case.series, points_max)))
    rows = [_row(piece, None) for piece in sorted(rest, key=lambda e: e.onset_s)]
    return EvidenceView(
        charts=tuple(sorted(charted, key=lambda row: _number(row.id))),
        rows=tuple(rows[:ROWS_MAX]),
        more=max(0, len(rows) - ROWS_MAX),
        peers=any(row.chart and row.chart.peers for row in charted),
    )


def by_interest(evidence: tuple[Evidence, ...]) -> list[Evidence]:
    """The strongest first, but every symptom once before any twice: the second of two like charts
    tells less than another signal."""
    strongest = sorted(evidence, key=lambda e: -e.score)
    first = list({e.symptom: e for e in reversed(strongest)}.values())
    again = [e for e in strongest if not any(e is one for one in first)]
    return sorted(first, key=lambda e: -e.score) + again


def _number(evidence_id: str) -> tuple[int, str]:
    """E2 before E10."""
    digits = evidence_id.lstrip("E")
    return (int(digits) if digits.isdecimal() else 10**9, evidence_id)


def _row(piece: Evidence, chart: Chart | None) -> EvidenceRow:
    unit = reading_unit(piece.symptom, piece.unit)
    value = chart.values[-1] if chart else None
    event = piece.direction is Direction.PRESENT
    if chart and value is not None:
        inside = (chart.low is None or value >= chart.low) and (
            chart.high is None or value <= chart.high
        )
        reading, tone = quantity(value, chart.unit), "ok" if inside else "bad"
    else:
        reading, tone = ("seen" if event else quantity(piece.observed, unit)), "warn"
    return EvidenceRow(
        id=piece.id,
        title=title(piece.symptom),
        meaning=meaning(piece.symptom),
        entity=name_of(piece.entity),
        key=shorten(piece.entity, NAME_CHARS_MAX),
        reading=reading,
        tone=tone,
        expected=expected(piece),
        score=f"{piece.score:.2g}" if abs(piece.score) < 100 else f"{piece.score:.0f}",
        witness=WITNESS[piece.witness],
        onset_s=piece.onset_s,
        detail=piece.detail,
        chart=chart,
    )


def _chart(piece: Evidence, series: Series, every: tuple[Series, ...], points_max: int) -> Chart:
    unit = reading_unit(piece.symptom, piece.unit or series.unit)
    times = np.asarray(series.times_s)
    values = np.asarray(series.values)
    peers = _median_at(times, _peers(series, every))
    keep = thin(values, points_max)
    shown = tuple(float(v) for v in values[keep])
    peer_points = tuple(float(v) for v in peers[keep]) if peers is not None else ()
    at = tuple(float(t) for t in times[keep])
    said = (
        f"{title(piece.symptom)} of {name_of(piece.entity)}: first {quantity(shown[0], unit)}, "
        f"lowest {quantity(min(shown), unit)}, highest {quantity(max(shown), unit)}, "
        f"last {quantity(shown[-1], unit)}"
    )
    band = expected(piece)
    return Chart(
        times_s=at,
        values=shown,
        peers=peer_points,
        silences=silences(np.asarray(at)),
        low=piece.expected_low,
        high=piece.expected_high,
        unit=unit,
        said=f"{said}; expected {band}" if band else said,
        twin=_twin(at, shown, peer_points, unit),
    )


def _peers(series: Series, every: tuple[Series, ...]) -> list[Series]:
    """Whom to compare with: the pool's own line where one is kept, else all other entities."""
    others = [
        s
        for s in every
        if s.signal == series.signal and s.entity != series.entity and len(s.times_s) > 1
    ]
    return [s for s in others if kind_word(s.entity) == EntityKind.POOL] or others


def _median_at(times: NDArray[np.float64], others: list[Series]) -> NDArray[np.float64] | None:
    """Median of the peers at `times` (shape (n,)), each peer interpolated linearly."""
    if not others:
        return None
    rows = [np.interp(times, np.asarray(s.times_s), np.asarray(s.values)) for s in others]
    median: NDArray[np.float64] = np.median(np.stack(rows), axis=0)
    return median


def thin(values: NDArray[np.float64], points_max: int) -> NDArray[np.intp]:
    """Which points (shape (m,), ascending, m <= points_max) to keep: of each stretch its lowest and
    its highest, so that no spike is lost."""
    count = len(values)
    if count <= points_max:
        return np.arange(count)
    edges = np.linspace(0, count, points_max // 2 + 1).astype(np.intp)
    kept: set[int] = set()
    for start, end in pairwise(edges):
        stretch = values[start:end]
        kept.add(int(start + stretch.argmin()))
        kept.add(int(start + stretch.argmax()))
    return np.array(sorted(kept), np.intp)


def silences(times: NDArray[np.float64]) -> frozenset[int]:
    """Numbers of the points (of `times`, shape (n,), rising) that come after a silence: much longer
    than points are usually apart."""
    gaps = np.diff(times)
    if not len(gaps):
        return frozenset()
    limit_s = max(SILENCE_S_MIN, SILENCE_TIMES * float(np.median(gaps)))
    return frozenset((np.flatnonzero(gaps > limit_s) + 1).tolist())


def _twin(
    times: tuple[float, ...], values: tuple[float, ...], peers: tuple[float, ...], unit: str
) -> tuple[TwinRow, ...]:
    picked = np.unique(np.linspace(0, len(times) - 1, min(TWIN_ROWS_MAX, len(times))).astype(int))
    return tuple(
        TwinRow(times[i], quantity(values[i], unit), quantity(peers[i], unit) if peers else "")
        for i in picked
    )
