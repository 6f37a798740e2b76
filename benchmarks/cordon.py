"""How long from a line in a kernel log to a cordon that the API server has accepted.

`python -m benchmarks.cordon` starts Kafka, PostgreSQL (commits wait for the disk) and a Kubernetes
control plane, runs the platform as four processes, and lets one GPU after another fall off the bus,
each on a node of its own. Beside it, in the same run, a bare loop that looks at a file and patches.
Prints a table and writes `benchmarks/results/cordon.json`.

Every hop is taken from somebody's record: the broker's append times (milliseconds), PostgreSQL's
commit times, kube-apiserver's audit log. All clocks are this machine's. The platform's limits are
lifted by settings, else it would rightly stop after the first nodes of a rack.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import yaml

from benchmarks.machine import described
from deploy.parts.kafka import KafkaBroker
from deploy.parts.kube import KubeCluster
from deploy.parts.postgres import PostgresServer
from fleetmend.clock import SystemClock
from fleetmend.model.entities import EntityId, key_of
from fleetmend.model.events import Event, EventType
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from fleetmend.streams.codec import decode
from fleetmend.streams.topics import Topic
from tests.flow.exporters import Gpu
from tests.flow.serving import AuditWitness
from tests.flow.story import ROOT, Flow, Parts, running

RESULT = ROOT / "benchmarks" / "results" / "cordon.json"
HOPS = (
    "line written to event in the log",
    "event to finding",
    "finding to incident",
    "incident to plan and session committed",
    "session to intent committed",
    "intent to patch accepted",
)
QUANTILES = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
PAUSE_S = (0.3, 1.3)
"""Between two incidents, by lot: in step with nothing."""
SCRAPE_S = 5.0
"""Between scrapes of a node: this machine plays the exporters of all of them as well."""
LIMITS = {"taken_max": 10_000, "out_max": 10_000, "out_fraction": 1.0}


@dataclass(frozen=True, slots=True)
class Way:
    """One line on its way; seconds of Unix time at each station."""

    node: str
    line_s: float
    event_s: float
    finding_s: float
    incident_s: float
    session_s: float
    intent_s: float
    patch_s: float

    @property
    def hops_ms(self) -> list[float]:
        """One span a hop. The broker's times are cut to milliseconds: a hop may read one too
        long and the next one too short."""
        stations = (
            self.line_s,
            self.event_s,
            self.finding_s,
            self.incident_s,
            self.session_s,
            self.intent_s,
            self.patch_s,
        )
        return [(b - a) * 1e3 for a, b in pairwise(stations)]

    @property
    def total_ms(self) -> float:
        """From the line to the cordon."""
        return (self.patch_s - self.line_s) * 1e3


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=60)
    wanted = parser.parse_args().incidents
    with tempfile.TemporaryDirectory(prefix="fleetmend-") as name, real_parts(Path(name)) as parts:
        changes = partial(lifted, parts.folder)
        with running(
            parts, nodes_wanted=wanted + 1, replicas=0, scrape_s=SCRAPE_S, changes=changes
        ) as flow:
            lines, bare_lines = measure(flow, parts, wanted)
            ways = ways_of(flow, parts, lines)
            cordons = bare_cordons(AuditWitness(flow.pool, user="admin"))
            bare_ms = [(b - a) * 1e3 for a, b in zip(bare_lines, cordons, strict=True)]
    figures = [
        figure("line written to cordon accepted", [way.total_ms for way in ways]),
        *(
            figure(f"of that: {hop}", [way.hops_ms[number] for way in ways])
            for number, hop in enumerate(HOPS)
        ),
        figure("the same by a bare loop", bare_ms),
    ]
    show(figures)
    document = described("cordon") | {
        "incidents": len(ways),
        "figures": figures,
        "ways_ms": [[round(ms, 2) for ms in way.hops_ms] for way in ways],
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1) + "\n")
    return 0


@contextmanager
def real_parts(folder: Path) -> Iterator[Parts]:
    """Broker, database and cluster of this run."""
    folder.chmod(0o755)
    broker = KafkaBroker(folder / "kafka")
    try:
        # So that the moment of each commit can be asked for.
        settings = {"track_commit_timestamp": "on"}
        database = PostgresServer(folder / "postgres", durable=True, settings=settings)
        try:
            cluster = KubeCluster(folder / "kube")
            try:
                work = folder / "work"
                work.mkdir()
                yield Parts(cluster, broker.bootstrap, database.new_database(), work)
            finally:
                cluster.stop()
        finally:
            database.stop()
    finally:
        broker.stop()


def lifted(folder: Path, pool: str) -> dict[str, object]:
    """Settings without limits, and runbooks that cordon and do nothing else."""
    copies = folder / "unlimited"
    copies.mkdir()
    runbook = yaml.safe_load((ROOT / "runbooks" / "gpu-fallen-off-bus.yaml").read_text())
    runbook["steps"] = runbook["steps"][:1]
    runbook["blast"] = {"out_max": 10_000, "taken_max": 10_000}
    (copies / "gpu-fallen-off-bus.yaml").write_text(yaml.safe_dump(runbook, sort_keys=False))
    return {
        "remediation.runbooks": copies,
        f"remediation.pools.{pool}.limits": LIMITS,
        "remediation.hold_check_s": 5.0,
        "alerting.receivers": [],
        "remediation.rack_limits": LIMITS,
        "remediation.fleet_limits": LIMITS,
        "remediation.shared_nodes_min": 100_000,
    }


def measure(flow: Flow, parts: Parts, wanted: int) -> tuple[list[tuple[Gpu, float]], list[float]]:
    """One line after another, for the platform and for the bare loop by turns. Returns who and
    when, and when for the bare loop; Unix seconds."""
    rng, clock, never = random.Random(1), SystemClock(), threading.Event()
    bare, *nodes = flow.pool.nodes
    lines: list[tuple[Gpu, float]] = []
    bare_lines: list[float] = []
    witness = AuditWitness(flow.pool, user="admin")
    with bare_loop(parts, bare) as log:
        for done, node in enumerate(spread(nodes)[:wanted], 1):
            gpu = next(gpu for gpu in flow.nodes.gpus if gpu.node == node)
            clock.wait(never, rng.uniform(*PAUSE_S))
            lines.append((gpu, flow.nodes.say_lost(gpu)))
            flow.await_(f"cordon {done}", Count(flow.witness.patches, done))
            clock.wait(never, rng.uniform(*PAUSE_S))
            with log.open("a") as file:
                bare_lines.append(clock.now_s())
                file.write("3,1,1,-;NVRM: Xid (PCI:0000:18:00): 79, GPU has fallen off the bus.\n")
            flow.await_(f"bare cordon {done}", Count(partial(bare_cordons, witness), done))
            parts.kube.patch(f"/api/v1/nodes/{bare}", {"spec": {"unschedulable": None}})
    return lines, bare_lines


@dataclass(frozen=True, slots=True)
class Count:
    """Whether there are so many of something by now."""

    found: Callable[[], Sequence[object]]
    wanted: int

    def __call__(self) -> bool:
        return len(self.found()) >= self.wanted


def spread(nodes: Sequence[str]) -> list[str]:
    """Neighbours in time are no neighbours in a rack."""
    return [node for first in range(4) for node in nodes[first::4]]


@contextmanager
def bare_loop(parts: Parts, node: str) -> Iterator[Path]:
    """The bare loop in a process of its own; the file that it looks at."""
    log = parts.folder / "bare.kmsg"
    log.touch()
    command = [sys.executable, "-m", "benchmarks.bare_cordon"]
    process = subprocess.Popen(
        [*command, str(log), str(parts.kube.kubeconfig), node], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        if process.stdout is not None:
            process.stdout.readline()  # it says when it is ready
        yield log
    finally:
        process.terminate()
        process.wait()


def bare_cordons(witness: AuditWitness) -> list[float]:
    """When the API server had accepted each cordon of the bare loop, Unix seconds."""
    return [seconds(patch.accepted_at) for patch in witness.patches() if patch.unschedulable]


def ways_of(flow: Flow, parts: Parts, lines: Sequence[tuple[Gpu, float]]) -> list[Way]:
    """Each line's way, by the records that it left."""
    events = first_of(event_records(flow))
    findings = first_of(
        (finding.entity, raw.append_s)
        for raw in flow.records(Topic.FINDINGS)
        if isinstance(finding := decode(raw).payload, Finding)
        and any(symptom.name == "xid.79" for symptom in finding.symptoms)
    )
    incidents = first_of(
        (incident.entity, raw.append_s)
        for raw in flow.records(Topic.INCIDENTS)
        if isinstance(incident := decode(raw).payload, Incident)
    )
    sessions, intents = committed(parts)
    patches = {patch.node: seconds(patch.accepted_at) for patch in flow.witness.patches()}
    return [
        Way(
            gpu.node,
            line_s,
            events[gpu.uuid],
            findings[gpu.uuid],
            incidents[gpu.uuid],
            sessions[gpu.node],
            intents[gpu.node],
            patches[gpu.node],
        )
        for gpu, line_s in lines
    ]


