"""Power, clocks and heat of all GPUs, from what their parts are doing.

Called once a second by `simulator.gpus`. Constants marked "recorded" were fitted to the H200
recordings (`h200-single-a`, `h200-tp2-a`); README.md shows the fit beside the measurement.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.pressure import Pressure

Floats = NDArray[np.float64]

CLOCK_MHZ, IDLE_MHZ, CLOCK_STEP_MHZ = 1980.0, 345.0, 15.0
"""Full and idle SM clock and its steps. Recorded."""
POWER_LIMIT_W = 700.0
EMPTY_W, CONTEXT_W = 88.0, 122.0
"""Power of an empty GPU, and of one that holds an idle engine. Recorded 87-89 and 124."""
SM_W, SPIN_W, TENSOR_W, DRAM_W = 380.0, 130.0, 800.0, 50.0
"""Watts at full activity of each part; `SPIN_W` for SMs that wait in a collective. Recorded."""
CAP_FROM_W = 560.0
"""Power from which the clock gives way. Recorded: reason 4 in 60-68 % of samples at 575 W."""
POWER_EXPONENT = 2.5
"""Dynamic power against clock. Textbook values lie between 2 and 3."""
CAP_SOFTNESS = 0.25
"""How strongly the clock gives way. Recorded: 1,664 MHz at 613 W, 1,726 MHz at 666 W."""
CLOCK_JITTER = 0.015
"""Spread of a capped clock from second to second. Recorded: 1,515 to 1,920 within one fault."""
AMBIENT_C, CELSIUS_PER_W, HEAT_S = 34.0, 0.04, 3.0
"""Temperature without power, per watt, and its time constant. Recorded."""
SLOWDOWN_C = 87.0
"""Temperature from which the driver slows the GPU down."""
SLOWDOWN_PER_C = 0.04
"""Share of the clock lost per degree above it. Invented."""
THERMAL_FLOOR = 0.35
"""Least share of the clock that heat leaves. Invented."""
GPU_IDLE, POWER_CAP, SW_THERMAL, HW_THERMAL = 1, 4, 32, 64
"""Bits of the clock-event reasons."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What the parts of each GPU do, as shares of their time; every array has shape (GPUs,)."""

    sm: Floats
    spin: Floats
    """Part of `sm` that only waits in a collective."""
    tensor: Floats
    dram: Floats
    loaded: NDArray[np.bool_]
    """An engine, idle or not, holds the GPU."""


@dataclass(frozen=True, slots=True)
class Electrics:
    """What follows; every array has shape (GPUs,)."""

    power_w: Floats
    clock_mhz: Floats
    temperature_c: Floats
    memory_temperature_c: Floats
    reasons: NDArray[np.int64]


class ElectricModel:
    """Holds each card's character and its heat."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._count = count
        # No two cards are alike: these stay with the card.
        self._place_c = rng.normal(0, 2.0, count)
        self._hunger = rng.normal(1, 0.02, count)
        self._heat_c = np.full(count, 45.0)
        self.clock_ratio = np.ones(count)
        """SM clock of the last second as a share of the full one."""

    def step(self, activity: Activity, pressure: Pressure) -> Electrics:
        """One second."""
        normal = self._rng.normal(0, 1, (3, self._count))
        working = activity.loaded | (activity.sm > 0.02)
        wanted = (
            SM_W * (activity.sm - activity.spin)
            + SPIN_W * activity.spin
            + TENSOR_W * activity.tensor
            + DRAM_W * activity.dram
            + pressure.hidden_power_w
        )
        wanted = np.maximum(wanted * self._hunger * (1 + 0.02 * normal[0]), 0.1)
        room = CAP_FROM_W - CONTEXT_W
        capped = np.minimum((room / wanted) ** CAP_SOFTNESS, 1.0)
        jitter = np.where(capped < 1, 1 + CLOCK_JITTER * normal[1], 1.0)
        hot = self._heat_c - SLOWDOWN_C
        thermal = np.clip(1 - SLOWDOWN_PER_C * np.maximum(hot, 0), THERMAL_FLOOR, 1)
        ratio = np.minimum(
            np.minimum(capped * jitter, 1), np.minimum(thermal, pressure.clock_ratio)
        )
        self.clock_ratio = ratio
        base = np.where(working, CONTEXT_W, EMPTY_W) + 0.7 * normal[2]
        power = np.minimum(base + wanted * ratio**POWER_EXPONENT, POWER_LIMIT_W)
        mhz = np.round(CLOCK_MHZ * ratio / CLOCK_STEP_MHZ) * CLOCK_STEP_MHZ
        near = (wanted - room) / 12 + self._rng.logistic(0, 1, self._count)
        reasons = np.where(working, np.where(near > 0, POWER_CAP, 0), GPU_IDLE)
        reasons |= np.where(hot > 0, SW_THERMAL | HW_THERMAL, 0) | pressure.throttle_bits
        target = AMBIENT_C + self._place_c + CELSIUS_PER_W * power + pressure.heat_c
        self._heat_c += (target - self._heat_c) / HEAT_S
        return Electrics(
            power_w=power,
            clock_mhz=np.where(working, mhz, IDLE_MHZ),
            temperature_c=np.round(self._heat_c + 0.4 * normal[2]),
            memory_temperature_c=np.round(self._heat_c + 1.0 - 0.4 * normal[1]),
            reasons=reasons,
        )
