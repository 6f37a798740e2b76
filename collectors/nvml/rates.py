"""What is read how often: the calls of `collectors.nvml.library` by name, and the fields in them.

A call costs what the driver does for it, so what is cheap and shows a fault within seconds is read
every second, and what is dear rarely. Microseconds of processor time for one call of one GPU, under
load (an H200, driver 580.159.04, `benchmarks/h200.sh`; nearly all of it in the kernel):

| call | costs | read |
|---|---|---|
| energy (field 83, and the function of that name alike) | 2,600 to 4,900 | rare |
| GPM metric 1; the twelve others together 30 | 1,100 | dear |
| throttle times, fields 74 to 79: one trip for all six | 600 to 1,100 | dear |
| PCIe replays and correctable errors, fields 94 and 173 | 400 to 500 | dear |
| temperature limits | 800 | static |
| a GPM sample | 200 to 280 | fast |
| processes | 170 | by itself |
| NVLink errors, NVLink totals, PCIe link | 140, 75, 110 | slow |
| memory, utilisation, SM clock, reasons, any other figure | 41, 32, 16, 12, about 10 | fast |
| any other field, beside others | 3 to 10 | fast or slow |

Throttling is still seen at once: its reasons are a state, read every second. The throttle times are
counters, so what happens between two reads is in the next one. Which ids an H200 answers was
measured there; a GPU that lacks one says so and is not asked again before the next inventory.
"""

from enum import StrEnum

FAST_FIELDS = (82, 186, 230)
"""Memory temperature, power, recovery action."""
SLOW_FIELDS = (1, 3, 4, 5, 6, 142, 143, 144, 145, 190)
"""ECC mode and counters, remapped rows, power limit."""
ENERGY_FIELDS = (83,)
THROTTLE_FIELDS = (74, 75, 76, 77, 78, 79)
"""Throttled for power, heat, step in a boost group, the board, want of work, voltage."""
PCIE_ERROR_FIELDS = (94, 173)
"""Replays and correctable errors."""
LINK_TOTALS = (138, 139)
"""NVLink bytes sent and received, asked for all links at once."""
LINK_FIELDS = (161, 162, 163)
"""NVLink replays, recoveries and CRC errors, asked for each link and added up."""
LINKS_MAX = 18
"""Links of a Hopper GPU (NV18)."""
ALL_LINKS = 0xFFFFFFFF
"""The scope that means the sum over all links (nvml.h at NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX)."""
GPM_METRICS = (2, 3, 4, 5, 10, 11, 12, 13, 20, 21, 60, 61)
"""SM, occupancy, integer, tensor, DRAM, FP64, FP32, FP16, PCIe both ways, NVLink both ways."""
GPM_DEAR_METRICS = (1,)
"""Graphics and compute engine."""


class Rate(StrEnum):
    """How often a call is made; the periods are settings."""

    FAST = "fast"
    PROCESSES = "processes"
    SLOW = "slow"
    DEAR = "dear"
    STATIC = "static"
    RARE = "rare"


CALLS: dict[Rate, tuple[str, ...]] = {
    Rate.FAST: (
        "gpm",
        "fast_fields",
        "utilization",
        "memory",
        "clock_sm",
        "clock_memory",
        "temperature",
        "clock_event_reasons",
        "performance_state",
    ),
    Rate.PROCESSES: ("processes",),
    Rate.SLOW: ("slow_fields", "link_totals", "link_errors", "pcie_link", "encoder", "decoder"),
    Rate.DEAR: ("gpm_dear", "throttle_times", "pcie_errors"),
    Rate.STATIC: ("temperature_limits", "pcie_link_max", "remap_histogram"),
    Rate.RARE: ("energy",),
}
"""The names that `GpuReader.call` knows. GPM goes first: it lies between two samples, and those
should be one period apart. `gpm_dear` takes the newest sample that `gpm` took."""
