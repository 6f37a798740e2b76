"""The fleet page: the GPU map (pools, nodes, GPUs with health) and the strip of figures.

Health comes from open incidents and from nodes that are out; nothing here guesses.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from console.deps import FleetNow
from console.figures import NOTHING, name_of, percent, span
from console.present.header import Figure
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.views.topology import TopologyView

HEALTHY, DEGRADED, FAULTY, OUT = 0, 1, 2, 3
"""States of a GPU on the map, worse is higher but for OUT, which is a decision and no fault."""
STATE_WORDS = ("healthy", "degraded", "faulty", "out")


@dataclass(frozen=True, slots=True)
class GpuCell:
    """One GPU of the map."""

    id: EntityId
    label: str
    state: int
    busy: float | None
    incident: str


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node with its GPUs in order."""

    id: EntityId
    name: str
    rack: str
    out: bool
    gpus: tuple[GpuCell, ...]


@dataclass(frozen=True, slots=True)
class PoolBlock:
    """One pool."""

    name: str
    nodes: tuple[NodeRow, ...]

    @property
    def gpus(self) -> int:
        """How many GPUs."""
        return sum(len(node.gpus) for node in self.nodes)

    @property
    def busy(self) -> float | None:
        """Mean share of time at work, of the GPUs that say it."""
        known = [g.busy for n in self.nodes for g in n.gpus if g.busy is not None]
        return sum(known) / len(known) if known else None

    @property
    def counts(self) -> dict[str, int]:
        """GPUs by state."""
        found = Counter(STATE_WORDS[g.state] for n in self.nodes for g in n.gpus)
        return {word: found[word] for word in STATE_WORDS}


def pools(
    now: FleetNow, incidents: Iterable[Incident], held: frozenset[EntityId]
) -> list[PoolBlock]:
    """The map: pools by name, nodes by rack and name, GPUs by label. `held` are nodes that sessions
    hold out."""
    marks = _marks(incidents)
    out = now.out | held
    topology = now.topology
    blocks: dict[str, list[NodeRow]] = {}
    for node in topology.of_kind(EntityKind.NODE):
        cells = [
            _cell(topology, gpu, node, node in out, marks, now.busy)
            for gpu in topology.sources(node, RelationKind.PART_OF)
            if kind_of(gpu) is EntityKind.GPU
        ]
        cells.sort(key=lambda cell: (len(cell.label), cell.label))
        row = NodeRow(node, name_of(node), _rack(topology, node), node in out, tuple(cells))
        blocks.setdefault(_pool(topology, node), []).append(row)
    return [
        PoolBlock(name, tuple(sorted(rows, key=lambda r: (r.rack, len(r.name), r.name))))
        for name, rows in sorted(blocks.items())
    ]


Marks = Mapping[EntityId, tuple[int, str]]
"""State and incident of entities that are not healthy."""


def _marks(incidents: Iterable[Incident]) -> Marks:
    marks: dict[EntityId, tuple[int, str]] = {}

    def mark(entity: EntityId, state: int, incident: str) -> None:
        if state > marks.get(entity, (HEALTHY, ""))[0]:
            marks[entity] = (state, incident)

    for incident in incidents:
        worst = FAULTY if incident.status is IncidentStatus.OPEN else DEGRADED
        mark(incident.entity, worst, incident.id)
        for entity in incident.affected:
            mark(entity, DEGRADED, incident.id)
    return marks


def _cell(
    topology: TopologyView,
    gpu: EntityId,
    node: EntityId,
    out: bool,
    marks: Marks,
    busy: Mapping[EntityId, float],
) -> GpuCell:
    state, incident = max(marks.get(gpu, (HEALTHY, "")), marks.get(node, (HEALTHY, "")))
    # A faulty GPU stays red when its node is taken out: where the fault is matters more.
    if out and state < FAULTY:
        state = OUT
    label = topology.attributes.get(gpu, {}).get("index", "")
    return GpuCell(gpu, f"GPU {label}" if label else name_of(gpu), state, busy.get(gpu), incident)


def _pool(topology: TopologyView, node: EntityId) -> str:
    related = topology.targets(node, RelationKind.MEMBER_OF)
    return name_of(related[0]) if related else topology.attributes[node].get("pool", "no pool")


def _rack(topology: TopologyView, node: EntityId) -> str:
    rack = topology.ancestor(node, EntityKind.RACK)
    return name_of(rack) if rack else topology.attributes[node].get("rack", "")


@dataclass(frozen=True, slots=True)
class Past:
    """A resolved incident, whether fleetmend acted on it and whether a person decided."""

    incident: Incident
    acted: bool
    decided: bool


def figures(
    *,
    open_: Iterable[Incident],
    blocks: list[PoolBlock] | None,
    waiting: int,
    past: list[Past],
    held: int,
) -> tuple[Figure, ...]:
    """The strip above the map. Only what the store and the map hold; an empty past says so."""
    severities = Counter(incident.severity.value for incident in open_)
    count = sum(severities.values())
    named = " · ".join(f"{n} {name}" for name, n in sorted(severities.items()))
    return (
        Figure("Open incidents", str(count), named or "all quiet", "warn" if count else "ok"),
        _healthy(blocks),
        Figure(
            "Waits for you",
            str(waiting),
            "approval needed" if waiting else "nothing to decide",
            "vi" if waiting else "",
        ),
        _mttr(past),
        _no_ops(past),
        Figure("Held out", str(held), f"node{'' if held == 1 else 's'} taken by fleetmend"),
    )


def _healthy(blocks: list[PoolBlock] | None) -> Figure:
    if blocks is None:
        return Figure("Healthy GPUs", NOTHING, "no topology here")
    counts: Counter[str] = Counter()
    for block in blocks:
        counts.update(block.counts)
    total = counts.total()
    share = percent(counts["healthy"] / total) if total else "no GPU known"
    rest = ", ".join(f"{counts[w]} {w}" for w in STATE_WORDS[1:] if counts[w])
    note = f"{share} of {total}" + (f" · {rest}" if rest else "")
    return Figure("Healthy GPUs", f"{counts['healthy']:,}", note if total else share)


def _mttr(past: list[Past]) -> Figure:
    lengths = sorted(
        p.incident.resolved_at_s - p.incident.opened_at_s
        for p in past
        if p.incident.resolved_at_s is not None
    )
    if not lengths:
        return Figure("Time to resolve, p50", NOTHING, "nothing resolved yet")
    p95 = lengths[math.ceil(0.95 * len(lengths)) - 1]
    note = f"p95 {span(p95)} · last {len(lengths)} resolved"
    return Figure("Time to resolve, p50", span(lengths[(len(lengths) - 1) // 2]), note)


def _no_ops(past: list[Past]) -> Figure:
    label = "Mended without a person"
    if not past:
        return Figure(label, NOTHING, "nothing resolved yet")
    alone = [p for p in past if p.acted and not p.decided]
    return Figure(label, percent(len(alone) / len(past)), f"{len(alone)} of last {len(past)}")
