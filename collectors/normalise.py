"""From a source's series to canonical samples: the one way for scrapes and recordings alike.

Called by `collectors.prometheus` for every page and by `collectors.replay` for every moment of a
recording. Values are only brought to the signal's unit, never judged. Dropped and counted: blanks
(the huge numbers that DCGM and NVML write for "no number"), NaN and infinities (no measurements),
and samples whose own time is long past (an exporter that repeats itself). When one of several
series that make up a slot is dropped, the slot is dropped: part of a sum is a wrong sum.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collectors.compile import compile_plan
from collectors.naming import Names
from collectors.plan import Histogram, Plain, Plan
from collectors.relations import LabelTopology
from collectors.series import Reading, SeriesTable
from collectors.windows import HistogramState, grown, quotient, window
from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.model.samples import SampleBatch
from fleetmend.signals.catalogue import Catalogue
from fleetmend.signals.records import Combine, How

_PLANS_MAX = 64
"""Combinations of series to remember; a recording alternates between a dozen."""
_PLANS_S = 60.0
"""Event time after which is asked whether plans still hold: an engine may have become known by its
pod since."""
_PODS_S = 3600.0
"""Event time in which a source may name so many pods: jobs of a minute on eight GPUs are 480."""
_INT64_BLANK = 9.2e18
"""DCGM_INT64_BLANK is 9223372036854775792 (DCGM 4.6 dcgm_structs.h), and others write 2**63-1 or
2**64-1 for no number; nothing real is so large."""
_INT32_BLANK = (2_147_483_632.0, 2_147_483_647.0)
_FP64_BLANK = (140_737_488_355_328.0, 140_737_488_355_343.0)
"""DCGM_FP64_BLANK is 2**47; the few numbers after it say why there is no value."""
_UFUNCS: Mapping[Combine, np.ufunc] = {
    Combine.SUM: np.add,
    Combine.MAX: np.maximum,
    Combine.MIN: np.minimum,
}


_RESTART_S = 1.0
"""Seconds by which the start of a process must differ to be another start: some sources reckon it
anew from the uptime at each scrape."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows of one reading that gave no sample, by reason."""

    blank: int = 0
    not_finite: int = 0
    """NaN and infinite ones, the stale included."""
    stale: int = 0
    repeated: int = 0
    """Rows of a series that stood there already."""
    homeless: int = 0
    """The series does not say whose it is."""
    unknown: Mapping[str, int] = field(default_factory=dict)
    """Rows by metric name that the catalogue does not know."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Names by kind (entities, and `index` and `pci` of aliases) beyond what a source may name."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one reading gave."""

    batch: SampleBatch
    changes: tuple[TopologyChange, ...]
    dropped: Dropped
    moved: bool | None = None
    """Whether any figure that the source itself keeps differs from the reading before; None when it
    keeps none."""


