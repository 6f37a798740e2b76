"""CPU-seconds that one core needs for one second of a fleet, from Arrow batches to findings.

`python -m benchmarks.speed.detection [GPUS ...]` prints a table for 1,000, 10,000 and 100,000 GPUs
of 30 signals at 1 Hz and writes `benchmarks/results/speed_detection.json`. All detectors are on,
the forest is fitted before the clock runs, and one GPU of a thousand goes wrong in the timed part.
Batches come as node agents send them (five seconds of one node in one record) and as an edge merger
does (several nodes in one); decoding, parting by tick and folding are timed, the log and Kafka's
client are not. Each size runs in a process of its own, so that its memory is its own.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np

import detection.stage as room
from benchmarks.machine import ROOT, described
from benchmarks.speed.feed import ENGINE, GPUS_A_NODE, LEVELS, SECONDS_A_BATCH, Fleet
from detection.derive import derive
from detection.forest import Forest
from detection.stage import DetectionStage
from fleetmend.model.findings import Finding
from fleetmend.settings.detection import DetectionSettings
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.columns import decode_samples
from fleetmend.streams.port import Record, TickInput
from fleetmend.streams.split import by_tick
from fleetmend.streams.topics import Topic

RESULT = ROOT / "benchmarks" / "results" / "speed_detection.json"
SIZES = (1_000, 10_000, 100_000)
WARM_S, TIMED_S = 50, 10
"""Simulated seconds before the clock runs, and under it."""
CALM_S = 10.0
"""Calm seconds before the forest is fitted: less than the default, so that it takes part early."""
MERGED = 5
"""Nodes in one record of the edge merger: about 6,000 rows."""
WANTED_CPU_S, WANTED_KB = 1.0, 20.0


@dataclass(slots=True)
class Clock:
    """CPU seconds by part."""

    parts: dict[str, float]

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, its CPU time added up under `name`."""

        def run(*arguments: Any, **named: Any) -> Any:
            began_s = time.process_time()
            try:
                made = work(*arguments, **named)
                return list(made) if name == "lifecycle" else made
            finally:
                self.parts[name] = self.parts.get(name, 0.0) + time.process_time() - began_s

        return run


def watch(stage: DetectionStage, clock: Clock) -> None:
    """Time every step of the stage's fold."""
    for name, part, verb in (
        ("windows", stage._windows, "take"),
        ("windows", stage._windows, "advance"),
        ("windows", stage._windows, "keep"),
        ("links", stage._links, "update"),
        ("hearing", stage._hearing, "update"),
        ("normal", stage._normal, "update"),
        ("activity", stage._activity, "update"),
        ("fuse", stage._fuse, "weigh"),
        ("lifecycle", stage._lifecycle, "take"),
        ("coverage entries", stage._coverage, "entries"),
        *((detector.name, detector, "observe") for detector in stage._detectors),
    ):
        setattr(part, verb, clock.timed(name, getattr(part, verb)))
    setattr(room, "derive", clock.timed("derive", derive))  # noqa: B010


class Folding:
    """A stage that is fed batches as they come from the log."""

    def __init__(self, fleet: Fleet, begin_s: int) -> None:
        self.clock = Clock({})
        settings = DetectionSettings(forest_calm_s=CALM_S)
        self.stage = DetectionStage(settings, TickSettings())
        watch(self.stage, self.clock)
        self.findings = 0
        topology = tuple(Record(Topic.TOPOLOGY, 0, n, c) for n, c in enumerate(fleet.topology()))
        self._fold(begin_s - 1, topology)

    def take(self, encoded: list[bytes], begin_s: int) -> None:
        """Five seconds."""
        decode = self.clock.timed("decode", decode_samples)
        part = self.clock.timed("by tick", by_tick)
        ticks: dict[int, list[Record]] = {}
        for offset, value in enumerate(encoded):
            record = Record(Topic.SAMPLES, 0, offset, decode(value))
            for tick, piece in part(record, 1.0, first=begin_s):
                ticks.setdefault(tick, []).append(piece)
        for tick in sorted(ticks):
            self._fold(tick, tuple(ticks.pop(tick)))

    def _fold(self, tick: int, records: tuple[Record, ...]) -> None:
        said = self.stage.fold(TickInput(tick, float(tick), tick + 1.0, tick + 3.0, records, ()))
        self.findings += sum(isinstance(out.payload, Finding) for out in said)


