"""`fleetmend runbook`: check runbooks, and run the cases that each of them carries."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fleetmend.cli.app import Exit, app
from fleetmend.cli.config import ConfigOption, load
from fleetmend.cli.say import Tone, say
from fleetmend.cli.tables import add_row
from remediation.cases import run_examples
from remediation.runbook_files import Runbook, load_runbooks, runbooks_of

runbook_app = typer.Typer(help="Check and rehearse runbooks.", no_args_is_help=True)
app.add_typer(runbook_app, name="runbook")

FolderArgument = Annotated[
    Path | None, typer.Argument(help="Folder of runbooks; the settings name the default.")
]


@runbook_app.command("test")
def run_cases(folder: FolderArgument = None, config: ConfigOption = None) -> None:
    """Run every runbook's own cases on a fleet of paper; exit code 1 when one fails."""
    runbooks = _chosen(folder, config)
    results = run_examples(runbooks)
    failed = [result for result in results if result.failures]
    for result in failed:
        for failure in result.failures:
            say(f"{result.runbook}, {result.name}: {failure}", Tone.BAD)
    say(f"{len(results)} cases, {len(failed)} failed")
    if failed:
        raise typer.Exit(Exit.FAILED)


@runbook_app.command("list")
def list_runbooks(folder: FolderArgument = None, config: ConfigOption = None) -> None:
    """Print every runbook with its steps."""
    table = Table("runbook", "version", "title", "steps", box=None)
    for runbook in _chosen(folder, config):
        steps = ", ".join(step.do.value for step in runbook.file.steps)
        add_row(table, runbook.id, str(runbook.file.version), runbook.file.title, steps)
    Console(width=160, highlight=False).print(table)


def _chosen(folder: Path | None, config: Path | None) -> tuple[Runbook, ...]:
    """Those of the folder that was named, else of the settings, else the shipped ones."""
    if folder is not None:
        return load_runbooks(folder)
    return runbooks_of(load(config).settings.remediation.runbooks)
