"""Where and on what a benchmark was run: goes into every result file."""

import os
import platform
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def described(benchmark: str) -> dict[str, Any]:
    """Name, day, commit and machine of this run."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "benchmark": benchmark,
        "measured": today().isoformat(),
        "commit": commit,
        "machine": {
            "cores": os.cpu_count(),
            "load_1min": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
    }


def today() -> date:
    """The day of the run, UTC."""
    return datetime.now(UTC).date()
