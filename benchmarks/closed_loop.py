"""The loop closed on the simulated fleet: each fault of its catalogue by itself, then judged.

    python -m benchmarks.closed_loop [SEED]

The simulator was written by the same people as the detectors: these figures say that the parts work
together, not how a real fleet fares.
"""

import json
import sys
from collections import Counter
from typing import Any

from benchmarks.machine import ROOT, described
from fleetmend.cli.config import load
from fleetmend.cli.simulate import CALM_START_S, PRESET
from fleetmend.simulation import simulate
from simulator.catalogue import CATALOGUE

RESULT = ROOT / "benchmarks" / "results" / "closed_loop.json"
SECONDS = 300
GPUS = 96
QUIET = {"simulator.faults.speed_up": 0.0, "simulator.faults.deploy_every_s": 0.0}


def main() -> None:
    """One simulation a fault, and one without any; a line each, then the sum."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    settings = load(None, {"simulator.gpus": GPUS} | QUIET, preset=PRESET).settings
    rows: list[dict[str, Any]] = []
    for name in (*CATALOGUE, ""):
        schedule = {CALM_START_S: (name,)} if name else {}
        found = simulate(settings, seed=seed, seconds=SECONDS, faults=schedule)
        judged = found.judged()
        said = [
            opening.cause or "none"
            for one in judged.answered
            for opening in sorted((*one.right, *one.misnamed), key=lambda o: o.at_s)
        ]
        false_about = [opening.cause or "none" for opening in judged.false]
        row: dict[str, Any] = {
            "fault": name or "calm",
            **judged.figures(),
            "said": said,
            "false_about": false_about,
            "wrong_about": [act.action for act in judged.wrong_acts],
            "served_share": round(found.served_share, 5),
        }
        rows.append(row)
        print(
            f"{row['fault']:24} found {row['found']} named first {row['named_first']} "
            f"openings {row['openings']} false {row['false']} wrong acts {row['wrong_acts']}  "
            f"{', '.join(said)} | {', '.join(false_about)}",
            flush=True,
        )
    total = Counter[str]()
    for row in rows:
        total.update({key: row[key] for key in SUMMED})
    print(json.dumps(total))
    report = described("closed_loop") | {"seed": seed, "seconds": SECONDS, "gpus": GPUS}
    report |= {"rows": rows, "total": dict(total)}
    RESULT.write_text(json.dumps(report, indent=1) + "\n")


SUMMED = (
    "faults",
    "found",
    "named",
    "named_first",
    "openings",
    "more_than_one",
    "false",
    "ended",
    "ended_without_people",
    "wrong_acts",
)

if __name__ == "__main__":
    main()
