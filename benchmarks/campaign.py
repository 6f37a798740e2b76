"""`make campaign`: the long measurements, one after another; each writes its result file.

What was measured at this commit already is not measured again, so an interrupted campaign goes on.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import described

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True, slots=True)
class Part:
    """One measurement."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


PARTS = (
    Part("exposition", ("-m", "benchmarks.exposition")),
    Part("streams", ("-m", "benchmarks.streams")),
    Part("otlp", ("-m", "benchmarks.otlp")),
    Part("fuzz", ("-m", "benchmarks.fuzz")),
    Part(
        "otel",
        ("-m", "pytest", "-q", "-m", "otel", "tests/real/otel"),
        {"FLEETMEND_OTEL_RECORD": str(RESULTS / "otel.json")},
    ),
    Part("quality", ("-m", "benchmarks.quality")),
    Part("public", ("-m", "benchmarks.quality.public"), {"OMP_NUM_THREADS": "1"}),
    Part("speed_forest", ("-m", "benchmarks.speed.forest")),
    Part("speed_detection", ("-m", "benchmarks.speed.detection")),
    Part("speed_rca", ("-m", "benchmarks.speed.rca")),
    Part("closed_loop", ("-m", "benchmarks.closed_loop")),
    Part("simulated", ("-m", "benchmarks.simulated", "60")),
    Part("cordon", ("-m", "benchmarks.cordon")),
    Part("agent", ("-m", "benchmarks.agent")),
    Part("kube_watch", ("-m", "benchmarks.kube_watch")),
    Part("scrape", ("-m", "benchmarks.scrape", "--engine", "kafka", "--shards", "2")),
    Part(
        "engine",
        ("-m", "pytest", "-q", "tests/engine"),
        {"FLEETMEND_ENGINE_RECORD": str(RESULTS / "engine.json")},
    ),
    Part(
        "kills",
        ("-m", "pytest", "-q", "tests/flow/test_kill.py"),
        {
            "FLEETMEND_KILL_SEEDS": "20",
            "FLEETMEND_KILL_RECORD": str(RESULTS / "kills.json"),
        },
    ),
)


def main() -> int:
    """Run what is missing; the number of parts that failed."""
    failed = 0
    commit = described("campaign")["commit"]
    for part in PARTS:
        marker = RESULTS / f"{part.name}.json"
        if marker.exists() and json.loads(marker.read_text()).get("commit") == commit:
            print(f"{part.name}: measured at this commit")
            continue
        print(f"{part.name} ...", flush=True)
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, *part.command], cwd=ROOT, env={**os.environ, **part.environment}
        )
        failed += done.returncode != 0
        print(f"{part.name}: exit {done.returncode} after {time.monotonic() - started:.0f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main())
