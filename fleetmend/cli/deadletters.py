"""`fleetmend dead-letters`: input that could not be understood, with where it came from."""

from typing import Annotated

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from fleetmend.cli.app import Output, app
from fleetmend.cli.settings import ConfigOption
from fleetmend.cli.stores import open_store
from fleetmend.ports.deadletters import DeadLetter

LETTER = TypeAdapter(DeadLetter)


@app.command("dead-letters")
def dead_letters(
    limit: Annotated[int, typer.Option(help="At most so many, newest first.")] = 50,
    output: Annotated[Output, typer.Option(help="table, json or jsonl.")] = Output.TABLE,
    config: ConfigOption = None,
) -> None:
    """Print dead letters and how many there ever were, by source."""
    with open_store(config) as store, store.reading() as tx:
        letters, counts = tx.dead_letters.page(limit), tx.dead_letters.counts()
    if output is not Output.TABLE:
        for letter in letters:
            typer.echo(LETTER.dump_json(letter).decode())
        return
    table = Table("at", "source", "where", "error", box=None)
    for letter in letters:
        table.add_row(f"{letter.at_s:.3f}", letter.source, letter.where, letter.error[:120])
    console = Console(width=180, highlight=False, markup=False)
    console.print(table)
    for source, count in sorted(counts.items()):
        console.print(f"{source}: {count} in all")
