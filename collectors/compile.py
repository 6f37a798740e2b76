"""Work out a plan for a set of series: which row leads to which entity and signal, and how.

`collectors.normalise` calls it once for each combination of series that it meets.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collectors.naming import Names
from collectors.plan import Histogram, Plain, Plan, Processes, Quotient, Rate
from collectors.relations import claims_of
from collectors.series import Reading, Series
from fleetmend.model.entities import EntityId, EntityKind
from fleetmend.signals.catalogue import Catalogue
from fleetmend.signals.records import (
    HISTOGRAM_HOWS,
    PROCESS_HOWS,
    QUOTIENT_HOWS,
    Combine,
    How,
    Name,
    NameState,
    Part,
    Partition,
    Source,
)

_BOARD_SYSTEMS = frozenset({"dcgm-exporter", "nvml"})
"""Sources that read the GPU itself: they write huge numbers where they have none, and a reading
that holds their rows is one in which the GPU's processes would be named."""
_PAGE_SYSTEM = "client-library"
"""What the library that serves a page says of its own process: it moves while the engine behind it
is dead."""
_STARTS = frozenset({"engine.process_start", "node.boot_time"})
"""Signals that tell when what counts began to count."""
_WHOLE_OF = {How.RATIO_WHOLE: How.RATIO_PART, How.MEAN_COUNT: How.MEAN_TOTAL}
"""What the quotient is called to which an under part belongs."""
_TENANCY_SYSTEM = "dcgm-exporter"
"""The source whose pod labels say who uses a GPU."""


class _Meant:
    """What one metric name means, worked out once for all its series."""

    __slots__ = ("_labels", "_taken", "name", "starts", "told")

    def __init__(self, name: Name) -> None:
        self.name = name
        self.told = name.state is NameState.MAPPED and name.system != _PAGE_SYSTEM
        self.starts = any(source.signal.name in _STARTS for source in name.sources)
        rules = {rule.label for source in name.sources for rule in source.rules}
        self._labels = tuple(sorted(rules))
        self._taken: dict[tuple[str, ...], tuple[tuple[Source, bool], ...]] = {}

    def ways(self, labels: Mapping[str, str]) -> tuple[tuple[Source, bool], ...]:
        """Each way of the name, and whether a series with these labels goes it. Of a hundred
        series with other labels most are alike in those that rules ask for."""
        key = tuple(labels.get(label, "") for label in self._labels)
        ways = self._taken.get(key)
        if ways is None:
            ways = tuple((source, source.takes(labels)) for source in self.name.sources)
            self._taken[key] = ways
        return ways


@dataclass(slots=True)
class _Growth:
    """The rows of one quotient."""

    how: How
    over: list[int] = field(default_factory=list)
    under: list[int] = field(default_factory=list)
    scale: float = 1.0


@dataclass(slots=True)
class _Draft:
    """What the rows of one reading lead to, before it becomes arrays."""

    slots: dict[tuple[EntityId, str], int] = field(default_factory=dict)
    plain: dict[int, list[tuple[int, Source]]] = field(default_factory=dict)
    buckets: dict[tuple[EntityId, str], dict[float, list[int]]] = field(default_factory=dict)
    sums: dict[tuple[EntityId, str], list[int]] = field(default_factory=dict)
    counts: dict[tuple[EntityId, str], list[int]] = field(default_factory=dict)
    histograms: dict[tuple[EntityId, str], set[Source]] = field(default_factory=dict)
    quotients: dict[tuple[EntityId, str], _Growth] = field(default_factory=dict)
    rates: dict[tuple[EntityId, str], tuple[list[int], float]] = field(default_factory=dict)
    processes: dict[tuple[EntityId, str], list[int]] = field(default_factory=dict)
    gpus: dict[EntityId, None] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    starts: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    used: list[int] = field(default_factory=list)
    repeated: int = 0
    homeless: int = 0

    def slot(self, entity: EntityId, signal: str) -> int:
        """The output slot of a pair."""
        return self.slots.setdefault((entity, signal), len(self.slots))


