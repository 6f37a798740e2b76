"""Faults that are going on: what they press on each second, what happens at which moment, and when
they end. The record of all of them is the ground truth of a simulation.

`simulator.world` calls `press`, `due` and `settle` once a second; `simulator.injector` and
`simulator.schedule` begin faults.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fleetmend.model.entities import EntityId, EntityKind
from fleetmend.ports.faults import InjectedFault
from simulator.faults import FaultSpec, Mend, Moment, Press
from simulator.layout import Layout
from simulator.pressure import Pressure, dimension, neutral, no_pressure
from simulator.reach import Reach
from simulator.truth import TrueFault
from simulator.workload import NOWHERE, Workload

Ints = NDArray[np.int64]

LARGE_TENANTS = 2
"""Tenants large enough that their prompts alone can flood a pool."""


@dataclass(slots=True)
class OpenFault:
    """A fault that is going on."""

    spec: FaultSpec
    index: int
    """Target: index among the GPUs, engines, nodes, racks or pools."""
    record: InjectedFault
    begins_s: float
    """When the fault itself begins; an early warning may come before."""
    ends_s: float
    """When it passes by itself."""
    on_call_s: float
    """When a person ends it at last."""
    strength: float
    tenant: int
    affected: tuple[EntityId, ...]
    engine: int = NOWHERE
    """The engine that it holds, for faults that a restart ends."""
    birth: tuple[str, int] = ("", 0)
    """That engine's pod and generation when it began."""
    repaired_s: float = np.inf
    """When the technician is done; known once the node is empty."""
    pending: list[Moment] = field(default_factory=list)


