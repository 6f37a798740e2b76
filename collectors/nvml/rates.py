"""What is read how often: the calls of `collectors.nvml.library` by name, and the fields in them.

Figures that show a fault within seconds are read every second; those that cost a walk through the
driver (ECC, remapped rows, links) or that hardly change are read rarely. Which ids an H200 answers
was measured there; a GPU that lacks one says so once and is not asked again.
"""

from enum import StrEnum

FAST_FIELDS = (82, 83, 74, 75, 76, 77, 78, 79, 186, 230)
"""Memory temperature, energy, six throttle times, power, recovery action."""
SLOW_FIELDS = (1, 3, 4, 5, 6, 94, 142, 143, 144, 145, 173, 190)
"""ECC mode and counters, PCIe replays, remapped rows, correctable PCIe errors, power limit."""
LINK_TOTALS = (138, 139)
"""NVLink bytes sent and received, asked for all links at once."""
LINK_FIELDS = (161, 162, 163)
"""NVLink replays, recoveries and CRC errors, asked for each link and added up."""
LINKS_MAX = 18
"""Links of a Hopper GPU (NV18)."""
ALL_LINKS = 0xFFFFFFFF
"""The scope that means the sum over all links (nvml.h at NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX)."""
GPM_METRICS = (1, 2, 3, 4, 5, 10, 11, 12, 13, 20, 21, 60, 61)
"""Engine, SM, occupancy, integer, tensor, DRAM, FP64, FP32, FP16, PCIe both ways, NVLink both
ways."""


class Rate(StrEnum):
    """How often a call is made; the periods are settings."""

    FAST = "fast"
    SLOW = "slow"
    STATIC = "static"
    PROCESSES = "processes"


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
    Rate.SLOW: ("slow_fields", "link_totals", "link_errors", "pcie_link", "encoder", "decoder"),
    Rate.STATIC: ("temperature_limits", "pcie_link_max", "remap_histogram"),
    Rate.PROCESSES: ("processes",),
}
"""The names that `GpuReader.call` knows. GPM goes first: it lies between two samples, and those
should be one period apart."""
