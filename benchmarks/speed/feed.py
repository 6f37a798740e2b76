"""A plausible fleet for `detection.py`: nodes of eight GPUs, each sending 30 signals at 1 Hz.

Values are levels of an H200 under load with noise of their own; some GPUs go wrong on the way. As
node agents do, a node sends five seconds at once. Everything is made and encoded before the clock
of a benchmark runs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.arrow_write import encode_samples
from fleetmend.streams.rebatch import joined

GPUS_A_NODE, SECONDS_A_BATCH = 8, 5

LEVELS: dict[str, tuple[float, float]] = {
    "gpu.utilization": (0.85, 0.04),
    "gpu.sm_active": (0.62, 0.06),
    "gpu.sm_occupancy": (0.3, 0.06),
    "gpu.tensor_active": (0.3, 0.08),
    "gpu.dram_active": (0.35, 0.06),
    "gpu.memory_busy": (0.4, 0.05),
    "gpu.power": (480.0, 0.03),
    "gpu.sm_clock": (1980.0, 0.001),
    "gpu.memory_clock": (3201.0, 0.0),
    "gpu.temperature": (58.0, 0.01),
    "gpu.memory_temperature": (66.0, 0.01),
    "gpu.temperature_slowdown": (90.0, 0.0),
    "gpu.memory_used": (128e9, 0.0005),
    "gpu.memory_free": (12e9, 0.005),
    "gpu.pcie_rx": (3.3e7, 0.08),
    "gpu.pcie_tx": (5.6e6, 0.08),
    "gpu.nvlink_rx": (6e9, 0.08),
    "gpu.nvlink_tx": (6e9, 0.08),
    "gpu.pcie_link_gen": (5.0, 0.0),
    "gpu.pcie_link_width": (16.0, 0.0),
    "gpu.clock_event_reasons": (0.0, 0.0),
    "gpu.xid_last": (0.0, 0.0),
    "gpu.ecc_sbe": (0.0, 0.0),
    "gpu.ecc_dbe": (0.0, 0.0),
    "gpu.row_remap_pending": (0.0, 0.0),
    "gpu.row_remap_failed": (0.0, 0.0),
    "gpu.pcie_replays": (0.0, 0.0),
    "gpu.processes_foreign": (0.0, 0.0),
    "gpu.memory_foreign": (0.0, 0.0),
    "gpu.energy": (480.0, 0.03),
}
"""Usual value and share of noise of each signal; a counter grows by its level."""


ENGINE: dict[str, tuple[float, float]] = {
    "engine.requests_running": (24.0, 0.1),
    "engine.requests_waiting": (0.0, 0.0),
    "engine.generation_tokens": (500.0, 0.0),
    "engine.prompt_tokens": (900.0, 0.0),
    "engine.requests_done": (4.0, 0.0),
    "engine.ttft_p50": (0.06, 0.1),
    "engine.tpot_p50": (0.048, 0.05),
    "engine.kv_usage": (0.3, 0.05),
}
"""The same for the one engine on each node."""
COUNTERS = (
    "gpu.energy",
    "engine.generation_tokens",
    "engine.prompt_tokens",
    "engine.requests_done",
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many GPUs, eight in a node, with an engine on each node."""

    gpus: int

    @property
    def nodes(self) -> int:
        """Nodes of the fleet."""
        return -(-self.gpus // GPUS_A_NODE)

    def topology(self) -> Iterator[TopologyChange]:
        """All nodes, GPUs and engines, and how they belong together."""
        for number in range(self.nodes):
            node, engine = _node_id(number), _engine_id(number)
            yield TopologyChange(0.0, TopologyOp.ENTITY, node)
            yield TopologyChange(0.0, TopologyOp.ENTITY, engine)
            for place in range(GPUS_A_NODE):
                gpu = _gpu_id(number, place)
                model = {"model": "NVIDIA H200"}
                yield TopologyChange(0.0, TopologyOp.ENTITY, gpu, attributes=model)
                yield TopologyChange(0.0, TopologyOp.RELATION, gpu, str(node), RelationKind.PART_OF)
                yield TopologyChange(
                    0.0, TopologyOp.RELATION, engine, str(gpu), RelationKind.RUNS_ON
                )

    def batches(self, begin_s: int, *, merged: int, faults: bool) -> list[bytes]:
        """Five seconds of the whole fleet, encoded; `merged` nodes in one record. With `faults` one
        GPU of a thousand throttles and loses half of its clock."""
        rng = np.random.default_rng(begin_s)
        return [
            encode_samples(
                joined(
                    [
                        _node(number, begin_s, rng, spoilt=faults and number % 125 == 7)
                        for number in range(first, min(first + merged, self.nodes))
                    ]
                )
            )
            for first in range(0, self.nodes, merged)
        ]


def _node_id(number: int) -> EntityId:
    return entity_id("c", EntityKind.NODE, f"node-{number}")


def _engine_id(number: int) -> EntityId:
    return entity_id("c", EntityKind.ENGINE, f"engine-{number}")


def _gpu_id(number: int, place: int) -> EntityId:
    return entity_id("c", EntityKind.GPU, f"GPU-{number:08x}-0000-0000-0000-{place:012x}")


def _node(number: int, begin_s: int, rng: np.random.Generator, *, spoilt: bool) -> SampleBatch:
    """Five seconds of one node: its GPUs and its engine."""
    gpus = _values(LEVELS, GPUS_A_NODE, begin_s, rng)
    if spoilt:
        for name, factor in (("gpu.sm_clock", 0.5), ("gpu.power", 0.6)):
            gpus[:, 3, list(LEVELS).index(name)] *= factor
        gpus[:, 3, list(LEVELS).index("gpu.clock_event_reasons")] = 64.0
    engine = _values(ENGINE, 1, begin_s, rng)
    of_gpu = np.repeat(np.arange(GPUS_A_NODE), len(LEVELS))
    entity = np.concatenate([of_gpu, np.full(len(ENGINE), GPUS_A_NODE)])
    signal = np.concatenate(
        [np.tile(np.arange(len(LEVELS)), GPUS_A_NODE), len(LEVELS) + np.arange(len(ENGINE))]
    )
    values = np.concatenate(
        [gpus.reshape(SECONDS_A_BATCH, -1), engine.reshape(SECONDS_A_BATCH, -1)], axis=1
    )
    return SampleBatch(
        np.repeat(begin_s + 0.5 + np.arange(SECONDS_A_BATCH), len(entity)),
        np.tile(entity, SECONDS_A_BATCH).astype(np.int32),
        np.tile(signal, SECONDS_A_BATCH).astype(np.int32),
        np.round(values, 3).ravel(),
        (*(_gpu_id(number, place) for place in range(GPUS_A_NODE)), _engine_id(number)),
        (*LEVELS, *ENGINE),
    )


def _values(
    table: dict[str, tuple[float, float]], count: int, begin_s: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """(seconds, entities, signals)."""
    level, noise = np.array(list(table.values())).T
    values = level * (1.0 + noise * rng.standard_normal((SECONDS_A_BATCH, count, len(table))))
    at = (begin_s + np.arange(SECONDS_A_BATCH))[:, None]
    for column, name in enumerate(table):
        if name in COUNTERS:
            values[:, :, column] = level[column] * at
    made: NDArray[np.float64] = values
    return made
