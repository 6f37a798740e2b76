"""The board's own word: clocks held down, heat, what the driver asks for, rows that wait for a
reset.

The power cap (bit 4) is normal under full load and never a finding (GPU-FACTS, fact 16).
"""

import numpy as np

from detection.blocks import Block
from detection.frame import Frame
from detection.rules.standing import Standing
from detection.streaks import Flags
from detection.symptoms import moved, present
from fleetmend.model.entities import EntityKind
from fleetmend.model.findings import Direction, Symptom

THROTTLES = {0x8: "hw_slowdown", 0x20: "sw_thermal", 0x40: "hw_thermal", 0x80: "hw_power_brake"}
"""Bits of the clocks-event mask that are bad (DCGM dcgm_fields.h)."""
_BAD_MASK = sum(THROTTLES)
_HOT_MARGIN_C = 3.0
"""Degrees below the slowdown threshold: the driver acts next."""


class Throttled(Standing):
    """Hardware slowdown, heat or the power brake hold the clocks down."""

    kind = EntityKind.GPU
    key = "throttled"
    signals = ("gpu.clock_event_reasons",)

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """Any bad bit in the mask."""
        mask = block.now("gpu.clock_event_reasons")
        seen = np.isfinite(mask)
        return (_whole(mask) & _BAD_MASK) > 0, seen

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """One state for each bad bit of the last mask, or the clock where it has gone by now."""
        mask = int(_whole(block.known("gpu.clock_event_reasons"))[row])
        bits = tuple(
            present(f"throttle.{name}", onset_s) for bit, name in THROTTLES.items() if mask & bit
        )
        return bits or (moved(frame, block, row, "gpu.sm_clock", Direction.DOWN, onset_s),)


class Hot(Standing):
    """The core is within a few degrees of the slowdown threshold."""

    kind = EntityKind.GPU
    key = "hot"
    signals = ("gpu.temperature_margin", "gpu.temperature_slowdown")
    confidence = 0.6

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """Margin told by the driver, else temperature against the threshold."""
        margin = block.now("gpu.temperature_margin")
        gap = block.known("gpu.temperature_slowdown") - block.now("gpu.temperature")
        left = np.where(np.isfinite(margin), margin, gap)
        return np.nan_to_num(left, nan=np.inf) <= _HOT_MARGIN_C, np.isfinite(left)

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """The temperature."""
        return (moved(frame, block, row, "gpu.temperature", Direction.UP, onset_s),)


class RecoveryAction(Standing):
    """The driver asks for a reset or reboot: the highest authority there is (GPU-FACTS, fact 7)."""

    kind = EntityKind.GPU
    key = "recovery_action"
    signals = ("gpu.recovery_action",)
    confidence = 0.95
    need = 1
    of = 2

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """Any action but none."""
        action = block.now("gpu.recovery_action")
        return np.nan_to_num(action) > 0, np.isfinite(action)

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """The action's number."""
        return (moved(frame, block, row, "gpu.recovery_action", Direction.UP, onset_s),)


class MemoryRepair(Standing):
    """A row remap waits for a reset, has failed, or memory cannot be repaired."""

    kind = EntityKind.GPU
    key = "memory_repair"
    signals = ("gpu.row_remap_failed", "gpu.memory_unrepairable", "gpu.row_remap_pending")
    confidence = 0.7
    need = 2
    of = 3

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """Any of the flags."""
        flags = np.array([block.now(signal) for signal in self.signals])
        return (np.nan_to_num(flags) > 0).any(axis=0), np.isfinite(flags).any(axis=0)

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """The flags that stand."""
        return tuple(
            moved(frame, block, row, signal, Direction.UP, onset_s)
            for signal in self.signals
            if np.nan_to_num(block.known(signal)[row]) > 0
        )


def _whole(
    mask: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]",
) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    return np.nan_to_num(mask, posinf=0, neginf=0).astype(np.int64)
