"""How fast a metrics page is read, against prometheus_client's parser in the same run.

`python benchmarks/exposition.py` prints a table and writes `benchmarks/results/exposition.json`.
Cold is the first page of a target, warm the later ones with other values. Both sides end with the
name, labels and value of every sample; the fast parser's table holds names and labels once.
"""

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from collectors.exposition import Exposition

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "tests" / "data" / "pages"
RESULT = ROOT / "benchmarks" / "results" / "exposition.json"
ROUNDS = 25


@dataclass(frozen=True, slots=True)
class Figure:
    """One page."""

    page: str
    samples: int
    bytes: int
    peer_us: float
    """prometheus_client, CPU microseconds a page, best of the rounds."""
    cold_us: float
    warm_us: float

    @property
    def cold_times(self) -> float:
        """How many times faster the first page is read."""
        return self.peer_us / self.cold_us

    @property
    def warm_times(self) -> float:
        """How many times faster the later pages are read."""
        return self.peer_us / self.warm_us


def main() -> None:
    """Measure every page, print, save."""
    figures = [measure(name, text) for name, text in pages().items()]
    print(f"{'page':<22}{'samples':>8}{'peer µs':>10}{'cold µs':>10}{'warm µs':>10}  faster by")
    for f in figures:
        print(
            f"{f.page:<22}{f.samples:>8}{f.peer_us:>10.0f}{f.cold_us:>10.0f}{f.warm_us:>10.0f}"
            f"  {f.cold_times:.0f} cold, {f.warm_times:.0f} warm"
        )
    document = {
        "benchmark": "exposition",
        "commit": commit(),
        "machine": machine(),
        "rounds": ROUNDS,
        "unit": "CPU microseconds a page, best round",
        "figures": [
            asdict(f) | {"cold_times": f.cold_times, "warm_times": f.warm_times} for f in figures
        ],
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1) + "\n")


def pages() -> dict[str, str]:
    """The real pages, and one of a node with eight GPUs made from the H100 page."""
    found = {path.stem: path.read_text() for path in sorted(PAGES.glob("*.prom"))}
    # prometheus_client stops at the stray first line of the MIG page.
    found["dcgm-mig"] = found["dcgm-mig"].split("\n", 1)[1]
    one = [line for line in found["dcgm-h100"].split("\n") if line and line[0] != "#"]
    found["dcgm-8-gpus"] = "".join(
        line.replace('gpu="0"', f'gpu="{i}"').replace("GPU-604a", f"GPU-604{i}") + "\n"
        for line in one
        for i in range(8)
    )
    return found


def measure(name: str, text: str) -> Figure:
    """Time the three ways to read one page."""
    others = [vary(text, seed) for seed in range(1, 4)]
    warm = Exposition()
    samples = len(warm.parse(text).reading.series)
    peer = list(by_peer(text))
    if len(peer) != samples:
        raise SystemExit(f"{name}: {samples} samples, prometheus_client {len(peer)}")
    turn = iter(others * ROUNDS)
    peer_us, cold_us, warm_us = best_us(
        lambda: list(by_peer(text)),
        lambda: Exposition().parse(text),
        lambda: warm.parse(next(turn)),
    )
    return Figure(name, samples, len(text), peer_us, cold_us, warm_us)


def by_peer(text: str) -> list[tuple[str, dict[str, str], float]]:
    """Every sample as prometheus_client gives it."""
    return [
        (s.name, s.labels, s.value)
        for metric in text_string_to_metric_families(text)
        for s in metric.samples
    ]


def vary(text: str, seed: int) -> str:
    """The same page with other values."""
    return re.sub(r" ([0-9.]+)$", lambda m: f" {float(m[1]) + seed}", text, flags=re.MULTILINE)


def best_us(*ways: Callable[[], object]) -> list[float]:
    """CPU microseconds of each way's fastest round: the machine's other work only ever adds. The
    ways take turns, so that a slow spell of the machine meets all of them."""
    spans: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, taken in zip(ways, spans, strict=True):
            begin = time.process_time()
            way()
            taken.append(time.process_time() - begin)
    return [min(taken) * 1e6 for taken in spans]


def commit() -> str:
    """The commit that was measured."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def machine() -> dict[str, str | int | None]:
    """What it ran on."""
    cpuinfo = Path("/proc/cpuinfo")
    models = re.findall(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else []
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


if __name__ == "__main__":
    main()