def resident_kb() -> int:
    """Memory of this process now, KiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def one(gpus: int, merged: int) -> dict[str, Any]:
    """Measure one size."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    fleet = Fleet(gpus)
    begin_s = 1_800_000_000
    before_kb = resident_kb()
    folding = Folding(fleet, begin_s)
    for at_s in range(begin_s, begin_s + WARM_S, SECONDS_A_BATCH):
        folding.take(fleet.batches(at_s, merged=merged, faults=False), at_s)
    forest = next(d for d in folding.stage._detectors if isinstance(d, Forest))
    fitted = sum(cohort.trees is not None for cohort in forest._cohorts.values())
    ready = [
        (at_s, fleet.batches(at_s, merged=merged, faults=True))
        for at_s in range(begin_s + WARM_S, begin_s + WARM_S + TIMED_S, SECONDS_A_BATCH)
    ]
    folding.clock.parts.clear()
    folding.findings = 0
    began_s = time.process_time()
    for at_s, encoded in ready:
        folding.take(encoded, at_s)
    spent_s = time.process_time() - began_s
    del ready
    shares = sorted(folding.clock.parts.items(), key=lambda share: -share[1])
    parts = {name: round(s / TIMED_S, 4) for name, s in shares}
    parts["other"] = round((spent_s - sum(folding.clock.parts.values())) / TIMED_S, 4)
    kept = sum(v.nbytes for v in folding.stage.snapshot().values() if isinstance(v, np.ndarray))
    return {
        "gpus": gpus,
        "samples_per_s": round(gpus * len(LEVELS) + fleet.nodes * len(ENGINE)),
        "nodes_a_record": merged,
        "cpu_s_per_simulated_s": round(spent_s / TIMED_S, 3),
        "state_kb_per_gpu": round(kept / gpus / 1024, 1),
        "resident_kb_per_gpu": round((resident_kb() - before_kb) / gpus, 1),
        "forests_fitted": fitted,
        "findings": folding.findings,
        "parts": parts,
    }


def main() -> None:
    """Each size in a process of its own; the table; the file."""
    if len(sys.argv) == 4 and sys.argv[1] == "--one":
        print(json.dumps(one(int(sys.argv[2]), int(sys.argv[3]))))
        return
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    figures = []
    for gpus, merged in [(gpus, merged) for gpus in sizes for merged in (1, MERGED)]:
        command = [sys.executable, "-m", "benchmarks.speed.detection", "--one"]
        done = subprocess.run(
            [*command, str(gpus), str(merged)], cwd=ROOT, capture_output=True, text=True, check=True
        )
        figure = json.loads(done.stdout)
        figures.append(figure)
        print(
            f"{gpus:7d} GPUs, {merged} node(s) a record:"
            f" {figure['cpu_s_per_simulated_s']:.3f} CPU-s a second,"
            f" {figure['state_kb_per_gpu']} KB of state and"
            f" {figure['resident_kb_per_gpu']} KB resident a GPU, {figure['findings']} findings"
        )
        parts = figure["parts"].items()
        print("  " + ", ".join(f"{name} {s:.3f}" for name, s in parts if s > 5e-4))
    if sizes != list(SIZES):
        return
    largest = [figure for figure in figures if figure["gpus"] == max(SIZES)]
    result = {
        **described("speed_detection"),
        "signals": len(LEVELS),
        "gpus_a_node": GPUS_A_NODE,
        "warm_s": WARM_S,
        "timed_s": TIMED_S,
        "wanted": {"cpu_s_per_simulated_s": WANTED_CPU_S, "kb_per_gpu": WANTED_KB},
        "reached": {
            "cpu": all(f["cpu_s_per_simulated_s"] <= WANTED_CPU_S for f in largest),
            "memory": all(f["resident_kb_per_gpu"] <= WANTED_KB for f in largest),
        },
        "figures": figures,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
