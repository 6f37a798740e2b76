"""Fuzz the readers of what strangers send: `python -m benchmarks.fuzz [TARGET...] --seconds 60`.

Each target starts from its kept corpus in `tests/data/fuzz`; the report goes to
`benchmarks/results/fuzz.json`. With `--keep` the shortest inputs that reached new code are added to
the corpus. A crash, a hang of ten seconds or two gigabytes end a target, and the command fails.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from tests.fuzz.corpus import CORPUS, TARGETS

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "fuzz.json"
MENDED = ("exposition: a line with a time that is no number was read as a sample of that time",)
"""What these fuzzers have found so far."""
_INPUT_BYTES_MAX = 4096
_KEPT_MAX = 120
"""Files of a corpus, as they are all read in the tests."""
_LIMITS = ("-timeout=10", "-rss_limit_mb=2048", f"-max_len={_INPUT_BYTES_MAX}")
_STATS = re.compile(r"stat::(\w+):\s+(\d+)")
_COVERED = re.compile(r"cov: (\d+)")


def main() -> int:
    """How many targets failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--keep", action="store_true", help="add to the kept corpus")
    given = parser.parse_args()
    runs = [fuzz(name, seconds=given.seconds, keep=given.keep) for name in given.targets]
    RESULT.write_text(
        json.dumps({**described("fuzz"), "runs": runs, "mended": MENDED}, indent=1) + "\n"
    )
    return sum(bool(run["crashes"]) for run in runs)


def fuzz(name: str, *, seconds: int, keep: bool) -> dict[str, Any]:
    """Run one target; what came of it."""
    kept = CORPUS / name
    with tempfile.TemporaryDirectory() as folder:
        found, crashes = Path(folder, "found"), Path(folder, "crashes")
        found.mkdir()
        crashes.mkdir()
        run = [sys.executable, "-m", "tests.fuzz.target", name]
        flags = [f"-max_total_time={seconds}", "-print_final_stats=1", *_LIMITS]
        said = _run([*run, found, kept, *flags, f"-artifact_prefix={crashes}/"])
        if keep:
            new = sorted(found.iterdir(), key=lambda path: path.stat().st_size)
            for path in new[: max(_KEPT_MAX - len([*kept.iterdir()]), 0)]:
                shutil.copy(path, kept)
        broken = [path.read_bytes().hex() for path in sorted(crashes.iterdir())]
        stats = dict(_STATS.findall(said))
        covered = _COVERED.findall(said)
        report = {
            "target": name,
            "seconds": seconds,
            "executions": int(stats.get("number_of_executed_units", 0)),
            "slowest_s": int(stats.get("slowest_unit_time_sec", 0)),
            "peak_rss_mb": int(stats.get("peak_rss_mb", 0)),
            "covered": int(covered[-1]) if covered else 0,
            "corpus": len([*kept.iterdir()]),
            "crashes": len(broken),
        }
        print(json.dumps(report), flush=True)
        if broken or not stats:
            print(said[-4000:], *broken, sep="\n")
    return report


def _run(command: list[str | Path]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.stdout.decode(errors="replace")


if __name__ == "__main__":
    sys.exit(main())
