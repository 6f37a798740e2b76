"""`fleetmend replay`: a recording through the platform, plans rehearsed but never carried out."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fleetmend.cli.app import Output, app
from fleetmend.cli.config import ConfigOption, load
from fleetmend.cli.say import say
from fleetmend.cli.tables import add_row
from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import Incident
from fleetmend.rehearsal import PlanRehearsal, Rehearsals
from fleetmend.replay import Replayed, printed_name, replay
from fleetmend.scoring.published import PublishedIncident, publish, settled_version

BaselineOption = Annotated[
    Path | None,
    typer.Option("--baseline", help="A recording that is played first, to warm the detectors."),
]


@app.command("replay")
def replay_command(
    recording: Annotated[Path, typer.Argument(help="Folder of the recording.")],
    output: Annotated[Output, typer.Option(help="table, json or jsonl.")] = Output.TABLE,
    baseline: BaselineOption = None,
    config: ConfigOption = None,
) -> None:
    """Run a recording as fast as it can and print its incidents. Labels are never opened."""
    settings = load(config).settings
    replayed = replay(recording, settings=settings, baseline=baseline)
    rehearsals = Rehearsals(settings.remediation, replayed.topology)
    versions: dict[str, list[Incident]] = {}
    for version in replayed.incidents:
        versions.setdefault(version.id, []).append(version)
    incidents = [
        _incident_json(
            incident,
            settled_version(versions[incident.id], incident.opened_at_s),
            replayed,
            rehearsals,
        )
        for incident in publish(replayed.incidents, printed=_printer(replayed))
    ]
    match output:
        case Output.JSONL:
            for incident in incidents:
                typer.echo(json.dumps(incident, sort_keys=True, ensure_ascii=False))
        case Output.JSON:
            typer.echo(json.dumps(incidents, indent=2, sort_keys=True, ensure_ascii=False))
        case Output.TABLE:
            _print_table(incidents, replayed)


def _printer(replayed: Replayed) -> Any:
    return lambda entity: printed_name(entity, replayed.topology)


def _incident_json(
    incident: PublishedIncident, settled: Incident, replayed: Replayed, rehearsals: Rehearsals
) -> dict[str, Any]:
    name = _printer(replayed)
    return {
        "id": incident.id,
        "opened_at": incident.opened_at_s,
        "resolved_at": incident.resolved_at_s,
        "severity": incident.severity.value,
        "entity": incident.entity,
        "title": incident.title,
        "abstention": incident.abstention.value,
        "causes": [_cause_json(c.cause, c.entity, c.score) for c in incident.causes],
        "evidence": [
            {
                "id": piece.id,
                "entity": name(piece.entity),
                "symptom": piece.symptom,
                "direction": piece.direction.value,
                "witness": piece.witness.value,
                "onset": piece.onset_s,
                "observed": piece.observed,
                "expected": [piece.expected_low, piece.expected_high],
                "unit": piece.unit,
            }
            for piece in incident.evidence
        ],
        "plan": _plan_json(rehearsals.rehearse(settled), name),
        "updates": [
            {
                "at": update.at_s,
                "change": update.change,
                "severity": update.severity.value,
                "causes": [_cause_json(c.cause, c.entity, c.score) for c in update.causes],
            }
            for update in incident.updates
        ],
    }


def _cause_json(cause: str, entity: str, score: float) -> dict[str, Any]:
    return {"cause": cause, "entity": entity, "score": round(score, 4)}


def _plan_json(rehearsed: PlanRehearsal | None, name: Any) -> dict[str, Any] | None:
    if rehearsed is None:
        return None
    plan = rehearsed.plan
    return {
        "id": plan.id,
        "runbook": plan.runbook,
        "runbook_version": plan.runbook_version,
        "steps": [
            {
                "action": step.action.value,
                "effect": step.effect.value,
                "target": name(EntityId(step.target)),
                "refused": list(rehearsed.refusals.get(step.index, ())),
            }
            for step in plan.steps
        ],
        "would_send": list(rehearsed.would_send),
    }


def _print_table(incidents: list[dict[str, Any]], replayed: Replayed) -> None:
    table = Table("opened", "severity", "cause", "score", "entity", "runbook", "title", box=None)
    for incident in incidents:
        first = incident["causes"][0] if incident["causes"] else None
        plan = incident["plan"]
        add_row(
            table,
            f"+{incident['opened_at'] - replayed.start_s:.1f} s",
            incident["severity"],
            first["cause"] if first else f"none ({incident['abstention']})",
            f"{first['score']:.2f}" if first else "",
            first["entity"] if first else incident["entity"],
            plan["runbook"] if plan else "",
            incident["title"],
        )
    Console(width=180, highlight=False).print(table)
    span_s = replayed.end_s - replayed.start_s
    say(f"{len(incidents)} incidents in {span_s:.0f} s of {replayed.name}")
    if replayed.unknown_names:
        say(f"unknown metric names: {', '.join(replayed.unknown_names[:10])}")
