"""How long root cause analysis takes over a storm, beside a plain PageRank in the same run.

`python -m benchmarks.speed.rca` prints a table and writes `benchmarks/results/speed_rca.json`. Two
storms at 200, 1,000 and 2,000 nodes of eight GPUs: a switch above all racks fails, so that five
findings a node come within two seconds; and as many unrelated incidents, one lost GPU on each node.
Counted are CPU-seconds of the fold, from the tick of the first finding to the one that publishes
the last opening: correlated, ranked and written. Findings are made up, detection is left out.

The peer is personalised PageRank of networkx over the same entities and relations, started from
every entity with a finding: it ranks entities only, once, and groups nothing.
"""

import gc
import json
import random
import time
from collections.abc import Sequence
from typing import Any, cast

import networkx as nx

from benchmarks.machine import ROOT, described
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Finding, FindingState, Symptom, finding_id
from fleetmend.model.incidents import Incident
from fleetmend.settings.rca import RcaSettings
from fleetmend.streams.codec import encode
from fleetmend.streams.port import Outgoing, Payload, Record, TickInput
from fleetmend.streams.topics import Topic
from rca.stage import RootCauseStage

RESULT = ROOT / "benchmarks" / "results" / "speed_rca.json"
SIZES = (200, 1_000, 2_000)
NODES_A_RACK, GPUS_A_NODE, MODELS = 40, 8, 3
SECONDS = 12
START_S = 1_000
WANTED = {("switch", 2_000): 2.0, ("unrelated", 1_000): 10.0}
"""CPU-seconds, by storm and nodes."""
SEED = 1


def _id(kind: EntityKind, index: int) -> EntityId:
    return entity_id("bench", kind, f"{kind.value}-{index}")


def node(index: int) -> EntityId:
    """A node."""
    return _id(EntityKind.NODE, index)


def gpu(index: int) -> EntityId:
    """A GPU; those of node n begin at 8 n."""
    return _id(EntityKind.GPU, index)


def engine(index: int) -> EntityId:
    """The engine on a node."""
    return _id(EntityKind.ENGINE, index)


SWITCH = _id(EntityKind.SWITCH, 0)


