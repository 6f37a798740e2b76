"""`fleetmend evaluate`: replay recordings, then compare with their labels, beside a blind timer."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fleetmend.cli.app import Output, app
from fleetmend.cli.config import ConfigOption, load
from fleetmend.cli.replay import BaselineOption
from fleetmend.cli.tables import add_row
from fleetmend.errors import BadInput
from fleetmend.replay import Replayed, printed_name, replay
from fleetmend.scoring.blind import blind_openings, commonest_causes, standing_claims
from fleetmend.scoring.match import match
from fleetmend.scoring.published import openings, publish
from fleetmend.scoring.records import Label, Names, Opening
from fleetmend.scoring.score import LabelResult, Score, label_results, score_recording, total
from fleetmend.scoring.truth import parse_labels, parse_meta
from fleetmend.settings import Settings


@dataclass(frozen=True, slots=True)
class Judged:
    """One recording: what was found, and what the truth makes of it."""

    score: Score
    blind: Score
    results: tuple[LabelResult, ...]


@app.command("evaluate")
def evaluate_command(
    recordings: Annotated[list[Path], typer.Argument(help="Folders of recordings.")],
    output: Annotated[Output, typer.Option(help="table, json or jsonl.")] = Output.TABLE,
    baseline: BaselineOption = None,
    config: ConfigOption = None,
) -> None:
    """Score replays by the rules of docs/scoring.md."""
    settings = load(config).settings
    folders = [folder for given in recordings for folder in _folders(given)]
    judged = [judge(folder, settings, baseline) for folder in folders]
    scores = [one.score for one in judged]
    report = {
        "recordings": [score.row() for score in scores],
        "total": total(scores).row(),
        "blind_timer": total([one.blind for one in judged], name="blind_timer").row(),
        "claims": list(standing_claims(total(scores), total([one.blind for one in judged]))),
    }
    match_output(output, report, judged)


def match_output(output: Output, report: dict[str, Any], judged: list[Judged]) -> None:
    """Print the report in the form asked for."""
    match output:
        case Output.JSON:
            typer.echo(json.dumps(report, indent=2))
        case Output.JSONL:
            for row in (*report["recordings"], report["total"], report["blind_timer"]):
                typer.echo(json.dumps(row))
        case Output.TABLE:
            _print_tables(report, judged)


def judge(folder: Path, settings: Settings, baseline: Path | None) -> Judged:
    """Replay, then read the labels and compare. Raises BadInput."""
    replayed = replay(folder, settings=settings, baseline=baseline)
    labels, span_s, names = _truth(folder)
    found = _openings(replayed)
    score = score_recording(
        replayed.name, openings=found, labels=labels, names=names, span_s=span_s
    )
    timed = blind_openings(len(found), span_s=span_s, causes=commonest_causes(labels))
    blind = score_recording(
        "blind_timer", openings=timed, labels=labels, names=names, span_s=span_s
    )
    return Judged(score, blind, label_results(match(found, labels, names), names))


def _truth(folder: Path) -> tuple[tuple[Label, ...], tuple[float, float], Names]:
    path, meta = folder / "labels.jsonl", folder / "meta.json"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        text = meta.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(error.filename)) from error
    span_s, names = parse_meta(text, where=str(meta))
    return parse_labels(lines, where=str(path)), span_s, names


def _openings(replayed: Replayed) -> tuple[Opening, ...]:
    published = publish(
        replayed.incidents, printed=lambda entity: printed_name(entity, replayed.topology)
    )
    return openings(published)


def _folders(given: Path) -> Iterator[Path]:
    """The folder itself when it is a recording, else the recordings in it."""
    if (given / "meta.json").exists():
        yield given
        return
    inside = sorted(path.parent for path in given.glob("*/meta.json"))
    if not inside:
        raise BadInput("is no recording and holds none", where=str(given))
    yield from inside


def _print_tables(report: dict[str, Any], judged: list[Judged]) -> None:
    console = Console(width=200, highlight=False, markup=False)
    rows = [*report["recordings"], report["total"], report["blind_timer"]]
    table = Table(*(name.replace("_", " ") for name in rows[0]), box=None)
    for row in rows:
        add_row(table, *("-" if value is None else str(value) for value in row.values()))
    console.print(table)
    details = Table("recording", "label", "entity", "found as", "rank", "delay s", box=None)
    for one in judged:
        for result in one.results:
            first = result.opening.first if result.opening else None
            add_row(
                details,
                one.score.name,
                result.label.cause,
                result.label.entity,
                f"{first[0]} on {first[1]}" if first else "-",
                "-" if result.cause_rank is None else str(result.cause_rank),
                "-" if result.delay_s is None else f"{result.delay_s:.1f}",
            )
    console.print(details)
