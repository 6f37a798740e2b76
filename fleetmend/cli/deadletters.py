"""`fleetmend dead-letters`: input that could not be understood, with where it came from."""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fleetmend.cli.app import Output, app
from fleetmend.cli.config import ConfigOption
from fleetmend.cli.stores import open_store
from fleetmend.cli.tables import add_row
from fleetmend.model.entities import printable
from fleetmend.ports.deadletters import DeadLetter


@app.command("dead-letters")
def dead_letters(
    limit: Annotated[int, typer.Option(help="At most so many, newest first.")] = 50,
    output: Annotated[Output, typer.Option(help="table, json or jsonl.")] = Output.TABLE,
    config: ConfigOption = None,
) -> None:
    """Print dead letters and how many there ever were, by source."""
    with open_store(config) as store, store.reading() as tx:
        letters, counts = tx.dead_letters.page(limit), tx.dead_letters.counts()
    match output:
        case Output.JSON:
            report = {"dead_letters": [_row(letter) for letter in letters], "counts": counts}
            typer.echo(json.dumps(report, indent=2))
        case Output.JSONL:
            for letter in letters:
                typer.echo(json.dumps(_row(letter)))
        case Output.TABLE:
            _print_table(letters, counts)


def _row(letter: DeadLetter) -> dict[str, Any]:
    """The payload twice: as text for people, other bytes shown as `\\xNN`, and exactly."""
    return {
        "at": _iso(letter.at_s),
        "at_s": letter.at_s,
        "source": letter.source,
        "where": letter.where,
        "error": letter.error,
        "payload": letter.payload.decode(errors="backslashreplace"),
        "payload_base64": base64.b64encode(letter.payload).decode(),
    }


def _iso(at_s: float) -> str:
    """UTC with milliseconds; a time that no calendar has stays a number."""
    try:
        return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
    except (ValueError, OverflowError, OSError):
        return repr(at_s)


def _print_table(letters: Sequence[DeadLetter], counts: Mapping[str, int]) -> None:
    table = Table("at", "source", "where", "error", box=None)
    for letter in letters:
        add_row(table, _iso(letter.at_s), letter.source, letter.where, letter.error[:120])
    console = Console(width=180, highlight=False, markup=False)
    console.print(table)
    for source, count in sorted(counts.items()):
        console.print(f"{printable(source)}: {count} in all")
