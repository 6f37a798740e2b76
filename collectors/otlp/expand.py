"""Histograms of OTLP as the series that the catalogue reads: cumulative buckets, sum and count.

Names get the suffixes of the Prometheus form, so that one way leads to quantiles
(`collectors.windows`). Exponential histograms are put on one grid of bounds, four to a doubling: a
bound of theirs is a bound of the grid or finer, so buckets are only ever joined, never split.
"""

from collections.abc import Iterator, Mapping

from collectors.otlp.points import HistogramPoint, Kind

_GRID_SCALE = 2
_GRID_LOW, _GRID_HIGH = -80, 80
"""Indices of the grid: 2**-20 to 2**20, a microsecond to twelve days."""
_GRID = tuple(2.0 ** (index / 2**_GRID_SCALE) for index in range(_GRID_LOW, _GRID_HIGH + 1))

Row = tuple[str, str, float]
"""Suffix of the name, bound (empty for sum and count), value."""


def rows_of(point: HistogramPoint, kind: Kind) -> Iterator[Row]:
    """The rows of one point; none for what contradicts itself."""
    if kind is Kind.HISTOGRAM:
        if point.counts and len(point.counts) != len(point.bounds) + 1:
            return
        if list(point.bounds) != sorted(set(point.bounds)):
            return
        if point.counts:
            total = 0.0
            for bound, count in zip((*point.bounds, float("inf")), point.counts, strict=True):
                total += count
                yield "_bucket", repr(bound), total
    elif kind is Kind.EXPONENTIAL:
        below, inside = _on_grid(point)
        total = float(point.below) + below
        for index, bound in enumerate(_GRID):
            total += inside.get(index + _GRID_LOW, 0.0)
            yield "_bucket", repr(bound), total
        yield "_bucket", "inf", float(point.count)
    if point.sum == point.sum:
        yield "_sum", "", point.sum
    yield "_count", "", float(point.count)


def _on_grid(point: HistogramPoint) -> tuple[float, Mapping[int, float]]:
    """Observations below the grid, and by the index of the grid's bound that closes them."""
    below, inside = 0.0, dict[int, float]()
    for at, count in enumerate(point.counts):
        # A bucket of scale s and index i ends at 2 ** ((i + 1) / 2 ** s).
        end, shift = point.offset + at + 1, _GRID_SCALE - point.scale
        index = end << min(shift, 64) if shift >= 0 else -(-end >> min(-shift, 64))
        if index < _GRID_LOW:
            below += count
        else:
            inside[index] = inside.get(index, 0.0) + count
    return below, inside