def event_records(flow: Flow) -> Iterator[tuple[EntityId, float]]:
    """Entity and append time of every Xid."""
    for raw in flow.records(Topic.EVENTS):
        event = decode(raw).payload
        if isinstance(event, Event) and event.type is EventType.XID:
            yield event.subject, raw.append_s


def first_of(times: Iterable[tuple[EntityId, float]]) -> dict[str, float]:
    """The first time of each entity, by its key."""
    found: dict[str, float] = {}
    for entity, at_s in times:
        found[key_of(entity)] = min(at_s, found.get(key_of(entity), at_s))
    return found


def committed(parts: Parts) -> tuple[dict[str, float], dict[str, float]]:
    """When the session about each node and the intent to cordon it were committed, by PostgreSQL
    itself; Unix seconds."""
    address = parts.database.replace("postgresql+psycopg", "postgresql")
    # The session's first audit record was written in the transaction that opened it.
    query = """
        SELECT intent.detail->>'target',
            extract(epoch FROM pg_xact_commit_timestamp(opened.xmin))::float8,
            extract(epoch FROM pg_xact_commit_timestamp(intent.xmin))::float8
        FROM audit intent JOIN audit opened ON opened.subject = intent.subject
        WHERE intent.verb = 'intent' AND intent.detail->>'action' = 'cordon'
            AND opened.verb = 'session_changed' AND opened.detail->>'state' = 'proposed'
    """
    with psycopg.connect(address) as connection:
        rows = [
            (key_of(EntityId(target)), opened_s, intent_s)
            for target, opened_s, intent_s in connection.execute(query).fetchall()
        ]
    return {node: at_s for node, at_s, _ in rows}, {node: at_s for node, _, at_s in rows}


def seconds(stamp: str) -> float:
    """A time of the audit log, `2026-11-23T05:31:54.230838Z`, as Unix seconds."""
    return datetime.fromisoformat(stamp).timestamp()


def figure(what: str, values_ms: Sequence[float]) -> dict[str, Any]:
    """Quantiles in milliseconds; between two values by interpolation."""
    found = np.percentile(np.array(values_ms), [50, 90, 99, 100])
    return {"what": what} | {
        name: round(float(ms), 2) for name, ms in zip(QUANTILES, found, strict=True)
    }


def show(figures: Sequence[dict[str, Any]]) -> None:
    """A table for people."""
    print(f"{'milliseconds':52}" + "".join(f"{name.removesuffix('_ms'):>9}" for name in QUANTILES))
    for row in figures:
        print(f"{row['what']:52}" + "".join(f"{row[name]:9.1f}" for name in QUANTILES))


if __name__ == "__main__":
    sys.exit(main())