def compile_plan(reading: Reading, names: Names, catalogue: Catalogue) -> Plan:
    """Work out the plan for the series of a reading."""
    draft = _Draft()
    tenancy: list[Series] = []
    described: list[Series] = []
    every = [reading.table[number] for number in reading.series.tolist()]
    meant = {name: _Meant(catalogue.name(name)) for name in {series.name for series in every}}
    there = {each.name.base for each in meant.values()}
    seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    for row, series in enumerate(every):
        of = meant[series.name]
        name = of.name
        if name.sources:
            key = series.name, frozenset(series.labels.items())
            if key in seen:  # twice in a sum is a wrong sum
                draft.repeated += 1
                continue
            seen.add(key)
        if catalogue.renamed.get(name.base) in there:
            continue
        if of.told:
            draft.told.append(row)
        if of.starts:
            draft.starts.append(row)
        if _place(draft, row, series, of, names):
            draft.used.append(row)
            shows_tenant = name.system == _TENANCY_SYSTEM and "pod" in series.labels
            (tenancy if shows_tenant else described).append(series)
    claims = claims_of(_different(described), _different(tenancy), names)
    processes = _processes(draft, catalogue)
    histograms = tuple(_histogram(draft, key) for key in draft.histograms)
    quotients = tuple(
        Quotient(
            key,
            _index(growth.over),
            _index(growth.under),
            growth.scale,
            math.inf if growth.how is How.MEAN_TOTAL else 1.0,
            draft.slot(*key),
        )
        for key, growth in draft.quotients.items()
        # No series for the part of a ratio is a part of 0: no request ended well.
        if growth.under and (growth.over or growth.how is How.RATIO_PART)
    )
    rates = tuple(
        Rate(key, _index(placed), scale, draft.slot(*key))
        for key, (placed, scale) in draft.rates.items()
    )
    plain = tuple(p for combine in Combine if (p := _plain(draft, combine)) is not None)
    slots = tuple(draft.slots)
    entities = tuple(dict.fromkeys(entity for entity, _ in slots))
    signals = tuple(dict.fromkeys(signal for _, signal in slots))
    entity_code = {entity: code for code, entity in enumerate(entities)}
    signal_code = {signal: code for code, signal in enumerate(signals)}
    return Plan(
        slots=slots,
        entities=entities,
        signals=signals,
        entity_codes=np.array([entity_code[e] for e, _ in slots], np.int32),
        signal_codes=np.array([signal_code[s] for _, s in slots], np.int32),
        plain=plain,
        histograms=histograms,
        quotients=quotients,
        rates=rates,
        processes=processes,
        names_processes=bool(draft.processes),
        claims=claims,
        unknown=draft.unknown,
        refused=names.take_refused(),
        starts=_index(draft.starts),
        told=_index(draft.told),
        used=_index(draft.used),
        repeated=draft.repeated,
        homeless=draft.homeless,
    )


def _different(every: Iterable[Series]) -> Collection[Mapping[str, str]]:
    """The labels of these series, those that are one object once: a page shares them."""
    return {id(series.labels): series.labels for series in every}.values()


def _place(draft: _Draft, row: int, series: Series, of: _Meant, names: Names) -> bool:
    """Put one row where its name and labels lead; false when it leads nowhere."""
    name = of.name
    if name.state is NameState.UNKNOWN:
        draft.unknown[series.name] = draft.unknown.get(series.name, 0) + 1
    placed = homeless = False
    meant: dict[tuple[EntityKind, Partition | None], EntityId | None] = {}
    for source, taken in of.ways(series.labels):
        signal = source.signal
        if not taken and source.how is not How.SHARE:
            continue
        whose = signal.entity, signal.partition
        if whose not in meant:
            meant[whose] = names.entity(signal.entity, series.labels, signal.partition)
        entity = meant[whose]
        if entity is None:
            homeless = True
            continue
        placed = True
        if signal.entity is EntityKind.GPU and source.system in _BOARD_SYSTEMS:
            gpu = names.gpu(series.labels)
            if gpu is not None:
                draft.gpus[gpu] = None
        if source.how in QUOTIENT_HOWS:
            _place_quotient(draft, row, (entity, signal.name), source, taken=taken)
        elif source.how is How.RATE:
            placed_rows, _ = draft.rates.setdefault((entity, signal.name), ([], source.scale))
            placed_rows.append(row)
        elif source.how in PROCESS_HOWS:
            draft.processes.setdefault((entity, signal.name), []).append(row)
        elif source.how in HISTOGRAM_HOWS:
            _place_part(draft, row, series, (entity, name.base), name.part, source)
        else:
            draft.plain.setdefault(draft.slot(entity, signal.name), []).append((row, source))
    draft.homeless += homeless and not placed
    return placed


