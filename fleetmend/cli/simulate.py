"""`fleetmend simulate`: a simulated fleet with the loop closed, in event time, judged."""

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fleetmend.cli.app import Output, app
from fleetmend.cli.config import ConfigOption, load
from fleetmend.cli.tables import add_row
from fleetmend.scoring.closed_loop import Answered, Judgement
from fleetmend.simulation import Simulated, simulate
from simulator.catalogue import CATALOGUE

CALM_START_S = 90
"""Seconds before the first fault that was asked for: detectors see the fleet as it is."""

PRESET: dict[str, Any] = {
    "cluster": "sim",
    "remediation.default.autonomy": "auto",
    "alerting.receivers": [],
}
"""What a simulation sets unless a file or the environment says otherwise."""


@app.command("simulate")
def simulate_command(
    seconds: Annotated[int, typer.Option(help="Seconds of the fleet's own time.")] = 900,
    gpus: Annotated[int, typer.Option(help="GPUs of the fleet, a multiple of 8.")] = 96,
    seed: Annotated[int, typer.Option(help="The same seed gives the same fleet.")] = 1,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="Begin this fault; several follow each other. None: by themselves."),
    ] = None,
    every: Annotated[int, typer.Option(help="Seconds between the faults asked for.")] = 400,
    output: Annotated[Output, typer.Option(help="table, json or jsonl.")] = Output.TABLE,
    config: ConfigOption = None,
) -> None:
    """Run a fleet of its own making with faults and the loop closed, and judge what was done."""
    refuse_faults(fault or [], seconds=seconds, every=every)
    flags: dict[str, Any] = {"simulator.gpus": gpus}
    if fault:
        flags |= {"simulator.faults.speed_up": 0.0, "simulator.faults.deploy_every_s": 0.0}
    settings = load(config, flags, preset=PRESET).settings
    schedule = {CALM_START_S + number * every: (name,) for number, name in enumerate(fault or ())}
    found = simulate(settings, seed=seed, seconds=seconds, faults=schedule)
    judged = found.judged()
    report = judged.figures() | {"served_share": round(found.served_share, 5), "seed": seed}
    match output:
        case Output.JSON:
            rows = [_row(one, found) for one in judged.answered]
            typer.echo(json.dumps({"faults": rows, "total": report}, indent=2))
        case Output.JSONL:
            for one in judged.answered:
                typer.echo(json.dumps(_row(one, found)))
            typer.echo(json.dumps(report))
        case Output.TABLE:
            _print(judged, found, report)


def refuse_faults(names: list[str], *, seconds: int, every: int) -> None:
    """A fault that is not known, or would begin after the end, is a mistake and no calm fleet.
    Raises typer.BadParameter."""
    unknown = next((name for name in names if name not in CATALOGUE), None)
    if unknown is not None:
        known = ", ".join(sorted(CATALOGUE))
        raise typer.BadParameter(f"no fault is called {unknown!r}; known: {known}")
    last_s = CALM_START_S + (len(names) - 1) * every
    if names and last_s >= seconds:
        raise typer.BadParameter(
            f"{names[-1]} would begin after {last_s} s and the simulation ends after {seconds} s: "
            f"give --seconds more than {last_s}"
        )


def _row(one: Answered, found: Simulated) -> dict[str, Any]:
    fault = one.fault
    said = sorted((*one.right, *one.misnamed), key=lambda opening: (opening.at_s, opening.id))
    return {
        "fault": fault.cause,
        "at_s": fault.started_at_s - found.start_s,
        "benign": fault.benign,
        "openings": [
            {
                "after_s": o.at_s - fault.started_at_s,
                "cause": o.cause,
                "entity": o.entity,
                "id": o.id,
            }
            for o in said
        ],
        "ended_after_s": (
            None if fault.ended_at_s is None else fault.ended_at_s - fault.started_at_s
        ),
        "by_people": fault.by_people,
    }


def _print(judged: Judgement, found: Simulated, report: dict[str, Any]) -> None:
    console = Console(width=160, highlight=False, markup=False)
    table = Table("at", "fault", "said (after seconds)", "ended after", "by", box=None)
    for one in judged.answered:
        row = _row(one, found)
        said = ", ".join(f"{o['cause'] or 'none'} {o['after_s']:.0f}" for o in row["openings"])
        ended = row["ended_after_s"]
        add_row(
            table,
            f"+{row['at_s']:.0f} s",
            row["fault"] + (" (lawful)" if row["benign"] else ""),
            said or "-",
            "-" if ended is None else f"{ended:.0f} s",
            "" if ended is None else ("people" if row["by_people"] else "itself or the platform"),
        )
    console.print(table)
    for opening in judged.false:
        at_s = opening.at_s - found.start_s
        console.print(f"false: +{at_s:.0f} s {opening.cause or 'no cause'} on {opening.entity}")
    for act in judged.wrong_acts:
        at_s = act.at_s - found.start_s
        console.print(f"wrong act: +{at_s:.0f} s {act.action} on {act.entity}")
    console.print(", ".join(f"{name} {_short(value)}" for name, value in report.items()))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
