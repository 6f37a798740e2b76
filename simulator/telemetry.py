"""What exporters show of the model, in canonical signals and units: one batch per pool and second.

Called by `simulator.fleet` at the end of each second. What cannot be read is left out (a GPU off
the bus, a node without its agent), and what a dead engine core leaves behind is shown frozen, as
measured on vLLM: its metrics page goes on answering with the last figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetmend.model.samples import SampleBatch
from simulator.layout import Layout
from simulator.topology import engine_id
from simulator.workload import NOWHERE, Workload

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Table = Mapping[str, Floats]
"""Signal -> values over GPUs, engines or nodes. NaN: nothing to show this second."""

BETWEEN_READINGS = ("_p50", "_p95", "_mean")
"""Ends of the names of signals that are worked out between two readings of a page."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Tables of one second and what of them can be read."""

    gpus: Table
    gpu_heard: Flags
    engines: Table
    """Figures that engines themselves report."""
    engine_fresh: Flags
    """Engines that report new figures."""
    engine_frozen: Flags
    """Engines whose page repeats its last figures."""
    scrapes: Table
    """Figures that whoever reads an engine's page adds."""
    engine_watched: Flags
    """Engines whose page somebody reads."""
    nodes: Table
    node_heard: Flags


class Telemetry:
    """Builds batches; remembers what engines showed last."""

    def __init__(self, layout: Layout, workload: Workload) -> None:
        self._layout = layout
        self._workload = workload
        self._last: dict[str, Floats] = {}
        pools = range(len(layout.pools))
        self._nodes = [np.flatnonzero(layout.node_pool == pool) for pool in pools]
        self._gpus = [(nodes[:, None] * 8 + np.arange(8)).ravel() for nodes in self._nodes]
        self._engines = [np.flatnonzero(layout.engine_pool == pool) for pool in pools]

    def batches(self, at_s: float, shown: Shown) -> list[SampleBatch]:
        """One batch per pool, in the order of the pools; empty ones are left out."""
        reported = self._reported(shown)
        placed = self._workload.node != NOWHERE
        listed = (shown.engine_fresh | shown.engine_frozen) & placed
        found = []
        for pool in range(len(self._layout.pools)):
            parts = (
                (shown.gpus, self._gpus[pool], shown.gpu_heard, 0),
                (reported, self._engines[pool], listed, 1),
                (shown.scrapes, self._engines[pool], shown.engine_watched, 1),
                (shown.nodes, self._nodes[pool], shown.node_heard, 2),
            )
            batch = self._batch(pool, at_s, parts)
            if len(batch):
                found.append(batch)
        return found

    def _reported(self, shown: Shown) -> Table:
        """Fresh figures where there are some, else the last ones; a quantile between two readings
        of a page that stands still is of nothing."""
        for name, values in shown.engines.items():
            last = self._last.get(name)
            if last is None or name.endswith(BETWEEN_READINGS):
                last = np.full(len(values), np.nan)
            self._last[name] = np.where(shown.engine_fresh, values, last)
        return {name: self._last[name] for name in shown.engines}

    def _batch(
        self,
        pool: int,
        at_s: float,
        parts: tuple[tuple[Table, NDArray[np.int64], Flags, int], ...],
    ) -> SampleBatch:
        gpus, engines, nodes = self._gpus[pool], self._engines[pool], self._nodes[pool]
        starts = (0, len(gpus), len(gpus) + len(engines))
        names: list[str] = []
        entity_codes, signal_codes, values = [], [], []
        for table, members, heard, kind in parts:
            visible = np.flatnonzero(heard[members])
            if not len(table) or not len(visible):
                continue
            rows = np.stack([column[members[visible]] for column in table.values()])
            entity_codes.append(np.tile(visible + starts[kind], len(rows)))
            signal_codes.append(np.repeat(np.arange(len(rows)) + len(names), len(visible)))
            names += table
            values.append(rows.ravel())
        if not values:
            return SampleBatch.from_rows(())
        value = np.concatenate(values)
        there = ~np.isnan(value)
        entities = (
            *(self._layout.gpu_ids[g] for g in gpus),
            *(engine_id(self._layout, self._workload.uid[e]) for e in engines),
            *(self._layout.node_ids[n] for n in nodes),
        )
        return SampleBatch(
            time_s=np.full(int(there.sum()), at_s),
            entity=np.concatenate(entity_codes)[there].astype(np.int32),
            signal=np.concatenate(signal_codes)[there].astype(np.int32),
            value=value[there],
            entities=entities,
            signals=tuple(names),
        )
