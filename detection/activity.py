"""What GPUs do, believed from several signals together, because utilisation lies (GPU-FACTS, fact
14).

A GPU that waits for a dead peer shows full utilisation; power, memory traffic and tensor activity
show that nothing is done. Used by the watchdogs.
"""

import numpy as np

from detection.blocks import Block
from detection.cells import Cells
from detection.frame import Frame
from detection.streaks import Flags
from fleetmend.model.entities import EntityKind
from fleetmend.streams.stage import State

_IDLE_SM = 0.01
_IDLE_UTILIZATION = 0.02
"""Used only where SM activity is not told."""
_SPIN_UTILIZATION = 0.9
_SPIN_POWER = 0.5
_SPIN_DRAM = 0.2
"""Shares of the usual power and memory traffic below which full utilisation is spinning."""
_RELEASED = 0.5
_RELEASED_BYTES = 1 << 30


class Activity:
    """Idle, spinning and emptied GPUs."""

    def __init__(self) -> None:
        self._cells = Cells(per_signal=False, held=np.nan, idle=False, spins=False, released=False)

    def update(self, frame: Frame) -> None:
        """Look at all GPUs once."""
        gpu = frame.blocks.get(EntityKind.GPU)
        if gpu is None or not gpu.shape[0]:
            return
        cells = self._cells.of(gpu)
        sm, utilization = gpu.now("gpu.sm_active"), gpu.now("gpu.utilization")
        told = np.isfinite(sm)
        still = np.where(
            told, np.nan_to_num(sm) <= _IDLE_SM, np.nan_to_num(utilization) <= _IDLE_UTILIZATION
        )
        heard = told | np.isfinite(utilization)
        cells["idle"][:] = np.where(heard, still, cells["idle"])
        cells["spins"][:] = np.where(heard, _spins(frame, gpu), cells["spins"])
        self._remember_memory(gpu, heard & ~still)

    def _remember_memory(self, gpu: Block, works: Flags) -> None:
        """What was held while the GPU worked, and whether most of it has been given back since."""
        cells, used = self._cells.of(gpu), gpu.now("gpu.memory_used")
        held, told = cells["held"], np.isfinite(used)
        more = told & (works | np.isnan(held) | (used > held))
        held[more] = used[more]
        gone = (used <= _RELEASED * held) & (held - used >= _RELEASED_BYTES)
        cells["released"][:] = np.where(told, gone, cells["released"])

    def idle(self, gpu: Block) -> Flags:
        """GPUs on which nothing runs."""
        return self._flags(gpu, "idle")

    def spins(self, gpu: Block) -> Flags:
        """GPUs at full utilisation without the power and memory traffic that work takes."""
        return self._flags(gpu, "spins")

    def released(self, gpu: Block) -> Flags:
        """GPUs that hold less than half of what they held when they last worked."""
        return self._flags(gpu, "released")

    def _flags(self, gpu: Block, name: str) -> Flags:
        flags: Flags = self._cells.of(gpu)[name]
        return flags

    def snapshot(self) -> State:
        """What was held, and the last look."""
        return self._cells.snapshot()

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._cells.restore(state)


def _spins(frame: Frame, gpu: Block) -> Flags:
    busy = np.nan_to_num(gpu.now("gpu.utilization")) >= _SPIN_UTILIZATION
    power, dram = frame.normal.level(gpu, "gpu.power"), frame.normal.level(gpu, "gpu.dram_active")
    weak = gpu.now("gpu.power") <= _SPIN_POWER * power
    dry = gpu.now("gpu.dram_active") <= _SPIN_DRAM * dram
    spins: Flags = busy & weak & dry
    return spins
