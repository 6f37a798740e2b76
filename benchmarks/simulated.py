"""Quality on the simulated fleet: `python -m benchmarks.simulated [MINUTES OF THE CALM DAY]`.

Fault cases held out from tuning (alone, in pairs, with late telemetry, of an unknown class) beside
simple peers, lawful life, and a part of the calm day. Writes `benchmarks/results/simulated.json`.
The simulator was written by those who made the detectors: no figure here speaks of a real fleet.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from benchmarks.machine import ROOT, described
from benchmarks.simulated_cases import BEST, Case, Verdict, play
from benchmarks.simulated_folds import Watched, folds
from benchmarks.simulated_lawful import LAWFUL, MEAN_RUNNING, incidents_in, lawful_settings
from fleetmend.settings.simulator import (
    FaultSchedule,
    LawfulLife,
    SimulatedLoad,
    SimulatorSettings,
)
from simulator.catalogue import CATALOGUE

RESULT = ROOT / "benchmarks" / "results" / "simulated.json"
GPUS = (80, 112)
SEEDS = (1_001,)
PAIRS = (
    ("noisy_neighbour", "engine_crash"),
    ("gpu_fallen_off_bus", "operator_degradation"),
    ("power_brake", "engine_hang"),
)
LATE = ("noisy_neighbour", "engine_hang", "power_brake", "engine_memory_leak")
UNKNOWN = ("noisy_neighbour", "power_brake", "engine_memory_leak", "rank_hang", "pcie_saturation")
LAWFUL_S, LAWFUL_SEEDS = 240, (1_001,)
DAY_S = 86_400


def main() -> None:
    """Run, print, save."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    document: dict[str, Any] = described("simulated")
    document["held_out"] = "seeds from 1,000 on; fleets of 80 and 112 GPUs (tuned on 96)"
    fault_cases = [
        Case((name,), seed, GPUS[(number + seed) % 2])
        for seed in SEEDS
        for number, name in enumerate(CATALOGUE)
    ]
    document["alone"] = summed(fault_cases)
    _save(document)
    document["two_faults"] = summed([Case(pair, SEEDS[0], GPUS[1]) for pair in PAIRS])
    document["late"] = summed([Case((name,), SEEDS[0], GPUS[0], late=True) for name in LATE])
    _save(document)
    document["unknown"] = unknown(UNKNOWN)
    document["lawful"] = {
        name: Counter(
            cause
            for seed in LAWFUL_SEEDS
            for cause in incidents_in(lawful_settings(name, gpus=48), seed=seed, seconds=LAWFUL_S)
        )
        for name in LAWFUL
    }
    print(document["lawful"], flush=True)
    document["calm_day"] = calm_day(int(minutes * 60), seed=SEEDS[0])
    _save(document)


def _save(document: dict[str, Any]) -> None:
    """After each long part, so that a run that is cut keeps what it has."""
    RESULT.write_text(json.dumps(document, indent=1) + "\n")


def summed(cases: Iterable[Case]) -> dict[str, Any]:
    """Play the cases; shares of faults by rank, of the peers beside it, and each fault's row."""
    rows, told = [], list[Verdict]()
    for case in cases:
        for verdict in play(case):
            told.append(verdict)
            rows.append(
                {
                    "cause": verdict.cause,
                    "seed": case.seed,
                    "gpus": case.gpus,
                    "place": verdict.place,
                    "said": verdict.said,
                    "peers": verdict.peers,
                }
            )
            print(rows[-1], flush=True)
    found = {
        "faults": len(told),
        "first_incident_right": _share(v.said[:1] == (v.cause,) for v in told),
        "more_than_one_incident": sum(len(v.said) > 1 for v in told),
        "ac_at_1": _share(v.place == 1 for v in told),
        "ac_at_3": _share(0 < v.place <= BEST for v in told),
    }
    names = sorted({name for verdict in told for name in verdict.peers})
    peers = {
        name: {
            "entity_ac_at_1": _share(v.peers[name] == 1 for v in told),
            "entity_ac_at_3": _share(v.peers[name] > 0 for v in told),
        }
        for name in names
    }
    print(found, peers, flush=True)
    return found | {"peers": peers, "rows": rows}


def unknown(causes: Iterable[str]) -> dict[str, Any]:
    """Classes taken from the knowledge: how often no cause was named for them."""
    rows: list[dict[str, Any]] = []
    for cause in causes:
        for verdict in play(Case((cause,), SEEDS[0], GPUS[0], without=cause)):
            named = [word for word in verdict.said if word]
            rows.append({"cause": cause, "said": verdict.said, "abstained": not named})
            print(rows[-1], flush=True)
    return {"abstained": _share(row["abstained"] for row in rows), "rows": rows}


def calm_day(seconds: int, *, seed: int) -> dict[str, Any]:
    """A part of the day, with its steepest rise of load, at 1 Hz: says itself how small a part."""
    settings = SimulatorSettings(
        faults=FaultSchedule(speed_up=0, deploy_every_s=1_800.0),
        load=SimulatedLoad(mean_running=MEAN_RUNNING, prompt_swing=0.2, disconnect_every_s=600.0),
        lawful=LawfulLife(autoscale=True, maintenance_every_s=3_600.0),
    )
    fleet, both = Watched(settings, seed), folds()
    began_s = time.process_time()
    for _ in range(seconds):
        both.take(fleet.second())
    cpu_s = time.process_time() - began_s
    first = {one.id: one for one in reversed(both.incidents)}
    found = {
        "gpus": settings.gpus,
        "seed": seed,
        "seconds": seconds,
        "share_of_a_day": round(seconds / DAY_S, 4),
        "incidents": [[i.severity.value, [c.cause for c in i.causes]] for i in first.values()],
        "cpu_s_per_simulated_s": round(cpu_s / max(seconds, 1), 4),
    }
    print(found, flush=True)
    return found


def _share(flags: Iterable[bool]) -> float:
    told = list(flags)
    return round(sum(told) / max(len(told), 1), 3)


if __name__ == "__main__":
    main()
