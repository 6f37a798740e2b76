"""Fault cases on the simulated fleet, judged by cause and entity; the peers see the same seconds.

Used by `benchmarks.simulated`. Held out from tuning by rule: seeds from 1,000 on (target, strength
and load follow from the seed) and fleets of 80 and 112 GPUs; what was tuned on was 96.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.simulated_folds import Folds, Seen, Watched, folds
from benchmarks.simulated_peers import (
    baro,
    by_score,
    mad_shift,
    n_sigma,
    page_rank,
    traversal,
)
from fleetmend.model.entities import EntityId, RelationKind
from fleetmend.model.incidents import Incident
from fleetmend.settings.simulator import FaultSchedule, SimulatorSettings
from fleetmend.views.topology import TopologyView
from rca.knowledge.load import knowledge
from simulator.truth import TrueFault

CALM_S, FAULT_S = 60, 75
LATE_EVERY_S = 5
"""Of late telemetry every so manieth second comes after its tick has closed."""
BEST = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One fleet with its faults."""

    faults: tuple[str, ...]
    seed: int
    gpus: int
    late: bool = False
    without: str = ""
    """A fault class that is taken from the knowledge."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of one fault."""

    cause: str
    place: int
    """Rank of the right cause on a right entity, from 1; 0 where it was not among the first."""
    said: tuple[str, ...]
    peers: dict[str, int]
    """Rank of a right entity, by peer."""


def play(case: Case) -> list[Verdict]:
    """Calm, then the faults; one verdict a fault."""
    known = knowledge()
    if case.without:
        left = {name: one for name, one in known.classes.items() if name != case.without}
        known = replace(known, classes=left)
    quiet = FaultSchedule(speed_up=0, deploy_every_s=0)
    fleet = Watched(SimulatorSettings(gpus=case.gpus, faults=quiet), case.seed)
    both, view, kept = folds(known), TopologyView(), []
    for second in range(CALM_S + FAULT_S):
        if second == CALM_S:
            for name in case.faults:
                fleet.fleet.faults.inject(name)
        seen = fleet.second()
        for change in seen.topology:
            if second < CALM_S:
                view.apply(change)
        kept.append(seen)
        _take(both, case, second, seen, kept)
    peers = _peers(kept, view) if not case.without and not case.late else {}
    return [_verdict(fault, both.incidents, peers) for fault in fleet.fleet.truth()]


def _take(both: Folds, case: Case, second: int, seen: Seen, kept: Sequence[Seen]) -> None:
    if not case.late:
        both.take(seen)
        return
    behind = kept[second - 1].batches if second % LATE_EVERY_S == 1 and second > 1 else []
    held = second % LATE_EVERY_S == 0
    both.take(replace(seen, batches=[]) if held else seen, late=behind)


def _verdict(
    fault: TrueFault, incidents: Iterable[Incident], peers: dict[str, list[str]]
) -> Verdict:
    right = set(fault.affected)
    versions: dict[str, Incident] = {}
    for one in incidents:
        # As published within 5 s of the opening.
        if one.updated_at_s <= one.opened_at_s + 5.0:
            versions[one.id] = one
    mine = [
        one
        for one in sorted(versions.values(), key=lambda one: one.opened_at_s)
        if right & {one.entity, *(cause.entity for cause in one.causes)}
    ]
    places = [
        number
        for one in mine
        for number, cause in enumerate(one.causes[:BEST], 1)
        if cause.cause == fault.cause and cause.entity in right
    ]
    ranks = {
        name: next((n for n, entity in enumerate(order[:BEST], 1) if entity in right), 0)
        for name, order in peers.items()
    }
    said = tuple(one.causes[0].cause if one.causes else "" for one in mine)
    return Verdict(fault.cause, min(places, default=0), said, ranks)


def _peers(kept: Sequence[Seen], view: TopologyView) -> dict[str, list[str]]:
    columns: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for second, seen in enumerate(kept):
        for batch in seen.batches:
            for entity, signal, value in zip(
                batch.entity.tolist(), batch.signal.tolist(), batch.value.tolist(), strict=True
            ):
                mine = columns.setdefault(batch.entities[entity], {})
                mine.setdefault(batch.signals[signal], []).append((second, value))
    scores: dict[str, dict[str, float]] = {"n_sigma": {}, "baro": {}, "mad": {}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a signal that is not heard is NaN
        for entity, signals in columns.items():
            values = np.full((len(kept), len(signals)), np.nan)
            for column, told in enumerate(signals.values()):
                at, value = zip(*told, strict=True)
                values[list(at), column] = value
            before, after = values[:CALM_S], values[CALM_S:]
            scores["n_sigma"][entity] = n_sigma(before, after)
            scores["baro"][entity] = baro(before, after)
            scores["mad"][entity] = mad_shift(before, after)
    down = (RelationKind.RUNS_ON, RelationKind.PART_OF)
    graph = {e: [t for r in down for t in view.targets(EntityId(e), r)] for e in columns}
    return {
        "n_sigma": by_score(scores["n_sigma"]),
        "baro": by_score(scores["baro"]),
        "traversal": traversal(scores["mad"], graph),
        "page_rank": page_rank(scores["n_sigma"], graph),
    }
