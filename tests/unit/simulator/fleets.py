"""Small fleets for tests, and a view of what they showed."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.simulator import (
    FaultSchedule,
    SimulatedLife,
    SimulatedLoad,
    SimulatorSettings,
)
from simulator.fleet import Fleet

QUIET = FaultSchedule(speed_up=0, deploy_every_s=0)
"""Nothing happens by itself."""
SETTLE_S = 25
"""Seconds after which queues and temperatures are even."""
STEADY = SimulatedLoad(day_swing=0, burst_factor=1)
"""The load does not swing."""


def small_fleet(
    *,
    seed: int = 1,
    gpus: int = 128,
    faults: FaultSchedule = QUIET,
    life: SimulatedLife = SimulatedLife(),  # noqa: B008 - frozen
) -> Fleet:
    """Sixteen nodes, all three pools, nothing but what the test does."""
    settings = SimulatorSettings(
        gpus=gpus, faults=faults, load=STEADY, life=life, settle_s=SETTLE_S
    )
    return Fleet(settings, seed)


class Seen:
    """What was observed in some seconds."""

    def __init__(self, batches: Sequence[SampleBatch], events: list[Event]) -> None:
        self.events = events
        self._batches = batches

    def values(self, entity: str, signal: str) -> NDArray[np.float64]:
        """The signal's values in order of time; empty when it was not heard."""
        found = [np.empty(0)]
        for batch in self._batches:
            if entity in batch.entities and signal in batch.signals:
                mine = batch.entity == batch.entities.index(entity)
                mine &= batch.signal == batch.signals.index(signal)
                found.append(batch.value[mine])
        return np.concatenate(found)

    def mean(self, entity: str, signal: str) -> float:
        """Mean over the second half, when ramps are over."""
        values = self.values(entity, signal)
        assert len(values), f"{signal} of {entity} was not heard"
        return float(values[len(values) // 2 :].mean())

    def rate(self, entity: str, signal: str) -> float:
        """Rise of a counter per sample, over the second half."""
        values = self.values(entity, signal)[-20:]
        return float((values[-1] - values[0]) / (len(values) - 1))

    def heard(self, entity: str) -> set[str]:
        """Signals of an entity."""
        found: set[str] = set()
        for batch in self._batches:
            if entity in batch.entities:
                mine = batch.entity == batch.entities.index(entity)
                found |= {batch.signals[code] for code in set(batch.signal[mine].tolist())}
        return found

    def xids(self, gpu: EntityId) -> list[int]:
        """Xids that the kernel reported of a GPU."""
        found = [e for e in self.events if e.type is EventType.XID and e.subject == gpu]
        return [int(e.data["xid"]) for e in found]

    def logs(self) -> set[str]:
        """Signatures of the lines that were found."""
        found = (e for e in self.events if e.type is EventType.LOG_SIGNATURE)
        return {str(e.data["signature"]) for e in found}


def watch(fleet: Fleet, seconds: int) -> Seen:
    """Let so many seconds pass and look."""
    batches, events = [], []
    for _ in range(seconds):
        fleet.advance_to(fleet.now_s + 1)
        more, happened = fleet.observe()
        batches += more
        events += happened
    return Seen(batches, events)


def wait_until(fleet: Fleet, holds: Callable[[], bool], *, limit_s: int) -> float:
    """Let time pass until `holds`; how long it took. Fails after `limit_s`."""
    start_s = fleet.now_s
    while not holds():
        assert fleet.now_s - start_s < limit_s, f"did not happen within {limit_s} s"
        fleet.advance_to(fleet.now_s + 1)
        fleet.observe()
    return fleet.now_s - start_s
