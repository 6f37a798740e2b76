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


def h200() -> str:
    """What a real GPU showed of the node agent."""
    document = result("h200")
    counts, calls, agent = (document[part] for part in ("counts", "calls", "agent"))
    whole, xids = agent["whole_process"], agent["xids"]
    bare, probed = counts["cost"]["bare"], counts["cost"]["probed"]
    merged = sum(len(xid["witnesses"].split()) == 3 for xid in xids)
    delays_ms = [xid["event_to_log_ms"] for xid in xids]
    exact = all(counts[when]["exact"] for when in ("began_before", "began_after"))
    walk = counts["began_before"]
    eight = result("agent")["extrapolated_to_real_gpus"]
    rows = [
        ("GPU, driver", f"{calls['model']}, {calls['driver']}"),
        ("signals heard of it and its node", agent["heard"]["signals"]),
        ("fields it does not have", ", ".join(calls["not_answered"])),
        ("calls of NVML and GPM", f"{calls['in_calls_us_per_gpu_second']:.0f} us of a GPU-second"),
        (
            "the agent beside a load, one GPU",
            f"{whole['cpu_share_of_core'] * 100:.2f} % of a core, "
            f"{whole['rss_mib'] * 1.048576:.0f} MB, {whole['threads']} threads",
        ),
        ("eight GPUs, extrapolated", _eight(eight)),
        (
            "bytes outstanding, by the programs and by the load",
            f"{walk['counted']['outstanding']:,} and {walk['own']['outstanding']:,}; "
            + ("all counts equal" if exact else "NOT all counts equal")
            + ", of a process that began before the programs and of one after",
        ),
        (
            "an allocation and its release, without and with programs",
            f"{bare['alloc_and_free_us']:.1f} and {probed['alloc_and_free_us']:.1f} us",
        ),
        (
            "a synchronisation, without and with",
            f"{bare['synchronise_us']:.1f} and {probed['synchronise_us']:.1f} us",
        ),
        (
            "Xid 31 by an illegal access",
            f"{merged} of {len(agent['faults'])} told once, of three witnesses; from event to log "
            f"{min(delays_ms)} to {max(delays_ms)} ms",
        ),
    ]
    costs = [
        (name, figures["count"], figures["cpu_us_p50"], figures["wall_us_max"])
        for name, figures in calls["calls"].items()
    ]
    return "\n".join(
        (
            table(("what", "figure"), rows),
            "",
            table(("call", "made", "processor, us (P50)", "longest, us"), costs),
            "",
            f"`benchmarks/h200.sh`: {calls['seconds']} s of calls, the agent for "
            f"{whole['seconds']:.0f} s, on {document['machine']['cores']} cores.",
        )
    )


def _eight(told: dict[str, Any]) -> str:
    """The sum for a node of eight GPUs, and what of it was measured."""
    if told["cpu_share_of_core"] is None:
        return "not known: the calls of this file are not those of today"
    return (
        f"{told['cpu_share_of_core'] * 100:.2f} % of a core: "
        f"{told['measured_whole_process_on_stand_ins'] * 100:.2f} % measured on stand-ins, "
        f"the rest one GPU asked as eight in turn; {told['cpu_share_of_core_at_most'] * 100:.2f} % "
        "by eight times what it costs to ask it once a second"
    )


def table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


BLOCKS: dict[str, Callable[[], str]] = {
    "quality": quality,
    "speed": speed,
    "closed_loop": closed_loop,
    "h200": h200,
}


if __name__ == "__main__":
    main()
