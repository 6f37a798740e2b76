"""`fleetmend halt` and `fleetmend resume`: the one halt, which needs neither log nor store."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from fleetmend.cli.app import app, say
from fleetmend.cli.settings import ConfigOption, load
from fleetmend.clock import SystemClock
from fleetmend.ports.halt import HaltState
from remediation.halt import FileHalt

ByOption = Annotated[str, typer.Option(help="Who halts; your login name by default.")]


@app.command("halt")
def halt(
    reason: Annotated[str, typer.Argument(help="Why: shown with every refusal.")],
    by: ByOption = "",
    config: ConfigOption = None,
) -> None:
    """Stop all side effects within a second. Giving capacity back goes on."""
    switch = _switch(config)
    state = HaltState(True, by or getpass.getuser(), reason, SystemClock().now_s())
    switch.set(state)
    say.print(f"halted by {state.by}: {reason}", style="red", markup=False)


@app.command("resume")
def resume(by: ByOption = "", config: ConfigOption = None) -> None:
    """Go on after a halt."""
    _switch(config).set(HaltState(False, by or getpass.getuser(), "", SystemClock().now_s()))
    say.print("running", style="green", markup=False)


def _switch(config: Path | None) -> FileHalt:
    switch = FileHalt(Path(load(config).settings.remediation.halt_file))
    switch.create()
    return switch