class Outbreak:
    """All faults, open and past."""

    def __init__(
        self, layout: Layout, workload: Workload, reach: Reach, rng: np.random.Generator
    ) -> None:
        self._layout = layout
        self._workload = workload
        self._reach = reach
        self._rng = rng
        self._life = layout.settings.life
        self.open: list[OpenFault] = []
        self._past: list[TrueFault] = []

    def begin(
        self, spec: FaultSpec, index: int, target: EntityId, *, at_s: float, warned: bool = False
    ) -> OpenFault:
        """Start a fault; `warned` puts its early warning first."""
        rng, life = self._rng, self._life
        lead_s = float(rng.uniform(*spec.lead_s)) if warned and spec.lead else 0.0
        lasts_s = float(rng.uniform(*spec.lasts_s)) if Mend.ITSELF in spec.mends else np.inf
        patience_s = life.on_call_s * float(np.exp(rng.normal(0, life.repair_spread)))
        number = len(self.open) + len(self._past) + 1
        fault = OpenFault(
            spec=spec,
            index=index,
            record=InjectedFault(f"fault-{number:04d}", spec.name, target, at_s),
            begins_s=at_s + lead_s,
            ends_s=at_s + lead_s + lasts_s,
            on_call_s=at_s + lead_s + patience_s,
            strength=float(rng.uniform(0.85, 1.15)),
            tenant=int(rng.integers(min(LARGE_TENANTS, self._layout.settings.load.tenants))),
            affected=self._affected(spec, index),
            pending=list(spec.moments),
        )
        if Mend.RESTART in spec.mends:
            # A restart can end it only where there is an engine; else it waits for a person.
            held = self._reach.engines(spec.target, index)
            if len(held):
                fault.engine = int(held[0])
                fault.birth = self._birth(fault.engine)
        self.open.append(fault)
        return fault

    def press(self, at_s: float) -> Pressure:
        """What all open faults together press on in the second at `at_s`."""
        pressure = no_pressure(self._layout)
        for fault in self.open:
            if self._reborn(fault):
                continue  # the engine that it held is gone already
            if at_s < fault.begins_s:
                for press in fault.spec.lead:
                    self._press(pressure, fault, press, at_s - fault.record.started_at_s)
            for press in fault.spec.presses:
                self._press(pressure, fault, press, at_s - fault.begins_s)
        return pressure

    def due(self, at_s: float) -> list[tuple[OpenFault, Moment]]:
        """Moments whose time has come, each once, in the order of the catalogue."""
        found = []
        for fault in self.open:
            if self._reborn(fault):
                fault.pending = []
            now = [m for m in fault.pending if fault.begins_s + m.lag_s <= at_s]
            fault.pending = [m for m in fault.pending if m not in now]
            found += [(fault, moment) for moment in now]
        return found

    def settle(self, at_s: float, *, empty: NDArray[np.bool_]) -> list[tuple[OpenFault, Mend]]:
        """Faults that end now and what ended them. `empty` (nodes,): cordoned, no engine left."""
        ended = []
        for fault in self.open:
            mend = self._mended(fault, at_s, empty)
            if mend is not None:
                ended.append((fault, mend))
        for fault, mend in ended:
            self.open.remove(fault)
            self._past.append(_true(fault, at_s, mend))
        return ended

    def note_lawful(self, name: str, target: EntityId, *, at_s: float) -> None:
        """A change that is no fault, for the record."""
        number = len(self.open) + len(self._past) + 1
        record = InjectedFault(f"change-{number:04d}", name, target, at_s)
        lawful = TrueFault(record, name, (target,), True, at_s, Mend.ITSELF)
        self._past.append(lawful)

    def truth(self) -> list[TrueFault]:
        """Everything that was done to this fleet, in order of its start."""
        running = [_true(fault, None, None) for fault in self.open]
        return sorted(self._past + running, key=lambda t: (t.fault.started_at_s, t.fault.id))

    def _affected(self, spec: FaultSpec, index: int) -> tuple[EntityId, ...]:
        found = self._reach.entities(spec.target, index)
        if any(press.all_ranks for press in spec.presses):
            # Of a link, either end is right.
            ranks = self._reach.ranks(spec.target, index)
            found += tuple(self._layout.gpu_ids[int(gpu)] for gpu in ranks)
        return tuple(dict.fromkeys(found))

    def _birth(self, engine: int) -> tuple[str, int]:
        return self._workload.uid[engine], int(self._workload.generation[engine])

    def _reborn(self, fault: OpenFault) -> bool:
        """The engine that the fault held has started anew."""
        return fault.engine != NOWHERE and self._birth(fault.engine) != fault.birth

    def _press(self, pressure: Pressure, fault: OpenFault, press: Press, elapsed_s: float) -> None:
        if elapsed_s < press.lag_s:
            return
        grown = 1.0
        if press.ramp_s:
            grown = min(1.0, (elapsed_s - press.lag_s + 1) / press.ramp_s)
        rest = neutral(press.field)
        # A share must not fall below nothing, and bits have no strength.
        exact = press.value < rest or press.field == "throttle_bits"
        value = rest + (press.value - rest) * grown * (1.0 if exact else fault.strength)
        pressure.press(press.field, self._place(fault, press), value)

    def _place(self, fault: OpenFault, press: Press) -> Ints | tuple[Ints, Ints]:
        match dimension(press.field):
            case EntityKind.GPU if press.all_ranks:
                return self._reach.ranks(fault.spec.target, fault.index)
            case EntityKind.GPU:
                return self._reach.gpus(fault.spec.target, fault.index)
            case EntityKind.ENGINE:
                return self._reach.engines(fault.spec.target, fault.index)
            case EntityKind.NODE:
                return self._reach.nodes(fault.spec.target, fault.index)
            case _:
                tenants: Sequence[int] = range(self._layout.settings.load.tenants)
                if fault.spec.one_tenant:
                    tenants = [fault.tenant]
                return np.full(len(tenants), fault.index), np.array(tenants)

    def _mended(self, fault: OpenFault, at_s: float, empty: NDArray[np.bool_]) -> Mend | None:
        if at_s >= fault.ends_s:
            return Mend.ITSELF
        if self._reborn(fault) and self._workload.serving[fault.engine]:
            return Mend.RESTART
        nodes = self._reach.nodes(fault.spec.target, fault.index)
        if Mend.REPAIR in fault.spec.mends and empty[nodes].all():
            if np.isinf(fault.repaired_s):
                spread = float(np.exp(self._rng.normal(0, self._life.repair_spread)))
                fault.repaired_s = at_s + self._life.repair_s * spread
            if at_s >= fault.repaired_s:
                return Mend.REPAIR
        return Mend.ON_CALL if at_s >= fault.on_call_s else None


def _true(fault: OpenFault, at_s: float | None, mend: Mend | None) -> TrueFault:
    cause = fault.spec.cause or fault.spec.name
    return TrueFault(fault.record, cause, fault.affected, False, at_s, mend)
