"""Work out a plan for a set of series: which row leads to which entity and signal, and how.

`collectors.normalise` calls it once for each combination of series that it meets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from collectors.naming import Names
from collectors.plan import Histogram, Plain, Plan, Processes, Share
from collectors.relations import claims_of
from collectors.series import Reading, Series
from fleetmend.model.entities import EntityId, EntityKind
from fleetmend.signals.catalogue import Catalogue
from fleetmend.signals.records import (
    HISTOGRAM_HOWS,
    PROCESS_HOWS,
    Combine,
    How,
    Name,
    NameState,
    Part,
    Source,
)

_BOARD_SYSTEMS = frozenset({"dcgm-exporter", "nvml"})
"""Sources that read the GPU itself: they write huge numbers where they have none, and a reading
that holds their rows is one in which the GPU's processes would be named."""
_TENANCY_SYSTEM = "dcgm-exporter"
"""The source whose pod labels say who uses a GPU."""


@dataclass(slots=True)
class _Draft:
    """What the rows of one reading lead to, before it becomes arrays."""

    slots: dict[tuple[EntityId, str], int] = field(default_factory=dict)
    plain: dict[int, list[tuple[int, Source]]] = field(default_factory=dict)
    buckets: dict[tuple[EntityId, str], dict[float, list[int]]] = field(default_factory=dict)
    sums: dict[tuple[EntityId, str], list[int]] = field(default_factory=dict)
    counts: dict[tuple[EntityId, str], list[int]] = field(default_factory=dict)
    histograms: dict[tuple[EntityId, str], set[Source]] = field(default_factory=dict)
    shares: dict[tuple[EntityId, str], tuple[list[int], list[int]]] = field(default_factory=dict)
    processes: dict[tuple[EntityId, str], list[int]] = field(default_factory=dict)
    gpus: dict[EntityId, None] = field(default_factory=dict)
    unknown: dict[str, int] = field(default_factory=dict)
    homeless: int = 0

    def slot(self, entity: EntityId, signal: str) -> int:
        """The output slot of a pair."""
        return self.slots.setdefault((entity, signal), len(self.slots))


def compile_plan(reading: Reading, names: Names, catalogue: Catalogue) -> Plan:
    """Work out the plan for the series of a reading."""
    draft = _Draft()
    tenancy: list[Series] = []
    described: list[Series] = []
    for row, number in enumerate(reading.series.tolist()):
        series = reading.table[number]
        name = catalogue.name(series.name)
        if _place(draft, row, series, name, names):
            shows_tenant = name.system == _TENANCY_SYSTEM and "pod" in series.labels
            (tenancy if shows_tenant else described).append(series)
    claims = claims_of(
        [series.labels for series in described], [series.labels for series in tenancy], names
    )
    processes = _processes(draft, catalogue)
    histograms = tuple(_histogram(draft, key) for key in draft.histograms)
    shares = tuple(
        Share(key, _index(part), _index(whole), draft.slot(*key))
        for key, (part, whole) in draft.shares.items()
        if part
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
        shares=shares,
        processes=processes,
        names_processes=bool(draft.processes),
        claims=claims,
        unknown=draft.unknown,
        refused=names.take_refused(),
        homeless=draft.homeless,
    )


def _place(draft: _Draft, row: int, series: Series, name: Name, names: Names) -> bool:
    """Put one row where its name and labels lead; false when it leads nowhere."""
    if name.state is NameState.UNKNOWN:
        draft.unknown[series.name] = draft.unknown.get(series.name, 0) + 1
    placed = homeless = False
    for source in name.sources:
        signal = source.signal
        taken = source.takes(series.labels)
        if not taken and source.how is not How.SHARE:
            continue
        entity = names.entity(signal.entity, series.labels, signal.partition)
        if entity is None:
            homeless = True
            continue
        placed = True
        if signal.entity is EntityKind.GPU and source.system in _BOARD_SYSTEMS:
            gpu = names.gpu(series.labels)
            if gpu is not None:
                draft.gpus[gpu] = None
        if source.how is How.SHARE:
            part, whole = draft.shares.setdefault((entity, signal.name), ([], []))
            whole.append(row)
            part.extend([row] if taken else [])
        elif source.how in PROCESS_HOWS:
            draft.processes.setdefault((entity, signal.name), []).append(row)
        elif source.how in HISTOGRAM_HOWS:
            _place_part(draft, row, series, (entity, name.base), name.part, source)
        else:
            draft.plain.setdefault(draft.slot(entity, signal.name), []).append((row, source))
    draft.homeless += homeless and not placed
    return placed


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
