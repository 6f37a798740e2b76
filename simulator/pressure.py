"""What faults press on in one second: arrays that physics and queueing read.

`simulator.faults` writes them anew every second; neutral values mean a healthy fleet. Faults never
touch telemetry itself: what is seen follows from what is pressed.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetmend.model.entities import EntityKind
from simulator.layout import Layout

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Pressure:
    """One second's disturbances. Field names are those that the fault catalogue uses."""

    gpu_lost: Flags
    """The GPU does not answer."""
    gpu_stopped: Flags
    """The rank on this GPU stands still while it holds its memory."""
    gpu_vacated: Flags
    """The rank on this GPU is dead and its memory is free."""
    foreign_sm: Floats
    """SM share wanted by a process that belongs to no pod."""
    foreign_tensor: Floats
    foreign_dram: Floats
    foreign_bytes: Floats
    foreign_processes: Floats
    hidden_work: Floats
    """Share of the GPU's time that goes lost although no process shows."""
    hidden_power_w: Floats
    """Watts that the hidden work draws."""
    clock_ratio: Floats
    """Highest SM clock as a share of the normal one; 1 is free."""
    heat_c: Floats
    """Degrees above what the power explains."""
    throttle_bits: Ints
    """Clock-event reasons that the fault itself sets."""
    link_slow: Floats
    """Times that a collective over this GPU's links takes; 1 is normal."""
    link_errors: Floats
    """NVLink replays a second; CRC errors and recoveries follow at fixed shares."""
    link_foreign: Floats
    """NVLink bytes a second of somebody else, each way."""
    pcie_replays: Floats
    """PCIe replays a second."""
    pcie_foreign: Floats
    """PCIe bytes a second of somebody else, each way."""
    ecc_corrected: Floats
    """Corrected ECC errors a second."""
    engine_hung: Flags
    engine_slow: Floats
    """Times that the kernels of a decode step take; 1 is normal."""
    engine_slots: Floats
    """Share of the batch slots that may be used."""
    engine_kv: Floats
    """Share of the KV cache that is left."""
    engine_busy: Floats
    """SM share that slow kernels add."""
    leak_rate: Floats
    """Bytes a second that the engine allocates on each of its GPUs and never frees."""
    host_slow: Floats
    """Times that host work of a step takes; 1 is normal."""
    host_busy: Floats
    """Share of the node's CPU time taken by something else."""
    host_load: Floats
    """Load average that it adds."""
    node_dark: Flags
    """No network: nothing of the node can be read or reached, what runs goes on."""
    node_off: Flags
    """No power: everything on the node is gone."""
    node_mute: Flags
    """Only the node's collector is dead."""
    node_unready: Flags
    """The kubelet does not report."""
    arrivals: Floats
    """Shape (pools, tenants): times the normal requests."""
    prompts: Floats
    """Shape (pools, tenants): times the normal prompt length."""

    def press(self, name: str, index: Ints | tuple[Ints, Ints], value: float) -> None:
        """Press the field `name` at `index`. Two faults on one thing: flags and bits join, factors
        multiply, the rest adds up."""
        array = getattr(self, name)
        if array.dtype == np.bool_:
            array[index] = True
        elif name == "throttle_bits":
            array[index] |= int(value)
        elif name in _FACTORS:
            array[index] *= value
        else:
            array[index] += value


_FACTORS = frozenset(
    {
        "clock_ratio",
        "link_slow",
        "engine_slow",
        "engine_slots",
        "engine_kv",
        "host_slow",
        "arrivals",
        "prompts",
    }
)

_DIMENSIONS = {
    "engine": EntityKind.ENGINE,
    "leak": EntityKind.ENGINE,
    "host": EntityKind.NODE,
    "node": EntityKind.NODE,
    "arrivals": EntityKind.TENANT,
    "prompts": EntityKind.TENANT,
}


def neutral(name: str) -> float:
    """The value of the field `name` when nothing is wrong."""
    return 1.0 if name in _FACTORS else 0.0


def dimension(name: str) -> EntityKind:
    """What the field `name` runs over; TENANT stands for (pools, tenants)."""
    return _DIMENSIONS.get(name.partition("_")[0], EntityKind.GPU)


def no_pressure(layout: Layout) -> Pressure:
    """A second in which nothing is wrong."""
    shapes: dict[EntityKind, int | tuple[int, int]] = {
        EntityKind.GPU: len(layout.gpu_ids),
        EntityKind.ENGINE: len(layout.engine_names),
        EntityKind.NODE: len(layout.nodes),
        EntityKind.TENANT: (len(layout.pools), layout.settings.load.tenants),
    }
    values: dict[str, NDArray[Any]] = {}
    for field in fields(Pressure):
        kind = np.bool_ if field.type is Flags else np.float64
        if field.name == "throttle_bits":
            kind = np.int64
        values[field.name] = np.full(shapes[dimension(field.name)], neutral(field.name), kind)
    return Pressure(**values)
