"""How the rows of the blocks belong together: which engine runs on which GPU, which GPU is in which
node, which entities are of one cohort.

Made from the topology whenever it or the blocks have changed, so that detectors combine entities by
array operations instead of walking the graph.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.blocks import Block
from detection.robust import Floats
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.views.topology import TopologyView


@dataclass(frozen=True, slots=True)
class Pairs:
    """Related rows: `source[i]` of one block belongs to `target[i]` of another."""

    source: NDArray[np.int64]
    target: NDArray[np.int64]

    def most(self, values: Floats, rows: int) -> Floats:
        """For each source row (of `rows`) the largest value of its targets; NaN without any."""
        best = np.full(rows, -np.inf)
        told = np.isfinite(values[self.target])
        np.maximum.at(best, self.source[told], values[self.target][told])
        return np.where(np.isfinite(best), best, np.nan)

    def least(self, values: Floats, rows: int) -> Floats:
        """For each source row (of `rows`) the smallest value of its targets; NaN without any."""
        return -self.most(-values, rows)

    def mean(self, values: Floats, rows: int) -> Floats:
        """For each source row (of `rows`) the mean value of its targets; NaN without any."""
        told = np.isfinite(values[self.target])
        count = np.bincount(self.source[told], minlength=rows)
        total = np.bincount(self.source[told], values[self.target][told], minlength=rows)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    def total(self, values: Floats, rows: int) -> Floats:
        """For each target row (of `rows`) the sum of its sources' values; NaN without any."""
        told = np.isfinite(values[self.source])
        count = np.bincount(self.target[told], minlength=rows)
        total = np.bincount(self.target[told], values[self.source][told], minlength=rows)
        return np.where(count > 0, total, np.nan)

    def targets_of(self, row: int) -> NDArray[np.int64]:
        """The target rows of one source row."""
        rows: NDArray[np.int64] = self.target[self.source == row]
        return rows


class Links:
    """Pairs between blocks, remade when something has changed."""

    def __init__(self) -> None:
        self._made: tuple[object, ...] = ()
        self.engine_gpu = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
        self.gpu_node = self.engine_gpu
        self.cohorts: dict[EntityKind, dict[str, NDArray[np.int64]]] = {}
        """Rows of each kind by cohort: what shares kind and model."""

    def update(
        self, topology: TopologyView, blocks: Mapping[EntityKind, Block], version: int
    ) -> None:
        """Make the pairs afresh unless neither the topology (`version`) nor the rows changed."""
        kinds = (EntityKind.ENGINE, EntityKind.GPU, EntityKind.NODE)
        state = (version, *((kind, len(block.row)) for kind, block in blocks.items()))
        released = any(len(block.released) for block in blocks.values())
        if state == self._made and not released:
            return
        self._made = state
        engine, gpu, node = (blocks[kind].row if kind in blocks else {} for kind in kinds)
        self.engine_gpu = _pairs(
            (row, gpu.get(target))
            for entity, row in engine.items()
            for target in topology.targets(entity, RelationKind.RUNS_ON)
        )
        self.gpu_node = _pairs((row, _node(topology, e, node)) for e, row in gpu.items())
        self.cohorts = {kind: _cohorts(topology, block) for kind, block in blocks.items()}


def cohort_of(topology: TopologyView, entity: EntityId) -> str:
    """The cohort of an entity: what shares its kind and model."""
    model = topology.attributes.get(entity, {}).get("model", "")
    return f"{kind_of(entity).value} {model}".strip().replace("/", " ")


def _cohorts(topology: TopologyView, block: Block) -> dict[str, NDArray[np.int64]]:
    found: dict[str, list[int]] = {}
    for entity, row in block.row.items():
        found.setdefault(cohort_of(topology, entity), []).append(row)
    return {name: np.array(sorted(rows), np.int64) for name, rows in sorted(found.items())}


def _node(topology: TopologyView, entity: EntityId, rows: Mapping[EntityId, int]) -> int | None:
    found = topology.ancestor(entity, EntityKind.NODE)
    return None if found is None else rows.get(found)


def _pairs(found: Iterable[tuple[int, int | None]]) -> Pairs:
    known = [(source, target) for source, target in found if target is not None]
    columns = np.array(known, np.int64).reshape(-1, 2)
    return Pairs(columns[:, 0], columns[:, 1])
