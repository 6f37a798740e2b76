"""A recording as a stream: the same samples, events, topology and marks that live collectors send.

The pipeline asks for one step of event time after the other and pumps the stages between them. The
steps lie on a fixed grid, so a prefix of a recording gives the same steps up to the cut. The labels
that may lie beside a recording are never opened (see `collectors.recording`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collectors.batches import merge_batches
from collectors.naming import Names, gpu_label, node_label
from collectors.normalise import Normaliser
from collectors.recorded_logs import RecordedLogs
from collectors.recorded_topology import CLUSTER, RecordedFleet, node_id
from collectors.recording import LogRow, Metrics, load_logs, load_meta, load_metrics
from collectors.series import Reading, Series
from collectors.sink import Sink
from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.signals.catalogue import Catalogue, catalogue
from fleetmend.signals.records import NameState

STEPS_PER_S = 5
"""Steps in a second of event time: GPU figures of recordings come at 5 Hz."""
GAP_MAX_S = 600.0
"""A stretch without data longer than this is jumped over, not stepped through."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happened in one step of event time."""

    at_s: float
    """The end of the step, and its mark: nothing older follows."""
    topology: tuple[TopologyChange, ...] = ()
    events: tuple[Event, ...] = ()
    batches: tuple[tuple[str, SampleBatch], ...] = ()
    """Node and samples, one batch a node."""


class Recording:
    """A recording folder, loaded. Raises BadInput naming file and line or row."""

    def __init__(self, folder: Path | str, *, signals: Catalogue | None = None) -> None:
        path = Path(folder)
        self._signals = signals or catalogue()
        self._meta = load_meta(path)
        self._fleet = RecordedFleet(self._meta)
        self._metrics = load_metrics(path)
        self._logs = load_logs(path)

    @property
    def name(self) -> str:
        """What the recording calls itself."""
        return self._meta.name

    def unknown_names(self) -> frozenset[str]:
        """Metric names that the catalogue does not know."""
        names = {series.name for series in self._series()}
        return frozenset(n for n in names if self._signals.name(n).state is NameState.UNKNOWN)

    def steps(self) -> Iterator[Step]:
        """Play it once from the start; every call plays it anew."""
        play = _Play(self._fleet, self._signals, self._metrics, self._nodes())
        rows = _by_step(_steps(self._metrics.time_s))
        lines = _by_step(_steps(np.array([row.ts for row in self._logs], np.float64)))
        first = True
        for number in _walk(sorted(rows.keys() | lines.keys())):
            begin_s, end_s = number / STEPS_PER_S, (number + 1) / STEPS_PER_S
            stated = self._fleet.changes(begin_s) if first else ()
            first = False
            logs = [self._logs[at] for at in lines.get(number, [])]
            yield play.step(end_s, stated, logs, rows.get(number))

    def _series(self) -> list[Series]:
        return [self._metrics.table[number] for number in range(len(self._metrics.table))]

    def _nodes(self) -> list[str]:
        """The node of each series: by its GPU, its engine, its labels, else the first host."""
        nodes = []
        for series in self._series():
            named = [gpu_label(series.labels), series.labels.get("pod", "")]
            owners = [self._fleet.aliases.get(name) for name in named if name]
            hosts = [self._fleet.host_of.get(owner, "") for owner in owners if owner]
            hosts += [node_label(series.labels), self._fleet.first_host]
            nodes.append(next(host for host in hosts if host))
        return nodes


class _Play:
    """One run through a recording."""

    def __init__(
        self, fleet: RecordedFleet, signals: Catalogue, metrics: Metrics, nodes: Sequence[str]
    ) -> None:
        self._fleet = fleet
        self._signals = signals
        self._metrics = metrics
        self._names = list(dict.fromkeys(nodes))
        self._node_of = np.array([self._names.index(node) for node in nodes], np.int64)
        self._normalisers: dict[str, Normaliser] = {}
        self._logs = RecordedLogs(fleet)
        self._stated: set[EntityId] = set(fleet.entities)

    def step(
        self,
        end_s: float,
        stated: tuple[TopologyChange, ...],
        logs: list[LogRow],
        rows: NDArray[np.intp] | None,
    ) -> Step:
        """The step that ends at `end_s`, from its log lines and rows."""
        events, learnt = self._logs.events(logs)
        batches: dict[str, list[SampleBatch]] = {}
        changes: list[TopologyChange] = []
        for node, part in self._readings(rows) if rows is not None else ():
            reading = Reading(
                self._metrics.table, self._metrics.series[part], self._metrics.value[part]
            )
            at_s = float(self._metrics.time_s[part[0]])
            if node_id(node) not in self._stated:
                self._stated.add(node_id(node))
                changes += self._fleet.unforeseen_node(node, at_s)
            seen = self._normaliser(node).observe(reading, at_s)
            batches.setdefault(node, []).append(seen.batch)
            for change in seen.changes:
                changes += self._fleet.unforeseen(change, node)
        merged = ((node, merge_batches(parts)) for node, parts in batches.items())
        return Step(
            end_s,
            (*stated, *changes, *learnt),
            events,
            tuple((node, batch) for node, batch in merged if len(batch)),
        )

    def _readings(self, rows: NDArray[np.intp]) -> Iterator[tuple[str, NDArray[np.intp]]]:
        """Node and rows of each moment of a step: what one scrape would have given."""
        times = self._metrics.time_s[rows]
        for moment in np.split(rows, np.flatnonzero(np.diff(times)) + 1):
            codes = self._node_of[self._metrics.series[moment]]
            for code in np.unique(codes).tolist():
                yield self._names[code], moment[codes == code]

    def _normaliser(self, node: str) -> Normaliser:
        if node not in self._normalisers:
            names = Names(cluster=CLUSTER, node=node, pods_are_engines=True)
            self._normalisers[node] = Normaliser(names, self._signals, known=self._fleet.entities)
        return self._normalisers[node]


def push(step: Step, sink: Sink) -> None:
    """Hand a step over, its mark last."""
    for change in step.topology:
        sink.topology(change)
    for event in step.events:
        sink.event(event)
    for node, batch in step.batches:
        sink.samples(batch, node)
    sink.mark(step.at_s)


def _steps(time_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """The step of each time, shape (n,): step k covers [k, k + 1) / STEPS_PER_S exactly, also
    where the product rounds, because marks are compared with times."""
    step = np.floor(time_s * STEPS_PER_S)
    step = np.where(time_s < step / STEPS_PER_S, step - 1, step)
    step = np.where(time_s >= (step + 1) / STEPS_PER_S, step + 1, step)
    return step.astype(np.int64)


def _by_step(steps: NDArray[np.int64]) -> dict[int, NDArray[np.intp]]:
    """Row numbers by step, in the order of the rows."""
    order = np.argsort(steps, kind="stable")
    numbers, first = np.unique(steps[order], return_index=True)
    return (
        dict(zip(numbers.tolist(), np.split(order, first[1:]), strict=True)) if len(order) else {}
    )


def _walk(numbers: Sequence[int]) -> Iterator[int]:
    """Every step from the first to the last, without the long gaps."""
    previous: int | None = None
    for number in numbers:
        if previous is not None and number - previous <= GAP_MAX_S * STEPS_PER_S:
            yield from range(previous + 1, number)
        yield number
        previous = number
