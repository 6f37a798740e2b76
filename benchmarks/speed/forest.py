"""Rows per CPU-second of the compiled isolation forest, beside scikit-learn in the same run.

`python -m benchmarks.speed.forest` prints a table and writes
`benchmarks/results/speed_forest.json`. One core and one thread for both; the same forest and the
same rows; the two take turns, and the median of the rounds counts. It also tells what a process
waits for at its start: the kernel compiled, and read from the cache.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
from sklearn.ensemble import IsolationForest

from benchmarks.machine import ROOT, described
from detection.trees import flatten

RESULT = ROOT / "benchmarks" / "results" / "speed_forest.json"
TREES, SAMPLES, FEATURES = 100, 256, 30
WANTED = {1_000: 2.5, 100_000: 1.5}
"""Times scikit-learn's speed, by batch."""
BATCHES = (1, 100, 1_000, 10_000, 100_000)
ROUNDS = 7
_START = "import time; t = time.process_time(); import {0}; print(time.process_time() - t)"


def cpu_s(work: Callable[[], object], times: int) -> float:
    """CPU seconds of one call, over `times` calls."""
    began_s = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began_s) / times


def compared(forest: Any, rows: np.ndarray[Any, np.dtype[np.float32]]) -> dict[str, float]:
    """One batch: rows per CPU-second of both, and how far the scores lie apart at most."""
    trees = flatten(forest)
    times = max(1, 3_000 // len(rows))
    ours, theirs = [], []
    for _ in range(ROUNDS):
        theirs.append(cpu_s(lambda: forest.score_samples(rows), max(1, times // 20)))
        ours.append(cpu_s(lambda: trees.scores(rows), times))
    ours_s, theirs_s = statistics.median(ours), statistics.median(theirs)
    apart = float(np.abs(trees.scores(rows) - forest.score_samples(rows)).max())
    return {
        "batch": len(rows),
        "rows_per_cpu_s": round(len(rows) / ours_s),
        "sklearn_rows_per_cpu_s": round(len(rows) / theirs_s),
        "ratio": round(theirs_s / ours_s, 2),
        "largest_difference": apart,
    }


def starts() -> dict[str, float]:
    """CPU seconds in which a fresh process loads the kernel: compiled, from the cache, and what
    numba alone takes."""

    def once(module: str, folder: str) -> float:
        done = subprocess.run(
            [sys.executable, "-c", _START.format(module)],
            cwd=ROOT,
            env={**os.environ, "NUMBA_CACHE_DIR": folder},
            capture_output=True,
            text=True,
            check=True,
        )
        return round(float(done.stdout), 2)

    with tempfile.TemporaryDirectory() as folder:
        return {
            "compiled": once("detection.kernels.forest", folder),
            "cached": once("detection.kernels.forest", folder),
            "numba_alone": once("numba", folder),
        }


def main() -> None:
    """Measure, print, write."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rng = np.random.default_rng(0)
    forest = IsolationForest(n_estimators=TREES, max_samples=SAMPLES, random_state=1, n_jobs=1).fit(
        rng.normal(size=(20_000, FEATURES)).astype(np.float32)
    )
    figures = []
    print(f"{'batch':>8} {'compiled rows/s':>16} {'scikit-learn':>13} {'ratio':>6} {'apart':>9}")
    for batch in BATCHES:
        one = compared(forest, (1.5 * rng.normal(size=(batch, FEATURES))).astype(np.float32))
        figures.append(one)
        print(
            f"{batch:8d} {one['rows_per_cpu_s']:16,.0f} {one['sklearn_rows_per_cpu_s']:13,.0f}"
            f" {one['ratio']:6.1f} {one['largest_difference']:9.1e}"
        )
    start = starts()
    print(f"start of a process, CPU seconds: {start}")
    ratios = {one["batch"]: one["ratio"] for one in figures}
    result = {
        **described("speed_forest"),
        "trees": TREES,
        "samples": SAMPLES,
        "features": FEATURES,
        "cores": 1,
        "wanted_ratio": {str(batch): ratio for batch, ratio in WANTED.items()},
        "reached": all(ratios[batch] >= ratio for batch, ratio in WANTED.items()),
        "figures": figures,
        "start_cpu_s": start,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