def fleet(nodes: int) -> list[TopologyChange]:
    """Racks of forty nodes below one switch; an engine a node over its eight GPUs."""
    made = [_entity(SWITCH)]
    for rack in range(-(-nodes // NODES_A_RACK)):
        place = _id(EntityKind.RACK, rack)
        made += [_entity(place), _relation(place, RelationKind.PART_OF, SWITCH)]
    for n in range(nodes):
        place = _id(EntityKind.RACK, n // NODES_A_RACK)
        model = _id(EntityKind.MODEL, n % MODELS)
        made += [_entity(node(n)), _entity(engine(n))]
        made.append(_relation(node(n), RelationKind.PART_OF, place))
        made.append(_relation(engine(n), RelationKind.SERVES, model))
        for g in range(n * GPUS_A_NODE, (n + 1) * GPUS_A_NODE):
            made.append(_entity(gpu(g)))
            made.append(_relation(gpu(g), RelationKind.PART_OF, node(n)))
            made.append(_relation(engine(n), RelationKind.RUNS_ON, gpu(g)))
    return made


def switch_fault(nodes: int) -> list[Finding]:
    """Five findings a node within two seconds: not ready, its silence, two GPUs', a probe's."""
    rng = random.Random(SEED)
    made = []
    for n in range(nodes):
        at_s = START_S + 2.0 * rng.random()
        made.append(_finding(node(n), "node_condition.Ready", Witness.CLUSTER_API, at_s))
        made.append(_finding(engine(n), "probe_failed", Witness.PROBE, at_s))
        for silent in (node(n), gpu(n * GPUS_A_NODE), gpu(n * GPUS_A_NODE + 1)):
            made.append(_finding(silent, "telemetry_absent", Witness.SILENCE, at_s))
    return made


def unrelated(nodes: int) -> list[Finding]:
    """One GPU off the bus on each node within two seconds."""
    rng = random.Random(SEED)
    return [
        _finding(gpu(n * GPUS_A_NODE), "xid.79", Witness.KERNEL_LOG, START_S + 2.0 * rng.random())
        for n in range(nodes)
    ]


def folded(nodes: int, findings: Sequence[Finding]) -> dict[str, Any]:
    """The storm through the stage, tick by tick."""
    gc.collect()  # what the storm before left is not ours
    stage = RootCauseStage(RcaSettings())
    _tick(stage, START_S - 1, fleet(nodes))
    by_second: dict[int, list[Finding]] = {}
    for finding in findings:
        by_second.setdefault(int(finding.onset_s), []).append(finding)
    spent_s, until_opened_s, worst_s, quiet_s = 0.0, 0.0, 0.0, 0.0
    newest: dict[str, Incident] = {}
    largest = 0
    for second in range(START_S, START_S + SECONDS):
        began_s = time.process_time()
        out = _tick(stage, second, by_second.get(second, ()))
        quiet_s = time.process_time() - began_s
        spent_s += quiet_s
        worst_s = max(worst_s, quiet_s)
        for record in out:
            incident = cast(Incident, record.payload)
            newest[incident.id] = incident
            largest = max(largest, len(encode(incident).value))
            if incident.change == "opened":
                until_opened_s = spent_s
    causes = {(i.causes[0].cause, i.causes[0].entity) for i in newest.values() if i.causes}
    return {
        "incidents": len(newest),
        "causes": len(causes),
        "cause": sorted({cause for cause, _ in causes}),
        "cpu_s": round(until_opened_s, 2),
        "worst_tick_cpu_s": round(worst_s, 2),
        "quiet_tick_cpu_s": round(quiet_s, 2),
        "largest_record_bytes": largest,
    }


def page_rank(nodes: int, findings: Sequence[Finding]) -> dict[str, Any]:
    """The peer: which entity it puts first, and what it costs with its graph built already."""
    graph: nx.DiGraph[EntityId] = nx.DiGraph()
    for change in fleet(nodes):
        if change.op is TopologyOp.RELATION:
            graph.add_edge(change.entity, EntityId(change.target))
    began_s = time.process_time()
    told: dict[EntityId, float] = {}
    for finding in findings:
        told[finding.entity] = told.get(finding.entity, 0.0) + 1.0
    ranks = nx.pagerank(graph, personalization=told)
    first = max(ranks, key=lambda entity: (ranks[entity], entity))
    return {"cpu_s": round(time.process_time() - began_s, 2), "first": first}


def main() -> None:
    """Both storms at each size; a line each, then the file."""
    rows = []
    for name, made in (("switch", switch_fault), ("unrelated", unrelated)):
        for nodes in SIZES:
            findings = made(nodes)
            ours, peer = folded(nodes, findings), page_rank(nodes, findings)
            wanted = WANTED.get((name, nodes))
            row = {"storm": name, "nodes": nodes, "findings": len(findings), **ours}
            row |= {"wanted_cpu_s": wanted, "pagerank": peer}
            if name == "switch":
                row["pagerank_right"] = peer["first"] == SWITCH
            rows.append(row)
            print(
                f"{name:10} {nodes:5} nodes {len(findings):6} findings: "
                f"{ours['incidents']:5} incidents {ours['cpu_s']:6.2f} s CPU (wanted {wanted}), "
                f"worst tick {ours['worst_tick_cpu_s']:.2f}, quiet {ours['quiet_tick_cpu_s']:.2f}, "
                f"record {ours['largest_record_bytes']} B | PageRank {peer['cpu_s']:.2f} s, "
                f"first {peer['first']}",
                flush=True,
            )
    RESULT.write_text(json.dumps(described("speed_rca") | {"rows": rows}, indent=1) + "\n")


def _entity(entity: EntityId) -> TopologyChange:
    return TopologyChange(0.0, TopologyOp.ENTITY, entity)


def _relation(source: EntityId, relation: RelationKind, target: EntityId) -> TopologyChange:
    return TopologyChange(0.0, TopologyOp.RELATION, source, target, relation)


def _finding(entity: EntityId, symptom: str, witness: Witness, at_s: float) -> Finding:
    tick = int(at_s)
    return Finding(
        id=finding_id(entity, "made", symptom, tick),
        detector="made",
        entity=entity,
        state=FindingState.OPEN,
        witness=witness,
        tick=tick,
        at_s=at_s,
        onset_s=at_s,
        confidence=0.95,
        symptoms=(Symptom(symptom, Direction.PRESENT, 5.0, at_s),),
        reason="made",
    )


def _tick(stage: RootCauseStage, second: int, payloads: Sequence[Payload]) -> list[Outgoing]:
    records = tuple(Record(Topic.FINDINGS, 0, i, payload) for i, payload in enumerate(payloads))
    return stage.fold(
        TickInput(
            tick=second,
            start_s=float(second),
            end_s=second + 1.0,
            reached_s=second + 1.0,
            records=records,
        )
    )


if __name__ == "__main__":
    main()
