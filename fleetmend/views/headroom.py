"""How much each model pool can carry, and how much of it is needed: what may be taken away.

Fed with samples by remediation's intake, read by admission (through `remediation.gather`) and by
whoever shows capacity. The need is the trailing peak of requests in hand, times a margin: no
forecast, but it never promises more than was enough a moment ago.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.model.samples import SampleBatch
from fleetmend.views.topology import TopologyView

DEMAND_SIGNALS = ("engine.requests_running", "engine.requests_waiting")
"""Their sum over a pool's engines is the demand, in requests at once."""

BUCKET_S = 10.0
"""Seconds whose highest demand is kept as one figure."""

FRESH_S = 30.0
"""Seconds for which an engine's last figure counts."""

OBSERVED_MIN_S = 60.0
"""Seconds of demand that must have been seen before a peak means anything."""


@dataclass(frozen=True, slots=True)
class PoolHeadroom:
    """One model pool at one moment; capacity and need in requests at once."""

    pool: EntityId
    replicas: int
    """Engines that serve."""
    capacity: float
    needed: float | None
    """Trailing peak with its margin; None while demand is not known."""


@dataclass(slots=True)
class _Demand:
    latest: dict[EntityId, tuple[float, float]] = field(default_factory=dict)
    """Engine -> time and requests in hand."""
    peaks: deque[tuple[float, float]] = field(default_factory=deque)
    """Bucket start and highest demand in it, oldest first."""
    since_s: float = 0.0


class HeadroomView:
    """Holds state, never decides."""

    def __init__(
        self, topology: TopologyView, *, slots: float, window_s: float, margin: float
    ) -> None:
        """`slots`: requests that an engine carries where its attribute `slots` does not say;
        `window_s`: how long a peak counts; `margin`: what it is multiplied by."""
        self._topology = topology
        self._slots = slots
        self._window_s = window_s
        self._margin = margin
        self._demand: dict[EntityId, _Demand] = {}

    def observe(self, batch: SampleBatch) -> None:
        """Take in the demand figures of a batch; other signals are skipped."""
        codes = [code for code, name in enumerate(batch.signals) if name in DEMAND_SIGNALS]
        if not codes or not len(batch):
            return
        chosen = batch.select(np.isin(batch.signal, codes))
        figures: dict[tuple[EntityId, int], tuple[float, float]] = {}
        for index in np.argsort(chosen.time_s, kind="stable").tolist():
            entity = EntityId(chosen.entities[int(chosen.entity[index])])
            figure = float(chosen.time_s[index]), float(chosen.value[index])
            figures[entity, int(chosen.signal[index])] = figure
        in_hand: dict[EntityId, tuple[float, float]] = {}
        for (entity, _), (time_s, value) in figures.items():
            before_s, sum_before = in_hand.get(entity, (time_s, 0.0))
            in_hand[entity] = max(time_s, before_s), sum_before + max(0.0, value)
        for pool in {self._note(engine, *figure) for engine, figure in in_hand.items()}:
            if pool is not None:
                self._raise_peak(self._demand[pool])

    def pool_of(self, engine: EntityId) -> EntityId | None:
        """The model pool of an engine: the pool that it is a member of, else its model."""
        for relation, kind in (
            (RelationKind.MEMBER_OF, EntityKind.POOL),
            (RelationKind.SERVES, EntityKind.MODEL),
        ):
            for target in self._topology.targets(engine, relation):
                if kind_of(target) is kind:
                    return target
        return None

    def engines_of(self, pool: EntityId) -> tuple[EntityId, ...]:
        """The engines of a model pool."""
        member = (
            RelationKind.SERVES if kind_of(pool) is EntityKind.MODEL else RelationKind.MEMBER_OF
        )
        members = self._topology.sources(pool, member)
        return tuple(m for m in members if kind_of(m) is EntityKind.ENGINE)

    def slots_of(self, engine: EntityId) -> float:
        """Requests that an engine carries at once."""
        stated = self._topology.attributes.get(engine, {}).get("slots", "")
        return float(stated) if stated.isdecimal() and int(stated) > 0 else self._slots

    def of_pool(
        self, pool: EntityId, *, now_s: float, down: Collection[EntityId] = frozenset()
    ) -> PoolHeadroom:
        """A pool now; engines in `down` carry nothing."""
        serving = [engine for engine in self.engines_of(pool) if engine not in down]
        capacity = sum(self.slots_of(engine) for engine in serving)
        return PoolHeadroom(pool, len(serving), capacity, self._needed(pool, now_s))

    def _needed(self, pool: EntityId, now_s: float) -> float | None:
        demand = self._demand.get(pool)
        if demand is None:
            return None
        recent = [peak for at_s, peak in demand.peaks if at_s > now_s - self._window_s - BUCKET_S]
        if not recent or demand.peaks[-1][0] + BUCKET_S - demand.since_s < OBSERVED_MIN_S:
            return None
        return max(recent) * self._margin

    def _note(self, engine: EntityId, time_s: float, in_hand: float) -> EntityId | None:
        """Keep an engine's newest figure; the pool whose demand it moves."""
        pool = self.pool_of(engine)
        if pool is None:
            return None
        demand = self._demand.setdefault(pool, _Demand(since_s=time_s))
        if time_s >= demand.latest.get(engine, (time_s, 0.0))[0]:
            demand.latest[engine] = time_s, in_hand
        return pool

    def _raise_peak(self, demand: _Demand) -> None:
        now_s = max(time_s for time_s, _ in demand.latest.values())
        fresh = {e: f for e, f in demand.latest.items() if f[0] > now_s - FRESH_S}
        demand.latest = fresh
        total = sum(in_hand for _, in_hand in fresh.values())
        start_s = now_s // BUCKET_S * BUCKET_S
        if demand.peaks and demand.peaks[-1][0] >= start_s:
            last_s, peak = demand.peaks[-1]
            demand.peaks[-1] = last_s, max(peak, total)
        else:
            demand.peaks.append((start_s, total))
        while demand.peaks[0][0] <= now_s - self._window_s - BUCKET_S:
            demand.peaks.popleft()