class Normaliser:
    """One per source of readings (target, node of a recording): it remembers the last reading."""

    def __init__(
        self,
        names: Names,
        catalogue: Catalogue,
        *,
        known: Collection[EntityId] = (),
        stale_after_s: float = 60.0,
    ) -> None:
        """`known`: entities whose attributes another source states."""
        self._names = names
        self._catalogue = catalogue
        self._stale_after_s = stale_after_s
        self._topology = LabelTopology(known)
        self._table: SeriesTable | None = None
        self._plans: dict[bytes, Plan] = {}
        self._plans_until_s = float("-inf")
        self._pods_until_s = float("-inf")
        self._last_plan: Plan | None = None
        self._last_series: NDArray[np.int32] | None = None
        self._histograms: dict[tuple[EntityId, str], HistogramState] = {}
        self._counters: dict[tuple[EntityId, str], tuple[NDArray[np.float64], ...]] = {}
        """What quotients and rates were reckoned from last; of a rate also the time."""
        self._started_s = np.nan
        self._told: tuple[NDArray[np.int32], NDArray[np.float64]] | None = None
        self._processes_known = False

    def restarted(self) -> None:
        """The source says that its totals began anew: the next reading is a new base."""
        self._histograms.clear()
        self._counters.clear()

    def observe(self, reading: Reading, at_s: float) -> Observation:
        """The samples and topology changes of a reading taken at `at_s`."""
        plan = self._plan(reading, at_s)
        changes: list[TopologyChange] = []
        if plan is not self._last_plan:
            changes = self._topology.changes(plan.claims, at_s)
            self._last_plan = plan
        value, stale = self._without_stale(reading, at_s)
        value, blank, not_finite = _without_huge(plan, value)
        self._forget_if_restarted(plan, value)
        output = np.full(len(plan.slots), np.nan)
        for plain in plan.plain:
            scaled, blanks = _scaled(plain, value)
            blank += blanks
            output[plain.slots] = _combined(plain, scaled)
        for histogram in plan.histograms:
            self._observe_histogram(histogram, value, output)
        self._observe_growth(plan, value, output, at_s)
        self._processes_known = self._processes_known or plan.names_processes
        if self._processes_known:
            for process in plan.processes:
                by_bytes = process.how is How.PROCESS_BYTES
                output[process.slot] = value[process.rows].sum() if by_bytes else len(process.rows)
        dropped = Dropped(
            blank, not_finite, stale, plan.repeated, plan.homeless, plan.unknown, plan.refused
        )
        moved = self._moved(plan, reading, value)
        return Observation(_batch(plan, output, at_s), tuple(changes), dropped, moved)

    def _plan(self, reading: Reading, at_s: float) -> Plan:
        anew = reading.table is not self._table or len(self._plans) >= _PLANS_MAX
        if at_s >= self._pods_until_s:
            self._pods_until_s = at_s + _PODS_S
            self._names.forget_pods()
            # Who was one too many may be named now; all others keep their plans.
            anew = anew or any(plan.refused for plan in self._plans.values())
        if at_s >= self._plans_until_s:
            self._plans_until_s = at_s + _PLANS_S
            anew = anew or self._names.answers_changed()
        if anew:
            self._table, self._plans = reading.table, {}
            self._names.forget_answers()
        elif reading.series is self._last_series and self._last_plan is not None:
            return self._last_plan
        self._last_series = reading.series
        key = reading.series.tobytes()
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = compile_plan(reading, self._names, self._catalogue)
        return plan

    def _without_stale(self, reading: Reading, at_s: float) -> tuple[NDArray[np.float64], int]:
        """The values, with NaN for rows whose own time is long past or not a time."""
        oldest_s = at_s - self._stale_after_s
        stale = [row for row, own_s in reading.stamped_s.items() if not own_s >= oldest_s]
        if not stale:
            return reading.value, 0
        value = reading.value.copy()
        value[stale] = np.nan
        return value, len(stale)

    def _forget_if_restarted(self, plan: Plan, value: NDArray[np.float64]) -> None:
        """A process that started again counts from 0, however far it has come since."""
        if not len(plan.starts):
            return
        started_s = float(value[plan.starts].max())
        if abs(started_s - self._started_s) > _RESTART_S:
            self._histograms.clear()
            self._counters.clear()
        if np.isfinite(started_s):
            self._started_s = started_s

    def _observe_growth(
        self, plan: Plan, value: NDArray[np.float64], output: NDArray[np.float64], at_s: float
    ) -> None:
        for part in plan.quotients:
            before = self._counters.get(part.key, (None, None))
            now = value[part.over], value[part.under]
            over, under = (grown(was, is_) for was, is_ in zip(before, now, strict=True))
            output[part.slot] = quotient(over * part.scale, under, limit=part.limit)
            self._counters[part.key] = now
        for rate in plan.rates:
            then = self._counters.get(rate.key)
            rows = value[rate.rows]
            if then is not None and at_s > float(then[1][0]):
                span_s = at_s - float(then[1][0])
                output[rate.slot] = grown(then[0], rows) * rate.scale / span_s
            self._counters[rate.key] = rows, np.array([at_s])

    def _moved(self, plan: Plan, reading: Reading, value: NDArray[np.float64]) -> bool | None:
        if not len(plan.told):
            return None
        before = self._told
        self._told = reading.series, value[plan.told]
        return (
            before is None
            or not (before[0] is reading.series or np.array_equal(before[0], reading.series))
            or not np.array_equal(before[1], self._told[1], equal_nan=True)
        )

    def _observe_histogram(
        self, histogram: Histogram, value: NDArray[np.float64], output: NDArray[np.float64]
    ) -> None:
        cumulative = (
            np.add.reduceat(value[histogram.rows], histogram.starts)
            if len(histogram.starts)
            else np.empty(0)
        )
        if len(histogram.count_rows):
            total = float(value[histogram.count_rows].sum())
        else:
            total = float(cumulative[-1]) if len(cumulative) else np.nan
        summed = float(value[histogram.sum_rows].sum()) if len(histogram.sum_rows) else np.nan
        raw = value[histogram.rows]
        now = HistogramState(histogram.bounds, cumulative, total, summed, raw)
        seen = window(self._histograms.get(histogram.key), now)
        self._histograms[histogram.key] = now
        figures = {
            How.HISTOGRAM_P50: seen.p50,
            How.HISTOGRAM_P95: seen.p95,
            How.HISTOGRAM_MEAN: seen.mean,
        }
        for how, scale, slot in histogram.outputs:
            output[slot] = figures[how] * scale


def _without_huge(plan: Plan, value: NDArray[np.float64]) -> tuple[NDArray[np.float64], int, int]:
    """The values without numbers that stand for none; rows that such had, and rows without a
    finite number, of those that lead anywhere."""
    finite = np.isfinite(value)
    huge = finite & (np.abs(value) >= _INT64_BLANK)
    not_finite = len(plan.used) - int(np.count_nonzero(finite[plan.used]))
    if not huge.any():
        return value, 0, not_finite
    return np.where(huge, np.nan, value), int(np.count_nonzero(huge[plan.used])), not_finite


def _scaled(plain: Plain, value: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """The rows in the signals' units with NaN for what is dropped; blanks."""
    raw = value[plain.rows]
    blank = plain.blanks & (
        ((raw >= _INT32_BLANK[0]) & (raw <= _INT32_BLANK[1]))
        | ((raw >= _FP64_BLANK[0]) & (raw <= _FP64_BLANK[1]))
    )
    # Infinite ones and NaN stay what they are: no sample comes of them.
    scaled: NDArray[np.float64] = raw * plain.scale + plain.offset
    if blank.any():
        scaled[blank] = np.nan
    scaled[~np.isfinite(scaled)] = np.nan
    return scaled, int(np.count_nonzero(blank))


def _combined(plain: Plain, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
    """One value a slot; NaN when any of its rows was dropped."""
    if len(plain.starts) == len(scaled):
        return scaled
    ufunc = _UFUNCS.get(plain.combine)
    combined: NDArray[np.float64]
    if ufunc is None:  # the last row of each slot
        combined = scaled[np.append(plain.starts[1:], len(scaled)) - 1]
    else:
        combined = ufunc.reduceat(scaled, plain.starts)
    return combined


def _batch(plan: Plan, output: NDArray[np.float64], at_s: float) -> SampleBatch:
    there = np.isfinite(output)
    value = output[there]
    return SampleBatch(
        np.full(len(value), at_s),
        plan.entity_codes[there],
        plan.signal_codes[there],
        value,
        plan.entities,
        plan.signals,
    )