def _place_quotient(
    draft: _Draft, row: int, key: tuple[EntityId, str], source: Source, *, taken: bool
) -> None:
    """Put one counter over or under the line, or both."""
    growth = draft.quotients.get(key)
    if growth is None:
        growth = draft.quotients[key] = _Growth(_WHOLE_OF.get(source.how, source.how))
    if source.how in (How.SHARE, How.RATIO_WHOLE, How.MEAN_COUNT):
        growth.under.append(row)
    if taken and source.how in (How.SHARE, How.RATIO_PART, How.MEAN_TOTAL):
        growth.over.append(row)
        growth.scale = source.scale


def _place_part(
    draft: _Draft,
    row: int,
    series: Series,
    key: tuple[EntityId, str],
    part: Part,
    source: Source,
) -> None:
    """Put one bucket, sum or count; the same row comes once for each way that reads it."""
    if source.how is How.HISTOGRAM_COUNT:
        if part is Part.COUNT:
            slot = draft.slot(key[0], source.signal.name)
            draft.plain.setdefault(slot, []).append((row, source))
        return
    draft.histograms.setdefault(key, set()).add(source)
    if part is Part.BUCKET:
        try:
            bound = float(series.labels.get("le", ""))
        except ValueError:
            return
        rows = draft.buckets.setdefault(key, {}).setdefault(bound, [])
    else:
        rows = (draft.sums if part is Part.SUM else draft.counts).setdefault(key, [])
    if row not in rows:
        rows.append(row)


def _plain(draft: _Draft, combine: Combine) -> Plain | None:
    """The slots that are combined in one way."""
    rows: list[int] = []
    scale: list[float] = []
    offset: list[float] = []
    blanks: list[bool] = []
    starts: list[int] = []
    slots: list[int] = []
    for slot, placed in draft.plain.items():
        if placed[0][1].combine is not combine:
            continue
        slots.append(slot)
        starts.append(len(rows))
        for row, source in placed:
            complement = source.how is How.COMPLEMENT
            rows.append(row)
            scale.append(-source.scale if complement else source.scale)
            offset.append(1.0 if complement else 0.0)
            blanks.append(source.system in _BOARD_SYSTEMS)
    if not rows:
        return None
    return Plain(
        combine,
        _index(rows),
        np.array(scale, np.float64),
        np.array(offset, np.float64),
        np.array(blanks, np.bool_),
        _index(starts),
        _index(slots),
    )


def _histogram(draft: _Draft, key: tuple[EntityId, str]) -> Histogram:
    buckets = draft.buckets.get(key, {})
    bounds = sorted(buckets)
    rows: list[int] = []
    starts: list[int] = []
    for bound in bounds:
        starts.append(len(rows))
        rows += buckets[bound]
    sources = sorted(draft.histograms[key], key=lambda source: source.signal.name)
    return Histogram(
        key,
        np.array(bounds, np.float64),
        _index(rows),
        _index(starts),
        _index(draft.sums.get(key, [])),
        _index(draft.counts.get(key, [])),
        tuple((s.how, s.scale, draft.slot(key[0], s.signal.name)) for s in sources),
    )


def _processes(draft: _Draft, catalogue: Catalogue) -> tuple[Processes, ...]:
    """The process figures of every GPU of the reading, also of those without a process."""
    return tuple(
        Processes(
            source.how,
            _index(draft.processes.get((gpu, source.signal.name), [])),
            draft.slot(gpu, source.signal.name),
        )
        for gpu in draft.gpus
        for source in catalogue.read_by(PROCESS_HOWS)
    )


def _index(rows: Sequence[int]) -> NDArray[np.intp]:
    return np.array(rows, np.intp)
