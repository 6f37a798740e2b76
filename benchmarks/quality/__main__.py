"""How well the recordings that lie in the repository are judged, beside a blind timer.

`python -m benchmarks.quality` prints the tables and writes `benchmarks/results/quality.json`. The
recordings were used while the detectors were made: the figures show that the flow works, not how it
does on data that nobody has seen.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.machine import described
from fleetmend.cli.evaluate import Judged, judge
from fleetmend.scoring.blind import standing_claims
from fleetmend.scoring.score import total
from fleetmend.settings import Settings

ROOT = Path(__file__).parents[2]
RECORDINGS = ROOT / "tests" / "data" / "recordings"
RESULT = ROOT / "benchmarks" / "results" / "quality.json"


def main() -> None:
    """Judge every recording, print, save."""
    folders = sorted(path.parent for path in RECORDINGS.glob("*/meta.json"))
    judged = [judge(folder, Settings(), None) for folder in folders]
    document = described("quality") | report(judged)
    for row in (*document["recordings"], document["total"], document["blind_timer"]):
        print(row)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=1) + "\n")


def report(judged: list[Judged]) -> dict[str, Any]:
    """The rows of each recording, of all together and of the blind timer."""
    run = total([one.score for one in judged])
    blind = total([one.blind for one in judged], name="blind timer")
    return {
        "recordings": [one.score.row() for one in judged],
        "total": run.row(),
        "blind_timer": blind.row(),
        "claims": list(standing_claims(run, blind)),
    }


if __name__ == "__main__":
    main()
