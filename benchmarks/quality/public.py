"""The fused detector on public sets, beside named peers in the same run.

`python -m benchmarks.quality.public --data FOLDER` prints the tables and writes
`benchmarks/results/public.json`. Fitted on train parts only; thresholds come from unlabelled
scores under a budget of false episodes (`detection.quota`), peers' and ours in hindsight beside
them. The detector was chosen on every second series of SMD and ASD (`Series.developed_on`), the
others and all of NAB were held out; both halves are told apart. No point adjustment.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import described
from benchmarks.quality.peers import SEED, scores
from benchmarks.quality.sets import ROWS_A_DAY, Series, load
from detection.fused import fit_fused
from detection.quota import alarms
from fleetmend.errors import BadInput
from fleetmend.scoring.alarms import hindsight, judged
from fleetmend.scoring.vus import period_of, vus_pr

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "public.json"
BUDGETS_A_DAY = (1.0, 0.25)
OURS = "fused"
_WINDOW_ROWS = 10
_NAB_WINDOW_ROWS = 60


def main() -> int:
    """Judge the sets that were asked for, print, save. 2: the data is not there."""
    wanted = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    wanted.add_argument("--data", type=Path, default=ROOT / "var" / "public")
    wanted.add_argument("--set", dest="sets", nargs="+", default=["smd", "asd", "nab"])
    wanted.add_argument("--output", type=Path, default=RESULT)
    asked = wanted.parse_args()
    try:
        held = {name: load(asked.data, name) for name in asked.sets}
    except BadInput as missing:
        print(missing, file=sys.stderr)
        return 2
    document: dict[str, Any] = described("public") | {"seed": SEED, "sets": {}}
    for name, series in held.items():
        rows = [_row(name, one) for one in series]
        document["sets"][name] = {"means": means(rows), "series": rows}
        for half, figures in document["sets"][name]["means"].items():
            print(name, half, json.dumps(figures))
    asked.output.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def _row(name: str, series: Series) -> dict[str, Any]:
    """All figures of one series."""
    began_s = time.process_time()
    window = period_of(series.test[:, 0])
    ticks = min(window, _NAB_WINDOW_ROWS) if name == "nab" else _WINDOW_ROWS
    model = fit_fused(series.train, window_ticks=ticks, seed=SEED)
    own, before = model.scores(series.test), model.scores(series.train)
    cost_s = time.process_time() - began_s
    all_scores = {OURS: own} | scores(series.train, series.test, window=ticks)
    row: dict[str, Any] = {
        "series": series.name,
        "developed_on": series.developed_on,
        "buffer_rows": window,
        "cpu_s": round(cost_s, 2),
        "vus_pr": {
            peer: round(vus_pr(series.labels, made, window=window), 4)
            for peer, made in all_scores.items()
        },
    }
    if name in ROWS_A_DAY:
        day = ROWS_A_DAY[name]
        row["budgets"] = {
            str(budget): _at_budget(series, all_scores, before, day, budget)
            for budget in BUDGETS_A_DAY
        }
    return row


def _at_budget(
    series: Series,
    all_scores: dict[str, NDArray[np.float64]],
    before: NDArray[np.float64],
    day: float,
    budget: float,
) -> dict[str, Any]:
    alarm = alarms(before, all_scores[OURS], rows_a_day=day, false_a_day=budget)
    told = judged(alarm, series.labels, rows_a_day=day)
    upper = {}
    for peer, made in all_scores.items():
        edge = hindsight(made, series.labels, false_max=budget * len(made) / day)
        upper[peer] = round(judged(made > edge, series.labels, rows_a_day=day).recall, 4)
    return {
        "events": told.events,
        "recall": round(told.recall, 4),
        "false_a_day": round(told.false_a_day, 4),
        "alert_share_outside": round(told.false_time_share, 5),
        "delay_rows_p50": float(np.median(told.delays_rows)) if told.found else None,
        "recall_in_hindsight": upper,
    }


def means(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over all series, and over those that the detector was chosen on and the others."""
    parts = {
        "all": rows,
        "developed on": [row for row in rows if row["developed_on"]],
        "held out": [row for row in rows if not row["developed_on"]],
    }
    return {name: _mean(part) for name, part in parts.items() if part}


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {"series": len(rows), "vus_pr": _mean_of(rows, "vus_pr")}
    for budget in rows[0].get("budgets", {}):
        told = [row["budgets"][budget] for row in rows]
        made[f"at {budget} a day"] = {
            "recall": round(float(np.mean([one["recall"] for one in told])), 3),
            "false_a_day": round(float(np.mean([one["false_a_day"] for one in told])), 3),
            "recall_in_hindsight": _mean_of(told, "recall_in_hindsight"),
        }
    return made


def _mean_of(rows: list[dict[str, Any]], key: str) -> dict[str, float]:
    return {
        peer: round(float(np.mean([row[key][peer] for row in rows])), 3) for peer in rows[0][key]
    }


if __name__ == "__main__":
    sys.exit(main())
