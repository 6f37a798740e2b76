"""The README's figures, made from the result files: `python -m benchmarks.figures` puts them in.

Between `<!-- figures: NAME -->` and `<!-- end -->` nothing is written by hand; a test compares.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "benchmarks" / "results"
BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main() -> None:
    """Rewrite the README's figures."""
    README.write_text(rendered(README.read_text()))


def rendered(text: str) -> str:
    """`text` with every block made anew."""
    return BLOCK.sub(lambda m: f"{m[1]}\n{BLOCKS[m[2]]()}\n\n{m[3]}", text)


def result(name: str) -> Any:
    """A result file."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def quality() -> str:
    """Labels found in the recordings of the repository, beside the blind timer."""
    document = result("quality")
    head = (
        "recording",
        "labels",
        "found",
        "first cause right",
        "false",
        "calm min",
        "delay P50 / P95",
    )
    rows = [
        (
            row["name"],
            row["labels"],
            row["detected"],
            row["cause_top1"],
            row["false_incidents"],
            row["calm_minutes"],
            "-" if row["delay_p50_s"] is None else f"{row['delay_p50_s']} / {row['delay_p95_s']} s",
        )
        for row in (*document["recordings"], document["total"], document["blind_timer"])
    ]
    return table(head, rows) + (
        "\n\n`python -m benchmarks.quality`, on the recordings of `tests/data/recordings`."
        "\nThey were at hand while the detectors were made, and they hold few calm minutes: other"
        "\nrecordings are the real judge. The blind timer opens as many incidents, evenly spaced."
    )


def closed_loop() -> str:
    """Each fault of the simulated fleet by itself, with the loop closed."""
    document = result("closed_loop")
    whole = document["total"]
    rows = [
        ("faults made, each in a fleet of its own", whole["faults"]),
        ("answered by an incident on what they reached", whole["found"]),
        ("of those, by the right name in the first word", whole["named_first"]),
        ("answered by more than one incident or name", whole["more_than_one"]),
        ("incidents about what no fault had reached", whole["false"]),
        ("acts on what no fault had reached", whole["wrong_acts"]),
    ]
    return table(("what", "count"), rows) + (
        f"\n\n`python -m benchmarks.closed_loop`: {document['gpus']} GPUs, {document['seconds']} s"
        " each, and one run without faults.\nThe fleet is a model made by those who made the"
        " detectors: this says that the parts work together."
    )


def speed() -> str:
    """Parsing, the logs, and the way from a log line to a cordon."""
    rows: list[tuple[object, ...]] = []
    for figure in result("exposition")["figures"]:
        times = f"{figure['cold_times']:.0f} cold, {figure['warm_times']:.0f} warm"
        what = f"reading a page ({figure['page']}, {figure['samples']} samples)"
        rows.append((what, f"{times} times prometheus_client", "benchmarks.exposition"))
    for figure in result("streams")["figures"]:
        way = f"{figure['way']}, {figure['rows_per_record']} a record"
        if figure["records_per_append"] > 1:
            way += f", {figure['records_per_append']} at once"
        rate = figure["samples_per_s"] / 1e6
        rows.append((f"samples through the log: {way}", f"{rate:.2f} M/s", "benchmarks.streams"))
    for row in result("cordon")["figures"]:
        figure = f"P50 {row['p50_ms']:.0f} ms, P99 {row['p99_ms']:.0f} ms"
        rows.append((row["what"], figure, "benchmarks.cordon"))
    return table(("what", "figure", "python -m"), rows)


def table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "quality": quality,
    "speed": speed,
    "closed_loop": closed_loop,
}


if __name__ == "__main__":
    main()
